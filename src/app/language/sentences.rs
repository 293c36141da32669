//! Sentences that the rooms below the window make in English: problems, findings, fixes. The pack knows each by its
//! pattern, the English with `{}` where a value stands, so that those rooms know nothing of languages.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::{CHINESE, Language, chosen};

/// A pattern and what takes its place.
struct Pattern {
    /// The English between its values.
    english: Vec<String>,
    /// The Chinese; `{}` are the values in their order, `{2}` is the second one.
    chinese: String,
}

/// What the pack says.
struct Sentences {
    /// Those without a value.
    whole: HashMap<String, String>,
    /// Those with values, the most words first.
    patterns: Vec<Pattern>,
}

/// Values in values in values: a sentence is no deeper.
const DEEPEST: usize = 4;

static SENTENCES: LazyLock<Sentences> = LazyLock::new(|| {
    let pack = include_str!("../../../assets/languages/zh-CN.sentences.toml");
    Sentences::of(toml::from_str(pack).unwrap_or_default())
});

impl Sentences {
    fn of(pack: HashMap<String, String>) -> Self {
        let (with_values, whole): (HashMap<_, _>, HashMap<_, _>) =
            pack.into_iter().partition(|(english, _)| english.contains("{}"));
        let pattern = |(english, chinese): (String, String)| Pattern {
            english: english.split("{}").map(str::to_owned).collect(),
            chinese,
        };
        let mut patterns: Vec<Pattern> = with_values.into_iter().map(pattern).collect();
        let words = |pattern: &Pattern| pattern.english.iter().map(String::len).sum::<usize>();
        patterns.sort_by(|a, b| words(b).cmp(&words(a)).then_with(|| a.english.cmp(&b.english)));
        Self { whole, patterns }
    }

    fn told(&self, english: &str, depth: usize) -> Option<String> {
        let whole = self.whole.get(english).or_else(|| CHINESE.get(english).filter(|it| !it.contains("{}")));
        if let Some(whole) = whole {
            return Some(whole.clone());
        }
        if depth == DEEPEST {
            return None;
        }
        self.patterns.iter().find_map(|pattern| {
            let values = pattern.values(english)?;
            let told = |value: &str| self.told(value, depth + 1).unwrap_or_else(|| value.to_owned());
            Some(filled(&pattern.chinese, &values.into_iter().map(told).collect::<Vec<_>>()))
        })
    }
}

impl Pattern {
    /// What stands in the places of this pattern, where a sentence is one of it.
    fn values<'a>(&self, sentence: &'a str) -> Option<Vec<&'a str>> {
        let (first, rest) = self.english.split_first()?;
        let (last, between) = rest.split_last()?;
        let mut left = sentence.strip_prefix(first.as_str())?.strip_suffix(last.as_str())?;
        let mut values = Vec::with_capacity(rest.len());
        for words in between {
            let (value, after) = left.split_once(words.as_str())?;
            values.push(value);
            left = after;
        }
        values.push(left);
        Some(values)
    }
}

/// Values put into their places: `{}` in their order, `{2}` the second one.
fn filled(text: &str, values: &[String]) -> String {
    let mut filled = String::new();
    let mut in_order = values.iter();
    let mut left = text;
    while let Some((before, (place, after))) =
        left.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled.push_str(before);
        let value = match place {
            "" => in_order.next(),
            number => number.parse::<usize>().ok().and_then(|number| values.get(number.checked_sub(1)?)),
        };
        match value {
            Some(value) => filled.push_str(value),
            // Braces of the text itself.
            None => filled.extend(["{", place, "}"]),
        }
        left = after;
    }
    filled + left
}

/// A sentence of another room in the present language; in English where the pack has no pattern for it.
pub fn told(english: &str) -> Cow<'_, str> {
    match chosen() {
        Language::English => Cow::Borrowed(english),
        Language::Chinese => SENTENCES.told(english, 0).map_or(Cow::Borrowed(english), Cow::Owned),
    }
}

#[cfg(test)]
#[path = "sentences_tests.rs"]
mod tests;
