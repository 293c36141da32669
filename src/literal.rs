//! Lists and texts written as Python or JSON literals, read by a parser and never by evaluation.
//!
//! Datasets keep lists in a single cell: `['$6', "it's"]`, `["base64", "base64"]`. Read are texts with prefixes and
//! escapes (neighbours are one text), numbers, `True`, `False`, `None`, lists, tuples, sets and dictionaries; names,
//! calls and operators are refused. [`Literal::python`] reads what Python's `ast.literal_eval` does, and
//! [`Literal::parse`] JSON's `true`, `false`, `null` and its escapes besides.

use crate::scoring::python::{self, float_repr, str_repr};
use crate::{Problem, Result};

/// How deep lists may stand in lists.
const DEEPEST: usize = 64;

/// A value that a literal states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A number as it is written, its sign before it.
    Number(String),
    /// A name that is a value in JSON or a table's text, and none in Python: `true`, `null`, `nan` and the like.
    Word(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Literal>),
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A set.
    Set(Vec<Literal>),
    /// A dictionary: keys and values in the order written.
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads a literal of Python or JSON; nothing but blanks may stand around it.
    ///
    /// # Errors
    /// It is none; the place is a character of the text.
    pub fn parse(text: &str) -> Result<Self> {
        Reader { text, at: 0, python: false }.whole()
    }

    /// Reads a literal as Python does; `None` where Python would refuse it.
    pub fn python(text: &str) -> Option<Self> {
        Reader { text, at: 0, python: true }.whole().ok()
    }

    /// The value as a person wrote it: texts, numbers and words as they are, everything else as Python shows it.
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Word(text) => text,
            other => other.repr(),
        }
    }

    /// The value as Python's `str` gives it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.repr(),
        }
    }

    /// The value as Python's `repr` gives it.
    pub fn repr(&self) -> String {
        let join = |items: &[Self]| items.iter().map(Self::repr).collect::<Vec<_>>().join(", ");
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Number(written) => number_repr(written).unwrap_or_else(|| written.clone()),
            Self::Word(word) => word.clone(),
            Self::Text(text) => str_repr(text),
            Self::List(items) => format!("[{}]", join(items)),
            Self::Tuple(items) if items.len() == 1 => format!("({},)", join(items)),
            Self::Tuple(items) => format!("({})", join(items)),
            Self::Set(items) => format!("{{{}}}", join(items)),
            Self::Dict(items) => {
                let pairs: Vec<_> =
                    items.iter().map(|(k, v)| format!("{}: {}", k.repr(), v.repr())).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// The elements of a list or tuple as texts.
///
/// # Errors
/// As [`Literal::parse`], or it is no list.
pub fn texts(literal: &str) -> Result<Vec<String>> {
    match Literal::parse(literal)? {
        Literal::List(elements) | Literal::Tuple(elements) => {
            Ok(elements.into_iter().map(Literal::into_text).collect())
        }
        _ => Err(Problem::new("this is not a list").fix("write it as ['one', 'two']")),
    }
}

/// How Python shows a number that is written so; `None` where Python knows no such number.
fn number_repr(written: &str) -> Option<String> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    let sign = if digits.len() < written.len() { "-" } else { "" };
    let lower = digits.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix != 10 {
        let value = u128::from_str_radix(&lower.get(2..)?.replace('_', ""), radix).ok()?;
        return Some(format!("{sign}{value}"));
    }
    if digits.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
            return None;
        }
        let plain = digits.replace('_', "");
        let trimmed = plain.trim_start_matches('0');
        // Python refuses integers written with leading zeros, besides zero itself.
        return match trimmed.len() {
            0 => Some("0".into()),
            n if n == plain.len() => Some(format!("{sign}{plain}")),
            _ => None,
        };
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value = python::float(digits)?;
    Some(float_repr(if sign.is_empty() { value } else { -value }))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Whether only what Python reads is read.
    python: bool,
}

impl Reader<'_> {
    fn whole(&mut self) -> Result<Literal> {
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
        assert_eq!(Literal::parse("('a',)").unwrap(), Literal::Tuple(vec![Literal::Text("a".into())]));
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

    #[test]
    fn words_of_json_are_values_beside_those_of_python() {
        assert_eq!(texts("[true, null, NaN, 'x']").unwrap(), ["true", "null", "NaN", "x"]);
        assert_eq!(Literal::python("[true]"), None);
        assert_eq!(Literal::parse("'a\nb'").unwrap(), Literal::Text("a\nb".into()));
        assert_eq!(Literal::python("'\\ud83d'"), None);
    }

    #[test]
    fn representations_come_back_as_python_gives_them() {
        // Left: a cell; right: repr(ast.literal_eval(cell)) by CPython 3.11.
        for (cell, repr) in [
            ("['a', \"b's\"]", "['a', \"b's\"]"),
            ("[]", "[]"),
            ("[1, 2.50, -3]", "[1, 2.5, -3]"),
            ("('a','b')", "('a', 'b')"),
            ("('a')", "'a'"),
            ("('a',)", "('a',)"),
            ("1, 2", "(1, 2)"),
            ("'cat'", "'cat'"),
            ("['\\\\frac{1}{2}', 'x\\ny']", "['\\\\frac{1}{2}', 'x\\ny']"),
            ("['a' 'b',]", "['ab']"),
            ("[None, True, {'k': [1]}, {1}]", "[None, True, {'k': [1]}, {1}]"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("1e3", "1000.0"),
            ("'\\u732b'", "'猫'"),
            ("r'\\n'", "'\\\\n'"),
            ("'\\d'", "'\\\\d'"),
        ] {
            assert_eq!(Literal::python(cell).map(|v| v.repr()).as_deref(), Some(repr), "{cell}");
        }
    }

    #[test]
    fn what_python_refuses_is_no_literal_of_its() {
        for cell in [
            "",
            "cat",
            "[1",
            "[1 2]",
            "__import__('os')",
            "[x for x in 'ab']",
            "'a",
            "01",
            "1__0",
            "nan",
            "inf",
            "1.2.3",
            "[,]",
            "2010-2011",
            "3 to 4",
            "{1: 2, 3}",
            "'a\nb'",
            "\\",
        ] {
            assert_eq!(Literal::python(cell), None, "{cell}");
        }
        assert_eq!(Literal::python(&"[".repeat(100_000)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_from_its_python_form(text in ".*") {
            let shown = Literal::Text(text.clone()).repr();
            proptest::prop_assert_eq!(Literal::python(&shown), Some(Literal::Text(text.clone())));
            proptest::prop_assert_eq!(Literal::parse(&shown).unwrap(), Literal::Text(text));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\](){}'\"\\\\,:0-9a-fxuUrN \n\u{e9}]{0,40}") {
            let _ = (Literal::parse(&text), Literal::python(&text));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_representations_read_back(text in "[\\[\\](){}'\"\\\\a-c0-9.,:_xe +-]{0,24}") {
            if let Some(value) = Literal::parse(&text) {
                let repr = value.repr();
                // Non-finite floats have no literal, and an empty set is written as an empty dictionary.
                if !repr.contains("inf") && !repr.contains("{}") {
                    proptest::prop_assert_eq!(Literal::parse(&repr).map(|v| v.repr()), Some(repr));
                }
            }
        }
    }
}
