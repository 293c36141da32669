//! Which of many words a text begins with.

use std::collections::{HashMap, HashSet};

/// Finds which of some words a text begins with.
#[derive(Debug, Default)]
pub(in super::super) struct Prefixes {
    words: HashSet<String>,
    /// Lengths of the words in bytes by their first byte, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

impl Prefixes {
    pub fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let words: HashSet<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let mut lengths: HashMap<u8, Vec<usize>> = HashMap::new();
        for word in &words {
            lengths.entry(word.as_bytes()[0]).or_default().push(word.len());
        }
        for lengths in lengths.values_mut() {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        Self { words, lengths }
    }

    /// All words that the text begins with, longest first.
    pub fn all<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let lengths = text.as_bytes().first().and_then(|first| self.lengths.get(first));
        lengths
            .into_iter()
            .flatten()
            .filter_map(|length| text.get(..*length))
            .filter(|start| self.words.contains(*start))
    }

    /// The longest word that the text begins with.
    pub fn longest<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        self.all(text).next()
    }
}

/// The first character of a text, as text.
pub(super) fn first_char(text: &str) -> &str {
    let length = text.chars().next().map_or(0, char::len_utf8);
    &text[..length]
}
