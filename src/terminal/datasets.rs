//! `shardscope datasets`, and the dataset that a person means by a path or a name.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::progress::Reading;
use super::{excerpt, print_json, print_line, size};
use crate::cli::{DatasetsArgs, Ending, Outcome};
use crate::dataset::{Dataset, Found, Stated, discover, registry};
use crate::{Problem, Result, demo};

/// Names told where one is unknown.
const TOLD: usize = 40;

/// Opens a dataset by what a person named: a path, the built-in one (the default), `org/name` of Hugging Face's cache,
/// or the name of one that lies in VLMEvalKit's root or in that cache.
///
/// # Errors
/// There is no such dataset, or as [`Dataset::open`].
pub fn open_dataset(named: Option<&str>) -> Result<Arc<Dataset>> {
    let Some(named) = named else { return demo::dataset() };
    let open = |path: &Path| {
        let mut reading = Reading::of(path);
        Dataset::open_watched(path, &mut |bytes| reading.at(bytes)).map(Arc::new)
    };
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

/// [`open_dataset`], of which a person says something that its columns and name do not.
///
/// # Errors
/// As [`open_dataset`].
pub fn open_stated(named: Option<&str>, stated: Stated) -> Result<Arc<Dataset>> {
    let mut dataset = open_dataset(named)?;
    match Arc::get_mut(&mut dataset) {
        Some(own) => own.state(stated),
        None => return Err(Problem::new("this dataset is in use already").at(dataset.name())),
    }
    Ok(dataset)
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

/// Runs the command.
///
/// # Errors
/// Standard output is closed.
pub fn run(args: &DatasetsArgs) -> Outcome {
    let found = discover();
    if args.json {
        let rows: Vec<_> = found
            .iter()
            .map(|it| {
                json!({
                    "name": it.name, "path": it.path.display().to_string(), "bytes": it.bytes, "place": it.place,
                    "family": it.entry.map(|entry| entry.family),
                    "type": it.entry.and_then(|entry| entry.answer_type),
                    "questions": it.entry.and_then(|entry| entry.rows),
                })
            })
            .collect();
        print_json(&json!({ "datasets": rows }))?;
        return Ok(Ending::Done);
    }
    if found.is_empty() {
        print_line("no datasets in $LMUData, ~/LMUData or Hugging Face's cache")?;
    }
    let width = found.iter().map(|it| it.name.chars().count()).max().unwrap_or(0).clamp(12, 40);
    for it in &found {
        print_line(&format!(
            "{:width$}  {:>11}  {:<13} {}",
            excerpt(&it.name, width),
            size(it.bytes),
            it.place,
            it.path.display()
        ))?;
    }
    Ok(Ending::Done)
}
