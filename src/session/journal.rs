//! What a session keeps: a line of `answers.jsonl`, `memory.jsonl` and `events.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::scoring::judge::{Judge, JudgeRecord, JudgeStep};
use crate::scoring::{AnswerType, Judged, Reading, Row, Rule, Verdict};

/// One finished question: what was asked, what the model said, how that was read, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The dataset's own index, unique in it.
    #[serde(deserialize_with = "text_or_number")]
    pub index: String,
    /// The dataset's own id where it has one besides the index.
    #[serde(default)]
    pub id: Option<String>,
    /// Group for the report.
    #[serde(default)]
    pub category: Option<String>,
    /// Coarser group for the report.
    #[serde(default, rename = "l2-category", skip_serializing_if = "Option::is_none")]
    pub super_category: Option<String>,
    /// Split of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// How the answer is judged; needed to score it again.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub answer_type: Option<AnswerType>,
    /// The question's text as the dataset has it.
    #[serde(default)]
    pub question: String,
    /// Options: letter to text, in order.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The prompt as sent, image tokens not repeated.
    #[serde(default)]
    pub prompt: String,
    /// The pictures, in prompt order.
    #[serde(default)]
    pub images: Vec<ImageRecord>,
    /// Tiles of all pictures together.
    #[serde(default)]
    pub tiles: u64,
    /// Tokens of the prompt, image tokens counted.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub output_tokens: u64,
    /// Why the answer ended.
    #[serde(default)]
    pub finish: Finish,
    /// Token ids of the answer.
    #[serde(default)]
    pub output_ids: Vec<u32>,
    /// The answer's text: special tokens skipped, cut at the template's separator, trimmed.
    pub response: String,
    /// What the model thought before it answered, where that is parted from the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The bytes of the response that the rule was given, from and to, where the prompt's style asked for more than the
    /// answer; else the rule was given all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<[usize; 2]>,
    /// What the rule read: a letter, a text, several texts, or nothing.
    #[serde(default)]
    pub read: Value,
    /// The judgement.
    pub verdict: Verdict,
    /// Credit from 0 to 1.
    #[serde(default, deserialize_with = "finite_or_zero")]
    pub score: f64,
    /// The step of the rule that decided.
    #[serde(default)]
    pub by: String,
    /// The bytes of the response that were read, from and to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<[usize; 2]>,
    /// The rule under which it was read.
    #[serde(default)]
    pub rule: String,
    /// What became of asking a judge, where the rule could not read the answer and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeRecord>,
    /// The gold answer: a letter or text, a list of accepted texts, or nothing where the dataset withholds it.
    #[serde(default)]
    pub answer: Value,
    /// What went wrong, where the question could not be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub seconds: Seconds,
    /// What of its input had been computed for other questions already.
    #[serde(default, skip_serializing_if = "Reused::is_nothing")]
    pub reused: Reused,
    /// Bytes that the run itself held on each device at its peak.
    #[serde(default)]
    pub peak_bytes: BTreeMap<String, u64>,
    /// The same, as forecast.
    #[serde(default)]
    pub forecast_bytes: BTreeMap<String, u64>,
    /// Log-probabilities of the answer's tokens, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A picture as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageRecord {
    /// File name, or its place in the dataset.
    #[serde(default)]
    pub name: String,
    /// Pixels across.
    #[serde(default)]
    pub width: u32,
    /// Pixels down.
    #[serde(default)]
    pub height: u32,
    /// Tiles across and down, the thumbnail not counted.
    #[serde(default)]
    pub grid: [u32; 2],
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it.
    #[default]
    Stop,
    /// It reached the longest answer allowed.
    Length,
    /// The person stopped the run; the question is asked again when the session is resumed.
    Stopped,
    /// It could not be answered.
    Error,
}

/// Seconds that a question took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seconds {
    /// Reading and tiling the pictures.
    #[serde(default, deserialize_with = "finite_or_zero")]
    pub images: f64,
    /// From the pictures to the first token.
    #[serde(default, deserialize_with = "finite_or_zero")]
    pub prefill: f64,
    /// The tokens after the first.
    #[serde(default, deserialize_with = "finite_or_zero")]
    pub decode: f64,
    /// All of it.
    #[serde(default, deserialize_with = "finite_or_zero")]
    pub total: f64,
}

/// What of a question's input had been computed for other questions already; no answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reused {
    /// Tiles whose features were there.
    #[serde(default)]
    pub tiles: u64,
    /// Tokens at the beginning of the prompt whose keys and values were there.
    #[serde(default)]
    pub prompt_tokens: u64,
}

impl Reused {
    /// Whether everything was computed for this question alone.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One token of an answer, with the alternatives that the model weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its text.
    #[serde(default)]
    pub text: String,
    /// Natural logarithm of its probability.
    #[serde(deserialize_with = "number_or_minus_infinity")]
    pub logprob: f64,
    /// The likeliest tokens, best first.
    #[serde(default)]
    pub top: Vec<Alternative>,
}

/// A token that could have stood in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The token.
    pub id: u32,
    /// Its text.
    #[serde(default)]
    pub text: String,
    /// Natural logarithm of its probability.
    #[serde(deserialize_with = "number_or_minus_infinity")]
    pub logprob: f64,
}

/// Memory of one device at one moment; a line of `memory.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MemorySample {
    /// Seconds since 1970, see [`now`].
    pub time: f64,
    /// Name of the device.
    pub device: String,
    /// Bytes used on it.
    pub used: u64,
    /// By part (`weights`, `kv`, `activation`, `overhead`, `others`), where known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, u64>,
    /// Fields that this version does not know; kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Something that happened; a line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub time: f64,
    /// What happened (`load`, `pause`, `resume`, `out_of_memory`, `error`).
    pub kind: String,
    /// Its particulars.
    #[serde(default)]
    pub details: Value,
}

/// The time, in seconds since 1970, to a millisecond.
pub fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}

impl Answer {
    /// What a report counts of it.
    pub fn judged(&self) -> Judged<'_> {
        Judged {
            category: self.category.as_deref(),
            super_category: self.super_category.as_deref(),
            split: self.split.as_deref(),
            verdict: self.verdict,
            score: self.score,
        }
    }

    /// The response to a question, not judged yet.
    pub fn new(index: impl Into<String>, response: impl Into<String>) -> Self {
        Self {
            index: index.into(),
            id: None,
            category: None,
            super_category: None,
            split: None,
            answer_type: None,
            question: String::new(),
            options: Map::new(),
            prompt: String::new(),
            images: Vec::new(),
            tiles: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            finish: Finish::Stop,
            output_ids: Vec::new(),
            response: response.into(),
            thinking: None,
            judged: None,
            read: Value::Null,
            verdict: Verdict::Unscored,
            score: 0.0,
            by: String::new(),
            span: None,
            rule: String::new(),
            judge: None,
            answer: Value::Null,
            error: None,
            seconds: Seconds::default(),
            reused: Reused::default(),
            peak_bytes: BTreeMap::new(),
            forecast_bytes: BTreeMap::new(),
            logprobs: None,
            other: Map::new(),
        }
    }

    /// The part of the response that a rule judges: all of it, or [`Answer::judged`].
    pub fn judged_text(&self) -> &str {
        self.judged.and_then(|[from, to]| self.response.get(from..to)).unwrap_or(&self.response)
    }

    /// The row that a rule judges, where the line says how it is to be judged. OCRBench judges by category, which
    /// joins the dataset's name.
    pub fn row(&self, dataset: &str) -> Option<Row> {
        let dataset = match (self.answer_type?, &self.category) {
            (AnswerType::Ocrbench, Some(category)) => format!("{dataset}/{category}"),
            _ => dataset.to_string(),
        };
        Some(Row {
            id: self.index.clone().into(),
            answer_type: self.answer_type?,
            choices: self.options.clone(),
            response: self.judged_text().to_owned(),
            answer: self.answer.clone(),
            dataset: Some(dataset),
        })
    }

    /// Takes over what a rule read of [`Answer::row`]; what a judge said about an earlier reading goes.
    pub fn judge(&mut self, reading: Reading, rule: &str) {
        self.read = reading.read;
        self.verdict = reading.verdict;
        self.score = reading.score;
        self.by = reading.by;
        // The rule counts from where the text begins that it was given.
        let from = self
            .judged
            .filter(|[from, to]| self.response.get(*from..*to).is_some())
            .map_or(0, |[from, _]| from);
        self.span = reading.span.map(|span| span.map(|at| at + from));
        self.rule = rule.to_string();
        self.judge = None;
    }

    /// Asks a judge where the rule that was just applied could not read the answer, and keeps what became of it.
    pub fn consult<J: Judge>(&mut self, step: &mut JudgeStep<J>, rule: &Rule, dataset: &str) {
        if self.verdict != Verdict::Unparsed {
            return;
        }
        let Some(row) = self.row(dataset) else { return };
        let (reading, record) = step.consider(&self.question, &row, rule, rule.read(&row));
        if record.is_some() {
            self.judge(reading, &rule.name());
            self.judge = record;
        }
    }

    /// Reads the answer under a rule, and tells whether it could be judged. What failed or was stopped stays as it is,
    /// and so does what has no gold answer or does not say how it is to be judged.
    pub fn judge_under(&mut self, rule: &Rule, dataset: &str) -> bool {
        if self.finish == Finish::Stopped || matches!(self.verdict, Verdict::Failed | Verdict::OutOfMemory) {
            return false;
        }
        let Some(row) = self.row(dataset).filter(|_| !self.answer.is_null()) else { return false };
        self.judge(rule.read(&row), &rule.name());
        true
    }

    /// Whether nothing is to be asked again: the person did not stop it half way.
    pub fn is_settled(&self) -> bool {
        self.finish != Finish::Stopped
    }

    /// Whether a later line of the same question may take its place: it was stopped, failed, or ran out of memory.
    pub fn may_be_replaced(&self) -> bool {
        !self.is_settled() || matches!(self.verdict, Verdict::Failed | Verdict::OutOfMemory)
    }
}

/// An index is a text, and other programs write it as a number.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    match Value::deserialize(source)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("an index is a text or a number")),
    }
}

/// JSON has no infinity and no not-a-number: they are written as null.
fn finite_or_zero<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(source)?.unwrap_or(0.0))
}

fn number_or_minus_infinity<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(source)?.unwrap_or(f64::NEG_INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_given_the_part_that_answers() {
        let mut answer = Answer::new("1", "A dog? Answer: B");
        answer.answer_type = Some(AnswerType::Option);
        answer.options = serde_json::from_str(r#"{"A": "dog", "B": "cat"}"#).unwrap();
        answer.answer = "B".into();
        answer.judged = Some([15, 16]);
        assert!(answer.judge_under(&Rule::Shardscope, "own"));
        assert_eq!((answer.verdict, answer.span), (Verdict::Right, Some([15, 16])));

        let line = serde_json::to_string(&answer).unwrap();
        let mut again: Answer = serde_json::from_str(&line).unwrap();
        again.judge_under(&Rule::Shardscope, "own");
        assert_eq!((again.judged_text(), &again), ("B", &answer));
        // A stranger's line may name bytes that the response does not have.
        again.judged = Some([16, 99]);
        assert_eq!(again.judged_text(), answer.response);
        again.judge_under(&Rule::Shardscope, "own");
        assert!(again.span.is_none_or(|[from, to]| from <= to && to <= answer.response.len()));
    }
}
