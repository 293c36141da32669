//! The official evaluation of MMMU and MMMU-Pro, row by row, without its random guesses.
//!
//! Re-expressed from MMMU-Benchmark/MMMU (Apache-2.0), snapshot `bb0b95a9`: `mmmu/utils/eval_utils.py` (rule
//! `mmmu`) and `mmmu-pro/evaluate.py` (rule `mmmu-pro`). Surprising results are the original's.
//!
//! What a reading holds, by type of row:
//!
//! | type | `read` | verdict |
//! |---|---|---|
//! | `option` | the letter that the original parses; null where it picks at random | equal to the answer (or to one of a list); a random pick is `unparsed`, never guessed; see [`OfficialGuesses`] |
//! | every other | the list that `parse_open_response` gives: texts sorted, then numbers sorted (infinite and undefined ones as `"inf"`, `"-inf"`, `"nan"`) | `eval_open` |
//!
//! MMMU-Pro has no open questions; they are judged there as in MMMU. Where the original would raise (an option that
//! is no text) the option counts as Python writes it.

use std::collections::HashSet;

use serde_json::Value;

use super::gold;
use super::mersenne::PythonRandom;
use super::python::{digit, float, float_repr, is_word, length, round2, span_before_lowering, strip};
use super::reading::{AnswerType, Reading, Row, Verdict};

/// Version of both rules: the official files have not changed what they parse since they were published.
pub const VERSION: &str = "1";

/// A letter as the official parsers find it, the step that found it and the bytes of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The option's letter.
    pub letter: String,
    /// The step that decided.
    pub by: &'static str,
    /// From and to, in bytes of the response.
    pub span: [usize; 2],
}

/// Marks that are stripped from both ends of a response, one after another, each once.
const STRIPPED: [char; 7] = [',', '.', '!', '?', ';', ':', '\''];

/// `parse_multi_choice_response` of MMMU; `None` where the original picks at random.
pub fn parse_choice(response: &str, choices: &[(String, String)]) -> Option<Parsed> {
    let padded = Padded::new(response);
    bracketed(&padded, choices)
        .or_else(|| {
            let found =
                choices.iter().filter_map(|(letter, _)| padded.last(&format!(" {letter} "), letter, 1));
            last_of(found, "letter between spaces")
        })
        .or_else(|| option_text(&padded, choices))
}

/// `parse_multi_choice_response` of MMMU-Pro; `None` where the original picks at random.
pub fn parse_choice_pro(response: &str, choices: &[(String, String)]) -> Option<Parsed> {
    const CUE: &str = "Answer:";
    if let Some(at) = response.rfind(CUE) {
        let after = strip(response.get(at + CUE.len()..).unwrap_or(""));
        let mut found =
            choices.iter().filter_map(|(letter, _)| after.find(letter.as_str()).map(|at| (letter, at)));
        if let (Some((letter, place)), None) = (found.next(), found.next()) {
            let from = after.as_ptr() as usize - response.as_ptr() as usize + place;
            return Some(Parsed {
                letter: letter.clone(),
                by: "only letter after \"Answer:\"",
                span: [from, from + letter.len()],
            });
        }
    }
    let padded = Padded::new(response);
    bracketed(&padded, choices)
        .or_else(|| with_right_boundary(&padded, choices, ' ', "letter before a space"))
        .or_else(|| with_right_boundary(&padded, choices, '.', "letter before a period"))
        .or_else(|| option_text(&padded, choices))
}

/// A response, stripped and with a space before and after it.
struct Padded<'a> {
    text: String,
    response: &'a str,
    /// Where the stripped response begins in the response.
    offset: usize,
}

impl<'a> Padded<'a> {
    fn new(response: &'a str) -> Self {
        let stripped = STRIPPED.iter().fold(response, |text, &mark| text.trim_matches(mark));
        let offset = stripped.as_ptr() as usize - response.as_ptr() as usize;
        Self { text: format!(" {stripped} "), response, offset }
    }

    /// Bytes of the padded text as bytes of the response.
    fn span(&self, from: usize, to: usize) -> [usize; 2] {
        let back = |at: usize| (at + self.offset).saturating_sub(1).min(self.response.len());
        [back(from), back(to)]
    }

    /// The last place of `pattern`, in which `letter` begins `skip` bytes in.
    fn last(&self, pattern: &str, letter: &str, skip: usize) -> Option<(usize, Parsed)> {
        let at = self.text.rfind(pattern)?;
        let span = self.span(at + skip, at + skip + letter.len());
        Some((at, Parsed { letter: letter.to_owned(), by: "", span }))
    }
}

/// The first of the candidates that stand furthest right.
fn last_of(found: impl Iterator<Item = (usize, Parsed)>, by: &'static str) -> Option<Parsed> {
    let mut last: Option<(usize, Parsed)> = None;
    for candidate in found {
        if last.as_ref().is_none_or(|(at, _)| candidate.0 > *at) {
            last = Some(candidate);
        }
    }
    last.map(|(_, parsed)| Parsed { by, ..parsed })
}

fn bracketed(padded: &Padded<'_>, choices: &[(String, String)]) -> Option<Parsed> {
    let found = choices.iter().filter_map(|(letter, _)| padded.last(&format!("({letter})"), letter, 1));
    last_of(found, "letter in brackets")
}

/// MMMU-Pro finds letters by their right boundary, but orders several by their place between spaces: the first wins
/// where none stands so.
fn with_right_boundary(
    padded: &Padded<'_>,
    choices: &[(String, String)],
    boundary: char,
    by: &'static str,
) -> Option<Parsed> {
    let mut candidates = choices.iter().filter_map(|(letter, _)| {
        padded.last(&format!("{letter}{boundary}"), letter, 0).map(|(_, parsed)| parsed)
    });
    let first = candidates.next()?;
    let Some(second) = candidates.next() else { return Some(Parsed { by, ..first }) };
    let mut best: Option<(Option<usize>, Parsed)> = None;
    for parsed in [first, second].into_iter().chain(candidates) {
        let between = padded.last(&format!(" {} ", parsed.letter), &parsed.letter, 1);
        let (place, parsed) = between.map_or((None, parsed), |(at, parsed)| (Some(at), parsed));
        if best.as_ref().is_none_or(|(last, _)| place > *last) {
            best = Some((place, parsed));
        }
    }
    best.map(|(_, parsed)| Parsed { by, ..parsed })
}

fn option_text(padded: &Padded<'_>, choices: &[(String, String)]) -> Option<Parsed> {
    // Only responses of more than five words are searched.
    super::python::words(&padded.text).nth(5)?;
    let lower = padded.text.to_lowercase();
    let found = choices.iter().filter_map(|(letter, text)| {
        let text = text.to_lowercase();
        let at = lower.rfind(&text)?;
        let [from, to] = span_before_lowering(&padded.text, at, at + text.len());
        Some((at, Parsed { letter: letter.clone(), by: "", span: padded.span(from, to) }))
    });
    last_of(found, "option text")
}

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

/// Reads and judges one row as MMMU does; the module's table says what `read` holds.
pub fn read(row: &Row) -> Reading {
    read_with(row, parse_choice)
}

/// Reads and judges one row as MMMU-Pro does; the module's table says what `read` holds.
pub fn read_pro(row: &Row) -> Reading {
    read_with(row, parse_choice_pro)
}

/// A parser of choice questions.
type Parse = fn(&str, &[(String, String)]) -> Option<Parsed>;

fn read_with(row: &Row, parse: Parse) -> Reading {
    if row.answer_type != AnswerType::Option {
        let parts = parse_open(&row.response);
        let right = judge_open(&golds(&row.answer), &parts);
        let verdict = if right { Verdict::Right } else { Verdict::Wrong };
        return row
            .judged(open_parts_json(&parts), verdict, "open response")
            .with_span(Some([0, row.response.len()]));
    }
    match parse(&row.response, &gold::choices(row)) {
        Some(Parsed { letter, by, span }) => {
            let right = gold::accepted_letters(&row.answer).contains(&letter);
            let verdict = if right { Verdict::Right } else { Verdict::Wrong };
            row.judged(Value::from(letter), verdict, by).with_span(Some(span))
        }
        None => row.judged(Value::Null, Verdict::Unparsed, "random pick of the original"),
    }
}

/// Gold answers of an open question: a list, or one text (also one that looks like a list).
fn golds(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(items) => items.iter().map(gold::python_text).collect(),
        other => vec![gold::python_text(other)],
    }
}

/// The guesses of the official scripts, for exact comparison with published numbers.
///
/// The scripts seed Python's generator with 42 once and draw from it at every choice question that they cannot
/// parse, so a guess depends on all unparsed questions before it: rows must come in the order of the official run,
/// every one of them.
#[derive(Debug, Clone)]
pub struct OfficialGuesses {
    random: PythonRandom,
    drawn: u64,
}

impl Default for OfficialGuesses {
    fn default() -> Self {
        Self { random: PythonRandom::seeded(42), drawn: 0 }
    }
}

impl OfficialGuesses {
    /// How many guesses were drawn so far: the official index of the next one.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// The next guess among some letters; `None` where there are none (the original raises).
    pub fn guess(&mut self, choices: &[(String, String)]) -> Option<String> {
        let place = self.random.below(u32::try_from(choices.len()).ok()?)?;
        self.drawn += 1;
        choices.get(place as usize).map(|(letter, _)| letter.clone())
    }

    /// Puts the official guess into a reading that is `unparsed` because the original picks at random; every other
    /// reading stays as it is.
    pub fn complete(&mut self, row: &Row, reading: Reading) -> Reading {
        if row.answer_type != AnswerType::Option || reading.verdict != Verdict::Unparsed {
            return reading;
        }
        let index = self.drawn;
        let Some(letter) = self.guess(&gold::choices(row)) else { return reading };
        let right = gold::accepted_letters(&row.answer).contains(&letter);
        let verdict = if right { Verdict::Right } else { Verdict::Wrong };
        row.judged(Value::from(letter), verdict, &format!("official guess {index} under seed 42"))
    }
}
