//! A row of a prediction file of VLMEvalKit: the dataset's columns, and what the model said.

use serde_json::{Map, Value};

use super::super::journal::{Answer, Finish};
use super::answer_type;
use crate::scoring::Verdict;

/// How VLMEvalKit begins the text that it writes where there is no answer (`INFER_FAIL_MSG`).
const NO_ANSWER: &str = "Failed to obtain answer";

/// Reads one row.
pub(super) fn answer(mut row: Map<String, Value>) -> Result<Answer, String> {
    let mut take = |name: &str| row.remove(name).and_then(text);
    let index = take("index").ok_or("it has no index")?;
    let mut answer = Answer::new(index, take("prediction").unwrap_or_default());
    answer.id = take("id");
    answer.category = take("category");
    answer.super_category = take("l2-category");
    answer.split = take("split");
    answer.thinking = take("thinking");
    answer.question = take("question").unwrap_or_default();
    answer.answer = take("answer").map(gold).unwrap_or_default();
    for letter in ('A'..='Z').map(String::from) {
        if let Some(option) = take(&letter) {
            answer.options.insert(letter, option.into());
        }
    }
    take("image");
    let hit = row.remove("hit");
    answer.answer_type = answer_type(&answer);
    if answer.response.starts_with(NO_ANSWER) {
        answer.error = Some(std::mem::take(&mut answer.response));
        answer.verdict = Verdict::Failed;
        answer.finish = Finish::Error;
    } else if let Some(score) = hit.as_ref().and_then(number) {
        answer.score = score.clamp(0.0, 1.0);
        answer.verdict = if score >= 0.5 { Verdict::Right } else { Verdict::Wrong };
        answer.by = "hit".into();
        answer.rule = "vlmevalkit (as recorded)".into();
    }
    // Names of this journal stay its own.
    let taken = serde_json::to_value(&answer).map_err(|error| error.to_string())?;
    answer.other =
        row.into_iter().filter(|(name, value)| !value.is_null() && taken.get(name).is_none()).collect();
    Ok(answer)
}

/// A cell as text; nothing where it is empty.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                Some((float as i64).to_string())
            }
            _ => Some(number.to_string()),
        },
        other => Some(other.to_string()),
    }
}

/// A gold answer; a list of several where the cell is one in JSON.
fn gold(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(Value::Array(all)) => Value::Array(all),
        _ => text.into(),
    }
}

/// A number, or a truth as one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => match text.trim() {
            "True" => Some(1.0),
            "False" => Some(0.0),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}
