//! The parser of literals.

use super::{DEEPEST, Literal, number_repr};
use crate::scoring::python;
use crate::{Problem, Result};

pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// Whether only what Python reads is read.
    pub(super) python: bool,
}

impl Reader<'_> {
    pub(super) fn whole(&mut self) -> Result<Literal> {
        let value = self.value(0)?;
        self.blanks();
        // To Python, values with commas between them are a tuple.
        if self.python && self.next() == Some(b',') {
            let mut items = vec![value];
            while self.take(b',') {
                self.blanks();
                if self.at == self.text.len() {
                    break;
                }
                items.push(self.value(0)?);
                self.blanks();
            }
            return self.ended(Literal::Tuple(items));
        }
        self.ended(value)
    }

    fn ended(&self, value: Literal) -> Result<Literal> {
        if self.at < self.text.len() { Err(self.wrong("something follows the value")) } else { Ok(value) }
    }

    fn wrong(&self, what: &str) -> Problem {
        let letter = self.text.get(..self.at).map_or(self.at, |before| before.chars().count()) + 1;
        Problem::new(format!("this is not a literal list or text: {what} (at character {letter})"))
            .fix("write it as ['one', 'two'], with backslashes and quotes escaped")
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.next() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.next().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal> {
        if depth > DEEPEST {
            return Err(self.wrong("lists stand too deep in lists"));
        }
        self.blanks();
        match self.next() {
            None => Err(self.wrong("it ends before the value")),
            Some(b'[') => self.list(b']', depth).map(|(elements, _)| Literal::List(elements)),
            Some(b'(') => {
                let (mut elements, comma) = self.list(b')', depth)?;
                match elements.pop() {
                    // A value in brackets is the value itself.
                    Some(only) if elements.is_empty() && !comma => Ok(only),
                    last => {
                        elements.extend(last);
                        Ok(Literal::Tuple(elements))
                    }
                }
            }
            Some(b'{') => self.braces(depth),
            Some(b'+' | b'-' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) if self.at_text() => self.strings(),
            Some(_) => self.word(),
        }
    }

    /// Values between brackets, and whether a comma follows the last one.
    fn list(&mut self, end: u8, depth: usize) -> Result<(Vec<Literal>, bool)> {
        self.at += 1;
        let mut elements = Vec::new();
        let mut comma = false;
        loop {
            self.blanks();
            if self.take(end) {
                return Ok((elements, comma));
            }
            if !elements.is_empty() && !comma {
                return Err(self.wrong("a comma or a closing bracket is missing"));
            }
            elements.push(self.value(depth + 1)?);
            self.blanks();
            comma = self.take(b',');
        }
    }

    /// A set, or a dictionary.
    fn braces(&mut self, depth: usize) -> Result<Literal> {
        self.at += 1;
        let (mut keys, mut values, mut comma) = (Vec::new(), Vec::new(), true);
        loop {
            self.blanks();
            if self.take(b'}') {
                break;
            }
            if !comma {
                return Err(self.wrong("a comma or a closing brace is missing"));
            }
            keys.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b':') {
                values.push(self.value(depth + 1)?);
                self.blanks();
            }
            comma = self.take(b',');
        }
        match values.len() {
            0 if !keys.is_empty() => Ok(Literal::Set(keys)),
            n if n == keys.len() => Ok(Literal::Dict(keys.into_iter().zip(values).collect())),
            _ => Err(self.wrong("a colon is missing after a key")),
        }
    }

    /// A number, with any signs before it.
    fn number(&mut self) -> Result<Literal> {
        let mut negative = false;
        while let Some(sign @ (b'+' | b'-')) = self.next() {
            negative ^= sign == b'-';
            self.at += 1;
            self.blanks();
        }
        let rest = &self.text[self.at..];
        let mut before = ' ';
        let end = rest
            .find(|c: char| {
                let exponent =
                    matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !rest.starts_with("0x");
                before = c;
                !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent)
            })
            .unwrap_or(rest.len());
        let written = format!("{}{}", if negative { "-" } else { "" }, &rest[..end]);
        if number_repr(&written).is_none() {
            return Err(self.wrong("this is no number"));
        }
        self.at += end;
        Ok(Literal::Number(written))
    }

    /// The few names that are values.
    fn word(&mut self) -> Result<Literal> {
        let rest = &self.text[self.at..];
        let end = rest.find(|letter: char| !python::is_word(letter)).unwrap_or(rest.len());
        let value = match &rest[..end] {
            "None" => Literal::None,
            "True" => Literal::Bool(true),
            "False" => Literal::Bool(false),
            word @ ("true" | "false" | "null" | "nan" | "NaN" | "inf" | "Infinity") if !self.python => {
                Literal::Word(word.to_owned())
            }
            _ => return Err(self.wrong("there is neither a text in quotes nor a number nor a list")),
        };
        self.at += end;
        Ok(value)
    }

    /// Whether a text begins here, with a prefix or without.
    fn at_text(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let prefixed = matches!(rest.first(), Some(b'r' | b'R' | b'u' | b'U'));
        matches!(rest.get(usize::from(prefixed)), Some(b'\'' | b'"'))
    }

    /// One text, or several side by side, which Python joins.
    fn strings(&mut self) -> Result<Literal> {
        let mut joined = String::new();
        loop {
            let raw = match self.next() {
                Some(b'r' | b'R') => Some(true),
                Some(b'u' | b'U') => Some(false),
                _ => None,
            };
            self.at += usize::from(raw.is_some());
            self.string(raw == Some(true), &mut joined)?;
            let end = self.at;
            self.blanks();
            if !self.at_text() {
                self.at = end;
                return Ok(Literal::Text(joined));
            }
        }
    }

    fn string(&mut self, raw: bool, joined: &mut String) -> Result<()> {
        let Some(quote @ (b'\'' | b'"')) = self.next() else {
            return Err(self.wrong("a text must begin with a quote"));
        };
        let three = [quote; 3];
        let bytes = self.text.as_bytes();
        let closing: &[u8] = if bytes[self.at..].starts_with(&three) { &three } else { &three[..1] };
        self.at += closing.len();
        loop {
            let Some(found) = memchr::memchr2(quote, b'\\', &bytes[self.at..]) else {
                self.at = bytes.len();
                return Err(self.wrong("a text has no closing quote"));
            };
            let plain = &self.text[self.at..self.at + found];
            if self.python && closing.len() == 1 && plain.contains('\n') {
                return Err(self.wrong("a line ends within a text"));
            }
            joined.push_str(plain);
            self.at += found;
            if bytes[self.at] == b'\\' {
                if raw {
                    joined.push('\\');
                    self.at += 1;
                    if let Some(letter) = self.text[self.at..].chars().next() {
                        joined.push(letter);
                        self.at += letter.len_utf8();
                    }
                } else {
                    self.escape(joined)?;
                }
            } else if bytes[self.at..].starts_with(closing) {
                self.at += closing.len();
                return Ok(());
            } else {
                joined.push(char::from(quote));
                self.at += 1;
            }
        }
    }

    /// What follows a backslash, by Python's rules.
    fn escape(&mut self, joined: &mut String) -> Result<()> {
        self.at += 1;
        let Some(letter) = self.text[self.at..].chars().next() else {
            return Err(self.wrong("it ends after a backslash"));
        };
        self.at += letter.len_utf8();
        match letter {
            '\n' => {}
            '\\' | '\'' | '"' => joined.push(letter),
            'a' => joined.push('\u{7}'),
            'b' => joined.push('\u{8}'),
            'f' => joined.push('\u{c}'),
            'n' => joined.push('\n'),
            'r' => joined.push('\r'),
            't' => joined.push('\t'),
            'v' => joined.push('\u{b}'),
            '0'..='7' => {
                let mut code = letter.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.next().and_then(|byte| char::from(byte).to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                joined.extend(char::from_u32(code));
            }
            'x' => joined
                .push(self.code(2).and_then(char::from_u32).ok_or_else(|| self.wrong("\\x is unfinished"))?),
            'u' => {
                let mut code = self.code(4).ok_or_else(|| self.wrong("\\u is unfinished"))?;
                // JSON writes letters beyond 16 bits as two halves.
                if (0xD800..0xDC00).contains(&code) && self.text[self.at..].starts_with("\\u") {
                    let before = self.at;
                    self.at += 2;
                    match self.code(4) {
                        Some(low @ 0xDC00..0xE000) => {
                            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                        }
                        _ => self.at = before,
                    }
                }
                match char::from_u32(code) {
                    Some(letter) => joined.push(letter),
                    None if self.python => return Err(self.wrong("half a letter stands alone")),
                    None => joined.push(char::REPLACEMENT_CHARACTER),
                }
            }
            'U' => {
                let code = self.code(8).ok_or_else(|| self.wrong("\\U is unfinished"))?;
                joined.push(char::from_u32(code).ok_or_else(|| self.wrong("\\U names no letter"))?);
            }
            'N' if self.python => return Err(self.wrong("letters by name are not known")),
            // Python keeps the backslash of an escape that it does not know.
            letter => {
                joined.push('\\');
                joined.push(letter);
            }
        }
        Ok(())
    }

    /// A code of exactly so many hexadecimal digits.
    fn code(&mut self, digits: usize) -> Option<u32> {
        let text = self.text.get(self.at..self.at + digits)?;
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += digits;
        u32::from_str_radix(text, 16).ok()
    }
}
