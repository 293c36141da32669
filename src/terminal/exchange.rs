//! `shardscope sessions export` and `sessions import`: a session as the files of others, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::datasets::open_dataset;
use super::print_line;
use super::progress::Ticker;
use super::say;
use crate::cli::Failure;
use crate::dataset::{Dataset, ImageRef, Question, Stated};
use crate::engine::asking::{blank, image_name};
use crate::scoring::{AnswerType, Rule, Verdict};
use crate::session::export::{Format, export as write};
use crate::session::folder::{ANSWERS, EVENTS, MEMORY};
use crate::session::import::{Names, import as read};
use crate::session::manifest::MANIFEST;
use crate::session::{Answer, ImageRecord, JUDGEMENTS, Record};
use crate::{Problem, Result, demo};

/// Writes a session in another format.
///
/// # Errors
/// A folder that is no session, an unknown rule, a file that is there already; or writing breaks off.
pub fn export(
    session: &Path,
    format: Format,
    out: Option<&Path>,
    rule: Option<&str>,
    judged_too: bool,
    force: bool,
) -> Result<(), Failure> {
    let rule = rule.map(Rule::by_name).transpose()?;
    let mut record = Record::open(session)?;
    let to = destination(&record, format, out, force)?;
    record = match rule {
        _ if judged_too => judged(record, rule)?,
        Some(rule) => record.under(rule)?,
        None => record,
    };
    let warnings = if format == Format::Html {
        let pictures = Pictures::of(&record);
        let mut warnings = write(&record, format, &to, &|answer, nth| pictures.picture(answer, nth))
            .map_err(Failure::Broken)?;
        warnings.extend(pictures.warnings());
        warnings
    } else {
        write(&record, format, &to, &|_, _| None).map_err(Failure::Broken)?
    };
    for warning in &warnings {
        say(format!("warning: {warning}"));
    }
    say(format!("{} answers in {}", record.len(), to.display()));
    Ok(())
}

/// A session under a rule, or its own, with the recorded replies of judges counted.
///
/// # Errors
/// The session's rule is none of ours, or an answer cannot be read.
pub fn judged(record: Record, rule: Option<Rule>) -> Result<Record> {
    let recorded = &record.manifest().settings.rule;
    let rule = rule.or(Rule::by_name(recorded).ok()).ok_or_else(|| {
        Problem::new(format!("a judge stands behind a rule, and {recorded:?} is none of ours"))
            .fix("name a rule with --rule")
    })?;
    record.judged_under(rule)
}

/// The file that is written: refused where it is there already, or where a session keeps its own files.
fn destination(record: &Record, format: Format, out: Option<&Path>, force: bool) -> Result<PathBuf> {
    let name = format.file_name(record);
    let to = match out {
        None => PathBuf::from(name),
        Some(folder) if folder.is_dir() => folder.join(name),
        Some(file) => file.to_owned(),
    };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Problem::new("there is no such folder")
            .in_file(folder)
            .fix("make it, or choose another with --out"));
    }
    let own = |file: &std::ffi::OsStr| {
        [MANIFEST, ANSWERS, EVENTS, MEMORY, JUDGEMENTS].iter().any(|name| file == *name)
    };
    if folder.join(MANIFEST).exists() && to.file_name().is_some_and(own) {
        return Err(Problem::new("this file is part of a session")
            .in_file(&to)
            .fix("choose another with --out"));
    }
    if to.symlink_metadata().is_ok() && !force {
        return Err(Problem::new("this file is there already")
            .in_file(&to)
            .fix("choose another with --out, or replace it with --force"));
    }
    Ok(to)
}

/// The pictures of a session's questions, from the dataset that its manifest names.
pub(crate) struct Pictures {
    dataset: Option<Arc<Dataset>>,
    problem: Option<Problem>,
    /// Pictures asked for.
    asked: AtomicUsize,
    /// Pictures that the dataset could not give.
    missing: AtomicUsize,
    /// Pictures of questions that are not, or no longer, in the dataset.
    strange: AtomicUsize,
    ticker: Ticker,
}

impl Pictures {
    pub(crate) fn of(record: &Record) -> Self {
        let path = record.manifest().dataset.path.as_str();
        let opened = match path {
            "" => Err(Problem::new("the session does not say where its dataset lies")),
            demo::BUILT_IN => demo::dataset(),
            _ => Dataset::open(Path::new(path)).map(Arc::new),
        };
        let (dataset, problem) = match opened {
            Ok(dataset) => (Some(dataset), None),
            Err(problem) => (None, Some(problem)),
        };
        let [asked, missing, strange] = std::array::from_fn(|_| AtomicUsize::new(0));
        Self {
            dataset,
            problem,
            asked,
            missing,
            strange,
            ticker: Ticker::new(Duration::from_secs(2), "pictures read"),
        }
    }

    /// The bytes of an answer's picture, where the dataset still has that question and that picture.
    pub(crate) fn picture(&self, answer: &Answer, nth: usize) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let dataset = self.dataset.as_ref()?;
        let question = dataset.find(&answer.index).and_then(|row| dataset.question(row).ok());
        let Some(question) = question.filter(|question| question.text.trim() == answer.question.trim())
        else {
            self.strange.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let image = which(&question, answer.images.get(nth)?, nth, answer.images.len());
        let bytes = image.and_then(|image| dataset.image_bytes(image).ok());
        match &bytes {
            Some(_) => self.ticker.tick(),
            None => drop(self.missing.fetch_add(1, Ordering::Relaxed)),
        }
        bytes.map(|bytes| bytes.to_vec())
    }

    pub(crate) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if let Some(problem) = self.problem.as_ref().filter(|_| self.asked.load(Ordering::Relaxed) > 0) {
            let mut problem = problem.clone();
            problem.what =
                format!("the report has no pictures, since the dataset cannot be opened: {}", problem.what);
            problem.fix = Some("put the dataset back where it was, and export again with --force".into());
            warnings.push(problem);
        }
        let place = self.dataset.as_ref().map(|dataset| dataset.name().to_owned()).unwrap_or_default();
        for (count, what) in [
            (
                &self.strange,
                "pictures are left out: the dataset has no such questions, or other ones, by now",
            ),
            (&self.missing, "pictures are left out: the dataset cannot give them any more"),
        ] {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                warnings.push(Problem::new(format!("{count} {what}")).at(place.clone()));
            }
        }
        warnings
    }
}

/// Which of a question's pictures was sent as `sent`, the `nth` of `of`: the one of that name; else the one at its
/// place in the order, if there are as many.
pub fn which<'a>(question: &'a Question, sent: &ImageRecord, nth: usize, of: usize) -> Option<&'a ImageRef> {
    let named = question.images.iter().enumerate().find(|(i, image)| image_name(image, *i) == sent.name);
    let place = named.map(|(i, _)| i).or((of == question.images.len()).then_some(nth))?;
    question.images.get(place)
}

/// Makes a session of a file of predictions.
///
/// # Errors
/// A file that holds no predictions, an unknown rule or dataset, a folder that holds a session already.
pub fn import(
    file: &Path,
    session: &Path,
    dataset: Option<&str>,
    rule: Option<&str>,
    answer_type: Option<AnswerType>,
    model: Option<&str>,
) -> Result<(), Failure> {
    let rule = rule.map(Rule::by_name).transpose()?;
    let dataset = dataset.map(|named| open_dataset(Some(named), Stated::default())).transpose()?;
    let names = Names {
        checkpoint: model.map(str::to_owned),
        dataset: dataset.as_ref().map(|dataset| dataset.name().to_owned()),
        dataset_path: dataset.as_ref().map(|dataset| match dataset.path() {
            Some(path) => path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string(),
            None => demo::BUILT_IN.to_owned(),
        }),
    };
    let name = names.dataset.clone().unwrap_or_else(|| dataset_name(file));
    let (mut unknown, mut unjudged, mut count) = (0_usize, 0_usize, 0_usize);
    let warnings = read(file, session, &names, &mut |answer| {
        count += 1;
        if let Some(dataset) = &dataset {
            unknown += usize::from(!complete(answer, dataset));
        }
        answer.answer_type = answer_type.or(answer.answer_type);
        let rule = rule.or((answer.verdict == Verdict::Unscored).then(Rule::default));
        if let Some(rule) = rule {
            let failed = matches!(answer.verdict, Verdict::Failed | Verdict::OutOfMemory);
            unjudged += usize::from(!answer.judge_under(&rule, &name) && !failed);
        }
    })?;
    for warning in &warnings {
        say(format!("warning: {warning}"));
    }
    if unknown > 0 {
        let place = dataset.as_ref().map(|dataset| dataset.name().to_owned()).unwrap_or_default();
        say(format!(
            "warning: {}",
            Problem::new(format!(
                "{unknown} of {count} answers are to questions that this dataset does not have"
            ))
            .at(place)
            .fix("name the dataset that the predictions are about with --dataset")
        ));
    }
    if unjudged > 0 {
        let problem = Problem::new(format!(
            "{unjudged} of {count} answers cannot be judged: gold answer or type is unknown"
        ));
        say(format!(
            "warning: {}",
            if dataset.is_none() { problem.fix("name the dataset with --dataset") } else { problem }
        ));
    }
    print_line(&format!("{count} answers in {}", session.display()))
}

/// The dataset's name as the file's name has it, for rules that depend on it.
fn dataset_name(file: &Path) -> String {
    crate::session::import::guess_names(file).1
}

/// Takes over what the dataset knows of an answer's question; `false` where it does not have it. A file that numbers
/// its answers instead of naming them, as lmms-eval does, means the dataset's rows, if the gold answers agree.
fn complete(answer: &mut Answer, dataset: &Dataset) -> bool {
    let question = match dataset.find(&answer.index) {
        Some(row) => dataset.question(row).ok(),
        None => {
            let row = answer.index.parse().ok().filter(|&row| row < dataset.len());
            let recorded = answer.answer.as_str().map(str::trim);
            row.and_then(|row: usize| dataset.question(row).ok()).filter(|question| {
                recorded.is_some_and(|gold| question.gold.iter().any(|it| it.trim() == gold))
            })
        }
    };
    let Some(question) = question else { return false };
    let known = blank(&question, dataset);
    answer.id = answer.id.take().or(known.id);
    answer.category = known.category.or_else(|| answer.category.take());
    answer.super_category = known.super_category.or_else(|| answer.super_category.take());
    answer.split = known.split.or_else(|| answer.split.take());
    answer.answer_type = known.answer_type.or(answer.answer_type);
    for (name, value) in known.other {
        answer.other.entry(name).or_insert(value);
    }
    answer.question = known.question;
    if !known.options.is_empty() {
        answer.options = known.options;
    }
    if !known.answer.is_null() {
        answer.answer = known.answer;
    }
    if answer.images.is_empty() {
        let named = |(i, image)| ImageRecord { name: image_name(image, i), ..ImageRecord::default() };
        answer.images = question.images.iter().enumerate().map(named).collect();
    }
    true
}
