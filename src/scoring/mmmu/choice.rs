//! The official parsers of questions with options.

use crate::scoring::python::{span_before_lowering, strip, words};

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
    words(&padded.text).nth(5)?;
    let lower = padded.text.to_lowercase();
    let found = choices.iter().filter_map(|(letter, text)| {
        let text = text.to_lowercase();
        let at = lower.rfind(&text)?;
        let [from, to] = span_before_lowering(&padded.text, at, at + text.len());
        Some((at, Parsed { letter: letter.clone(), by: "", span: padded.span(from, to) }))
    });
    last_of(found, "option text")
}
