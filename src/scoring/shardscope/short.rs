//! Short answers: the part of a response that is the answer, and whether it says the same as the gold answer.

use std::sync::LazyLock;

use regex::Regex;

use super::super::vqa::number_word;
use super::marked::{TAGGED, braced};
use super::number::{of_tokens, quantity};
use super::region::{answer_region, pattern, trim};
use super::tokens::{Token, same_word, tokenize};

/// Trimmed, if anything is left.
fn inner(part: Option<&str>) -> Option<&str> {
    part.map(trim).filter(|part| !part.is_empty())
}

static STATED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix) (?: \b(?:final\s+|correct\s+|short\s+)?answer\b [*_`"')\]]* \s* (?:(?:is|would\s+be|should\s+be|must\s+be)\b|[:：=])
            | (?:最终|正确)?答案\s*(?:应该|应)?(?:是|为|：|:) ) [\s*_`:：]* "#,
    )
});
static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.!?]\s+[A-Z]|[。！？]"));

/// The answer within a response and the step that found it: what a tag or a box holds, what follows "the answer
/// is", a single line, or the whole. `None` where there is only thinking, or nothing.
pub(super) fn short_answer(response: &str) -> Option<(&str, &'static str)> {
    let region = answer_region(response);
    if region.is_empty() {
        return None;
    }
    if region.contains('<')
        && let Some(part) =
            inner(TAGGED.captures_iter(region).last().and_then(|tag| tag.get(1)).map(|part| part.as_str()))
    {
        return Some((part, "answer tag"));
    }
    if let Some(part) = inner(region.rfind("\\boxed").and_then(|at| braced(&region[at..]))) {
        return Some((part, "box"));
    }
    for cue in STATED.find_iter(region).collect::<Vec<_>>().into_iter().rev() {
        let rest = &region[cue.end()..];
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let part = &line[..SENTENCE_END.find(line).map_or(line.len(), |end| end.start())];
        if let Some(part) = inner(Some(part)) {
            return Some((undressed(part), "stated answer"));
        }
    }
    Some((undressed(region), "whole response"))
}

/// Without Markdown, quotes, a pair of dollars and a final period around it.
fn undressed(text: &str) -> &str {
    let dress = |c: char| c.is_whitespace() || "*_`\"“”'‘’".contains(c);
    let bare = text.trim_matches(dress);
    let bare = bare.strip_suffix(['.', '。']).unwrap_or(bare).trim_matches(dress);
    let formula = bare.strip_prefix('$').and_then(|inner| inner.strip_suffix('$'));
    let bare = formula.map_or(bare, |inner| inner.trim_matches('$')).trim_matches(dress);
    if bare.is_empty() { text } else { bare }
}

/// Words as they are compared: without articles, number words as digits.
pub(super) fn comparable(text: &str) -> Vec<Token> {
    let mut tokens = tokenize(text);
    let all = tokens.len();
    if all > 1 {
        tokens.retain(|token| !matches!(token.text.as_str(), "a" | "an" | "the"));
    }
    for token in &mut tokens {
        if token.text != "none"
            && let Some(digits) = number_word(&token.text)
        {
            token.text = digits.to_owned();
        }
    }
    tokens
}

/// How a gold answer is found again in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// The same words.
    Same,
    /// The same number.
    Number,
    /// The gold answer's words within a longer answer that denies them nowhere.
    Within,
}

impl Match {
    pub fn by(self) -> &'static str {
        match self {
            Self::Same => "same words",
            Self::Number => "same number",
            Self::Within => "gold answer within the answer",
        }
    }
}

/// Whether an answer says the same as a gold answer.
pub(super) fn says(answer: &str, gold: &str) -> Option<Match> {
    let (answer_tokens, gold_tokens) = (comparable(answer), comparable(gold));
    if gold_tokens.is_empty() {
        return (trim(answer) == trim(gold)).then_some(Match::Same);
    }
    let same =
        |a: &[Token], b: &[Token]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.text == b.text);
    if same(&answer_tokens, &gold_tokens) {
        return Some(Match::Same);
    }
    let gold_quantity = quantity_of(gold, &gold_tokens);
    if let (Some(gold), Some(answer)) = (&gold_quantity, quantity_of(answer, &answer_tokens)) {
        return gold.agrees(&answer).then_some(Match::Number);
    }
    if let Some(gold) = gold_quantity {
        return number_within(&answer_tokens, &gold).then_some(Match::Number);
    }
    within(&answer_tokens, &gold_tokens).then_some(Match::Within)
}

fn quantity_of(text: &str, tokens: &[Token]) -> Option<super::number::Quantity> {
    of_tokens(tokens).or_else(|| quantity(text))
}

/// The gold number is the only number of a sentence, or the only one behind its last "is" or equals sign.
fn number_within(tokens: &[Token], gold: &super::number::Quantity) -> bool {
    let leads = |token: &Token| matches!(token.text.as_str(), "=" | "equals" | "≈" | "is" | "are" | "was");
    let behind = tokens
        .iter()
        .rposition(leads)
        .and_then(|place| tokens.get(place + 1..))
        .filter(|behind| behind.iter().any(Token::is_number))
        .unwrap_or(tokens);
    let mut numbers = behind.iter().enumerate().filter(|(_, token)| token.is_number());
    let (Some((place, _)), None) = (numbers.next(), numbers.next()) else { return false };
    let end = behind.len().min(place + 1 + gold.unit.len().max(1));
    let with_unit = behind.get(place..end).and_then(of_tokens);
    let alone = behind.get(place..=place).and_then(of_tokens);
    [with_unit, alone].into_iter().flatten().any(|answer| gold.agrees(&answer))
}

/// Verbs that make a shorter answer a sentence.
const VERBS: [&str; 11] = ["is", "are", "was", "were", "it's", "it’s", "shows", "says", "reads", "has", "是"];

/// From so many words on an answer is a sentence, in which the gold answer may stand anywhere.
const SENTENCE: usize = 5;

/// Whether the gold words stand in an answer that means them: in a sentence that neither denies them nor offers
/// something else beside them, or at the beginning before a comma. One letter stands in too much.
fn within(answer: &[Token], gold: &[Token]) -> bool {
    let one_letter = matches!(gold, [only] if only.text.len() == 1);
    if gold.len() > answer.len() || one_letter {
        return false;
    }
    let last = gold.len() - 1;
    answer.windows(gold.len()).enumerate().any(|(start, window)| {
        let same = window.iter().zip(gold).enumerate().all(|(i, (token, gold))| {
            if i == last { same_word(&token.text, &gold.text) } else { token.text == gold.text }
        });
        let next = answer.get(start + gold.len());
        let before = start.checked_sub(1).and_then(|before| answer.get(before));
        let offered = [next, before].into_iter().flatten().any(|token| token.text == "or");
        let said = answer.iter().take(start).any(|token| VERBS.contains(&token.text.as_str()));
        let means = if answer.len() >= SENTENCE || said {
            !offered
        } else {
            start == 0 && next.is_some_and(|next| next.begins_clause)
        };
        let mention = super::mentions::Mention { option: 0, tokens: [start, start + last] };
        same && means && !super::mentions::is_denied(answer, &mention)
    })
}
