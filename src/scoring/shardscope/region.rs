//! Which part of a response is the answer: behind the thinking, before the end markers.

use std::sync::LazyLock;

use regex::Regex;

/// A compiled pattern that is known to be valid. Its word boundaries are those of ASCII: quicker by far, and right
/// between Chinese characters and letters.
#[allow(clippy::unwrap_used)] // every pattern is a literal, and tests use each of them
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(&text.replace(r"\b", r"(?-u:\b)")).unwrap()
}

static THINKING_ENDS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)</think(?:ing)?>|◁/think▷|<\|end_of_thought\|>"));
static THINKING_BEGINS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)<think(?:ing)?>|◁think▷|<\|begin_of_thought\|>"));
static ENDS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"<\|(?:im_end|endoftext|eot_id|end_of_text|end|return)\|>|</s>|<end_of_turn>|<eos>|\[UNUSED_TOKEN_145\]",
    )
});

/// The bytes of `part` within `whole`, of which it is a slice.
pub(super) fn place(whole: &str, part: &str) -> [usize; 2] {
    let from = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
    [from, (from + part.len()).min(whole.len())]
}

/// The part of a response that states the answer, trimmed; empty where there is only thinking, or nothing.
///
/// Behind the last end of a thinking block; where nothing stands there, before the block. A block that never ends
/// is thinking to the end.
pub(super) fn answer_region(response: &str) -> &str {
    // Only a response with an angle or a marker can hold any of the tags.
    if !response.contains(['<', '◁', '[']) {
        return trim(response);
    }
    let after = THINKING_ENDS.find_iter(response).last().map_or(response, |end| &response[end.end()..]);
    let visible =
        |text: &'static Regex, part: &str| text.find(part).map_or(part.len(), |begin| begin.start());
    let mut region = &after[..visible(&THINKING_BEGINS, after)];
    if trim(region).is_empty() {
        region = &response[..visible(&THINKING_BEGINS, response)];
        if THINKING_ENDS.is_match(region) {
            region = "";
        }
    }
    let ended = &region[..visible(&ENDS, region)];
    trim(if trim(ended).is_empty() {
        ENDS.split(region).find(|part| !trim(part).is_empty()).unwrap_or("")
    } else {
        ended
    })
}

/// Without white space and invisible characters at both ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| super::super::python::is_space(c) || is_invisible(c))
}

/// Marks of byte order, joiners and other characters that nobody sees.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' | '\0'..='\x08')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_is_left_out() {
        for (response, region) in [
            ("<think>A or B</think>C", "C"),
            ("A\n<think>\nB?\n</think>", "A"),
            ("<think>so B", ""),
            ("B\n<think>wait", "B"),
            ("thinking without a beginning</think>\n\nD", "D"),
            ("<think>x</think>y<think>z</think>w", "w"),
            ("<think>x</think>", ""),
            ("B<|im_end|>\n<|im_start|>user", "B"),
            ("\u{feff} B ", "B"),
            ("<|im_end|>", ""),
            ("", ""),
        ] {
            assert_eq!(answer_region(response), region, "{response:?}");
        }
    }
}
