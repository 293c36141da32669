//! Where the answer stands in a response to a prompt that asked for more than the answer.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Style;
use crate::dataset::question::QuestionKind;
use crate::dataset::registry::{Family, Profile};

/// The first request for an answer that a response repeats, and the rest of its line (or of the next, where nothing
/// follows), as `mpo_post_processing` looks for it.
static FINAL_ANSWER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)(?:Final answer:|Answer:)\s*(.*)").ok());

/// The bytes of a response that a rule is to read, in the style that the question was put; `None` for all of it.
///
/// As `vlmeval/vlm/internvl/` and `inference.py` do after an answer:
/// - `vlmevalkit-mpo`: what follows `Final answer:` or `Answer:` in its line, of choices, yes or no, and CRPE;
/// - `vlmevalkit-cot`: what the last `\boxed{…}` holds, where its braces match (`use_postprocess`; WeMath excepted);
/// - `vlmevalkit-thinking`: what follows the last `</think>` (`SPLIT_THINK`), and of that what `\boxed{…}` holds.
///
/// Where a response has nothing of the sort, a rule reads all of it.
pub fn answered(style: Style, profile: &Profile, kind: QuestionKind, response: &str) -> Option<Range<usize>> {
    let boxed = |from: usize| {
        let text = response.get(from..).filter(|_| !profile.name.contains("WeMath"))?;
        let inside = boxed(text)?;
        Some(from + inside.start..from + inside.end)
    };
    match style {
        Style::VlmevalkitMpo => {
            let asked = matches!(kind, QuestionKind::Option | QuestionKind::YesNo)
                || matches!(profile.family, Family::MultipleChoice | Family::YesNo);
            if asked || profile.name.contains("CRPE") { final_answer(response) } else { None }
        }
        Style::VlmevalkitCot => boxed(0),
        Style::VlmevalkitThinking => match response.rfind("</think>") {
            None => boxed(0),
            Some(at) => {
                let start = at + "</think>".len();
                boxed(start).or_else(|| Some(trimmed(response, start..response.len())))
            }
        },
        Style::Vlmevalkit
        | Style::VlmevalkitDataset
        | Style::Mmmu
        | Style::MmmuProDirect
        | Style::MmmuProCot => None,
    }
}

fn final_answer(response: &str) -> Option<Range<usize>> {
    let found = FINAL_ANSWER.as_ref()?.captures(response)?.get(1)?;
    Some(trimmed(response, found.range()))
}

/// What the last `\boxed{` holds; nothing where its braces do not match.
fn boxed(text: &str) -> Option<Range<usize>> {
    const OPENING: &str = "\\boxed{";
    let start = text.rfind(OPENING)? + OPENING.len();
    let mut depth = 1usize;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(start..at);
        }
    }
    None
}

/// A range without the blanks at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(style: Style, name: &str, kind: QuestionKind, response: &'a str) -> &'a str {
        let profile = Profile::of(name, &[]);
        answered(style, &profile, kind, response).map_or(response, |range| &response[range])
    }

    /// Expected values are those of the originals' `mpo_post_processing` and `extract_boxed_content`.
    #[test]
    fn the_answer_is_found_where_the_originals_find_it() {
        let mpo = |response| read(Style::VlmevalkitMpo, "MMStar", QuestionKind::Option, response);
        assert_eq!(mpo("It is red.\nFinal answer: B\nSo it is."), "B");
        assert_eq!(mpo("ANSWER:  C. cat  \nmore"), "C. cat");
        assert_eq!(mpo("Answer: A\nFinal answer: B"), "A");
        assert_eq!(mpo("Final answer:\n  D"), "D");
        assert_eq!(mpo("final answer:"), "");
        assert_eq!(mpo("I say B"), "I say B");
        let open = |name| read(Style::VlmevalkitMpo, name, QuestionKind::Short, "x\nFinal answer: 4");
        assert_eq!((open("MathVista_MINI"), open("CRPE_RELATION")), ("x\nFinal answer: 4", "4"));

        let cot = |response| read(Style::VlmevalkitCot, "MathVista_MINI", QuestionKind::Short, response);
        assert_eq!(cot("\\boxed{1} then Answer: \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
        assert_eq!(cot("\\boxed{1} then \\boxed{\\frac{1}{2}"), "\\boxed{1} then \\boxed{\\frac{1}{2}");
        assert_eq!(cot("\\boxed{中}"), "中");
        assert_eq!(cot("none"), "none");
        assert_eq!(read(Style::VlmevalkitCot, "WeMath", QuestionKind::Short, "\\boxed{1}"), "\\boxed{1}");
    }

    #[test]
    fn thoughts_are_left_out() {
        let read = |response| read(Style::VlmevalkitThinking, "MMStar", QuestionKind::Option, response);
        assert_eq!(read("<think>A? </think> or </think>\n\nThe answer is \\boxed{B}."), "B");
        assert_eq!(read("<think>\\boxed{A}</think>\n C \n"), "C");
        assert_eq!(read("<think>\\boxed{A} and on"), "A");
        assert_eq!(read("</think>"), "");
        assert_eq!(read("<think>and on"), "<think>and on");
    }

    #[test]
    fn other_styles_are_read_whole() {
        for style in [Style::Vlmevalkit, Style::VlmevalkitDataset, Style::Mmmu, Style::MmmuProCot] {
            let profile = Profile::of("MMStar", &[]);
            assert_eq!(answered(style, &profile, QuestionKind::Option, "Answer: \\boxed{B}"), None);
        }
    }
}
