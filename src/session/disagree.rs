//! The answers of a session on which two rules disagree.

use serde::Serialize;
use serde_json::Value;

use super::record::Record;
use crate::Result;
use crate::scoring::{Accuracy, AnswerType, Reading, Rule, Verdict};

/// What two rules make of the same answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// Names of the rules.
    pub rules: [String; 2],
    /// Accuracy under each.
    pub accuracy: [Accuracy; 2],
    /// Answers read under both.
    pub compared: usize,
    /// Answers that neither can judge: without a gold answer, failed, or of unknown type.
    pub left_out: usize,
    /// The answers on which they disagree, in the order of the dataset.
    pub answers: Vec<Disputed>,
}

/// An answer on which two rules disagree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disputed {
    /// The question's index.
    pub index: String,
    /// The dataset's own id.
    pub id: Option<String>,
    /// What the model said.
    pub response: String,
    /// The gold answer.
    pub answer: Value,
    /// What each rule read.
    pub readings: [Reading; 2],
}

/// Reads every answer under two rules. They disagree where verdict or credit differ, and where both are sure of a
/// letter but not of the same one.
///
/// # Errors
/// An answer cannot be read.
pub fn disagreement(record: &Record, rules: [Rule; 2]) -> Result<Disagreement> {
    let mut found = Disagreement {
        rules: rules.map(|rule| rule.name()),
        accuracy: [Accuracy::default(); 2],
        compared: 0,
        left_out: 0,
        answers: Vec::new(),
    };
    let dataset = &record.manifest().dataset.name;
    for answer in record.answers_at(record.dataset_order()) {
        let answer = answer?;
        let mut copies = [answer.clone(), answer];
        let [one, two] = &mut copies;
        if !one.judge_under(&rules[0], dataset) || !two.judge_under(&rules[1], dataset) {
            found.left_out += 1;
            continue;
        }
        found.compared += 1;
        for (accuracy, copy) in found.accuracy.iter_mut().zip([&*one, two]) {
            accuracy.add(copy.verdict, copy.score);
        }
        let sure = one.verdict != Verdict::Unparsed && two.verdict != Verdict::Unparsed;
        let letters = one.answer_type == Some(AnswerType::Option) && sure && one.read != two.read;
        if one.verdict == two.verdict && (one.score - two.score).abs() < 1e-9 && !letters {
            continue;
        }
        let [one, two] = copies;
        let (index, id) = (one.index.clone(), one.id.clone());
        let (response, gold) = (one.response.clone(), one.answer.clone());
        let readings = [one, two].map(|answer| Reading {
            id: answer.index.into(),
            read: answer.read,
            verdict: answer.verdict,
            score: answer.score,
            by: answer.by,
            span: answer.span,
        });
        found.answers.push(Disputed { index, id, response, answer: gold, readings });
    }
    Ok(found)
}
