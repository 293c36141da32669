//! Options and gold answers of a row, as texts.

use serde_json::Value;

use super::python;
use super::reading::Row;
use crate::literal::Literal;

/// Letters and texts of a row's options, in order; options that are null are absent.
pub fn choices(row: &Row) -> Vec<(String, String)> {
    row.choices
        .iter()
        .filter(|(_, text)| !text.is_null())
        .map(|(letter, text)| (letter.clone(), python_text(text)))
        .collect()
}

/// `str(value)` as Python writes a value that came out of JSON.
pub fn python_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => literal(other).repr(),
    }
}

fn literal(value: &Value) -> Literal {
    match value {
        Value::Null => Literal::None,
        Value::Bool(b) => Literal::Bool(*b),
        Value::Number(number) => Literal::Number(number.to_string()),
        Value::String(text) => Literal::Text(text.clone()),
        Value::Array(items) => Literal::List(items.iter().map(literal).collect()),
        Value::Object(items) => {
            Literal::Dict(items.iter().map(|(k, v)| (Literal::Text(k.clone()), literal(v))).collect())
        }
    }
}

/// Every gold answer of a row: the items of a list, or of a text that is a Python list literal, else the one text.
pub fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(items) => items.iter().map(python_text).collect(),
        Value::String(text) => match Literal::python(text) {
            Some(Literal::List(items)) => items.iter().map(Literal::to_text).collect(),
            _ => vec![text.clone()],
        },
        other => vec![python_text(other)],
    }
}

/// Gold answers of OCRBench, whose cell is always a literal: a tuple counts like a list, and a text literal is gone
/// through character by character.
pub fn ocrbench_texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::String(text) => match Literal::python(text) {
            Some(Literal::List(items) | Literal::Tuple(items) | Literal::Set(items)) => {
                items.iter().map(Literal::to_text).collect()
            }
            Some(Literal::Dict(items)) => items.iter().map(|(key, _)| key.to_text()).collect(),
            Some(Literal::Text(text)) => text.chars().map(String::from).collect(),
            _ => vec![text.clone()],
        },
        other => texts(other),
    }
}

/// Letters that count as right: the answer, or each item of a list.
pub fn accepted_letters(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(items) => items.iter().map(python_text).collect(),
        other => vec![python_text(other)],
    }
}

/// Whether the dataset withholds the answer.
pub fn is_withheld(answer: &Value) -> bool {
    match answer {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => python::strip(text).is_empty(),
        _ => false,
    }
}
