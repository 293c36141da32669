//! A device map as text: JSON, or a Python literal out of a log.

use super::Target;

/// Most entries of a map.
const MOST_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    Number(i64),
    Word(String),
    Mark(char),
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut depth = 0i32;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err("a name is not closed by a quote".into()),
                        Some(end) if end == c => break,
                        Some('\\') => value.extend(chars.next()),
                        Some(other) => value.push(other),
                    }
                }
                found.push(Token::Text(value));
            }
            '-' | '0'..='9' => {
                let mut digits = String::from(c);
                while let Some(d) = chars.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                found.push(Token::Number(digits.parse().map_err(|_| format!("{digits} is not a device"))?));
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(d) = chars.next_if(|d| d.is_alphanumeric() || *d == '_' || *d == '.') {
                    word.push(d);
                }
                found.push(Token::Word(word));
            }
            '{' | '[' | '(' => {
                depth += 1;
                found.push(Token::Mark(c));
            }
            '}' | ']' | ')' => {
                depth -= 1;
                found.push(Token::Mark(c));
                if depth == 0 {
                    return Ok(found);
                }
            }
            ':' | ',' | '=' => found.push(Token::Mark(c)),
            c if c.is_whitespace() => {}
            other => return Err(format!("{other:?} does not belong in a device map")),
        }
        if found.len() > MOST_ENTRIES * 12 {
            return Err("there are more entries than any model has modules".into());
        }
    }
    Err("the map is not closed".into())
}

pub(super) fn entries(tokens: &[Token]) -> Result<Vec<(String, Target)>, String> {
    let pairs = tokens.first() == Some(&Token::Mark('['));
    let mut at = 1;
    let mut found = Vec::new();
    let mark = |at: usize, c: char| tokens.get(at) == Some(&Token::Mark(c));
    loop {
        while mark(at, ',') {
            at += 1;
        }
        if mark(at, if pairs { ']' } else { '}' }) {
            return Ok(found);
        }
        if pairs {
            if !mark(at, '(') {
                return Err("a pair does not start with a parenthesis".into());
            }
            at += 1;
        }
        let Some(Token::Text(name)) = tokens.get(at) else {
            return Err("a module's name is missing".into());
        };
        if !mark(at + 1, if pairs { ',' } else { ':' }) {
            return Err(format!("{name:?} is not followed by a device"));
        }
        at += 2;
        let (target, next) =
            value(tokens, at).ok_or_else(|| format!("the device of {name:?} cannot be read"))?;
        found.push((name.clone(), target));
        if found.len() > MOST_ENTRIES {
            return Err("there are more entries than any model has modules".into());
        }
        at = next;
        if pairs {
            if !mark(at, ')') {
                return Err(format!("the pair of {name:?} is not closed"));
            }
            at += 1;
        }
    }
}

fn value(tokens: &[Token], at: usize) -> Option<(Target, usize)> {
    match tokens.get(at)? {
        Token::Number(id) => Some((Target::Gpu(u32::try_from(*id).ok()?), at + 1)),
        Token::Text(name) => Some((named(name)?, at + 1)),
        Token::Word(word) if word.ends_with("device") => {
            // device(type='cuda', index=1) or device('cuda:1')
            let mut next = at + 1;
            (tokens.get(next)? == &Token::Mark('(')).then_some(())?;
            let (mut kind, mut index) = (None, None);
            loop {
                next += 1;
                match tokens.get(next)? {
                    Token::Mark(')') => break,
                    Token::Text(text) => kind = Some(text.clone()),
                    Token::Number(number) => index = u32::try_from(*number).ok(),
                    _ => {}
                }
            }
            let target = match (named(&kind?)?, index) {
                (Target::Gpu(_), Some(index)) => Target::Gpu(index),
                (other, _) => other,
            };
            Some((target, next + 1))
        }
        _ => None,
    }
}

fn named(text: &str) -> Option<Target> {
    let text = text.trim();
    match text {
        "cpu" => Some(Target::Cpu),
        "disk" | "meta" => Some(Target::Disk),
        "cuda" => Some(Target::Gpu(0)),
        _ => {
            let digits = text.strip_prefix("cuda:").unwrap_or(text);
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok().map(Target::Gpu)).flatten()
        }
    }
}
