//! `shardscope datasets`.

use std::sync::Arc;

use serde_json::json;

use super::progress::Reading;
use super::{print_json, print_line};
use crate::Result;
use crate::cli::{DatasetsArgs, Ending, Outcome};
use crate::dataset::{Dataset, Stated, discover};
use crate::evaluation::named;
use crate::words::{excerpt, size};

/// Opens the dataset that a person named, and tells of a long reading.
///
/// # Errors
/// As [`named::open_dataset`].
pub fn open_dataset(dataset: Option<&str>, stated: Stated) -> Result<Arc<Dataset>> {
    let mut reading: Option<Reading> = None;
    named::open_dataset(dataset, stated, &mut |path, bytes| {
        reading.get_or_insert_with(|| Reading::of(path)).at(bytes)
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
