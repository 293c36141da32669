//! Where the texts of the options stand in a response, and which of them it means.

use std::sync::LazyLock;

use regex::Regex;

use super::region::pattern;
use super::tokens::{Token, same_word, tokenize};

/// The options of a question, prepared for one row.
pub(super) struct Options {
    /// Letter, as a capital where it is one, and its key as the row has it.
    pub letters: Vec<(char, String)>,
    /// The options' texts as tokens.
    pub tokens: Vec<Vec<Token>>,
}

impl Options {
    pub fn new(choices: &[(String, String)]) -> Self {
        let letter = |key: &str| {
            let mut chars = key.chars().map(super::tokens::fold);
            match (chars.next(), chars.next()) {
                (Some(c), None) => c.to_ascii_uppercase(),
                _ => '\0',
            }
        };
        Self {
            letters: choices.iter().map(|(key, _)| (letter(key), key.clone())).collect(),
            tokens: choices.iter().map(|(_, text)| tokenize(text)).collect(),
        }
    }

    /// The place of the option with this letter.
    pub fn place(&self, letter: char) -> Option<usize> {
        self.letters.iter().position(|&(c, _)| c == letter && c != '\0')
    }

    /// The only option whose whole text is the whole of `tokens`.
    pub fn same_text(&self, tokens: &[Token]) -> Option<usize> {
        let mut found = self.tokens.iter().enumerate().filter(|(_, option)| {
            !option.is_empty()
                && option.len() == tokens.len()
                && option.iter().zip(tokens).all(|(option, token)| option.text == token.text)
        });
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Some(place),
            _ => None,
        }
    }
}

/// An option's text in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mention {
    /// The option's place.
    pub option: usize,
    /// First and last token.
    pub tokens: [usize; 2],
}

/// Every mention of every option in order, without those that lie within a longer one.
pub(super) fn mentions(tokens: &[Token], options: &Options) -> Vec<Mention> {
    let mut found = Vec::new();
    for (place, option) in options.tokens.iter().enumerate() {
        if option.is_empty() || option.len() > tokens.len() {
            continue;
        }
        for (start, window) in tokens.windows(option.len()).enumerate() {
            let last = option.len() - 1;
            let same = option.iter().zip(window).enumerate().all(|(i, (option, token))| {
                if i == last { same_word(&token.text, &option.text) } else { option.text == token.text }
            });
            if same {
                found.push(Mention { option: place, tokens: [start, start + last] });
            }
        }
    }
    let within = |a: &Mention, b: &Mention| {
        a.tokens != b.tokens && b.tokens[0] <= a.tokens[0] && a.tokens[1] <= b.tokens[1]
    };
    let mut kept: Vec<Mention> =
        found.iter().filter(|a| !found.iter().any(|b| within(a, b))).copied().collect();
    kept.sort_by_key(|mention| mention.tokens);
    kept
}

/// Words before a mention, in its clause, that deny it.
const DENIALS: [&str; 20] = [
    "not",
    "no",
    "isn't",
    "aren't",
    "wasn't",
    "doesn't",
    "don't",
    "can't",
    "cannot",
    "never",
    "neither",
    "nor",
    "without",
    "than",
    "instead",
    "except",
    "unlike",
    "isn’t",
    "doesn’t",
    "exclude",
];

/// Whether the clause denies the option it mentions.
pub(super) fn is_denied(tokens: &[Token], mention: &Mention) -> bool {
    let [from, to] = mention.tokens;
    let mut at = from;
    for _ in 0..4 {
        if at == 0 || tokens.get(at).is_some_and(|token| token.begins_clause) {
            break;
        }
        at -= 1;
        let Some(token) = tokens.get(at) else { break };
        if DENIALS.contains(&token.text.as_str()) || matches!(token.text.as_str(), "不" | "非" | "没" | "无")
        {
            return true;
        }
    }
    let after: Vec<&str> = tokens
        .iter()
        .skip(to + 1)
        .take(5)
        .take_while(|token| !token.begins_clause)
        .map(|token| token.text.as_str())
        .collect();
    let verb =
        after.iter().position(|word| matches!(*word, "is" | "are" | "was" | "were" | "does" | "do" | "can"));
    let refuted = |word: &&str| {
        matches!(
            *word,
            "not" | "wrong" | "incorrect" | "false" | "excluded" | "ruled" | "eliminated" | "unlikely"
        )
    };
    verb.is_some_and(|verb| after.iter().skip(verb).any(refuted))
        || after.first().is_some_and(|word| {
            matches!(*word, "isn't" | "aren't" | "doesn't" | "wasn't" | "isn’t")
                || *word == "不"
                || *word == "错"
        })
}

static CONCLUSION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b(?: therefore | thus | hence | consequently | in\s+conclusion | to\s+conclude | finally,?\s+the
        | which\s+means | (?:gives|giving|yields|leaves)\b(?:\s+us)?(?:\s+(?:a|the))?(?:\s+total\s+of)? | equals?
        | main\s+(?:object|subject|thing|topic)\s+is | it\s+(?:must|should|would)\s+be | so\s+(?:it|this|that|the)
        ) \b | 因此 | 所以 | 综上 | 故",
    )
});

/// The option that a text means by its words: the only one it mentions and does not deny, or the only one it
/// mentions behind its conclusion. Gives the option's place and the bytes of the mention.
pub(super) fn meant(text: &str, tokens: &[Token], options: &Options) -> Option<(usize, [usize; 2])> {
    let found: Vec<Mention> =
        mentions(tokens, options).into_iter().filter(|mention| !is_denied(tokens, mention)).collect();
    let span = |mention: &Mention| {
        let [from, to] = mention.tokens;
        Some([tokens.get(from)?.span[0], tokens.get(to)?.span[1]])
    };
    let only = |from: usize| {
        let mut behind = found
            .iter()
            .filter(|mention| tokens.get(mention.tokens[0]).is_some_and(|token| token.span[0] >= from));
        let first = behind.next()?;
        behind.all(|other| other.option == first.option).then_some(first)
    };
    let conclusion = CONCLUSION.find_iter(text).last().map(|found| found.end());
    let decided = match only(0) {
        Some(mention) if is_plain_number(options, mention.option) && tokens.len() > SHORT => {
            conclusion.and_then(only)
        }
        Some(mention) => Some(mention),
        // "Yes, there are no cars": what begins the text outweighs the rest of it.
        None => {
            found.first().filter(|first| leads(tokens, options, first)).or_else(|| conclusion.and_then(only))
        }
    };
    decided.and_then(|mention| Some((mention.option, span(mention)?)))
}

/// A number alone may stand in a longer text for anything.
const SHORT: usize = 15;

fn is_plain_number(options: &Options, option: usize) -> bool {
    options.tokens.get(option).is_some_and(|tokens| tokens.len() == 1 && tokens.iter().all(Token::is_number))
}

fn leads(tokens: &[Token], options: &Options, mention: &Mention) -> bool {
    let decides =
        |token: &Token| matches!(token.text.as_str(), "yes" | "no" | "true" | "false" | "是" | "否");
    mention.tokens == [0, 0]
        && tokens.first().is_some_and(decides)
        && tokens.get(1).is_none_or(|next| next.begins_clause)
        && options.tokens.get(mention.option).is_some_and(|option| option.len() == 1)
}
