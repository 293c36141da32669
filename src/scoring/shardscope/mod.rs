//! The project's own rule: reads what a person would read, says `unparsed` where nobody could tell, never guesses.
//!
//! What a reading holds, by type of row:
//!
//! | type | `read` | verdict and score |
//! |---|---|---|
//! | `option` | the option's letter as the row writes it; null where nobody could tell | equal to the answer (or to one of a list); a gold text instead of a letter counts for the option that has it |
//! | `yes-no` | `"Yes"` or `"No"`, else null | equal to the answer in any case |
//! | `mmmu-open`, `exact`, `accuracy-max` | the short answer within the response | right where it says the same as one gold answer: same words, same number, or the gold answer within it |
//! | `accuracy-mean` | the same | share of the gold answers that it equals |
//! | `vqa-score` | the same | consensus: with three and more gold answers the mean over leave-one-out sets of a third for each equal answer, else 1 for any equal answer |
//! | `anls` | the same | 1 less the normalised Levenshtein distance to the nearest gold answer, 0 under one half |
//! | `relaxed-accuracy` | the same | numbers within 5 %, other texts the same words |
//! | `ocrbench` | the gold answer that stands in the response, else the short answer | 1 where it does |
//!
//! A fractional score is `right` from 0.5 on. A row without gold answer is `unscored`. An answer that holds nothing
//! but thinking, or nothing at all, or a refusal, is `unparsed`.
//!
//! Never taken for an answer: what stands within a thinking block (unless nothing else stands anywhere), the article
//! "A", the pronoun "I", letters that are denied, one of several options named on equal terms.

mod letter;
mod marked;
mod mentions;
mod number;
mod option;
mod region;
mod short;
mod statement;
mod tokens;
mod yes_no;

use serde_json::Value;

use super::gold;
use super::python;
use super::reading::{AnswerType, Reading, Row, Verdict};
use super::vqa;
use mentions::Options;
use option::{Choice, read_option};
use region::place;
use short::{says, short_answer};

/// Version of the rule; it changes whenever any answer would be read otherwise.
pub const VERSION: &str = "1";

/// Reads and judges one row; the module's table says what `read` holds.
pub fn read(row: &Row) -> Reading {
    let reading = match row.answer_type {
        AnswerType::Option if !row.choices.is_empty() => option(row),
        AnswerType::YesNo => yes_no(row),
        _ => short(row),
    };
    if !gold::is_withheld(&row.answer) {
        return reading;
    }
    let read_something = reading.verdict != Verdict::Unparsed;
    Reading {
        verdict: if read_something { Verdict::Unscored } else { Verdict::Unparsed },
        score: 0.0,
        ..reading
    }
}

fn option(row: &Row) -> Reading {
    let choices = gold::choices(row);
    let options = Options::new(&choices);
    match read_option(&row.response, &options) {
        Choice::Option { place, by, span } => {
            let letter = options.letters.get(place).map_or("", |(_, key)| key);
            let right = gold::accepted_letters(&row.answer).iter().any(|gold| {
                let by_text = || choices.iter().filter(|(_, text)| text == gold).map(|(key, _)| key.as_str());
                let is_key = choices.iter().any(|(key, _)| key == gold);
                gold == letter || (!is_key && by_text().eq([letter]))
            });
            row.judged(Value::from(letter), if right { Verdict::Right } else { Verdict::Wrong }, by)
                .with_span(Some(span))
        }
        Choice::Undecided(why) => row.judged(Value::Null, Verdict::Unparsed, why),
    }
}

fn yes_no(row: &Row) -> Reading {
    match yes_no::read_yes_no(&row.response) {
        Some((yes, by, span)) => {
            let word = if yes { "Yes" } else { "No" };
            let gold = gold::texts(&row.answer);
            let means = |gold: &String| match gold.trim().to_lowercase().as_str() {
                "yes" | "true" | "1" | "y" | "是" => Some(true),
                "no" | "false" | "0" | "n" | "否" => Some(false),
                _ => None,
            };
            let right = gold.iter().any(|gold| means(gold) == Some(yes));
            row.judged(Value::from(word), if right { Verdict::Right } else { Verdict::Wrong }, by)
                .with_span(Some(span))
        }
        None => row.judged(Value::Null, Verdict::Unparsed, "neither yes nor no"),
    }
}

fn short(row: &Row) -> Reading {
    let Some((answer, found_by)) = short_answer(&row.response) else {
        let why =
            if python::strip(&row.response).is_empty() { "empty" } else { "thinking without an answer" };
        return row.judged(Value::Null, Verdict::Unparsed, why);
    };
    let golds = gold::texts(&row.answer);
    let span = place(&row.response, answer);
    let one = |right: bool| if right { 1.0 } else { 0.0 };
    let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let same = |gold: &String| says(answer, gold).is_some_and(|m| m != short::Match::Within);
    let (score, by) = match row.answer_type {
        AnswerType::AccuracyMean => (mean(golds.iter().map(|gold| one(same(gold))).collect()), found_by),
        AnswerType::VqaScore => (consensus(answer, &golds), found_by),
        AnswerType::Anls => (anls(answer, &golds), found_by),
        AnswerType::RelaxedAccuracy => (one(golds.iter().any(|gold| relaxed(answer, gold))), found_by),
        AnswerType::Ocrbench => return ocr(row, &golds, answer),
        _ => match golds.iter().find_map(|gold| says(answer, gold)) {
            Some(found) => (1.0, found.by()),
            None => (0.0, found_by),
        },
    };
    let verdict = if score >= 0.5 { Verdict::Right } else { Verdict::Wrong };
    let mut reading = row.judged(Value::from(answer), verdict, by).with_span(Some(span));
    reading.score = score;
    reading
}

/// The consensus metric of VQA (Antol and others, 2015), which is meant for ten gold answers; with fewer than three
/// any of them counts fully.
fn consensus(answer: &str, golds: &[String]) -> f64 {
    let equal: Vec<bool> = golds
        .iter()
        .map(|gold| {
            vqa::process_answer(gold) == vqa::process_answer(answer)
                || says(answer, gold).is_some_and(|found| found != short::Match::Within)
        })
        .collect();
    let count = equal.iter().filter(|&&equal| equal).count();
    if golds.len() < 3 {
        return if count > 0 { 1.0 } else { 0.0 };
    }
    let shares = equal.iter().map(|&equal| ((count - usize::from(equal)) as f64 / 3.0).min(1.0));
    shares.sum::<f64>() / golds.len() as f64
}

/// ANLS (Biten and others, 2019) over the normalised texts.
fn anls(answer: &str, golds: &[String]) -> f64 {
    let plain = |text: &str| python::collapse(&text.to_lowercase());
    let answer = plain(answer);
    let distances: Vec<f64> = golds
        .iter()
        .map(|gold| {
            let gold = plain(gold);
            let length = python::length(&gold).max(python::length(&answer));
            vqa::relative_distance(&gold, &answer, length)
        })
        .collect();
    vqa::anls_score(&distances)
}

/// Numbers within 5 %, a gold number of 0 exactly; other texts the same words.
fn relaxed(answer: &str, gold: &str) -> bool {
    if says(answer, gold).is_some_and(|found| found != short::Match::Within) {
        return true;
    }
    match (number::quantity(answer), number::quantity(gold)) {
        (Some(answer), Some(gold)) => {
            let comparable = answer.unit.is_empty() || gold.unit.is_empty() || answer.unit == gold.unit;
            comparable && (answer.value - gold.value).abs() <= 0.05 * gold.value.abs()
        }
        _ => false,
    }
}

fn ocr(row: &Row, golds: &[String], answer: &str) -> Reading {
    let region = region::answer_region(&row.response);
    let flat = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let whole = flat(region);
    let found = golds.iter().find(|gold| {
        let gold = flat(gold);
        !gold.is_empty() && whole.contains(&gold)
    });
    match found {
        Some(gold) => row
            .judged(Value::from(gold.as_str()), Verdict::Right, "gold text in response")
            .with_span(Some(place(&row.response, region))),
        None => row
            .judged(Value::from(answer), Verdict::Wrong, "no gold text in response")
            .with_span(Some(place(&row.response, answer))),
    }
}
