//! Metrics of visual question answering as VLMEvalKit computes them (`vlmeval/dataset/utils/vqa_eval.py` and
//! `vlmeval/smp`, snapshot e8e78f05 of 2026-08-18), with their oddities.

use super::python::{self, collapse, digit, float, is_space, strip, words};

/// Punctuation that the VQA metric removes or turns into spaces.
const PUNCTUATION: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!',
];

/// Periods beyond this number stay: the original passes a flag where a count belongs.
const PERIODS_REMOVED: usize = 32;

/// `process_punctuation`: each mark of a fixed set is deleted where it stands beside a space anywhere in the text
/// or where the text holds digit-comma-digit, else it becomes a space; then the first 32 periods without a digit
/// beside them go.
pub fn process_punctuation(text: &str) -> String {
    let mut beside_space = [false; PUNCTUATION.len()];
    let mut mark = |c: Option<char>| {
        if let Some(at) = PUNCTUATION.iter().position(|&p| Some(p) == c)
            && let Some(flag) = beside_space.get_mut(at)
        {
            *flag = true;
        }
    };
    let mut digit_comma_digit = false;
    let (mut before, mut last) = (None::<char>, None::<char>);
    for c in text.chars() {
        if c == ' ' {
            mark(last);
        } else if last == Some(' ') {
            mark(Some(c));
        }
        digit_comma_digit |= last == Some(',') && digit(c).is_some() && before.and_then(digit).is_some();
        (before, last) = (last, Some(c));
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match PUNCTUATION.iter().position(|&p| p == c) {
            None => out.push(c),
            Some(at) if digit_comma_digit || beside_space.get(at) == Some(&true) => {}
            Some(_) => out.push(' '),
        }
    }
    remove_periods(&out)
}

fn remove_periods(text: &str) -> String {
    if !text.contains('.') {
        return text.to_owned();
    }
    let (mut out, mut removed, mut before) = (String::with_capacity(text.len()), 0, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let beside_digit = |c: Option<char>| c.and_then(digit).is_some();
        if c == '.'
            && removed < PERIODS_REMOVED
            && !beside_digit(before)
            && !beside_digit(chars.peek().copied())
        {
            removed += 1;
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// Number words and articles: lower case, `none` and `zero` to `ten` as digits, articles dropped, a fixed table of
/// contractions completed, single spaces.
pub fn process_digit_article(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(lower.len());
    for word in words(&lower) {
        let word = number_word(word).unwrap_or(word);
        if matches!(word, "a" | "an" | "the") {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&contraction(word));
    }
    out
}

/// The digit that a number word stands for (`none` is 0).
pub fn number_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "none" | "zero" => "0",
        "one" => "1",
        "two" => "2",
        "three" => "3",
        "four" => "4",
        "five" => "5",
        "six" => "6",
        "seven" => "7",
        "eight" => "8",
        "nine" => "9",
        "ten" => "10",
        _ => return None,
    })
}

/// Contractions of the VQA metric (VQA evaluation tools of A. Agrawal and others) that are their full form with
/// every apostrophe left out.
const WITHOUT_APOSTROPHES: [&str; 73] = [
    "ain't",
    "aren't",
    "can't",
    "could've",
    "couldn't",
    "didn't",
    "doesn't",
    "don't",
    "hadn't",
    "hasn't",
    "haven't",
    "he'd",
    "he's",
    "how'd",
    "how'll",
    "how's",
    "isn't",
    "it'd",
    "it'll",
    "ma'am",
    "mightn't",
    "might've",
    "mustn't",
    "must've",
    "needn't",
    "not've",
    "o'clock",
    "oughtn't",
    "shan't",
    "should've",
    "shouldn't",
    "somebody'll",
    "somebody's",
    "someone'd",
    "someone'll",
    "someone's",
    "something'd",
    "something'll",
    "that's",
    "there'd",
    "there're",
    "there's",
    "they'd",
    "they'll",
    "they're",
    "they've",
    "'twas",
    "wasn't",
    "we've",
    "weren't",
    "what'll",
    "what're",
    "what's",
    "what've",
    "when's",
    "where'd",
    "where's",
    "where've",
    "who'd",
    "who'll",
    "who's",
    "who've",
    "why'll",
    "why're",
    "why's",
    "won't",
    "would've",
    "wouldn't",
    "y'all",
    "you'd",
    "you'll",
    "you're",
    "you've",
];

/// Contractions of two steps, each written without its first or without its second apostrophe.
const TWO_APOSTROPHES: [&str; 17] = [
    "couldn't've",
    "hadn't've",
    "he'd've",
    "it'd've",
    "mightn't've",
    "she'd've",
    "shouldn't've",
    "somebody'd've",
    "someone'd've",
    "something'd've",
    "there'd've",
    "they'd've",
    "we'd've",
    "who'd've",
    "wouldn't've",
    "y'all'll",
    "you'd've",
];

/// What is written irregularly in the original's table.
const IRREGULAR: [(&str, &str); 7] = [
    ("ow's'at", "'ow's'at"),
    ("'ows'at", "'ow's'at"),
    ("'ow'sat", "'ow's'at"),
    ("somebody'd", "somebodyd"),
    ("yall'd've", "y'all'd've"),
    ("y'alld've", "y'all'd've"),
    ("y'all'dve", "y'all'd've"),
];

fn contraction(word: &str) -> std::borrow::Cow<'_, str> {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    static TABLE: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
        let mut table = HashMap::new();
        for full in WITHOUT_APOSTROPHES {
            table.insert(full.replace('\'', ""), full);
        }
        for full in TWO_APOSTROPHES {
            if let (Some(first), Some(second)) = (full.find('\''), full.rfind('\'')) {
                for at in [first, second] {
                    let mut short = full.to_owned();
                    short.remove(at);
                    table.insert(short, full);
                }
            }
        }
        table.extend(IRREGULAR.map(|(short, full)| (short.to_owned(), full)));
        table
    });
    match TABLE.get(word) {
        Some(full) => (*full).into(),
        None => word.into(),
    }
}

/// `process_answer`: white space, punctuation, then words.
pub fn process_answer(text: &str) -> String {
    let flat: String = text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    process_digit_article(&process_punctuation(strip(&flat)))
}

/// Leave-one-out agreement with each gold answer: of the *other* ones, a third for each that equals the prediction,
/// 1 at most. With one gold answer it is always 0. All texts are already processed.
pub fn vqa_matches(golds: &[String], prediction: &str) -> Vec<f64> {
    let equal = golds.iter().filter(|gold| *gold == prediction).count();
    golds.iter().map(|gold| ((equal - usize::from(gold == prediction)) as f64 / 3.0).min(1.0)).collect()
}

/// Levenshtein distance in code points, by a bit-parallel algorithm (Hyyrö 2003): 64 pairs of characters a step.
pub fn levenshtein(a: &str, b: &str) -> usize {
    rapidfuzz::distance::levenshtein::distance(a.chars(), b.chars())
}

/// Normalised distance of ANLS: lower case and single spaces for the distance, but the lengths of the texts as
/// given (in upper case) below the line.
pub fn anls_distance(gold: &str, prediction: &str) -> f64 {
    let length = python::length(&gold.to_uppercase()).max(python::length(&prediction.to_uppercase()));
    relative_distance(&collapse(&gold.to_lowercase()), &collapse(&prediction.to_lowercase()), length)
}

/// Pairs of characters up to which a distance is worked out (about a second): two texts of 100,000 characters.
const PAIRS: usize = 10_000_000_000;

/// Levenshtein distance as a share of `length`; 0 where that is 0. Two texts so long that nobody could wait for
/// their distance count as wholly different where they differ at all.
pub fn relative_distance(a: &str, b: &str, length: usize) -> f64 {
    if length == 0 || a == b {
        return 0.0;
    }
    let pairs = python::length(a).saturating_mul(python::length(b));
    let distance = if pairs > PAIRS { length } else { levenshtein(a, b) };
    distance as f64 / length as f64
}

/// ANLS over several gold answers: 1 less the smallest distance, 0 where that is under one half.
pub fn anls_score(distances: &[f64]) -> f64 {
    let score = 1.0 - distances.iter().copied().fold(f64::INFINITY, f64::min);
    if score < 0.5 || !score.is_finite() { 0.0 } else { score }
}

/// Relaxed correctness of ChartQA: numbers within 5 % of a gold number that is not zero, else equal text in lower
/// case. A trailing percent sign divides by 100.
pub fn relaxed_match(gold: &str, prediction: &str) -> bool {
    let number = |text: &str| match text.ends_with('%') {
        true => float(text.trim_end_matches('%')).map(|x| x / 100.0),
        false => float(text),
    };
    match (number(prediction), number(gold)) {
        (Some(p), Some(g)) if g != 0.0 => (p - g).abs() / g.abs() <= 0.05,
        _ => prediction.to_lowercase() == gold.to_lowercase(),
    }
}

/// Exact accuracy of OCRVQA and GQA: equal after trimming, in lower case.
pub fn exact_match(gold: &str, prediction: &str) -> bool {
    strip(gold).to_lowercase() == strip(prediction).to_lowercase()
}

/// OCRBench: whether a gold text stands in the prediction. Handwritten formulas compare case-sensitively without
/// blanks, everything else in lower case with line ends as spaces.
pub fn ocrbench_match(gold: &str, prediction: &str, handwritten_formula: bool) -> bool {
    if handwritten_formula {
        let plain = |text: &str| strip(text).replace(['\n', ' '], "");
        plain(prediction).contains(&plain(gold))
    } else {
        let plain = |text: &str| text.to_lowercase().trim_matches(is_space).replace('\n', " ");
        plain(prediction).contains(&plain(gold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_in_code_points() {
        for (a, b, distance) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("猫咪", "小猫咪", 1), ("abc", "abc", 0)]
        {
            assert_eq!(levenshtein(a, b), distance);
            assert_eq!(levenshtein(b, a), distance);
        }
    }

    #[test]
    fn relaxed_numbers_follow_python() {
        for (gold, prediction, right) in [
            ("10", "10.5", true),
            ("10", "10.51", false),
            ("0", "0", true),
            ("0", "0.0", false),
            ("20%", "0.2", true),
            ("1,000", "1000", false),
            ("-4", "-4.2", false),
            ("yes", "yes.", false),
        ] {
            assert_eq!(relaxed_match(gold, prediction), right, "{gold} {prediction}");
        }
    }
}
