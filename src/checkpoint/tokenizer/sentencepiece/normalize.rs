//! How a sentencepiece model spells a text before it looks for pieces (`normalizer.cc`).

use super::prefixes::first_char;
use super::{SPACE, Sentencepiece};

/// A replacement in a normalization table longer than this is not one.
const MAX_REPLACEMENT: usize = 256;

impl Sentencepiece {
    /// The text with characters replaced, superfluous spaces dropped, and the others spelled as in pieces.
    pub(super) fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 2);
        let space = if self.escape_spaces { SPACE } else { " " };
        let mut rest = text;
        if self.remove_extra_spaces {
            while !rest.is_empty() {
                let (replaced, taken) = self.next_normalized(rest);
                if replaced != " " {
                    break;
                }
                rest = &rest[taken..];
            }
        }
        if rest.is_empty() {
            return out;
        }
        if self.add_dummy_prefix && !self.space_as_suffix {
            out.push_str(space);
        }
        let mut after_space = self.remove_extra_spaces;
        while !rest.is_empty() {
            let (mut replaced, taken) = self.next_normalized(rest);
            rest = &rest[taken..];
            if after_space {
                replaced = replaced.trim_start_matches(' ');
            }
            if !replaced.is_empty() {
                if self.escape_spaces {
                    out.push_str(&replaced.replace(' ', SPACE));
                } else {
                    out.push_str(replaced);
                }
                after_space = replaced.ends_with(' ');
            }
            after_space &= self.remove_extra_spaces;
        }
        if self.remove_extra_spaces {
            out.truncate(out.trim_end_matches(space).len());
        }
        if self.add_dummy_prefix && self.space_as_suffix {
            out.push_str(space);
        }
        out
    }

    /// The next stretch of a text as normalization sees it, and how many bytes it was; `text` is not empty.
    fn next_normalized<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(symbol) = self.symbols.longest(text) {
            return (symbol, symbol.len());
        }
        if let Some((replacement, taken)) = self.table.as_ref().and_then(|table| table.longest(text)) {
            return (replacement, taken);
        }
        let length = first_char(text).len();
        (&text[..length], length)
    }
}

/// The normalization table of a model (`precompiled_charsmap`): a double-array trie over UTF-8 bytes in the format
/// of darts-clone, whose values are places in a list of replacements.
#[derive(Debug)]
pub(super) struct ReplacementTable {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl ReplacementTable {
    /// Reads a table; `None` where it is damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (trie, replacements) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        let (units, odd) = trie.as_chunks::<4>();
        if units.is_empty() || !odd.is_empty() {
            return None;
        }
        let units = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Some(Self { units, replacements: replacements.to_vec() })
    }

    /// The replacement of the longest beginning of the text that has one, and the length of that beginning.
    fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut place = offset(*self.units.first()?);
        let mut found = None;
        for (index, byte) in text.bytes().enumerate() {
            place ^= usize::from(byte);
            let Some(&unit) = self.units.get(place) else { break };
            if unit & ((1 << 31) | 0xFF) != u32::from(byte) {
                break;
            }
            place ^= offset(unit);
            if (unit >> 8) & 1 == 1 {
                let Some(&value) = self.units.get(place) else { break };
                found = Some(((value & !(1 << 31)) as usize, index + 1));
            }
        }
        let (place, taken) = found?;
        // A place within a character cannot come from a sound file: then the text stays as it is.
        if !text.is_char_boundary(taken) {
            return None;
        }
        let list = self.replacements.get(place..)?;
        let list = &list[..list.len().min(MAX_REPLACEMENT + 1)];
        let end = list.iter().position(|byte| *byte == 0)?;
        Some((std::str::from_utf8(&list[..end]).ok()?, taken))
    }
}
