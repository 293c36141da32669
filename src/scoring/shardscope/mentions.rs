//! Where the texts of the options stand in a response, and which of them it means.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::sync::LazyLock;

use regex::Regex;

use super::region::pattern;
use super::tokens::{Token, same_word, tokenize};

/// The options of a question, prepared for one row.
pub(super) struct Options<'a> {
    /// Letter, as a capital where it is one, and its key as the row has it.
    pub letters: Vec<(char, &'a str)>,
    choices: &'a [(String, String)],
    tokens: OnceCell<Vec<Vec<Token>>>,
}

impl<'a> Options<'a> {
    pub fn new(choices: &'a [(String, String)]) -> Self {
        let letter = |key: &str| {
            let mut chars = key.chars().map(super::tokens::fold);
            match (chars.next(), chars.next()) {
                (Some(c), None) => c.to_ascii_uppercase(),
                _ => '\0',
            }
        };
        let letters = choices.iter().map(|(key, _)| (letter(key), key.as_str())).collect();
        Self { letters, choices, tokens: OnceCell::new() }
    }

    /// The options' texts as tokens; split when first asked for, since most responses are a letter.
    pub fn tokens(&self) -> &[Vec<Token>] {
        self.tokens.get_or_init(|| self.choices.iter().map(|(_, text)| tokenize(text)).collect())
    }

    /// How many bytes a response may have that is nothing but an option's text, however dressed.
    pub fn longest(&self) -> usize {
        self.choices.iter().map(|(_, text)| text.len()).max().map_or(0, |length| 2 * length + 64)
    }

    /// The place of the option with this letter.
    pub fn place(&self, letter: char) -> Option<usize> {
        self.letters.iter().position(|&(c, _)| c == letter && c != '\0')
    }

    /// The only option whose whole text is the whole of `tokens`; where there is none, also with numbers of the
    /// same value, number words, and commands of formulas in another case.
    pub fn same_text(&self, tokens: &[Token]) -> Option<usize> {
        let only = |same: fn(&Token, &Token) -> bool| {
            let mut found = self.tokens().iter().enumerate().filter(|(_, option)| {
                !option.is_empty()
                    && option.len() == tokens.len()
                    && option.iter().zip(tokens).all(|(option, token)| same(option, token))
            });
            match (found.next(), found.next()) {
                (Some((place, _)), None) => Some(place),
                _ => None,
            }
        };
        only(|a, b| a.text == b.text).or_else(|| only(Token::same_value))
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
pub(super) fn mentions(tokens: &[Token], options: &Options<'_>) -> Vec<Mention> {
    let mut found = Vec::new();
    for (place, option) in options.tokens().iter().enumerate() {
        if option.is_empty() || option.len() > tokens.len() {
            continue;
        }
        for (start, window) in tokens.windows(option.len()).enumerate() {
            let last = option.len() - 1;
            let same = option.iter().zip(window).enumerate().all(|(i, (option, token))| {
                let numbers = option.is_number() && token.is_number();
                match (numbers, i == last) {
                    (true, _) => option.same_value(token),
                    (false, true) => same_word(&token.text, &option.text),
                    (false, false) => option.text == token.text,
                }
            });
            // "No" before another word only counts something.
            let counts = option.len() == 1
                && option.iter().all(|word| word.text == "no")
                && tokens.get(start + 1).is_some_and(|next| !next.begins_clause);
            if same && !counts {
                found.push(Mention { option: place, tokens: [start, start + last] });
            }
        }
    }
    // From left to right, longer ones first: what ends before the longest one so far lies within it.
    found.sort_by_key(|mention| (mention.tokens[0], Reverse(mention.tokens[1])));
    let mut longest: Option<Mention> = None;
    found.retain(|mention| {
        let within = longest.is_some_and(|l| mention.tokens[1] <= l.tokens[1] && mention.tokens != l.tokens);
        if !within {
            longest = Some(*mention);
        }
        !within
    });
    found
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

/// The option that a text means by its words: the only one that it mentions and does not deny; else the only one of
/// which its last or first sentence says that it is the one; else the only one behind its conclusion. Gives the
/// option's place and the bytes of the mention.
pub(super) fn meant(text: &str, tokens: &[Token], options: &Options<'_>) -> Option<(usize, [usize; 2])> {
    let found = affirmed(tokens, options);
    let first = found.first()?;
    let starts = |mention: &Mention| tokens.get(mention.tokens[0]).map_or(0, |token| token.span[0]);
    let only = |keep: &dyn Fn(&Mention) -> bool| {
        let mut kept = found.iter().filter(|mention| keep(mention));
        let first = kept.next()?;
        kept.all(|other| other.option == first.option).then_some(first)
    };
    let alone =
        only(&|_| true).filter(|mention| tokens.len() <= SHORT || !is_plain_number(options, mention.option));
    let decided = alone
        // "Yes, there are no cars": what begins the text outweighs the rest of it.
        .or_else(|| Some(first).filter(|first| leads(tokens, options, first)))
        .or_else(|| {
            let last_sentence = SENTENCE.find_iter(text.trim_end()).last().map_or(0, |end| end.end());
            let first_sentence = SENTENCE.find(text).map_or(text.len(), |end| end.start());
            // In a sentence that mentions other options too, what it says stands at its end.
            let said = |from: usize, to: usize| {
                let here = |mention: &Mention| (from..to).contains(&starts(mention));
                let alone = only(&here).is_some();
                only(&|mention| {
                    let next = tokens.get(mention.tokens[1] + 1);
                    let at_end = next.is_none_or(|next| next.span[0] >= to) || is_reasoned(tokens, mention);
                    here(mention) && (alone || at_end) && is_predicate(tokens, options, mention)
                })
            };
            said(last_sentence, text.len()).or_else(|| said(0, first_sentence))
        })
        .or_else(|| {
            let conclusion = CONCLUSION.find_iter(text).last()?.end();
            only(&|mention| starts(mention) >= conclusion)
        })?;
    let [from, to] = decided.tokens;
    Some((decided.option, [tokens.get(from)?.span[0], tokens.get(to)?.span[1]]))
}

static SENTENCE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.!?]\s+|\n+|[。！？]"));

/// Mentions that nothing denies. A denial of one option of a list ("neither A nor B", "A, B and C are not") is a
/// denial of its neighbours in the list.
fn affirmed(tokens: &[Token], options: &Options<'_>) -> Vec<Mention> {
    let found = mentions(tokens, options);
    let mut denied: Vec<bool> = found.iter().map(|mention| is_denied(tokens, mention)).collect();
    let joined: Vec<bool> = found
        .windows(2)
        .map(|pair| match pair {
            [a, b] => {
                let between = tokens.get(a.tokens[1] + 1..b.tokens[0]).unwrap_or_default();
                let joins = |token: &Token| {
                    matches!(
                        token.text.as_str(),
                        "and" | "or" | "nor" | "the" | "an" | "a" | "&" | "和" | "或" | "与"
                    )
                };
                let separated =
                    !between.is_empty() || tokens.get(b.tokens[0]).is_some_and(|token| token.begins_clause);
                b.tokens[0] > a.tokens[1] && separated && between.len() <= 2 && between.iter().all(joins)
            }
            _ => false,
        })
        .collect();
    for (at, &joined) in joined.iter().enumerate() {
        if joined && denied[at] {
            denied[at + 1] = true;
        }
    }
    for (at, &joined) in joined.iter().enumerate().rev() {
        if joined && denied[at + 1] {
            denied[at] = true;
        }
    }
    found.into_iter().zip(denied).filter(|&(_, denied)| !denied).map(|(mention, _)| mention).collect()
}

/// A verb stands no further before an option than so many words.
const FILLED: usize = 8;

/// Whether the text says of something that it is this option: "the diagnosis is …", "caused by a …".
fn is_predicate(tokens: &[Token], options: &Options, mention: &Mention) -> bool {
    let own_letter =
        options.letters.get(mention.option).map_or('\0', |&(letter, _)| letter.to_ascii_lowercase());
    let fills = |token: &&Token| {
        let text = token.text.as_str();
        matches!(
            text,
            "the"
                | "a"
                | "an"
                | "likely"
                | "most"
                | "probably"
                | "approximately"
                | "about"
                | "around"
                | "to"
                | "be"
                | "been"
                | "have"
                | "called"
                | "option"
                | "indeed"
                | "therefore"
                | "thus"
        ) || text.chars().eq([own_letter])
    };
    let before = tokens.get(..mention.tokens[0]).unwrap_or_default();
    let verb = before.iter().rev().take(FILLED).find(|token| !fills(token));
    verb.is_some_and(|token| {
        matches!(
            token.text.as_str(),
            "is" | "are"
                | "was"
                | "were"
                | "will"
                | "would"
                | "must"
                | "should"
                | "by"
                | "with"
                | "equals"
                | "="
                | "≈"
                | "becomes"
                | "represents"
                | "shows"
                | "suggests"
                | "indicates"
                | "means"
                | "depicts"
                | "是"
                | "为"
        )
    })
}

/// A number alone may stand in a longer text for anything.
const SHORT: usize = 15;

fn is_plain_number(options: &Options, option: usize) -> bool {
    options
        .tokens()
        .get(option)
        .is_some_and(|tokens| tokens.len() == 1 && tokens.iter().all(Token::is_number))
}

/// Words that begin the reason for what was said before.
const REASONS: [&str; 9] = ["because", "since", "as", "whereas", "while", "which", "not", "so", "for"];

/// Whether the clause of a mention ends with it and a reason follows.
fn is_reasoned(tokens: &[Token], mention: &Mention) -> bool {
    tokens
        .get(mention.tokens[1] + 1)
        .is_some_and(|next| next.begins_clause && REASONS.contains(&next.text.as_str()))
}

/// Whether a text begins with its answer: yes or no before a comma, an option before a reason.
fn leads(tokens: &[Token], options: &Options<'_>, mention: &Mention) -> bool {
    let decides =
        |token: &Token| matches!(token.text.as_str(), "yes" | "no" | "true" | "false" | "是" | "否");
    let is_article = |token: &Token| matches!(token.text.as_str(), "a" | "an" | "the");
    let single = options.tokens().get(mention.option).is_some_and(|option| option.len() == 1);
    match mention.tokens {
        [0, 0] if single && tokens.first().is_some_and(decides) => {
            tokens.get(1).is_none_or(|next| next.begins_clause)
        }
        [0, _] => is_reasoned(tokens, mention),
        [1, _] => tokens.first().is_some_and(is_article) && is_reasoned(tokens, mention),
        _ => false,
    }
}
