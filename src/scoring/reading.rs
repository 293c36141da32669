//! What goes into a rule and what comes out.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::Problem;

/// How an answer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerType {
    /// One letter among options.
    Option,
    /// An open question of MMMU.
    MmmuOpen,
    /// Yes or no.
    YesNo,
    /// VQA soft accuracy over several gold answers.
    VqaScore,
    /// Average normalised Levenshtein similarity.
    Anls,
    /// Numbers within 5 %, text exactly.
    RelaxedAccuracy,
    /// Best exact match over the gold answers (OCRVQA).
    AccuracyMax,
    /// Mean exact match over the gold answers (GQA).
    AccuracyMean,
    /// Gold contained in the answer (OCRBench).
    Ocrbench,
    /// The same text.
    Exact,
}

impl AnswerType {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Option,
        Self::MmmuOpen,
        Self::YesNo,
        Self::VqaScore,
        Self::Anls,
        Self::RelaxedAccuracy,
        Self::AccuracyMax,
        Self::AccuracyMean,
        Self::Ocrbench,
        Self::Exact,
    ];

    /// The name by which it is recorded and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Option => "option",
            Self::MmmuOpen => "mmmu-open",
            Self::YesNo => "yes-no",
            Self::VqaScore => "vqa-score",
            Self::Anls => "anls",
            Self::RelaxedAccuracy => "relaxed-accuracy",
            Self::AccuracyMax => "accuracy-max",
            Self::AccuracyMean => "accuracy-mean",
            Self::Ocrbench => "ocrbench",
            Self::Exact => "exact",
        }
    }
}

impl std::str::FromStr for AnswerType {
    type Err = Problem;

    fn from_str(name: &str) -> crate::Result<Self> {
        Self::ALL.into_iter().find(|answer_type| answer_type.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Problem::new(format!("there is no type of answer '{name}'")).fix(format!("use one of: {names}"))
        })
    }
}

/// A response with everything a rule needs to judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Comes back unchanged with the reading.
    #[serde(default)]
    pub id: Value,
    /// How the answer is judged.
    #[serde(rename = "type")]
    pub answer_type: AnswerType,
    /// Options: letter to text, in order; empty for open questions. A list in JSON gets the letters A, B, ….
    #[serde(default, deserialize_with = "lettered")]
    pub choices: serde_json::Map<String, Value>,
    /// What the model said. Null in JSON is an empty response, a number or truth value its text.
    #[serde(deserialize_with = "as_text")]
    pub response: String,
    /// The gold answer: a letter or text, or a list of accepted texts.
    #[serde(default)]
    pub answer: Value,
    /// Name of the dataset where a rule depends on it.
    #[serde(default)]
    pub dataset: Option<String>,
}

fn lettered<'de, D: Deserializer<'de>>(input: D) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(input)? {
        Value::Null => Ok(Map::new()),
        Value::Object(choices) => Ok(choices),
        Value::Array(texts) if texts.len() <= 26 => {
            Ok(('A'..='Z').zip(texts).map(|(letter, text)| (letter.to_string(), text)).collect())
        }
        _ => Err(D::Error::custom("choices must be letters with texts, or a list of at most 26 texts")),
    }
}

fn as_text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    match Value::deserialize(input)? {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
        _ => Err(D::Error::custom("response must be a text")),
    }
}

/// Right, wrong, or nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer read agrees with the gold answer.
    Right,
    /// It does not.
    Wrong,
    /// No answer could be read from the response; counts as wrong and is shown apart.
    Unparsed,
    /// The question could not be answered (an image that cannot be decoded, a server's refusal).
    Failed,
    /// The device ran out of memory at this question.
    OutOfMemory,
    /// The dataset has no gold answer.
    Unscored,
}

/// What a rule read and how it judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The row's id.
    pub id: Value,
    /// What was read: a letter, a text, several texts, or nothing.
    pub read: Value,
    /// The judgement.
    pub verdict: Verdict,
    /// Credit from 0 to 1.
    pub score: f64,
    /// The step of the rule that decided.
    pub by: String,
    /// The bytes of the response that were read, from and to.
    pub span: Option<[usize; 2]>,
}

impl Row {
    /// A reading of this row: the score is 1 where the verdict is right, else 0.
    pub fn judged(&self, read: Value, verdict: Verdict, by: &str) -> Reading {
        let score = if verdict == Verdict::Right { 1.0 } else { 0.0 };
        Reading { id: self.id.clone(), read, verdict, score, by: by.to_owned(), span: None }
    }
}

impl Reading {
    /// The same reading with the bytes of the response that were read.
    pub fn with_span(mut self, span: Option<[usize; 2]>) -> Self {
        self.span = span;
        self
    }
}
