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

mod choice;
mod open;

use serde_json::Value;

use super::gold;
use super::mersenne::PythonRandom;
use super::reading::{AnswerType, Reading, Row, Verdict};

pub use choice::{Parsed, parse_choice, parse_choice_pro};
pub use open::{OpenPart, extract_numbers, judge_open, normalize, open_parts_json, parse_open};

/// Version of both rules, as reproductions of the snapshot named above.
pub const VERSION: &str = "1";

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

/// The guesses of the official MMMU script, for exact comparison with published numbers. (That of MMMU-Pro sets no
/// seed: its guesses cannot be repeated.)
///
/// The script seeds Python's generator with 42 once and draws from it at every choice question that it cannot
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
