//! VLMEvalKit without a judge model (`exact_matching`), in three behaviours, row by row.
//!
//! Re-expressed from open-compass/VLMEvalKit (Apache-2.0), snapshot `e8e78f05` of 2026-08-18, files
//! `vlmeval/utils/matching_util.py`, `vlmeval/dataset/image_mcq.py`, `utils/yorn.py`, `utils/vqa_eval.py`,
//! `image_vqa.py`. Surprising results are the original's.
//!
//! What a reading holds, by type of row:
//!
//! | type | `read` | verdict and score |
//! |---|---|---|
//! | `option` | `can_infer`: a letter; `"Z"` (a refusal or a lone Z, which is a decision and wrong); null where nothing was inferred | null is `unparsed` (the original writes `Z` and counts it wrong) |
//! | `mmmu-open` | the same, over the pseudo-options A = gold and B = "Other Answers"; see [`pseudo_options`] | gold letter as [`pseudo_options`] says |
//! | `yes-no` | `"Yes"`, `"No"` or `"Unknown"` | `Unknown` is `unparsed`; compared exactly with the answer, in any case for AMBER |
//! | `vqa-score` | the processed prediction | mean leave-one-out agreement |
//! | `anls` | the prediction as given | ANLS with threshold 0.5 |
//! | `relaxed-accuracy` | the trimmed prediction | best over the gold answers |
//! | `accuracy-max`, `exact` | the trimmed prediction | best over the gold answers |
//! | `accuracy-mean` | the trimmed prediction | mean over the gold answers |
//! | `ocrbench` | the prediction as given | 1 where a gold answer stands in it |
//!
//! The options of MME-RealWorld are read in a way of their own ([`mme_real_world`]).
//!
//! A fractional score is `right` from 0.5 on. A dataset named `MMMU_Pro…COT…` first goes through
//! [`cot_postproc`]. Handwritten formulas of OCRBench are told by a dataset name that holds the name of their
//! category. Where the original raises an exception a value is decided: gold answers that are no text (`[1, 2]`)
//! are written as Python writes them and compared; an OCRBench cell that is no literal is one answer; one that
//! is a number is its text.

mod mme_real_world;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::gold;
use super::python::{self, is_space, span_before_lowering, strip, words};
use super::reading::{AnswerType, Reading, Row, Verdict};
use super::vqa;

/// Behaviours of the option inference that changed scores, named by the month until or from which they held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `2025-07`, until pull request 1175 of 2025-08-04: a single option letter counts anywhere in the response, and
    /// option text is searched in responses of any length.
    Until2025July,
    /// `2025-08`, from then until pull request 1552 of 2026-06-17: the letter must stand in the last four tokens, and
    /// option text is only searched in responses up to twice as long as all options together. (Between the two
    /// lies a short-lived version with the test of the position turned round; it has no name here.)
    Since2025August,
    /// `2026-06`, the newest: besides, "answer is" with one of the letters A to D behind it decides, even where the
    /// letter begins a word.
    Since2026June,
}

impl Version {
    /// The month that stands behind `@` in the rule's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Until2025July => "2025-07",
            Self::Since2025August => "2025-08",
            Self::Since2026June => "2026-06",
        }
    }
}

/// Texts by which a response is taken for a refusal.
const REFUSALS: [&str; 4] = [
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
];

/// A letter inferred from a response, the step that inferred it, and the bytes from which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The option's letter, or `Z` for a refusal.
    pub letter: String,
    /// The step that decided.
    pub by: &'static str,
    /// From and to, in bytes of the response.
    pub span: [usize; 2],
}

/// `can_infer_option`: the option letter that stands in a response.
///
/// `choices` are letters with the options' texts, in order. (Of the original's environment variable `VERBOSE`, which
/// refuses the letter A in longer responses, nothing is kept.)
pub fn infer_option(response: &str, choices: &[(String, String)], version: Version) -> Option<Inferred> {
    if response.contains("Failed to obtain answer via API") {
        return None;
    }
    for refusal in REFUSALS {
        if let Some(at) = response.find(refusal) {
            return Some(Inferred { letter: "Z".into(), by: "refusal", span: [at, at + refusal.len()] });
        }
    }
    // For each option the place of its first token, counted in tokens and in bytes.
    let mut first: Vec<Option<(usize, usize)>> = vec![None; choices.len()];
    let (mut tokens, mut z) = (0, None);
    for token in response.split(separates).filter(|token| !token.is_empty()) {
        let at = token.as_ptr() as usize - response.as_ptr() as usize;
        for ((letter, _), place) in choices.iter().zip(&mut first) {
            if place.is_none() && token == letter {
                *place = Some((tokens, at));
            }
        }
        if token == "Z" && z.is_none() {
            z = Some(at);
        }
        tokens += 1;
    }
    let mut present =
        choices.iter().zip(&first).filter_map(|((letter, _), place)| place.map(|p| (letter, p)));
    match (present.next(), present.next()) {
        (Some((letter, (token, at))), None) if version == Version::Until2025July || token + 5 > tokens => {
            return Some(Inferred {
                letter: letter.clone(),
                by: "option letter",
                span: [at, at + letter.len()],
            });
        }
        (None, _) => {
            if let Some(at) = z {
                return Some(Inferred { letter: "Z".into(), by: "letter Z", span: [at, at + 1] });
            }
        }
        _ => {}
    }
    if version == Version::Since2026June
        && let Some(found) = ANSWER_IS.captures(response).and_then(|captures| captures.get(1))
    {
        let letter = found.as_str().to_uppercase();
        if choices.iter().any(|(choice, _)| *choice == letter) {
            return Some(Inferred { letter, by: "\"answer is\"", span: [found.start(), found.end()] });
        }
    }
    None
}

#[allow(clippy::unwrap_used)] // a fixed pattern
static ANSWER_IS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)answer[\s\x1c-\x1f]+is[\s\x1c-\x1f]+\**([ABCD])").unwrap());

fn separates(c: char) -> bool {
    matches!(c, '.' | '(' | ')' | '[' | ']' | ',' | ':' | ';' | '!' | '*' | '#' | '{' | '}') || is_space(c)
}

/// `can_infer_text`: the only option whose text stands in the response, in lower case.
pub fn infer_text(response: &str, choices: &[(String, String)], version: Version) -> Option<Inferred> {
    let lower = response.to_lowercase();
    let longest = 2 * choices.iter().map(|(_, text)| python::length(text)).sum::<usize>();
    if version != Version::Until2025July && python::length(&lower) > longest {
        return None;
    }
    let mut found = choices.iter().filter_map(|(letter, text)| {
        let text = text.to_lowercase();
        lower.find(&text).map(|at| (letter, at, at + text.len()))
    });
    match (found.next(), found.next()) {
        (Some((letter, from, to)), None) => Some(Inferred {
            letter: letter.clone(),
            by: "option text",
            span: span_before_lowering(response, from, to),
        }),
        _ => None,
    }
}

/// `can_infer`: the option letter, else the option's text.
pub fn infer(response: &str, choices: &[(String, String)], version: Version) -> Option<Inferred> {
    infer_option(response, choices, version).or_else(|| infer_text(response, choices, version))
}

/// How VLMEvalKit scores an open question of MMMU: A is the gold answer (a list as Python writes it), B is "Other
/// Answers", and A is right unless the gold answer is itself one capital letter, which then is the right letter.
/// Gives the options and the right letter.
pub fn pseudo_options(answer: &Value) -> (Vec<(String, String)>, String) {
    let text = gold::python_text(answer);
    let is_letter = text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let right = if is_letter { text.clone() } else { "A".to_owned() };
    (vec![("A".to_owned(), text), ("B".to_owned(), "Other Answers".to_owned())], right)
}

/// What the chain-of-thought runs of MMMU-Pro are cut to before inference: behind `Answer:` in the last line that
/// starts so, the only distinct capital letter, or where there are none or several, the whole rest of the line.
/// Without such a line the response is unchanged. Gives the text and its bytes in the response.
pub fn cot_postproc(response: &str) -> (&str, [usize; 2]) {
    let lines = strip(response).rsplit('\n').map(strip);
    let Some(rest) = lines.filter_map(|line| line.strip_prefix("Answer:")).next() else {
        return (response, [0, response.len()]);
    };
    let mut capitals = rest.char_indices().filter(|(_, c)| c.is_ascii_uppercase());
    let part = match capitals.next() {
        Some((at, first)) if capitals.all(|(_, c)| c == first) => rest.get(at..=at).unwrap_or(rest),
        _ => rest,
    };
    let from = part.as_ptr() as usize - response.as_ptr() as usize;
    (part, [from, from + part.len()])
}

/// `SPLIT_THINK`: what stands behind the last `</think>`, and the thinking. Without the tag all is prediction. Of
/// several blocks the thinking keeps its tags.
pub fn split_think(response: &str) -> (String, String) {
    const CLOSE: &str = "</think>";
    let Some((before, after)) = response.rsplit_once(CLOSE) else {
        return (response.to_owned(), String::new());
    };
    let thinking = match before.split("<think>").nth(1) {
        Some(thinking) if !before.contains(CLOSE) => strip(thinking).to_owned(),
        _ => format!("{before}{CLOSE}"),
    };
    (strip(after).to_owned(), thinking)
}

/// `YOrN_Extraction`: `Yes` or `No` where exactly one of the words stands in the response, else `Unknown`.
pub fn yes_or_no(response: &str) -> &'static str {
    let plain = vqa::process_punctuation(&response.to_lowercase());
    let (mut yes, mut no) = (false, false);
    for word in words(&plain) {
        yes |= word == "yes";
        no |= word == "no";
    }
    match (yes, no) {
        (true, false) => "Yes",
        (false, true) => "No",
        _ => "Unknown",
    }
}

/// Reads and judges one row; the module's table says what `read` holds.
pub fn read(row: &Row, version: Version) -> Reading {
    match row.answer_type {
        AnswerType::Option if row.dataset.as_deref().is_some_and(mme_real_world::is_named) => {
            let Some((letter, span)) = mme_real_world::letter(&row.response) else {
                return row.judged(Value::Null, Verdict::Unparsed, "no letter A to E");
            };
            let letter = letter.to_string();
            let right = gold::accepted_letters(&row.answer).contains(&letter);
            let verdict = if right { Verdict::Right } else { Verdict::Wrong };
            row.judged(Value::from(letter), verdict, "first letter A to E").with_span(span)
        }
        AnswerType::Option => {
            let choices = gold::choices(row);
            option(row, &choices, &gold::accepted_letters(&row.answer), version)
        }
        AnswerType::MmmuOpen => {
            let (choices, right) = pseudo_options(&row.answer);
            option(row, &choices, &[right], version)
        }
        AnswerType::YesNo => yes_no(row),
        _ => short(row),
    }
}

fn option(row: &Row, choices: &[(String, String)], right: &[String], version: Version) -> Reading {
    let chain_of_thought =
        row.dataset.as_deref().is_some_and(|name| name.starts_with("MMMU_Pro") && name.contains("COT"));
    let (text, [offset, _]) =
        if chain_of_thought { cot_postproc(&row.response) } else { (row.response.as_str(), [0, 0]) };
    match infer(text, choices, version) {
        Some(Inferred { letter, by, span: [from, to] }) => {
            let verdict = if right.contains(&letter) { Verdict::Right } else { Verdict::Wrong };
            row.judged(Value::from(letter), verdict, by).with_span(Some([from + offset, to + offset]))
        }
        None => row.judged(Value::Null, Verdict::Unparsed, "nothing inferred"),
    }
}

fn yes_no(row: &Row) -> Reading {
    let read = yes_or_no(&row.response);
    let answer = gold::python_text(&row.answer);
    let amber = row.dataset.as_deref().is_some_and(|name| name.contains("AMBER"));
    let right = if amber { answer.to_lowercase() == read.to_lowercase() } else { answer == read };
    let verdict = match read {
        "Unknown" => Verdict::Unparsed,
        _ if right => Verdict::Right,
        _ => Verdict::Wrong,
    };
    let span = if verdict == Verdict::Unparsed { None } else { whole_word(&row.response, read) };
    row.judged(Value::from(read), verdict, "single yes or no").with_span(span)
}

/// The first place where `word` stands in `text` in any case, between characters that are no letters.
fn whole_word(text: &str, word: &str) -> Option<[usize; 2]> {
    text.char_indices().find_map(|(at, _)| {
        let end = at + word.len();
        let here = text.get(at..end)?;
        let bounded = !text.get(..at)?.ends_with(char::is_alphanumeric)
            && !text.get(end..)?.starts_with(char::is_alphanumeric);
        (here.eq_ignore_ascii_case(word) && bounded).then_some([at, end])
    })
}

fn short(row: &Row) -> Reading {
    let response = row.response.as_str();
    let golds = if row.answer_type == AnswerType::Ocrbench {
        gold::ocrbench_texts(&row.answer)
    } else {
        gold::texts(&row.answer)
    };
    let mean = |scores: &[f64]| match scores.len() {
        0 => 0.0,
        n => scores.iter().sum::<f64>() / n as f64,
    };
    let best = |right: bool| if right { 1.0 } else { 0.0 };
    let trimmed = strip(response);
    let (read, score, by) = match row.answer_type {
        AnswerType::VqaScore => {
            let golds: Vec<_> = golds.iter().map(|gold| vqa::process_answer(gold)).collect();
            let prediction = vqa::process_answer(response);
            let score = mean(&vqa::vqa_matches(&golds, &prediction));
            (prediction, score, "leave-one-out agreement")
        }
        AnswerType::Anls => {
            let distances: Vec<_> = golds.iter().map(|gold| vqa::anls_distance(gold, response)).collect();
            (response.to_owned(), vqa::anls_score(&distances), "normalised distance")
        }
        AnswerType::RelaxedAccuracy => {
            let right = golds.iter().any(|gold| vqa::relaxed_match(gold, trimmed));
            (trimmed.to_owned(), best(right), "relaxed match")
        }
        AnswerType::AccuracyMean => {
            let matches: Vec<_> = golds.iter().map(|gold| best(vqa::exact_match(gold, trimmed))).collect();
            (trimmed.to_owned(), mean(&matches), "same text")
        }
        AnswerType::Ocrbench => {
            let formula = row
                .dataset
                .as_deref()
                .is_some_and(|name| name.contains("Handwritten Mathematical Expression Recognition"));
            let right = golds.iter().any(|gold| vqa::ocrbench_match(gold, response, formula));
            (response.to_owned(), best(right), "gold text in response")
        }
        _ => {
            let right = golds.iter().any(|gold| vqa::exact_match(gold, trimmed));
            (trimmed.to_owned(), best(right), "same text")
        }
    };
    let verdict = if score >= 0.5 { Verdict::Right } else { Verdict::Wrong };
    let mut reading = row.judged(Value::from(read), verdict, by).with_span(Some([0, response.len()]));
    reading.score = score;
    reading
}
