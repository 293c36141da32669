//! Texts as sequences of comparable tokens: words, numbers and symbols, without markup and sentence marks.

use super::super::python::digit;
use super::super::vqa::number_word;

/// A word, a number, a symbol or one ideograph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// In lower case; numbers without thousands separators.
    pub text: String,
    /// From and to, in bytes of the text.
    pub span: [usize; 2],
    /// Whether a sentence or clause begins here.
    pub begins_clause: bool,
}

impl Token {
    /// Whether the token is a number.
    pub fn is_number(&self) -> bool {
        self.text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
    }

    /// Whether two tokens have the same value: "0.5" and "0.50", "3" and "three", `\pi` and `\PI`.
    pub fn same_value(&self, other: &Self) -> bool {
        let value = |token: &Self| number_word(&token.text).unwrap_or(&token.text).parse::<f64>().ok();
        match (value(self), value(other)) {
            (Some(a), Some(b)) => a == b,
            _ => self.text.eq_ignore_ascii_case(&other.text),
        }
    }
}

/// LaTeX commands that only say how something looks.
const LOOKS: [&str; 18] = [
    "boxed",
    "text",
    "textbf",
    "textit",
    "textrm",
    "mathrm",
    "mathbf",
    "mathit",
    "bf",
    "rm",
    "left",
    "right",
    "displaystyle",
    "quad",
    "qquad",
    "operatorname",
    "dfrac",
    "tfrac",
];

/// Splits a text into tokens.
///
/// Left out: white space, quotes, brackets, braces, `$ * _ #` and backticks, LaTeX commands of looks. Sentence marks
/// and line ends only mark where a clause begins. A hyphen between letters separates; before a number it is its
/// sign.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut begins_clause = true;
    let mut before: Option<char> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let length = match c {
            '\\' => command(rest),
            c if digit(c).is_some() => number(rest),
            '.' if followed_by_digit(rest) && before.is_none_or(|b| digit(b).is_none()) => number(rest),
            '-' | '−'
                if followed_by_number(rest) && before.is_none_or(|b| !b.is_alphanumeric() && b != ')') =>
            {
                c.len_utf8() + number(&rest[c.len_utf8()..])
            }
            c if is_ideograph(c) => c.len_utf8(),
            // The angles of "<image 3>".
            '<' if rest.starts_with("<image ") => {
                rest = &rest[1..];
                continue;
            }
            '>' if ends_image(&tokens) => {
                rest = &rest[1..];
                continue;
            }
            c if c.is_alphabetic() => word(rest),
            c => c.len_utf8(),
        };
        // Every step goes on by a character at least.
        let length = length.max(c.len_utf8());
        let piece = &rest[..length];
        match token_text(piece, before, rest[length..].chars().next()) {
            Piece::Token(text) => {
                tokens.push(Token { text, span: [at, at + length], begins_clause });
                begins_clause = false;
            }
            Piece::Break => begins_clause = true,
            Piece::Nothing => {}
        }
        before = piece.chars().last();
        rest = &rest[length..];
    }
    tokens
}

fn ends_image(tokens: &[Token]) -> bool {
    matches!(tokens, [.., image, number] if image.text == "image" && number.is_number())
}

enum Piece {
    Token(String),
    Break,
    Nothing,
}

fn token_text(piece: &str, before: Option<char>, after: Option<char>) -> Piece {
    let Some(first) = piece.chars().next() else { return Piece::Nothing };
    if first == '\\' {
        let name = piece.trim_start_matches('\\');
        return match name {
            "dfrac" | "tfrac" => Piece::Token("\\frac".into()),
            name if LOOKS.contains(&name) || !name.starts_with(char::is_alphabetic) => Piece::Nothing,
            _ => Piece::Token(piece.to_owned()),
        };
    }
    if piece.chars().any(|c| digit(c).is_some()) && !first.is_alphabetic() {
        return Piece::Token(plain_number(piece));
    }
    if first.is_ascii_alphabetic() && piece.is_ascii() {
        return Piece::Token(piece.to_ascii_lowercase());
    }
    if first.is_alphanumeric() {
        let folded: String = piece.chars().map(fold).collect();
        return Piece::Token(folded.to_lowercase());
    }
    match first {
        '.' | ',' | ';' | ':' | '!' | '?' | '\n' | '。' | '，' | '；' | '：' | '！' | '？' | '、' | '．'
        | '–' | '—' | '…' => Piece::Break,
        '-' | '‐' | '‑'
            if before.is_some_and(char::is_alphabetic) || after.is_some_and(char::is_alphabetic) =>
        {
            Piece::Nothing
        }
        '+' | '-' | '=' | '/' | '%' | '°' | '<' | '>' | '&' | '^' | '×' | '÷' | '±' | '≤' | '≥' | '≠'
        | '√' | 'π' | '∞' | '€' | '£' | '¥' | '@' | '~' | '|' | '−' | '·' => {
            Piece::Token(if first == '−' { "-".into() } else { first.to_string() })
        }
        c if c.is_whitespace() || c.is_ascii_punctuation() || super::region::is_invisible(c) => {
            Piece::Nothing
        }
        '“' | '”' | '‘' | '’' | '「' | '」' | '『' | '』' | '《' | '》' | '（' | '）' | '【' | '】' | '«'
        | '»' => Piece::Nothing,
        c => Piece::Token(c.to_string()),
    }
}

/// A full-width form as its plain character.
pub(super) fn fold(c: char) -> char {
    match u32::from(c) {
        code @ 0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(c),
        _ => c,
    }
}

/// Chinese, Japanese and Korean characters are tokens of their own.
pub(super) fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x2FDF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

/// Whether the second character is a digit.
fn followed_by_digit(rest: &str) -> bool {
    rest.chars().nth(1).and_then(digit).is_some()
}

/// Whether a number follows the first character, perhaps one that begins with its point.
fn followed_by_number(rest: &str) -> bool {
    let mut rest = rest.chars();
    rest.next();
    followed_by_digit(rest.as_str()) && rest.as_str().starts_with('.')
        || rest.next().and_then(digit).is_some()
}

fn command(rest: &str) -> usize {
    let name = rest[1..].bytes().take_while(u8::is_ascii_alphabetic).count();
    if name > 0 { 1 + name } else { 1 + rest[1..].chars().next().map_or(0, char::len_utf8) }
}

fn number(rest: &str) -> usize {
    let end = decimal(rest);
    // 1.05e8
    let exponent = rest[end..].strip_prefix(['e', 'E']).map(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let joined = digits[length..].starts_with(char::is_alphanumeric);
        if length == 0 || joined { 0 } else { 1 + exponent.len() - digits.len() + length }
    });
    end + exponent.unwrap_or(0)
}

fn decimal(rest: &str) -> usize {
    let mut end = 0;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let inner = matches!(c, '.' | ',')
            && chars.peek().is_some_and(|&(_, next)| digit(next).is_some())
            && (c == '.' || thousands(&rest[at + 1..]));
        if digit(c).is_none() && !inner {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// Whether exactly three digits follow.
fn thousands(rest: &str) -> bool {
    rest.chars().take_while(|&c| digit(c).is_some()).count() == 3
}

fn word(rest: &str) -> usize {
    let mut end = 0;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let apostrophe = matches!(c, '\'' | '’')
            && chars.peek().is_some_and(|&(_, next)| next.is_alphabetic() && !is_ideograph(next));
        if (!c.is_alphabetic() || is_ideograph(c)) && !apostrophe {
            break;
        }
        end = at + c.len_utf8();
    }
    end.max(rest.chars().next().map_or(1, char::len_utf8))
}

fn plain_number(piece: &str) -> String {
    if piece.bytes().all(|b| b.is_ascii_digit()) {
        return piece.to_owned();
    }
    let mut out = String::with_capacity(piece.len() + 1);
    for c in piece.chars() {
        match digit(c) {
            Some(value) => out.push(char::from(b'0' + value)),
            None if c == ',' => {}
            None if c == '.' && (out.is_empty() || out == "-") => out.push_str("0."),
            None if c == '−' => out.push('-'),
            None => out.push(c),
        }
    }
    out
}

/// Whether the word of a response is the word of an option, perhaps in singular or plural or as "reddish" is red.
pub(super) fn same_word(response: &str, option: &str) -> bool {
    if response == option {
        return true;
    }
    let longer = |long: &str, short: &str, endings: &[&str]| {
        short.len() >= 3
            && short.bytes().all(|b| b.is_ascii_alphabetic())
            && long.strip_prefix(short).is_some_and(|ending| endings.contains(&ending))
    };
    // "rabbitxxxx", "yesssss"
    let drawn_out = |ending: &str| {
        let mut letters = ending.chars();
        let first = letters.next();
        ending.len() >= 3 && letters.all(|letter| Some(letter) == first)
    };
    if option.len() >= 3 && response.strip_prefix(option).is_some_and(drawn_out) {
        return true;
    }
    longer(response, option, &["s", "es", "'s", "’s", "ish", "dish"])
        || longer(option, response, &["s", "es"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn markup_and_sentence_marks_are_left_out() {
        for (text, tokens) in [
            ("**The** dog's `cat`.", vec!["the", "dog's", "cat"]),
            ("$1,234.50 and -.5", vec!["1234.50", "and", "-0.5"]),
            ("12-20 weeks", vec!["12", "-", "20", "weeks"]),
            ("well-known", vec!["well", "known"]),
            ("100V, 5 kg", vec!["100", "v", "5", "kg"]),
            ("\\frac{1}{2} \\text{m}", vec!["\\frac", "1", "2", "m"]),
            ("可爱的泰迪熊", vec!["可", "爱", "的", "泰", "迪", "熊"]),
            ("Ｂ．１２", vec!["b", "12"]),
            ("1, 2,3", vec!["1", "2", "3"]),
            ("..5 -..5 -.5 1.5e3", vec!["0.5", "-", "0.5", "-0.5", "1.5e3"]),
            ("", vec![]),
        ] {
            assert_eq!(texts(text), tokens, "{text}");
        }
    }

    #[test]
    fn clauses_begin_behind_marks() {
        let begins: Vec<_> = tokenize("So, C. no").into_iter().map(|token| token.begins_clause).collect();
        assert_eq!(begins, [true, true, true]);
    }
}
