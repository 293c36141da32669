//! A run as its manifest tells it: the same choices once more, so that a session can go on.

use std::path::Path;
use std::sync::Arc;

use super::{Choices, Evaluation, Learnt, Questions, named};
use crate::dataset::Stated;
use crate::engine::RunSettings;
use crate::session::manifest::DeviceRecord;
use crate::session::{Manifest, Selection};
use crate::{Problem, Result};

impl Choices {
    /// The choices that a session was begun with.
    ///
    /// # Errors
    /// The manifest is not of a run of this program (an import), spells out only a part of its questions, or names
    /// something that this version does not know.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let settings = &manifest.settings;
        let text = |name: &str| settings.other.get(name).and_then(serde_json::Value::as_str);
        let kind = text("kind").map(str::parse).transpose()?;
        let copies = settings.other.get("replicas").and_then(serde_json::Value::as_u64);
        let answer_type = text("answer_type").map(str::parse).transpose()?;
        Ok(Self {
            questions: questions(&manifest.dataset.selection)?,
            settings: RunSettings {
                style: settings.prompt_style.parse()?,
                system: settings.system_prompt.clone(),
                max_new_tokens: settings.max_new_tokens,
                max_tiles: settings.max_tiles,
                sampling: settings.sampling,
                top_logprobs: settings.top_logprobs,
                ..RunSettings::default()
            },
            stated: Stated { kind, answer_type },
            rule: settings.rule.clone(),
            dtype: settings.dtype.clone(),
            devices: devices(manifest),
            layout: layout(&manifest.layout.name),
            batch: settings.batch.max(1),
            canary: settings.other.get("canary").is_some_and(|canary| *canary == true),
            replicas: copies.and_then(|copies| usize::try_from(copies).ok()).unwrap_or(1).max(1),
            threads: settings.threads,
            learnt: Learnt::Usual,
        })
    }
}

/// The SPEC that names a manifest's devices.
fn devices(manifest: &Manifest) -> String {
    let names: Vec<&str> = manifest.devices.iter().map(|device| device.name.as_str()).collect();
    let simulated = names.iter().all(|name| name.starts_with("sim:")) && !names.is_empty();
    if simulated {
        // What could be used of each says all that the run goes by.
        let usable = |device: &DeviceRecord| {
            let usable = device.other.get("usable_bytes").and_then(serde_json::Value::as_u64);
            usable.unwrap_or(device.total_bytes).to_string()
        };
        return format!("sim:{}", manifest.devices.iter().map(usable).collect::<Vec<_>>().join(","));
    }
    let ordinals: Option<Vec<&str>> = names.iter().map(|name| name.strip_prefix("cuda:")).collect();
    match (names.as_slice(), ordinals) {
        ([], _) => "auto".into(),
        (_, Some(ordinals)) => format!("cuda:{}", ordinals.join(",")),
        (names, None) => names.join(","),
    }
}

/// The layout of a name, of a file where that still is one, or of a map that stands there itself. Where units sit changes no answer, so that another plan
/// may take the place of one that is gone.
fn layout(name: &str) -> String {
    let is_known = crate::plan::Layout::parse(name).is_ok();
    let is_map = || Path::new(name).is_file() || crate::plan::exchange::Form::of(name).is_some();
    if is_known || is_map() { name.to_owned() } else { "auto".into() }
}

/// The choice of questions that a selection records.
fn questions(selection: &Selection) -> Result<Questions> {
    let spelled_out = selection.ids.len();
    if spelled_out > 0 && spelled_out < selection.count {
        return Err(Problem::new(format!(
            "the session was begun with a list of {} questions, of which its manifest spells out {spelled_out}",
            selection.count
        ))
        .fix("resume it in the terminal with the same list: eval --session DIR --resume --ids …"));
    }
    Ok(Questions {
        ids: selection.ids.clone(),
        category: selection.category.clone(),
        split: selection.split.clone(),
        sample: selection.sample,
        seed: selection.seed,
        limit: selection.limit,
    })
}

impl Evaluation {
    /// The run that a session on disk was begun with, ready to go on with [`Evaluation::begin`]. `watch` hears the file
    /// that is read and the bytes so far, and stops by `false`.
    ///
    /// # Errors
    /// As [`Choices::of`] and [`Evaluation::prepare`]; checkpoint or dataset lie no longer where they were.
    pub fn of_session(folder: &Path, watch: named::Watch<'_>) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        if manifest.checkpoint.path.is_empty() || manifest.dataset.path.is_empty() {
            return Err(Problem::new(
                "does not say where its checkpoint and dataset lie, so it cannot go on",
            )
            .in_file(folder)
            .fix("imported sessions can be read and compared; begin a new run to get more answers"));
        }
        if manifest.checkpoint.format == "endpoint" {
            return Err(Problem::new("was begun with a served model, not with a checkpoint on this machine")
                .in_file(folder)
                .fix("go on in the terminal: eval --endpoint URL --model NAME --session DIR --resume"));
        }
        let choices = Choices::of(&manifest)?;
        let checkpoint = Arc::new(named::open_checkpoint(Some(&manifest.checkpoint.path))?);
        let dataset = named::open_dataset(Some(&manifest.dataset.path), choices.stated, watch)?;
        let path = dataset.path().unwrap_or(Path::new("")).to_owned();
        Self::prepare(checkpoint, dataset, choices, &mut |bytes| watch(&path, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;
    use crate::session::Session;

    #[test]
    fn a_session_goes_on_with_the_choices_it_was_begun_with() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("session");
        let questions = Questions { sample: Some(5), seed: Some(3), ..Questions::default() };
        let mut choices = Choices { questions, ..Choices::default() };
        choices.settings.max_new_tokens = 17;
        choices.settings.max_tiles = Some(2);
        choices.rule = "mmmu".into();
        choices.stated.kind = Some(crate::dataset::QuestionKind::Short);
        let dataset = named::open_dataset(None, choices.stated, &mut |_, _| true).unwrap();
        let begun =
            Evaluation::prepare(Arc::new(demo::checkpoint().unwrap()), dataset, choices, &mut |_| true)
                .unwrap();
        let rows = begun.rows.clone();
        let (order, _) = begun.begin(&folder, false).unwrap();
        drop(order);
        let again = Evaluation::of_session(&folder, &mut |_, _| true).unwrap();
        assert_eq!(again.rows, rows);
        assert!(Session::resume(&folder, &again.manifest).is_ok());
    }

    #[test]
    fn devices_and_layouts_are_named_as_they_can_be_asked_for() {
        let begun = Evaluation::prepare(
            Arc::new(demo::checkpoint().unwrap()),
            demo::dataset().unwrap(),
            Choices { devices: "sim:64MiB,32MiB".into(), ..Choices::default() },
            &mut |_| true,
        )
        .unwrap();
        let mut manifest = begun.manifest;
        assert_eq!(Choices::of(&manifest).unwrap().devices, "sim:67108864,33554432");
        crate::plan::spec::DeviceSpec::parse(&devices(&manifest)).unwrap();
        manifest.layout.name = "/no/longer/there.json".into();
        manifest.devices.iter_mut().zip(["cuda:1", "cuda:3"]).for_each(|(it, name)| it.name = name.into());
        let choices = Choices::of(&manifest).unwrap();
        assert_eq!((choices.devices.as_str(), choices.layout.as_str()), ("cuda:1,3", "auto"));
    }

    #[test]
    fn a_list_that_is_not_spelled_out_is_refused() {
        let ids: Vec<String> = (0..150).map(|i| i.to_string()).collect();
        let selection = Selection::of(ids.iter().map(String::as_str)).by_ids(ids.clone());
        assert!(questions(&selection).unwrap_err().what.contains("150"));
        let few = Selection::of(["1", "2"]).by_ids(["1".to_owned(), "2".to_owned()]);
        assert_eq!(questions(&few).unwrap().ids, ["1", "2"]);
    }
}
