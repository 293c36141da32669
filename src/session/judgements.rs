//! What a judge said about answers after the run: `judge.jsonl` beside the answers, which stay as they are.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::whole_lines;
use super::journal::{Answer, now};
use super::lines::{Appender, scan};
use crate::Result;
use crate::scoring::judge::{JudgeRecord, Outcome, read_reply};
use crate::scoring::{Rule, Verdict};

/// Name of the file in its folder.
pub const JUDGEMENTS: &str = "judge.jsonl";

/// What became of asking a judge about one answer; a line of `judge.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Seconds since 1970.
    pub time: f64,
    /// Index of the question.
    pub index: String,
    /// The rule that could not read the answer, and that read the reply.
    pub rule: String,
    /// What became of it.
    #[serde(flatten)]
    pub record: JudgeRecord,
}

/// The file, open for writing.
pub struct Judgements(Appender);

impl Judgements {
    /// Opens the file of a session folder, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be written: better known before a judge is asked and paid.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(JUDGEMENTS);
        let end = whole_lines(&path)?;
        Ok(Self(Appender::open(path, end, false)?))
    }

    /// Keeps what became of asking about one answer.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn add(&mut self, index: &str, rule: &str, record: &JudgeRecord) -> Result<()> {
        let (index, rule) = (index.to_owned(), rule.to_owned());
        self.0.append(&Judgement { time: now(), index, rule, record: record.clone() })
    }
}

/// Every judgement of a session folder, in the order in which they were made; lines that cannot be read are left out.
///
/// # Errors
/// The file cannot be read.
pub fn judgements(dir: &Path) -> Result<Vec<Judgement>> {
    let path = dir.join(JUDGEMENTS);
    let mut all = Vec::new();
    if path.exists() {
        let read = |line: &[u8]| serde_json::from_slice::<Judgement>(line).map_err(|why| why.to_string());
        scan(&path, read, |line| {
            all.extend(line.content);
            Ok(())
        })?;
    }
    Ok(all)
}

/// For each question the judgement that counts: the last one with a reply, else the last one.
pub(super) fn by_question(all: Vec<Judgement>) -> HashMap<String, JudgeRecord> {
    let mut kept: HashMap<String, JudgeRecord> = HashMap::new();
    for Judgement { index, record, .. } in all {
        let better = |known: &JudgeRecord| record.reply.is_some() || known.reply.is_none();
        if kept.get(&index).is_none_or(better) {
            kept.insert(index, record);
        }
    }
    kept
}

/// Lets the recorded reply decide about an answer that the rule could not read.
pub(super) fn decide(answer: &mut Answer, rule: &Rule, dataset: &str) {
    if answer.verdict != Verdict::Unparsed || answer.rule != rule.name() {
        return;
    }
    let Some(record) = answer.judge.clone() else { return };
    let (Some(row), Some(reply)) = (answer.row(dataset), &record.reply) else { return };
    if let Some(reading) = read_reply(&row, rule, &reply.text) {
        answer.judge(reading, &rule.name());
        answer.judge = Some(JudgeRecord { outcome: Outcome::Read, ..record });
    }
}
