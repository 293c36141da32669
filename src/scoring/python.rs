//! Text and numbers as Python sees them, so that rules reproduced from Python agree row by row.
//!
//! Rust and Python differ in small ways that decide scores: the control characters `\x1c` to `\x1f` are white
//! space in Python, `float()` reads `1_000`, `١٢` and `Infinity`, `round(x, 2)` rounds the exact binary value,
//! and `\w` knows neither combining marks nor circled letters.

use std::sync::LazyLock;

use regex::Regex;

/// `str.isspace()` of one character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.split()`: the words between white space.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// `' '.join(text.split())`.
pub fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in words(text) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// `len(text)`: code points.
pub fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The code points that stand for zero in each block of decimal digits (Unicode category Nd).
const ZEROS: [u32; 68] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50,
    0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40,
    0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066,
    0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950,
    0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC,
    0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E950, 0x1FBF0,
];

/// The value of a decimal digit of any script; what `\d` of a Python pattern matches.
pub fn digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.to_digit(10).and_then(|value| u8::try_from(value).ok());
    }
    let code = u32::from(c);
    let block = ZEROS.partition_point(|&zero| zero <= code);
    let offset = code - ZEROS.get(block.checked_sub(1)?)?;
    u8::try_from(offset).ok().filter(|&value| value < 10)
}

/// `\w` of a Python pattern: letters, numbers of every kind, the underscore.
pub fn is_word(c: char) -> bool {
    #[allow(clippy::unwrap_used)] // a fixed pattern
    static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{L}$").unwrap());
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_numeric() || (c.is_alphabetic() && LETTER.is_match(c.encode_utf8(&mut [0; 4])))
}

/// `float(text)`; `None` where Python raises `ValueError`.
///
/// White space around is ignored (but not `\x1c` to `\x1f`, unlike elsewhere), digits of any script count,
/// underscores may stand between digits, and `inf`, `infinity` and `nan` are numbers.
pub fn float(text: &str) -> Option<f64> {
    let mut plain = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        if c == '_' {
            let after = chars.peek().copied().and_then(digit);
            if before.and_then(digit).is_none() || after.is_none() {
                return None;
            }
        } else if let Some(value) = digit(c) {
            plain.push(char::from(b'0' + value));
        } else if c.is_ascii() {
            plain.push(c);
        } else {
            return None;
        }
        before = Some(c);
    }
    plain.parse().ok()
}

/// `round(x, 2)`: the nearest two-decimal number to the exact binary value, exact halves to even.
pub fn round2(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    format!("{x:.2}").parse().unwrap_or(x)
}

/// `repr(x)` of a float.
pub fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{x}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// `repr(text)` of a string: single quotes unless the text holds some and no double ones.
pub fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 || (0x7f..0xa1).contains(&u32::from(c)) || c == '\u{ad}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The bytes of `text` from which the bytes `from..to` of its lower-case form came.
pub fn span_before_lowering(text: &str, from: usize, to: usize) -> [usize; 2] {
    if text.is_ascii() {
        return [from.min(text.len()), to.min(text.len())];
    }
    let (mut lowered, mut start, mut end) = (0, None, text.len());
    for (at, c) in text.char_indices() {
        if start.is_none() && lowered >= from {
            start = Some(at);
        }
        if lowered >= to {
            end = at;
            break;
        }
        lowered += c.to_lowercase().map(char::len_utf8).sum::<usize>();
    }
    let start = start.unwrap_or(text.len());
    [start.min(end), end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_those_of_python() {
        // Each pair was produced by CPython 3.11.
        for (text, value) in [
            ("1_000", Some(1000.0)),
            ("１０００", Some(1000.0)),
            ("\u{a0}١٢\n", Some(12.0)),
            ("١٢\u{1f}", None),
            ("Infinity", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e400", Some(f64::INFINITY)),
            ("1e1_0", Some(1e10)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1_.5", None),
            ("0x10", None),
            ("1,000", None),
            (".", None),
            ("", None),
            ("−5", None),
        ] {
            assert_eq!(float(text), value, "{text:?}");
        }
        assert!(float("+NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn rounding_is_that_of_python() {
        for (x, rounded) in [
            (0.125, 0.12),
            (0.375, 0.38),
            (2.675, 2.67),
            (1.005, 1.0),
            (0.625, 0.62),
            (0.875, 0.88),
            (-0.125, -0.12),
        ] {
            assert_eq!(round2(x), rounded, "{x}");
        }
        assert!(round2(-0.001).is_sign_negative());
    }

    #[test]
    fn representations_are_those_of_python() {
        for (x, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float_repr(x), text);
        }
        assert_eq!(str_repr("it's"), "\"it's\"");
        assert_eq!(str_repr("a\n'\"\\"), "'a\\n\\'\"\\\\'");
    }

    #[test]
    fn words_and_characters_follow_python() {
        assert!(is_word('é') && is_word('²') && is_word('一') && is_word('_'));
        assert!(!is_word('\u{301}') && !is_word('Ⓐ') && !is_word('°'));
        assert_eq!(words("a\u{1c}b\u{3000} c").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(digit('９'), Some(9));
        assert_eq!(digit('²'), None);
    }

    #[test]
    fn spans_survive_lowering() {
        let text = "İX猫Yz";
        let lowered = text.to_lowercase();
        let at = lowered.find('y').unwrap();
        let [from, to] = span_before_lowering(text, at, at + 2);
        assert_eq!(&text[from..to], "Yz");
    }
}
