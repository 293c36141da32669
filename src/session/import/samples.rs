//! A line of the samples file of lmms-eval: the document's id, the expected text, what the model said, the metrics.

use serde_json::{Map, Value};

use super::super::journal::Answer;
use super::answer_type;
use super::vlmevalkit::number;
use crate::scoring::Verdict;

/// Fields of a line that are no metrics.
const NO_METRIC: [&str; 5] = ["doc", "arguments", "input_media", "filter", "doc_hash"];

/// Reads one line. What the model said is the response before any filter, and what a filter made of it was read.
pub(super) fn answer(mut line: Map<String, Value>) -> Result<Answer, String> {
    let mut take = |name: &str| line.remove(name).filter(|value| !value.is_null());
    let index = take("index").or(take("doc_id")).map(|value| plain(&value)).ok_or("it has no doc_id")?;
    take("doc_id");
    let (raw, filtered) = (take("resps"), take("filtered_resps"));
    let filtered = filtered.as_ref().and_then(first_text);
    let said = raw.as_ref().and_then(first_text).or(filtered).ok_or("it has no response")?;
    let mut answer = Answer::new(index, said);
    if let Some(filtered) = filtered.filter(|text| *text != said) {
        answer.read = filtered.into();
    }
    answer.answer = take("target").unwrap_or_default();
    answer.question =
        take("input").and_then(|value| first_text(&value).map(str::to_string)).unwrap_or_default();
    answer.prompt.clone_from(&answer.question);
    if let Some(tokens) = take("token_counts").and_then(|value| value.get(0).cloned()) {
        let count = |name: &str| tokens.get(name).and_then(Value::as_u64).unwrap_or(0);
        (answer.prompt_tokens, answer.output_tokens) = (count("input_tokens"), count("output_tokens"));
    }
    answer.answer_type = answer_type(&answer);
    if let Some(read) = take("parsed_pred") {
        answer.read = read;
    }
    let verdict = take("verdict").and_then(|value| serde_json::from_value::<Verdict>(value).ok());
    read_metrics(&mut answer, &line);
    if let Some(verdict) = verdict {
        answer.verdict = verdict;
    }
    let taken = serde_json::to_value(&answer).map_err(|error| error.to_string())?;
    answer.other = line.into_iter().filter(|(name, _)| taken.get(name).is_none()).collect();
    Ok(answer)
}

/// The verdict, where one metric gives it; a metric with particulars also tells the category and what was read.
fn read_metrics(answer: &mut Answer, line: &Map<String, Value>) {
    let mut scores: Vec<(&str, f64)> = Vec::new();
    for (name, value) in line.iter().filter(|(name, _)| !NO_METRIC.contains(&name.as_str())) {
        let particulars = value.as_object();
        let text =
            |key: &str| particulars.and_then(|all| all.get(key)).filter(|value| !value.is_null()).map(plain);
        scores.extend(
            number(particulars.and_then(|all| all.get("score")).unwrap_or(value))
                .map(|score| (name.as_str(), score)),
        );
        if answer.category.is_none() {
            answer.category = text("category").or_else(|| text("subdomain")).or_else(|| text("subject"));
        }
        if let (true, Some(read)) = (answer.read.is_null(), text("parsed_pred")) {
            answer.read = read.into();
        }
    }
    if let [(name, score)] = scores[..] {
        answer.score = score.clamp(0.0, 1.0);
        answer.verdict = if score >= 0.5 { Verdict::Right } else { Verdict::Wrong };
        answer.by = name.to_string();
        answer.rule = "lmms-eval (as recorded)".into();
    }
}

/// A value as text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The first text in lists within lists.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(all) => all.iter().find_map(first_text),
        _ => None,
    }
}
