//! The official parser and judgement of open questions.

use std::collections::HashSet;

use serde_json::Value;

use crate::scoring::python::{digit, float, float_repr, is_word, length, round2, strip};

/// A text or a number out of an open response.
#[derive(Debug, Clone, PartialEq)]
pub enum OpenPart {
    /// A text in lower case.
    Text(String),
    /// A number rounded to two decimals.
    Number(f64),
}

/// `normalize_str`: a number rounded to two decimals, or the text in lower case; a text of one character becomes two,
/// with a space before and behind it.
pub fn normalize(text: &str) -> Vec<OpenPart> {
    let text = strip(text);
    let number = if text.contains(',') { float(&text.replace(',', "")) } else { float(text) };
    if let Some(number) = number {
        return vec![OpenPart::Number(round2(number))];
    }
    let lower = text.to_lowercase();
    if length(&lower) == 1 {
        return vec![OpenPart::Text(format!(" {lower}")), OpenPart::Text(format!("{lower} "))];
    }
    vec![OpenPart::Text(lower)]
}

/// `extract_numbers`: numbers with thousands separators, then in scientific notation, then plain ones, each kind
/// searched from left to right through the whole text.
pub fn extract_numbers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut numbers = find_all(&chars, with_commas);
    numbers.extend(find_all(&chars, scientific));
    numbers.extend(find_all(&chars, plain));
    numbers
}

/// What a pattern does at one place: the end of its match, or how far it is hopeless to try again.
enum Attempt {
    Match(usize),
    SkipTo(usize),
}

fn find_all(chars: &[char], pattern: fn(&[char], usize) -> Attempt) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let next = match pattern(chars, at) {
            Attempt::Match(end) => {
                found.push(chars.get(at..end).unwrap_or_default().iter().collect());
                end
            }
            Attempt::SkipTo(next) => next,
        };
        at = next.max(at + 1);
    }
    found
}

fn is(chars: &[char], at: usize, wanted: char) -> bool {
    chars.get(at) == Some(&wanted)
}

/// Where the run of digits that begins at `at` ends.
fn digits_end(chars: &[char], at: usize) -> usize {
    at + chars.get(at..).unwrap_or_default().iter().take_while(|&&c| digit(c).is_some()).count()
}

/// The end of `[eE][+-]?\d+` at `at`.
fn exponent_end(chars: &[char], at: usize) -> Option<usize> {
    if !(is(chars, at, 'e') || is(chars, at, 'E')) {
        return None;
    }
    let start = at + 1 + usize::from(is(chars, at + 1, '+') || is(chars, at + 1, '-'));
    let end = digits_end(chars, start);
    (end > start).then_some(end)
}

/// A sign, one to three digits at the beginning of a word, groups of a comma and three digits, the end of a word.
fn with_commas(chars: &[char], at: usize) -> Attempt {
    let start = at + usize::from(is(chars, at, '-'));
    let end = digits_end(chars, start);
    let begins_word = start == 0 || !chars.get(start - 1).copied().is_some_and(is_word);
    if end == start || end - start > 3 || !begins_word {
        return Attempt::SkipTo(end.max(at + 1));
    }
    let (mut last, mut here) = (None, end);
    while is(chars, here, ',') && digits_end(chars, here + 1).min(here + 4) == here + 4 {
        here += 4;
        if !chars.get(here).copied().is_some_and(is_word) {
            last = Some(here);
        }
    }
    last.map_or(Attempt::SkipTo(end), Attempt::Match)
}

/// A sign, digits, perhaps a fraction, an exponent.
fn scientific(chars: &[char], at: usize) -> Attempt {
    let start = at + usize::from(is(chars, at, '-'));
    let end = digits_end(chars, start);
    if end == start {
        return Attempt::SkipTo(at + 1);
    }
    let fraction = if is(chars, end, '.') { digits_end(chars, end + 1) } else { end };
    let number = if fraction > end + 1 { fraction } else { end };
    exponent_end(chars, number).map_or(Attempt::SkipTo(end), Attempt::Match)
}

/// A sign; digits with a fraction, or a fraction alone, or digits at the end of a word; no exponent, comma or digit
/// behind.
fn plain(chars: &[char], at: usize) -> Attempt {
    let start = at + usize::from(is(chars, at, '-'));
    let stands_free = |end: usize| {
        exponent_end(chars, end).is_none()
            && !is(chars, end, ',')
            && chars.get(end).is_none_or(|&c| digit(c).is_none())
    };
    let end = digits_end(chars, start);
    if is(chars, end, '.') {
        let fraction = digits_end(chars, end + 1);
        if fraction > end + 1 && stands_free(fraction) {
            return Attempt::Match(fraction);
        }
    }
    if end > start && !chars.get(end).copied().is_some_and(is_word) && stands_free(end) {
        return Attempt::Match(end);
    }
    Attempt::SkipTo(end.max(at + 1))
}

/// Words behind which an open response is expected to name its answer.
const CUES: [&str; 8] = ["could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result "];

/// What alone is no answer.
const TRIVIAL: [&str; 7] = [":", ",", ".", "!", "?", ";", "'"];

/// The parts of a response that may hold the answer: of each line the shortest text behind a cue (in the last line
/// also behind `=`), else the whole. All in lower case.
fn key_parts(response: &str) -> Vec<String> {
    let whole = strip(response).trim_matches('.').to_lowercase();
    let lines: Vec<&str> = whole.split('\n').collect();
    let mut parts = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let equals = (i + 1 == lines.len()).then_some("=");
        let mut shortest: &str = "";
        for cue in CUES.into_iter().chain(equals) {
            if let Some((_, tail)) = line.rsplit_once(cue) {
                let tail = strip(tail);
                if shortest.is_empty() || length(tail) < length(shortest) {
                    shortest = tail;
                }
            }
        }
        if !shortest.is_empty() && !TRIVIAL.contains(&shortest) {
            parts.push(shortest.to_owned());
        }
    }
    if parts.is_empty() { vec![whole] } else { parts }
}

/// `parse_open_response`: texts sorted, then numbers sorted, each once (undefined numbers as often as they occur).
pub fn parse_open(response: &str) -> Vec<OpenPart> {
    let keys = key_parts(response);
    let numbers: Vec<String> = keys.iter().flat_map(|key| extract_numbers(key)).collect();
    let (mut texts, mut values) = (HashSet::new(), HashSet::new());
    let mut parts: Vec<OpenPart> = keys.iter().chain(&numbers).flat_map(|text| normalize(text)).collect();
    parts.retain(|part| match part {
        OpenPart::Text(text) => texts.insert(text.clone()),
        // Both zeros are one number; every undefined number is one of its own.
        OpenPart::Number(x) => x.is_nan() || values.insert((x + 0.0).to_bits()),
    });
    parts.sort_by(|a, b| match (a, b) {
        (OpenPart::Text(a), OpenPart::Text(b)) => a.cmp(b),
        (OpenPart::Text(_), OpenPart::Number(_)) => std::cmp::Ordering::Less,
        (OpenPart::Number(_), OpenPart::Text(_)) => std::cmp::Ordering::Greater,
        (OpenPart::Number(a), OpenPart::Number(b)) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
    });
    parts
}

/// `eval_open`: a gold text stands within a parsed text, or a parsed number is a gold number.
pub fn judge_open(golds: &[String], parsed: &[OpenPart]) -> bool {
    let golds: Vec<OpenPart> = golds.iter().flat_map(|gold| normalize(gold)).collect();
    parsed.iter().any(|part| {
        golds.iter().any(|gold| match (gold, part) {
            (OpenPart::Text(gold), OpenPart::Text(text)) => text.contains(gold.as_str()),
            (OpenPart::Number(gold), OpenPart::Number(number)) => gold == number,
            _ => false,
        })
    })
}

/// The parts as JSON: texts and numbers, with non-finite numbers as texts.
pub fn open_parts_json(parts: &[OpenPart]) -> Value {
    parts
        .iter()
        .map(|part| match part {
            OpenPart::Text(text) => Value::from(text.as_str()),
            OpenPart::Number(x) if x.is_finite() => Value::from(*x),
            OpenPart::Number(x) => Value::from(float_repr(*x)),
        })
        .collect()
}
