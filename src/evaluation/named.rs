//! The checkpoint and the dataset that a person means by a path or a name.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::dataset::{Dataset, Found, Stated, discover, registry};
use crate::session::import::is_predictions;
use crate::{Problem, Result, demo};

/// Names told where one is unknown.
const TOLD: usize = 40;

/// Hears, while a file is gone through, which one and how many of its bytes so far; `false` stops.
pub type Watch<'a> = &'a mut dyn FnMut(&Path, u64) -> bool;

/// What a path turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// A checkpoint's folder, or a file in it.
    Checkpoint,
    /// A file or a folder of questions.
    Dataset,
    /// A session's folder.
    Session,
    /// Predictions of another program.
    Predictions,
}

/// Tells by its content what a path is.
///
/// # Errors
/// It is none of what can be opened.
pub fn meant(path: &Path) -> Result<Meant> {
    let has = |name: &str| path.join(name).is_file();
    let ending =
        path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let found = match path.is_dir() {
        true if has("manifest.json") => Some(Meant::Session),
        true if has("config.json") || (path.join("snapshots").is_dir() && is_cached_model(path)) => {
            Some(Meant::Checkpoint)
        }
        true if Dataset::open(path).is_ok() => Some(Meant::Dataset),
        true => None,
        false => match ending.as_str() {
            "safetensors" => Some(Meant::Checkpoint),
            "json" if path.file_name().is_some_and(|name| name == "config.json") => Some(Meant::Checkpoint),
            _ if is_predictions(path) => Some(Meant::Predictions),
            "tsv" | "csv" | "parquet" | "jsonl" | "ndjson" => Some(Meant::Dataset),
            _ => None,
        },
    };
    found.ok_or_else(|| {
        let what = match path.exists() {
            true => "is neither a checkpoint, nor a dataset, nor a session",
            false => "does not exist",
        };
        Problem::new(what).in_file(path).fix(
            "choose a folder with config.json and safetensors, a TSV, parquet or JSON lines file, a session's folder, or predictions of VLMEvalKit or lmms-eval",
        )
    })
}

/// Whether a folder of Hugging Face's cache holds a model.
fn is_cached_model(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("models--"))
}

/// Opens a checkpoint by what a person named; the built-in one by default.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open_checkpoint(named: Option<&str>) -> Result<Checkpoint> {
    match named {
        None => demo::checkpoint(),
        Some(named) if named == demo::BUILT_IN && !Path::new(named).exists() => demo::checkpoint(),
        Some(named) => Checkpoint::open(named),
    }
}

/// Opens a dataset by what a person named: a path, the built-in one (the default), `org/name` of Hugging Face's cache,
/// or the name of one that lies in VLMEvalKit's root or in that cache. What a person states about it replaces what its
/// columns and name say.
///
/// # Errors
/// There is no such dataset, or as [`Dataset::open`].
pub fn open_dataset(named: Option<&str>, stated: Stated, watch: Watch<'_>) -> Result<Arc<Dataset>> {
    let mut dataset = open(named, watch)?;
    match Arc::get_mut(&mut dataset) {
        Some(own) => own.state(stated),
        None => return Err(Problem::new("this dataset is in use already").at(dataset.name())),
    }
    Ok(dataset)
}

fn open(named: Option<&str>, watch: Watch<'_>) -> Result<Arc<Dataset>> {
    let Some(named) = named else { return demo::dataset() };
    let mut open = |path: &Path| Dataset::open_watched(path, &mut |bytes| watch(path, bytes)).map(Arc::new);
    let path = Path::new(named);
    // Opening itself knows `org/name`.
    if path.exists() || path.components().count() > 1 {
        return open(path);
    }
    if named == demo::BUILT_IN {
        return demo::dataset();
    }
    open(&by_name(named, &discover())?.path)
}

/// The dataset of a name: exactly so, else whatever the case of its letters.
fn by_name<'a>(named: &str, found: &'a [Found]) -> Result<&'a Found> {
    let exact = found.iter().find(|it| it.name == named);
    let local = || found.iter().find(|it| it.name.strip_suffix("_local") == Some(named));
    let alike = || found.iter().find(|it| it.name.eq_ignore_ascii_case(named));
    exact.or_else(local).or_else(alike).ok_or_else(|| {
        let mut names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        names.dedup();
        let more = names.len().saturating_sub(TOLD);
        names.truncate(TOLD);
        let mut list = names.join(", ");
        if more > 0 {
            list.push_str(&format!(" and {more} more"));
        }
        let fix = match (registry::find(named), list.as_str()) {
            (Some(entry), "") => format!("put {}.tsv into $LMUData or ~/LMUData", entry.name),
            (Some(entry), _) => {
                format!(
                    "put {}.tsv into $LMUData or ~/LMUData, or choose one of those found: {list}",
                    entry.name
                )
            }
            (None, "") => {
                "give a file or folder; neither $LMUData, ~/LMUData nor Hugging Face's cache has a dataset"
                    .into()
            }
            (None, _) => format!("give a file or folder, or the name of one of those found: {list}"),
        };
        Problem::new("there is neither such a file or folder nor a dataset of this name").at(named).fix(fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_is_shows_in_its_content() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        make("model/config.json", "{}");
        make("questions/all.tsv", "index\tquestion\tanswer\n1\twhat?\tthis\n");
        make("run/manifest.json", "{}");
        make("photos/readme.txt", "nothing");
        let meant = |path: &str| meant(&root.path().join(path));
        assert_eq!(meant("model"), Ok(Meant::Checkpoint));
        assert_eq!(meant("model/config.json"), Ok(Meant::Checkpoint));
        assert_eq!(meant("questions"), Ok(Meant::Dataset));
        assert_eq!(meant("questions/all.tsv"), Ok(Meant::Dataset));
        assert_eq!(meant("run"), Ok(Meant::Session));
        assert!(meant("photos").unwrap_err().what.starts_with("is neither"));
        assert!(meant("nowhere").unwrap_err().what.contains("not exist"));
    }
}
