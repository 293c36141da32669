//! Python literals in dataset cells (`['a', "b"]`), read by a parser and never by evaluation.
//!
//! Understood: strings with prefixes and escapes, adjacent strings, integers, floats, `True`, `False`, `None`,
//! lists, tuples, sets and dictionaries, with a sign before numbers. Anything else is no literal.

use super::python::{float_repr, str_repr};

/// A value that a Python literal stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of any size, in decimal where it fits 128 bits, else as written.
    Int(String),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Literal>),
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A set.
    Set(Vec<Literal>),
    /// A dictionary: keys and values in order.
    Dict(Vec<(Literal, Literal)>),
}

/// Containers within containers beyond this depth are no literal.
const DEEPEST: usize = 64;

impl Literal {
    /// Reads `text` as one literal; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { text, at: 0 };
        // `eval` and `ast.literal_eval` ignore leading blanks and tabs.
        parser.skip_blanks();
        let mut value = parser.value(0)?;
        parser.skip_blanks();
        if parser.peek() == Some(',') {
            // A bare `1, 2` is a tuple.
            let mut items = vec![value];
            while parser.take(',') {
                parser.skip_blanks();
                if parser.at == text.len() {
                    break;
                }
                items.push(parser.value(0)?);
                parser.skip_blanks();
            }
            value = Self::Tuple(items);
        }
        (parser.at == text.len()).then_some(value)
    }

    /// `str()` of the value.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.repr(),
        }
    }

    /// `repr()` of the value.
    pub fn repr(&self) -> String {
        let join = |items: &[Self]| items.iter().map(Self::repr).collect::<Vec<_>>().join(", ");
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(digits) => digits.clone(),
            Self::Float(x) => float_repr(*x),
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

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r' | '\x0c')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Literal> {
        if depth > DEEPEST {
            return None;
        }
        match self.peek()? {
            '[' => self.sequence(']', depth).map(|(items, _)| Literal::List(items)),
            '(' => self.sequence(')', depth).map(|(mut items, comma)| match (items.len(), comma) {
                (1, false) => items.swap_remove(0),
                _ => Literal::Tuple(items),
            }),
            '{' => self.braces(depth),
            '+' | '-' | '0'..='9' | '.' => self.number(),
            _ => self.string_or_name(),
        }
    }

    fn sequence(&mut self, close: char, depth: usize) -> Option<(Vec<Literal>, bool)> {
        self.next();
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            self.skip_blanks();
            if self.take(close) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            comma = self.take(',');
        }
    }

    fn braces(&mut self, depth: usize) -> Option<Literal> {
        self.next();
        let (mut keys, mut values, mut comma) = (Vec::new(), Vec::new(), true);
        loop {
            self.skip_blanks();
            if self.take('}') {
                break;
            }
            if !comma {
                return None;
            }
            keys.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take(':') {
                self.skip_blanks();
                values.push(self.value(depth + 1)?);
                self.skip_blanks();
            }
            comma = self.take(',');
        }
        match values.len() {
            0 if !keys.is_empty() => Some(Literal::Set(keys)),
            n if n == keys.len() => Some(Literal::Dict(keys.into_iter().zip(values).collect())),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Literal> {
        let mut negative = false;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            negative ^= sign == '-';
            self.at += 1;
            self.skip_blanks();
        }
        let start = self.at;
        while let Some(c) = self.peek() {
            let after_exponent = matches!(c, '+' | '-')
                && self.rest_before(start).ends_with(['e', 'E'])
                && !self.rest_before(start).starts_with("0x");
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || after_exponent) {
                break;
            }
            self.at += 1;
        }
        let written = self.rest_before(start).to_owned();
        if !written.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let sign = if negative { "-" } else { "" };
        let lower = written.to_ascii_lowercase();
        let radix = match lower.get(..2) {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        if radix != 10 {
            let digits = lower.get(2..)?.replace('_', "");
            let value = u128::from_str_radix(&digits, radix).ok()?;
            return Some(Literal::Int(format!("{sign}{value}")));
        }
        if written.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
            if written.ends_with('_') || written.contains("__") {
                return None;
            }
            let digits = written.replace('_', "");
            let trimmed = digits.trim_start_matches('0');
            if trimmed.is_empty() {
                return Some(Literal::Int("0".into()));
            }
            // Python refuses integers written with leading zeros.
            return (trimmed.len() == digits.len()).then(|| Literal::Int(format!("{sign}{digits}")));
        }
        let value = super::python::float(&written)?;
        written
            .bytes()
            .next()?
            .is_ascii_digit()
            .then_some(())
            .or_else(|| written.starts_with('.').then_some(()))?;
        Some(Literal::Float(if negative { -value } else { value }))
    }

    fn rest_before(&self, start: usize) -> &str {
        self.text.get(start..self.at).unwrap_or("")
    }

    fn string_or_name(&mut self) -> Option<Literal> {
        for (name, value) in
            [("None", Literal::None), ("True", Literal::Bool(true)), ("False", Literal::Bool(false))]
        {
            if let Some(rest) = self.rest().strip_prefix(name)
                && !rest.starts_with(|c: char| super::python::is_word(c))
            {
                self.at += name.len();
                return Some(value);
            }
        }
        let mut text = self.string()?;
        loop {
            let before = self.at;
            self.skip_blanks();
            match self.string() {
                Some(more) => text.push_str(&more),
                None => {
                    self.at = before;
                    return Some(Literal::Text(text));
                }
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let parsed = self.string_here();
        if parsed.is_none() {
            self.at = start;
        }
        parsed
    }

    fn string_here(&mut self) -> Option<String> {
        let mut raw = false;
        if let Some(prefix @ ('r' | 'R' | 'u' | 'U')) = self.peek() {
            raw = prefix.eq_ignore_ascii_case(&'r');
            self.at += 1;
        }
        let quote = self.next().filter(|&c| c == '\'' || c == '"')?;
        let triple = self.rest().starts_with(&format!("{quote}{quote}"));
        if triple {
            self.at += 2;
        }
        let close = if triple { quote.to_string().repeat(3) } else { quote.to_string() };
        let mut out = String::new();
        loop {
            if self.rest().starts_with(&close) {
                self.at += close.len();
                return Some(out);
            }
            match self.next()? {
                '\n' if !triple => return None,
                '\\' if raw => {
                    out.push('\\');
                    out.push(self.next()?);
                }
                '\\' => self.escape(&mut out)?,
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let c = self.next()?;
        let simple = match c {
            '\n' => return Some(()),
            '\\' | '\'' | '"' => c,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(next) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + next;
                    self.at += 1;
                }
                char::from_u32(code)?
            }
            // A named character (`\N{…}`) would need the table of names.
            'N' => return None,
            // An unknown escape keeps its backslash.
            other => {
                out.push('\\');
                other
            }
        };
        out.push(simple);
        Some(())
    }

    fn code(&mut self, digits: usize) -> Option<char> {
        let code = u32::from_str_radix(self.rest().get(..digits)?, 16).ok()?;
        self.at += digits;
        char::from_u32(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Literal::parse(cell).map(|v| v.repr()).as_deref(), Some(repr), "{cell}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
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
            assert_eq!(Literal::parse(cell), None, "{cell}");
        }
        assert_eq!(Literal::parse(&"[".repeat(100_000)), None);
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
