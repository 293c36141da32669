//! Exports as JSON lines: our own journal, and the samples file of lmms-eval.

use std::io::Write;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::journal::Answer;
use super::super::record::Record;
use super::{Out, Stop};
use crate::scoring::Verdict;

/// The answers as the session keeps them, fields that this version does not know included; a verdict that a person has
/// set stands beside the machine's as `override`.
pub(super) fn journal(record: &Record, out: &mut Out) -> Result<(), Stop> {
    for answer in record.answers() {
        let mut answer = answer?;
        if let Some(said) = record.overrides().get(&answer.index) {
            answer.other.insert("override".into(), serde_json::to_value(said)?);
        }
        serde_json::to_writer(&mut *out, &answer)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The samples file of lmms-eval (its `evaluation_tracker.py`): the document itself is not in it, only its id, the
/// expected text, what the model said and one value for each metric. Verdict and `override` are ours.
pub(super) fn lmms_eval(record: &Record, out: &mut Out) -> Result<(), Stop> {
    for (place, answer) in record.answers_at(record.dataset_order()).enumerate() {
        let answer = answer?;
        let mut sample = sample(&answer, place);
        if let Some(said) = record.overrides().get(&answer.index) {
            sample.insert("override".into(), serde_json::to_value(said)?);
        }
        serde_json::to_writer(&mut *out, &sample)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn sample(answer: &Answer, place: usize) -> Map<String, Value> {
    let target = match &answer.answer {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let document = json!([answer.index, answer.question, answer.options]).to_string();
    let hash: String = Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut sample = Map::new();
    sample.insert("doc_id".into(), answer.index.parse::<i64>().map_or(json!(place), |number| json!(number)));
    sample.insert("index".into(), json!(answer.index));
    sample.insert("target".into(), json!(target));
    // `resps` is left out, as lmms-eval does where it says the same.
    sample.insert("filtered_resps".into(), json!([answer.response]));
    let tokens = json!({"input_tokens": answer.prompt_tokens, "output_tokens": answer.output_tokens});
    sample.insert("token_counts".into(), json!([tokens]));
    sample.insert("doc_hash".into(), json!(hash));
    sample.insert(
        "input".into(),
        json!(if answer.prompt.is_empty() { &answer.question } else { &answer.prompt }),
    );
    if matches!(answer.verdict, Verdict::Right | Verdict::Wrong | Verdict::Unparsed) {
        sample.insert("accuracy".into(), json!(answer.score));
    }
    sample.insert("parsed_pred".into(), answer.read.clone());
    sample.insert("verdict".into(), json!(answer.verdict));
    sample
}
