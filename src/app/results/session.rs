//! Jobs on sessions: opening, reading an answer, searching, reading under another rule, comparing, exporting.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::view::{Column, Filter, Listed, arrange};
use crate::app::job::{Handle, Job, Wake};
use crate::dataset::Dataset;
use crate::evaluation::pictures::which;
use crate::evaluation::{Choices, named};
use crate::scoring::benchmark::Figures;
use crate::scoring::{Accuracy, Groups, Rule};
use crate::session::export::{Format, export};
use crate::session::{Answer, Comparison, Disagreement, Override, Record, compare, disagreement, figures};
use crate::{Problem, Result};

/// Answers that are read together.
const TOGETHER: usize = 512;

/// A session that is looked at.
pub struct Opened {
    /// The session.
    pub record: Record,
    /// Verdicts, counted.
    pub tally: Accuracy,
    /// The same with those that a person has set.
    pub overridden: Accuracy,
    /// By category, in the order in which they appear.
    pub categories: Groups,
    /// Categories from the best to the worst.
    pub ranking: Vec<(String, Accuracy)>,
}

impl Opened {
    fn read(folder: &Path, watch: impl FnMut(u64, u64) -> bool) -> Result<Self> {
        let record = Record::open_watched(folder, watch)?;
        let mut categories = Groups::default();
        for outline in record.outlines() {
            if let Some(category) = &outline.category {
                categories.add(category, outline.verdict, outline.score);
            }
        }
        let mut ranking: Vec<_> = categories.iter().map(|(name, it)| (name.to_owned(), *it)).collect();
        ranking.sort_by(|a, b| b.1.value().total_cmp(&a.1.value()).then_with(|| a.0.cmp(&b.0)));
        let (tally, overridden) = (record.tally(), record.overridden_tally());
        Ok(Self { tally, overridden, categories, ranking, record })
    }
}

/// Opens a session.
pub fn open(folder: PathBuf, wake: &Wake) -> Job<Arc<Opened>> {
    Job::start("open a session", wake, move |handle| {
        Opened::read(&folder, |done, total| handle.at(done, total)).map(Arc::new)
    })
}

/// Lists the answers that a filter lets through, in an order.
pub fn arranged(
    opened: Arc<Opened>,
    filter: Filter,
    hits: Option<Arc<HashSet<usize>>>,
    (by, down): (Column, bool),
    wake: &Wake,
) -> Job<Listed> {
    Job::start("list answers", wake, move |_| Ok(arrange(&opened.record, &filter, hits.as_deref(), by, down)))
}

/// Opens the dataset that a session is about.
pub fn dataset(opened: Arc<Opened>, wake: &Wake) -> Job<Arc<Dataset>> {
    Job::start("open the dataset", wake, move |handle| {
        let manifest = opened.record.manifest();
        let path = manifest.dataset.path.as_str();
        if path.is_empty() {
            return Err(Problem::new("the session does not say where its dataset lies"));
        }
        let stated = Choices::of(manifest).map(|choices| choices.stated).unwrap_or_default();
        named::open_dataset(Some(path), stated, &mut |_, _| handle.goes_on())
    })
}

/// An answer that is looked at.
pub struct Looked {
    /// Its position in the session.
    pub place: usize,
    /// The answer.
    pub answer: Answer,
    /// The same question in the session that this one is compared with.
    pub other: Option<Answer>,
    /// Its row in the dataset, where that still has the question.
    pub row: Option<usize>,
}

/// Reads an answer.
pub fn look(
    opened: Arc<Opened>,
    other: Option<Arc<Opened>>,
    dataset: Option<Arc<Dataset>>,
    place: usize,
    wake: &Wake,
) -> Job<Looked> {
    Job::start("read an answer", wake, move |_| {
        let answer = opened.record.answer(place)?;
        let row = dataset.as_deref().and_then(|dataset| row(dataset, &answer));
        let position = other.as_ref().and_then(|other| other.record.position(&answer.index));
        let other = match (&other, position) {
            (Some(other), Some(position)) => Some(other.record.answer(position)?),
            _ => None,
        };
        Ok(Looked { place, answer, other, row })
    })
}

/// The row of an answer's question, where the dataset still has that question and not another one under its index.
fn row(dataset: &Dataset, answer: &Answer) -> Option<usize> {
    let row = dataset.find(&answer.index)?;
    let question = dataset.question(row).ok()?;
    (question.text.trim() == answer.question.trim()).then_some(row)
}

/// Positions of the answers whose index, question, response or thinking hold a text, whatever the case of its letters.
pub fn search(opened: Arc<Opened>, text: &str, wake: &Wake) -> Job<Arc<HashSet<usize>>> {
    let wanted = text.trim().to_lowercase();
    Job::start("search", wake, move |handle| {
        let total = opened.record.len() as u64;
        let done = AtomicU64::new(0);
        let places: Vec<usize> = (0..opened.record.len()).collect();
        let found = places.par_chunks(TOGETHER).map(|places| {
            let mut hits = Vec::new();
            if !handle.at(done.fetch_add(places.len() as u64, Ordering::Relaxed), total) {
                return Ok(hits);
            }
            for (place, answer) in places.iter().zip(opened.record.answers_at(places.iter().copied())) {
                let answer = answer?;
                let holds = |text: &str| text.to_lowercase().contains(&wanted);
                if holds(&answer.index)
                    || holds(&answer.question)
                    || holds(&answer.response)
                    || answer.thinking.as_deref().is_some_and(holds)
                {
                    hits.push(*place);
                }
            }
            Ok::<_, Problem>(hits)
        });
        let hits: HashSet<usize> = found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok(Arc::new(hits))
    })
}

/// Reads every answer under two rules.
pub fn disagree(opened: Arc<Opened>, rules: [Rule; 2], wake: &Wake) -> Job<Disagreement> {
    Job::start("compare two rules", wake, move |_| disagreement(&opened.record, rules))
}

/// The figures that the session's benchmark reports under its rule.
pub fn benchmark(opened: Arc<Opened>, wake: &Wake) -> Job<Option<Figures>> {
    Job::start("add up the benchmark's figures", wake, move |_| {
        match Rule::by_name(&opened.record.manifest().settings.rule) {
            Ok(rule) => figures(&opened.record, &rule),
            Err(_) => Ok(None),
        }
    })
}

/// Two sessions beside each other.
pub struct Compared {
    /// The second session; the first one is the one that is open.
    pub other: Arc<Opened>,
    /// What flipped, and how far they are apart.
    pub comparison: Comparison,
}

/// Opens two sessions and compares them.
pub fn compared(one: PathBuf, other: PathBuf, wake: &Wake) -> Job<(Arc<Opened>, Compared)> {
    Job::start("compare two sessions", wake, move |handle| {
        let watch = |_, _| handle.goes_on();
        let (one, other) = rayon::join(|| Opened::read(&one, watch), || Opened::read(&other, watch));
        let (one, other) = (one?, other?);
        let comparison = compare(&one.record, &other.record)?;
        Ok((Arc::new(one), Compared { other: Arc::new(other), comparison }))
    })
}

/// Keeps what a person said about an answer, and opens the session anew.
pub fn set(folder: PathBuf, said: Override, wake: &Wake) -> Job<Arc<Opened>> {
    Job::start("keep an override", wake, move |_| {
        said.keep(&folder)?;
        Opened::read(&folder, |_, _| true).map(Arc::new)
    })
}

/// A session that was written in another format.
pub struct Exported {
    /// The file.
    pub to: PathBuf,
    /// Answers in it.
    pub answers: usize,
    /// What the format could not hold.
    pub warnings: Vec<Problem>,
}

/// Writes a session in another format. A report has pictures where the dataset can be had.
pub fn exported(
    folder: PathBuf,
    format: Format,
    to: PathBuf,
    dataset: Option<Arc<Dataset>>,
    wake: &Wake,
) -> Job<Exported> {
    Job::start("export a session", wake, move |handle| {
        if folder.join(crate::session::manifest::MANIFEST).exists() && to.parent() == Some(&folder) {
            return Err(Problem::new("this folder is the session's own")
                .in_file(&to)
                .fix("choose another folder"));
        }
        let record = Record::open(&folder)?;
        let done = AtomicU64::new(0);
        let total = record.len() as u64;
        let picture =
            |answer: &Answer, nth: usize| picture(handle, (&done, total), dataset.as_deref(), answer, nth);
        let warnings = export(&record, format, &to, &picture)?;
        if !handle.goes_on() {
            return Err(Problem::new("the export was stopped").in_file(&to));
        }
        Ok(Exported { answers: record.len(), to, warnings })
    })
}

fn picture(
    handle: &Handle,
    (done, total): (&AtomicU64, u64),
    dataset: Option<&Dataset>,
    answer: &Answer,
    nth: usize,
) -> Option<Vec<u8>> {
    if !handle.at(done.fetch_add(1, Ordering::Relaxed).min(total), total) {
        return None;
    }
    let dataset = dataset?;
    let question = dataset.question(row(dataset, answer)?).ok()?;
    let image = which(&question, answer.images.get(nth)?, nth, answer.images.len())?;
    dataset.image_bytes(image).ok().map(|bytes| bytes.to_vec())
}
