//! MME-RealWorld, whose choices VLMEvalKit reads in a way of their own (`extract_characters_regex` of
//! `utils/multiple_choice.py`): the first capital A to E once introductory words are taken out.

use crate::scoring::python::{strip, words};

/// Words that are taken out, in this order. The last two are the original's: commas are missing between its strings.
const INTRODUCTIONS: [&str; 6] = [
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
];

/// Whether a dataset is read so.
pub(super) fn is_named(dataset: &str) -> bool {
    dataset.contains("MME-RealWorld")
}

/// The letter read from a response, with its bytes in it. Without a capital A to E, what is left counts as the first
/// option `(a)` to `(e)` that it is part of; nothing left at all is part of `(a)`. An empty response is none: the
/// original breaks off at it.
pub(super) fn letter(response: &str) -> Option<(char, Option<[usize; 2]>)> {
    let stripped = strip(response);
    if stripped.is_empty() {
        return None;
    }
    let offset = stripped.as_ptr() as usize - response.as_ptr() as usize;
    let mut left: Vec<(usize, char)> = stripped.char_indices().map(|(at, c)| (at + offset, c)).collect();
    for introduction in INTRODUCTIONS {
        take_out(&mut left, introduction);
    }
    if let Some(&(at, letter)) = left.iter().find(|(_, c)| matches!(c, 'A'..='E')) {
        return Some((letter, Some([at, at + 1])));
    }
    let text: String = left.iter().map(|(_, c)| c).collect();
    if words(&text).count() > 10 {
        return None;
    }
    let text = text.to_lowercase();
    let letter = ('A'..='E').find(|letter| format!("({})", letter.to_ascii_lowercase()).contains(&text))?;
    let span = left.iter().find(|(_, c)| c.eq_ignore_ascii_case(&letter)).map(|&(at, _)| [at, at + 1]);
    Some((letter, span))
}

/// Takes every occurrence of a phrase out, from left to right.
fn take_out(left: &mut Vec<(usize, char)>, phrase: &str) {
    let phrase: Vec<char> = phrase.chars().collect();
    let mut kept = Vec::with_capacity(left.len());
    let mut rest = left.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let here = rest.len() >= phrase.len() && rest.iter().zip(&phrase).all(|((_, c), p)| c == p);
        if here {
            rest = rest.get(phrase.len()..).unwrap_or_default();
        } else {
            kept.push(*first);
            rest = others;
        }
    }
    *left = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the original reads from responses with every oddity that it has; made by running it (snapshot `e8e78f05`).
    #[test]
    fn reads_as_the_original() {
        let rows = include_str!("../../../tests/fixtures/scoring/mme_real_world.jsonl");
        let mut count = 0;
        for line in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let response = row["response"].as_str().unwrap();
            let read = letter(response).map(|(letter, _)| letter.to_string()).unwrap_or_default();
            assert_eq!(read, row["read"].as_str().unwrap(), "{response:?}");
            count += 1;
        }
        assert!(count > 300, "{count}");
    }

    #[test]
    fn the_span_is_the_letter_in_the_response() {
        let response = " The best answer is (C) é";
        assert_eq!(letter(response), Some(('C', Some([21, 22]))));
        assert_eq!(&response[21..22], "C");
        assert_eq!(letter("e)"), Some(('E', Some([0, 1]))));
        assert_eq!(letter("The answer"), Some(('A', None)));
        assert_eq!(letter(" \n"), None);
    }
}
