//! Lists and texts written as Python or JSON literals, read by a parser and never by evaluation.
//!
//! Datasets keep lists in a single cell: `['$6', "it's"]`, `["base64", "base64"]`. Read are texts with prefixes and
//! escapes (neighbours are one text), numbers, `True`, `False`, `None`, lists, tuples, sets and dictionaries; names,
//! calls and operators are refused. [`Literal::python`] reads what Python's `ast.literal_eval` does, and
//! [`Literal::parse`] JSON's `true`, `false`, `null` and its escapes besides.

mod reader;

use crate::scoring::python::{self, float_repr, str_repr};
use crate::{Problem, Result};
use reader::Reader;

/// How deep lists may stand in lists.
const DEEPEST: usize = 64;

/// A value that a literal states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A number as it is written, its sign before it.
    Number(String),
    /// A name that is a value in JSON or a table's text, and none in Python: `true`, `null`, `nan` and the like.
    Word(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Literal>),
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A set.
    Set(Vec<Literal>),
    /// A dictionary: keys and values in the order written.
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads a literal of Python or JSON; nothing but blanks may stand around it.
    ///
    /// # Errors
    /// It is none; the place is a character of the text.
    pub fn parse(text: &str) -> Result<Self> {
        Reader { text, at: 0, python: false }.whole()
    }

    /// Reads a literal as Python does; `None` where Python would refuse it.
    pub fn python(text: &str) -> Option<Self> {
        Reader { text, at: 0, python: true }.whole().ok()
    }

    /// The value as a person wrote it: texts, numbers and words as they are, everything else as Python shows it.
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Word(text) => text,
            other => other.repr(),
        }
    }

    /// The value as Python's `str` gives it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.repr(),
        }
    }

    /// The value as Python's `repr` gives it.
    pub fn repr(&self) -> String {
        let join = |items: &[Self]| items.iter().map(Self::repr).collect::<Vec<_>>().join(", ");
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Number(written) => number_repr(written).unwrap_or_else(|| written.clone()),
            Self::Word(word) => word.clone(),
            Self::Text(text) => str_repr(text),
            Self::List(items) => format!("[{}]", join(items)),
            Self::Tuple(items) if items.len() == 1 => format!("({},)", join(items)),
            Self::Tuple(items) => format!("({})", join(items)),
            Self::Set(items) => format!("{{{}}}", join(items)),
            Self::Dict(items) => {
                let pairs: Vec<_> =
                    items.iter().map(|(k, v)| format!("{}: {}", k.repr(), v.repr())).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// The elements of a list or tuple as texts.
///
/// # Errors
/// As [`Literal::parse`], or it is no list.
pub fn texts(literal: &str) -> Result<Vec<String>> {
    match Literal::parse(literal)? {
        Literal::List(elements) | Literal::Tuple(elements) => {
            Ok(elements.into_iter().map(Literal::into_text).collect())
        }
        _ => Err(Problem::new("this is not a list").fix("write it as ['one', 'two']")),
    }
}

/// How Python shows a number that is written so; `None` where Python knows no such number.
fn number_repr(written: &str) -> Option<String> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    let sign = if digits.len() < written.len() { "-" } else { "" };
    let lower = digits.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix != 10 {
        let value = u128::from_str_radix(&lower.get(2..)?.replace('_', ""), radix).ok()?;
        return Some(format!("{sign}{value}"));
    }
    if digits.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
            return None;
        }
        let plain = digits.replace('_', "");
        let trimmed = plain.trim_start_matches('0');
        // Python refuses integers written with leading zeros, besides zero itself.
        return match trimmed.len() {
            0 => Some("0".into()),
            n if n == plain.len() => Some(format!("{sign}{plain}")),
            _ => None,
        };
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value = python::float(digits)?;
    Some(float_repr(if sign.is_empty() { value } else { -value }))
}

#[cfg(test)]
mod tests;
