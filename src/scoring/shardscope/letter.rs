//! Option letters in a text: where one stands alone, and what its surroundings say about it.

use std::sync::LazyLock;

use regex::Regex;

use super::mentions::Options;
use super::region::pattern;
use super::tokens::{fold, is_ideograph, tokenize};

/// An option letter at a place of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter {
    /// The option's place; `None` where the letter is none of the options'.
    pub option: Option<usize>,
    pub capital: bool,
    pub span: [usize; 2],
}

/// The letter that begins at `at`, if it stands alone: no letter, digit or apostrophe joins it.
pub(super) fn letter_at(text: &str, at: usize, options: &Options<'_>) -> Option<Letter> {
    let rest = text.get(at..)?;
    let written = rest.chars().next()?;
    let plain = fold(written);
    if !plain.is_ascii_alphabetic() {
        return None;
    }
    let end = at + written.len_utf8();
    let joined_before = text.get(..at)?.chars().next_back().is_some_and(joins);
    if joined_before || joined_behind(text.get(end..)?) {
        return None;
    }
    Some(Letter {
        option: options.place(plain.to_ascii_uppercase()),
        capital: plain.is_ascii_uppercase(),
        span: [at, end],
    })
}

fn joins(c: char) -> bool {
    (c.is_alphanumeric() && !is_ideograph(c)) || c == '\\'
}

fn joined_behind(rest: &str) -> bool {
    let mut chars = rest.chars();
    let (first, second, third) = (chars.next(), chars.next(), chars.next());
    match first {
        Some('\'' | '’' | '-' | '_') => second.is_some_and(joins),
        // "E\)" closes a formula, "E\theta" goes on.
        // "C++", "C#", "A+"
        Some('+' | '#') => true,
        Some('\\') => second.is_some_and(char::is_alphanumeric),
        // "e.g.", "U.S."
        Some('.') => second.is_some_and(|c| c.is_ascii_alphabetic()) && third == Some('.'),
        Some(c) => joins(c),
        None => false,
    }
}

/// Whether a letter ends its sentence or is set apart from what follows.
pub(super) fn closes(behind: &str) -> bool {
    let rest =
        behind.trim_start_matches(['*', '_', '`', '"', '\'', '”', '’', ')', ']', '}', '）', '】', '$', '>']);
    let mut chars = rest.chars();
    match chars.next() {
        None
        | Some(
            '\n' | '\r' | '.' | ',' | ';' | ':' | '!' | '?' | '。' | '，' | '；' | '：' | '！' | '、' | '<'
            | '\\',
        ) => true,
        Some(' ') => {
            rest.trim_start_matches(' ').starts_with(['\n', '\r', '(', '-', '–', '—', '。'])
                || rest.trim().is_empty()
        }
        Some(_) => behind.len() != rest.len(),
    }
}

pub(super) static LOWER_WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[ \t]+([a-z][a-z'’]*)"));

/// Words behind a letter that show it is no article.
const CONNECTORS: [&str; 48] = [
    "because",
    "since",
    "as",
    "and",
    "or",
    "for",
    "is",
    "was",
    "are",
    "due",
    "with",
    "according",
    "based",
    "given",
    "it",
    "the",
    "this",
    "that",
    "which",
    "not",
    "but",
    "while",
    "whereas",
    "though",
    "would",
    "could",
    "should",
    "must",
    "seems",
    "looks",
    "fits",
    "matches",
    "shows",
    "represents",
    "best",
    "has",
    "does",
    "will",
    "can",
    "in",
    "from",
    "on",
    "by",
    "where",
    "when",
    "so",
    "if",
    "correctly",
];

/// Whether "A" is an article or "I" a pronoun here: a capital without marks around it before a word of prose.
pub(super) fn is_article(text: &str, letter: &Letter) -> bool {
    let [from, to] = letter.span;
    let word = match text.get(from..to) {
        Some("A") => {
            LOWER_WORD.captures(&text[to..]).and_then(|found| found.get(1)).map(|word| word.as_str())
        }
        Some("I") => LOWER_WORD.captures(&text[to..]).map(|_| "am"),
        _ => None,
    };
    word.is_some_and(|word| !CONNECTORS.contains(&word))
}

static REFUTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?ix)^[)\]}）】*_`"'.]*\s*(?:
            (?:is|are|was|seems|looks|would\s+be|can\s+be|could\s+be)\s+(?:\w+\s+)?(?:not\b|incorrect|wrong|false|excluded|ruled|eliminated|unlikely|impossible)
          | (?:isn|wasn|aren|doesn|can)['’]t\b | does\s+not | cannot | 项?\s*(?:是)?(?:不|错) )"#,
    )
});

pub(super) fn is_refuted(behind: &str) -> bool {
    REFUTED.is_match(behind)
}

static ANOTHER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^[)\]}）】*_`"'.$]*\s*(?:/|,|、|，|&|\+|;|；|\bor\b|\band\b|\bOR\b|\bAND\b|或者?|和|与|及|以及)[\s*(\[（"'`$]*(?:[Oo]r\s+|[Aa]nd\s+)?(?:maybe\s+|perhaps\s+|possibly\s+|even\s+)?(?:[Oo]ption\s+|选项)?[(\[]?([A-ZＡ-Ｚ])"#,
    )
});
static OWN_CLAUSE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^[)\]}）】*_`"'.$]*\s+(?:is|was|has|does|doesn['’]t|isn['’]t|can|cannot|would|seems|looks|refers|shows|[a-z]{3,}s)\b"#,
    )
});

/// A further option in the same line: "B. text or D. text".
static OR_ANOTHER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[^\n]{0,200}?\b(?:or|and)\s+(?:option\s+)?[*(\[]*([A-Z])[*)\]]*[.):]"));
static NEXT_LINE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[^\n]*\n\s*[*(\[-]*\s?([A-Z])[*)\]]*[.):]"));

/// Whether the next line goes on with the next letter, as a list of the options does.
pub(super) fn begins_list(behind: &str, option: usize, options: &Options<'_>) -> bool {
    let next = NEXT_LINE.captures(behind).and_then(|found| found.get(1));
    next.and_then(|next| letter_at(behind, next.start(), options))
        .is_some_and(|letter| letter.option == Some(option + 1))
}

/// Whether the text ends within the text of the first option: a list of the options that was cut off.
pub(super) fn is_cut_off(behind: &str, option: usize, options: &Options<'_>) -> bool {
    let tokens = tokenize(behind);
    let own = options.tokens().get(option).map_or(&[][..], Vec::as_slice);
    option == 0
        && !tokens.is_empty()
        && tokens.len() < own.len()
        && tokens.iter().zip(own).all(|(token, own)| token.text == own.text)
}

/// Whether another letter follows on equal terms: "B or C", "B/C", "B, C", "B. text or C. text".
pub(super) fn names_another(behind: &str, option: usize, options: &Options<'_>) -> bool {
    let other = OR_ANOTHER.captures(behind).and_then(|found| {
        let other = letter_at(behind, found.get(1)?.start(), options)?.option?;
        // Its own text follows, so it is named as an option.
        let text = tokenize(behind.get(found.get(0)?.end()..)?.lines().next()?);
        (text.first()?.text == options.tokens().get(other)?.first()?.text).then_some(other)
    });
    if other.is_some_and(|other| other != option) {
        return true;
    }
    let Some(found) = ANOTHER.captures(behind).and_then(|captures| captures.get(1)) else { return false };
    let Some(letter) = letter_at(behind, found.start(), options) else { return false };
    letter.option.is_some_and(|other| other != option)
        && !OWN_CLAUSE.is_match(&behind[found.end()..])
        && !is_article(behind, &letter)
}
