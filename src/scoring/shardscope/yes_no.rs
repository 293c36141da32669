//! Yes or no, as a person would read it.

use std::sync::LazyLock;

use regex::Regex;

use super::region::{answer_region, pattern, place};
use super::short::short_answer;
use super::tokens::{Token, tokenize};

/// What was read, the step, the bytes of the response.
pub(super) fn read_yes_no(response: &str) -> Option<(bool, &'static str, [usize; 2])> {
    let region = answer_region(response);
    if region.is_empty() {
        return None;
    }
    let (part, by) = short_answer(response)?;
    if by != "whole response"
        && let Some((yes, span)) = plainly(part)
    {
        return Some((yes, by, shifted(response, part, span)));
    }
    let (yes, span) = plainly(region).or_else(|| last_word(region)).or_else(|| described(region))?;
    Some((yes, "yes or no", shifted(response, region, span)))
}

fn shifted(response: &str, part: &str, [from, to]: [usize; 2]) -> [usize; 2] {
    let offset = place(response, part)[0];
    [offset + from, offset + to]
}

fn meaning(word: &str) -> Option<bool> {
    Some(match word {
        "yes" | "yeah" | "yep" | "yess" | "true" | "correct" | "right" | "是" | "对" | "有" => true,
        "no" | "nope" | "nah" | "false" | "incorrect" | "wrong" | "not" | "否" | "不" | "没" | "无" => {
            false
        }
        _ => return None,
    })
}

/// A single word, or a text in which only one of yes and no stands.
fn plainly(text: &str) -> Option<(bool, [usize; 2])> {
    let tokens: Vec<Token> = tokenize(text);
    if let [only] = tokens.as_slice() {
        let yes = meaning(&only.text).or(match only.text.as_str() {
            "y" | "1" => Some(true),
            "n" | "0" => Some(false),
            _ => None,
        })?;
        return Some((yes, only.span));
    }
    // "A. Yes", "(B) No".
    if let [letter, word] = tokens.as_slice()
        && letter.text.len() == 1
        && let Some(yes) = meaning(&word.text)
    {
        return Some((yes, word.span));
    }
    let said = |token: &&Token| matches!(token.text.as_str(), "yes" | "no");
    let first = tokens.iter().find(said)?;
    let yes = first.text == "yes";
    let both = tokens.iter().filter(said).any(|token| (token.text == "yes") != yes);
    if !both {
        return Some((yes, first.span));
    }
    // "Yes, there is no cat": the first word is the answer unless the text takes it back or offers both.
    let leads = tokens.first().is_some_and(|token| token.span == first.span);
    let second_begins =
        tokens.get(1).is_some_and(|token| token.begins_clause && meaning(&token.text).is_none());
    (leads && second_begins && !TAKEN_BACK.is_match(text)).then_some((yes, first.span))
}

static TAKEN_BACK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(?:wait|actually|correction|sorry|hold on|on second thought|no,? actually)\b")
});

static LAST: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix) (?: \b(?:so|thus|therefore|hence|wait|actually|answer|is|:)\b | [:：,，;；.。] ) [\s,，:：*_`"'“]* (?:the\s+answer\s+is\s+)? (yes|no) [*_`"'”.。!\s]* $"#,
    )
});

/// A conclusion in the last words: "…, so yes".
fn last_word(text: &str) -> Option<(bool, [usize; 2])> {
    let found = LAST.captures(text)?.get(1)?;
    // "yes, no" and "yes/no" conclude nothing.
    let before = tokenize(&text[..found.start()]);
    if before.len() < 2 && !TAKEN_BACK.is_match(text) {
        return None;
    }
    Some((found.as_str().eq_ignore_ascii_case("yes"), [found.start(), found.end()]))
}

static DENIED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:is|are|was|were|does|do|did|has|have|can|could)(?:\s+not\b|n['’]t\b)|\b(?:there\s+(?:is|are)\s+no)\b|\bwithout\b|\bcannot\b|\b(?:is|are)\s+(?:false|incorrect|wrong)\b|不是|没有|不存在|并非|未",
    )
});
static AFFIRMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:there\s+(?:is|are)\s+(?:an?|some|one|two|several|many)|(?:is|are)\s+(?:indeed\s+)?(?:present|visible|shown|correct|true))\b|that['’]s\s+(?:right|correct|true)|答案是肯定|(?:^|[^不])是的|(?:^|[^不])存在",
    )
});

static UNSURE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:cannot|can['’]t|unable|not\s+(?:sure|clear|possible|certain)|unclear|uncertain|unknown|maybe|perhaps|sorry)\b|无法|不确定|不清楚",
    )
});

/// A sentence that denies or affirms without the words themselves.
fn described(text: &str) -> Option<(bool, [usize; 2])> {
    if UNSURE.is_match(text) || tokenize(text).iter().any(|token| matches!(token.text.as_str(), "yes" | "no"))
    {
        return None;
    }
    let (denied, affirmed) = (DENIED.find(text), AFFIRMED.find(text));
    match (denied, affirmed) {
        (Some(found), None) => Some((false, [found.start(), found.end()])),
        (None, Some(found)) => Some((true, [found.start(), found.end()])),
        _ => None,
    }
}
