//! Lists and texts written as Python or JSON literals, read by a parser and never by evaluation.
//!
//! Datasets keep lists in a single cell: `['$6', "it's"]`, `["base64", "base64"]`. What Python's
//! `ast.literal_eval` reads (texts, numbers, `True`, `None`, lists, tuples, dictionaries) is read here, and JSON's
//! `true`, `false` and `null` besides. Names, calls and operators are refused.

use crate::{Problem, Result};

/// How deep lists may stand in lists.
const DEEPEST: usize = 32;

/// A value that a literal states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A text.
    Text(String),
    /// A number, `True`, `None` and the like, as it is written.
    Word(String),
    /// A list or a tuple.
    List(Vec<Literal>),
    /// A dictionary, in the order written.
    Map(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads a literal; nothing but blanks may stand around it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at < text.len() {
            return Err(reader.wrong("something follows the value"));
        }
        Ok(value)
    }

    /// The elements of a list.
    pub fn into_list(self) -> Option<Vec<Literal>> {
        match self {
            Literal::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value as text: texts as they are, everything else as Python's `str` shows it.
    pub fn into_text(self) -> String {
        match self {
            Literal::Text(text) | Literal::Word(text) => text,
            other => other.shown(),
        }
    }

    /// The value as Python's `repr` shows it.
    fn shown(&self) -> String {
        match self {
            Literal::Text(text) => {
                let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
                let mut shown = String::from(quote);
                for letter in text.chars() {
                    match letter {
                        '\\' => shown.push_str("\\\\"),
                        '\n' => shown.push_str("\\n"),
                        '\r' => shown.push_str("\\r"),
                        '\t' => shown.push_str("\\t"),
                        letter if letter == quote => {
                            shown.push('\\');
                            shown.push(letter);
                        }
                        letter => shown.push(letter),
                    }
                }
                shown.push(quote);
                shown
            }
            Literal::Word(word) => word.clone(),
            Literal::List(elements) => {
                let elements: Vec<String> = elements.iter().map(Literal::shown).collect();
                format!("[{}]", elements.join(", "))
            }
            Literal::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", key.shown(), value.shown()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// The elements of a list literal as texts.
pub fn texts(literal: &str) -> Result<Vec<String>> {
    match Literal::parse(literal)? {
        Literal::List(elements) => Ok(elements.into_iter().map(Literal::into_text).collect()),
        _ => Err(Problem::new("this is not a list").fix("write it as ['one', 'two']")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
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
                        Ok(Literal::List(elements))
                    }
                }
            }
            Some(b'{') => self.map(depth),
            Some(b'\'' | b'"') => self.strings(),
            Some(b'r' | b'R' | b'u' | b'U')
                if matches!(self.text.as_bytes().get(self.at + 1), Some(b'\'' | b'"')) =>
            {
                self.strings()
            }
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

    fn map(&mut self, depth: usize) -> Result<Literal> {
        self.at += 1;
        let mut entries = Vec::new();
        let mut comma = true;
        loop {
            self.blanks();
            if self.take(b'}') {
                return Ok(Literal::Map(entries));
            }
            if !comma {
                return Err(self.wrong("a comma or a closing brace is missing"));
            }
            let key = self.value(depth + 1)?;
            self.blanks();
            if !self.take(b':') {
                return Err(self.wrong("a colon is missing after a key"));
            }
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.blanks();
            comma = self.take(b',');
        }
    }

    /// Numbers and the few names that are values.
    fn word(&mut self) -> Result<Literal> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.' | '_')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let named =
            matches!(word, "True" | "False" | "None" | "true" | "false" | "null" | "nan" | "NaN" | "inf");
        if !named && (!word.contains(|digit: char| digit.is_ascii_digit()) || word.parse::<f64>().is_err()) {
            return Err(self.wrong("there is neither a text in quotes nor a number nor a list"));
        }
        let word = word.to_owned();
        self.at += end;
        Ok(Literal::Word(word))
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
            self.blanks();
            if !matches!(self.next(), Some(b'\'' | b'"')) {
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
            joined.push_str(&self.text[self.at..self.at + found]);
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
                joined.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            'U' => {
                let code = self.code(8).ok_or_else(|| self.wrong("\\U is unfinished"))?;
                joined.push(char::from_u32(code).ok_or_else(|| self.wrong("\\U names no letter"))?);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_texts_are_read_as_python_reads_them() {
        let read = |text: &str| texts(text).unwrap();
        assert_eq!(read("['$6', '$7']"), ["$6", "$7"]);
        assert_eq!(read(r#"["it's", 'say "x"', 'both \' and "']"#), ["it's", "say \"x\"", "both ' and \""]);
        assert_eq!(
            read(r"['back\\slash', '\frac', '\d', 'tab\there', '\x41\u00e9\101']").join("|"),
            "back\\slash|\u{c}rac|\\d|tab\there|AéA"
        );
        assert_eq!(read(r#"["\ud83d\ude00", "a" 'b', r'\n', '''x'y''', ]"#), ["😀", "ab", "\\n", "x'y"]);
        assert_eq!(read("[]"), Vec::<String>::new());
        assert_eq!(read("(1, 2.50, None, True, -1e3)"), ["1", "2.50", "None", "True", "-1e3"]);
        assert_eq!(read("[['a', \"b'c\"], {'k': 1}]"), ["['a', \"b'c\"]", "{'k': 1}"]);
        assert_eq!(Literal::parse("('a')").unwrap(), Literal::Text("a".into()));
        assert_eq!(Literal::parse("('a',)").unwrap(), Literal::List(vec![Literal::Text("a".into())]));
    }

    #[test]
    fn code_and_broken_literals_are_refused() {
        for text in [
            "",
            "[",
            "['a'",
            "['a' 1]",
            "[a]",
            "__import__('os')",
            "[1 + 1]",
            "['a'].pop()",
            "'",
            "'\\",
            "'\\x4'",
            "'\\U00110000'",
            "[,]",
            "{'a'}",
            "{1: 2",
            "[1] 2",
            "lambda: 0",
            "e",
            "inf_",
            "'''a'",
        ] {
            assert!(Literal::parse(text).is_err(), "{text}");
        }
        assert!(Literal::parse(&"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_from_its_python_form(text in ".*") {
            let shown = Literal::Text(text.clone()).shown();
            proptest::prop_assert_eq!(Literal::parse(&shown).unwrap(), Literal::Text(text));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\](){}'\"\\\\,:0-9a-fxuUrN \n\u{e9}]{0,40}") {
            let _ = Literal::parse(&text);
        }
    }
}
