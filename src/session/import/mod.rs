//! Predictions made by VLMEvalKit or lmms-eval, and answers exported from here, as sessions.

mod rows;
mod samples;
mod vlmevalkit;

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::folder::{Session, parse};
use super::journal::Answer;
use super::lines::{open_file, scan};
use super::manifest::{CheckpointRecord, DatasetRecord, Manifest, Selection, Settings};
use crate::scoring::AnswerType;
use crate::{Problem, Result};

/// Largest file that is read whole, in bytes.
const LARGEST: u64 = 1 << 30;
/// Rows left out that are told one by one.
const TOLD: usize = 10;

/// What a file of predictions does not say itself, or says wrongly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The model; guessed from the names of file and folder where not given.
    pub checkpoint: Option<String>,
    /// The dataset; guessed likewise.
    pub dataset: Option<String>,
    /// Where the dataset lies, for its pictures.
    pub dataset_path: Option<String>,
}

/// Answers of one file.
#[derive(Default)]
struct Answers {
    all: Vec<Answer>,
    known: HashSet<String>,
    left_out: Vec<Problem>,
}

impl Answers {
    /// Takes an answer, or the reason why there is none.
    fn add(&mut self, place: String, answer: Result<Answer, String>) {
        match answer {
            Ok(answer) if self.known.insert(answer.index.clone()) => self.all.push(answer),
            Ok(answer) => {
                let again = format!(
                    "question {} stands in the file a second time; this row is left out",
                    answer.index
                );
                self.left_out.push(Problem::new(again).at(place));
            }
            Err(why) => self.left_out.push(Problem::new(format!("{why}; this row is left out")).at(place)),
        }
    }

    /// What was left out, without an end to it.
    fn warnings(self) -> Vec<Problem> {
        let more = self.left_out.len().saturating_sub(TOLD);
        let mut warnings: Vec<Problem> = self.left_out.into_iter().take(TOLD).collect();
        if more > 0 {
            warnings.push(Problem::new(format!("{more} more rows are left out")));
        }
        warnings
    }
}

/// Makes a session in `dir` from a file of predictions: VLMEvalKit's `.xlsx`, `.tsv` and `.json`, lmms-eval's samples
/// `.jsonl`, or answers exported from here as `.jsonl`. Tells which rows were left out, and why.
///
/// `judge` sees every answer before it is kept, and may read it under a rule. What the file says about right and wrong
/// stands in the answer already, under a rule that is named `... (as recorded)`.
///
/// # Errors
/// The file is none of these or cannot be read, or the session cannot be written; then there is no session.
pub fn import(
    file: &Path,
    dir: &Path,
    names: &Names,
    judge: &mut dyn FnMut(&mut Answer),
) -> Result<Vec<Problem>> {
    let metadata = fs::metadata(file).map_err(|error| Problem::io("open", file, &error))?;
    let mut answers = Answers::default();
    let kind = file.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    let origin = match kind.as_str() {
        "xlsx" => {
            rows::sheet(file, &mut |number, row| answers.add(place(file, number), vlmevalkit::answer(row)))
                .map(|()| "VLMEvalKit")?
        }
        "tsv" => {
            rows::tabs(file, &mut |number, row| answers.add(place(file, number), vlmevalkit::answer(row)))
                .map(|()| "VLMEvalKit")?
        }
        "json" => {
            for (number, row) in records(file)?.into_iter().enumerate() {
                answers.add(place(file, number + 1), vlmevalkit::answer(row));
            }
            "VLMEvalKit"
        }
        "jsonl" => read_lines(file, &mut answers)?,
        "pkl" | "pickle" => {
            return Err(Problem::new("a pickle can run any program when it is read, and is not opened")
                .in_file(file)
                .fix("let VLMEvalKit write its predictions as tsv (PRED_FORMAT=tsv) and import that file"));
        }
        _ => {
            return Err(Problem::new("not a file of predictions that can be imported").in_file(file).fix(
                "import VLMEvalKit's predictions (.xlsx, .tsv, .json) or the samples of lmms-eval (.jsonl)",
            ));
        }
    };
    if answers.all.is_empty() {
        let why = answers.left_out.first().map(|problem| {
            format!("; {}: {}", problem.place.as_deref().unwrap_or("first row"), problem.what)
        });
        return Err(Problem::new(format!("no answer in this file{}", why.unwrap_or_default())).in_file(file));
    }
    answers.all.iter_mut().for_each(judge);

    let guessed = guess(file, origin);
    let checkpoint = CheckpointRecord {
        name: names.checkpoint.clone().unwrap_or(guessed.0),
        format: format!("imported from {origin}"),
        ..Default::default()
    };
    let dataset = DatasetRecord {
        name: names.dataset.clone().unwrap_or(guessed.1),
        path: names.dataset_path.clone().unwrap_or_default(),
        questions: answers.all.len(),
        selection: Selection::of(answers.all.iter().map(|answer| answer.index.as_str())),
        ..Default::default()
    };
    let rule = answers.all.first().map(|answer| answer.rule.clone()).unwrap_or_default();
    let mut manifest = Manifest::new(checkpoint, dataset, Settings { rule, ..Default::default() });
    manifest.other.insert("imported_from".into(), file.display().to_string().into());
    if let Some(made) = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok()) {
        manifest.started = made.round(jiff::Unit::Second).unwrap_or(made).to_string();
    }
    Session::create(dir, &manifest)?.append_all(&answers.all)?;
    Ok(answers.warnings())
}

/// Whether a file looks like predictions by its ending and its first rows; [`import`] may refuse it all the same.
pub fn is_predictions(file: &Path) -> bool {
    let ending = file.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut start = Vec::new();
    if open_file(file).and_then(|file| file.take(1 << 16).read_to_end(&mut start)).is_err() {
        return false;
    }
    let start = String::from_utf8_lossy(&start);
    match ending.as_str() {
        "xlsx" => true,
        "tsv" => start.lines().next().is_some_and(|names| names.split('\t').any(|name| name == "prediction")),
        "json" | "jsonl" => {
            ["\"prediction\"", "\"doc_id\"", "\"response\""].iter().any(|key| start.contains(key))
        }
        _ => false,
    }
}

/// A row of a file, as a place.
fn place(file: &Path, number: usize) -> String {
    format!("{}, row {number}", file.display())
}

/// Reads a file of JSON lines, and says whose it is.
fn read_lines(file: &Path, answers: &mut Answers) -> Result<&'static str> {
    let mut origin = "Shardscope";
    scan(file, json, |line| {
        let answer = line.content.and_then(|value| match value {
            Value::Object(row) if row.contains_key("doc_id") => {
                origin = "lmms-eval";
                samples::answer(row)
            }
            Value::Object(row) if row.contains_key("prediction") => {
                origin = "VLMEvalKit";
                vlmevalkit::answer(row)
            }
            value => parse(value.to_string().as_bytes()),
        });
        answers.add(place(file, line.number), answer);
        Ok(())
    })?;
    Ok(origin)
}

/// Reads VLMEvalKit's JSON: a list of records.
fn records(file: &Path) -> Result<Vec<Map<String, Value>>> {
    let wrong = |what: String| {
        Problem::new(what).in_file(file).fix("import the file that VLMEvalKit writes with PRED_FORMAT=json")
    };
    let mut bytes = Vec::new();
    open_file(file)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| Problem::io("read", file, &error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(format!("larger than {} GiB", LARGEST >> 30)));
    }
    match json(&bytes).map_err(wrong)? {
        Value::Array(all) => all
            .into_iter()
            .map(|value| match value {
                Value::Object(row) => Ok(row),
                _ => Err(wrong("not a list of records".into())),
            })
            .collect(),
        _ => Err(wrong("not a list of records".into())),
    }
}

/// Reads JSON as Python writes it, which has words for what is no number; they become null.
fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).or_else(|error| {
        let plain = without_python_words(bytes);
        serde_json::from_slice(&plain).map_err(|_| error.to_string())
    })
}

/// `NaN`, `Infinity` and `-Infinity` outside strings as `null`.
fn without_python_words(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len() + 64);
    let (mut at, mut quoted) = (0, false);
    while at < bytes.len() {
        let word = (!quoted)
            .then(|| {
                [b"-Infinity".as_slice(), b"Infinity", b"NaN"]
                    .into_iter()
                    .find(|word| bytes[at..].starts_with(word))
            })
            .flatten();
        if let Some(word) = word {
            plain.extend(b"null");
            at += word.len();
            continue;
        }
        let escape = quoted && bytes[at] == b'\\';
        quoted ^= bytes[at] == b'"';
        plain.push(bytes[at]);
        at += 1;
        if escape && at < bytes.len() {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    plain
}

/// The names of model and dataset that a file's own name and folders suggest.
pub fn guess_names(file: &Path) -> (String, String) {
    let lines = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl"));
    guess(file, if lines { "lmms-eval" } else { "VLMEvalKit" })
}

/// Model and dataset, from `<model>/<run>/<model>_<dataset>.xlsx` or `<model>/<date>_samples_<task>.jsonl`.
fn guess(file: &Path, origin: &str) -> (String, String) {
    let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
    let stem = file.file_stem().map(text).unwrap_or_default();
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folders: Vec<String> =
        file.ancestors().skip(1).take(2).filter_map(|folder| folder.file_name().map(text)).collect();
    if let (Some((_, task)), "lmms-eval") = (stem.split_once("samples_"), origin) {
        return (folders.first().map(|name| name.replace("__", "/")).unwrap_or_default(), task.to_string());
    }
    let by_folder = folders
        .iter()
        .find_map(|name| Some((name.clone(), stem.strip_prefix(name)?.strip_prefix('_')?.to_string())));
    by_folder.unwrap_or_else(|| match stem.split_once('_') {
        Some((model, dataset)) => (model.to_string(), dataset.to_string()),
        None => (stem.clone(), stem.clone()),
    })
}

/// How an imported answer is judged, as far as the row itself tells.
fn answer_type(answer: &Answer) -> Option<AnswerType> {
    let gold = answer.answer.as_str().map(str::trim).unwrap_or_default();
    if !answer.options.is_empty() {
        Some(AnswerType::Option)
    } else if gold.eq_ignore_ascii_case("yes") || gold.eq_ignore_ascii_case("no") {
        Some(AnswerType::YesNo)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_and_dataset_are_in_the_names() {
        for (file, origin, model, dataset) in [
            (
                "out/InternVL2_5-8B/T20260101-000000/InternVL2_5-8B_MMMU_DEV_VAL.xlsx",
                "VLMEvalKit",
                "InternVL2_5-8B",
                "MMMU_DEV_VAL",
            ),
            ("InternVL2-8B_MMBench_DEV_EN.tsv", "VLMEvalKit", "InternVL2-8B", "MMBench_DEV_EN"),
            (
                "OpenGVLab__InternVL3-8B/20260101_101500_samples_mmmu_val.jsonl",
                "lmms-eval",
                "OpenGVLab/InternVL3-8B",
                "mmmu_val",
            ),
            ("answers.jsonl", "Shardscope", "answers", "answers"),
        ] {
            assert_eq!(guess(Path::new(file), origin), (model.to_string(), dataset.to_string()));
        }
    }

    #[test]
    fn words_of_python_are_no_numbers() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN", "d\\": 1}"#;
        let value = json(text).unwrap();
        assert_eq!(value, serde_json::json!({"a": null, "b": [null, null], "c": "NaN \" NaN", "d\\": 1}));
        assert!(json(b"{\"a\": nan}").is_err());
    }
}
