//! The figures that a benchmark itself reports, from the answers of a session.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::journal::Answer;
use super::record::Record;
use crate::Result;
use crate::dataset::registry;
use crate::scoring::aggregate::{Scored, mmmu_subject};
use crate::scoring::benchmark::{self, Figures};
use crate::scoring::{AnswerType, Rule, Verdict};

/// What an aggregate needs of an answer.
struct Kept {
    index: String,
    category: Option<String>,
    super_category: Option<String>,
    split: Option<String>,
    image: String,
    part: Option<String>,
    answer: String,
    read: String,
    score: f64,
}

impl Kept {
    fn of(answer: Answer, mmmu: bool) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let path = answer.other.get("image_path").and_then(Value::as_str).map(str::to_owned);
        // Pictures inside a dataset's own file are only numbered.
        let file =
            |name: &&str| name.strip_prefix("image ").is_none_or(|number| number.parse::<usize>().is_err());
        let shown = answer.images.first().map(|image| image.name.as_str()).filter(file).map(str::to_owned);
        let part = ["cycle_category", "source"].iter().find_map(|column| answer.other.get(*column)?.as_str());
        let part = part.map(str::to_owned);
        // MMMU's own files have no column for the subject: it stands in the question's name.
        let subject = || mmmu_subject(answer.id.as_deref().unwrap_or(&answer.index)).map(str::to_owned);
        Self {
            category: answer.category.clone().or_else(|| if mmmu { subject() } else { None }),
            super_category: answer.super_category,
            split: answer.split,
            image: path.or(shown).unwrap_or_default(),
            part,
            answer: text(&answer.answer),
            read: text(&answer.read),
            score: answer.score,
            index: answer.index,
        }
    }

    fn scored(&self) -> Scored<'_> {
        Scored {
            index: &self.index,
            category: self.category.as_deref(),
            super_category: self.super_category.as_deref(),
            split: self.split.as_deref(),
            image: &self.image,
            part: self.part.as_deref(),
            answer: &self.answer,
            read: &self.read,
            score: self.score,
        }
    }
}

/// The figures that the session's benchmark reports under a rule ([`benchmark::figures`]), where it has any. The
/// record must be read under that rule already; questions without a gold answer do not count.
///
/// # Errors
/// An answer cannot be read.
pub fn figures(record: &Record, rule: &Rule) -> Result<Option<Figures>> {
    let dataset = &record.manifest().dataset.name;
    let mmmu = dataset.to_ascii_uppercase().contains("MMMU");
    let mut kinds: HashMap<AnswerType, usize> = HashMap::new();
    let mut kept = Vec::new();
    for answer in record.answers_at(record.dataset_order()) {
        let answer = answer?;
        if answer.verdict == Verdict::Unscored {
            continue;
        }
        if let Some(kind) = answer.answer_type {
            *kinds.entry(kind).or_default() += 1;
        }
        kept.push(Kept::of(answer, mmmu));
    }
    let Some((kind, _)) = kinds.into_iter().max_by_key(|(_, count)| *count) else { return Ok(None) };
    if dataset.starts_with("MME") {
        pair_by_order(&mut kept);
    }
    let rows: Vec<Scored<'_>> = kept.iter().map(Kept::scored).collect();
    Ok(benchmark::figures(rule, dataset, registry::find(dataset).is_some(), kind, &rows))
}

/// MME asks two questions about each image, one after the other. Where no two rows name the same image, or none names
/// any, as in files that hold the pictures themselves, neighbours within a category are taken for a pair.
fn pair_by_order(rows: &mut [Kept]) {
    let names: HashSet<&str> =
        rows.iter().map(|row| row.image.as_str()).filter(|name| !name.is_empty()).collect();
    if !names.is_empty() && names.len() < rows.len() {
        return;
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in rows {
        let place = places.entry(row.category.clone().unwrap_or_default()).or_default();
        row.image = format!("pair {}", *place / 2);
        *place += 1;
    }
}
