//! Sentencepiece models (`tokenizer.model`): reading, normalizing, BPE and unigram encoding, decoding.
//!
//! The algorithms are those of google/sentencepiece (`normalizer.cc`, `bpe_model.cc`, `unigram_model.cc`,
//! `sentencepiece_processor.cc`), without training and sampling. Encoding here rather than through a list of
//! merges keeps what such a list cannot say: pieces of equal score, user-defined symbols, unused pieces, the
//! model's own normalization.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use prost::Message;

use super::MAX_TOKEN_ID;
use super::stream::{Broken, complete};
use crate::{Problem, Result};

/// What stands for a space within pieces.
pub(super) const SPACE: &str = "\u{2581}";

/// A replacement in a normalization table longer than this is not one.
const MAX_REPLACEMENT: usize = 256;
/// How much the score of an unknown character lies under the lowest score (`kUnkPenalty`).
const UNKNOWN_PENALTY: f32 = 10.0;

/// The parts of `sentencepiece_model.proto` that tokenizing needs.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Model {
        #[prost(message, repeated, tag = "1")]
        pub pieces: Vec<Piece>,
        #[prost(message, optional, tag = "2")]
        pub trainer: Option<Trainer>,
        #[prost(message, optional, tag = "3")]
        pub normalizer: Option<Normalizer>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Piece {
        #[prost(string, optional, tag = "1")]
        pub piece: Option<String>,
        #[prost(float, optional, tag = "2")]
        pub score: Option<f32>,
        #[prost(int32, optional, tag = "3")]
        pub kind: Option<i32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Trainer {
        #[prost(int32, optional, tag = "3")]
        pub model_type: Option<i32>,
        #[prost(bool, optional, tag = "24")]
        pub space_as_suffix: Option<bool>,
        #[prost(bool, optional, tag = "35")]
        pub byte_fallback: Option<bool>,
        #[prost(string, optional, tag = "44")]
        pub unknown_surface: Option<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Normalizer {
        #[prost(bytes = "vec", optional, tag = "2")]
        pub table: Option<Vec<u8>>,
        #[prost(bool, optional, tag = "3")]
        pub add_dummy_prefix: Option<bool>,
        #[prost(bool, optional, tag = "4")]
        pub remove_extra_spaces: Option<bool>,
        #[prost(bool, optional, tag = "5")]
        pub escape_spaces: Option<bool>,
    }
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte(u8),
}

#[derive(Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Bpe,
    Unigram,
}

/// A sentencepiece model, ready to encode and decode.
#[derive(Debug)]
pub(super) struct Sentencepiece {
    pieces: Vec<Piece>,
    /// Pieces that text can become.
    words: HashMap<String, u32>,
    /// Control, unknown and byte pieces, which text cannot become.
    reserved: HashMap<String, u32>,
    unknown: u32,
    algorithm: Algorithm,
    /// Ids of the byte pieces by byte, if unknown characters become bytes.
    bytes: Option<Vec<u32>>,
    /// User-defined symbols, never split.
    symbols: Prefixes,
    /// All words, for the unigram search.
    candidates: Prefixes,
    lowest: f32,
    highest: f32,
    table: Option<ReplacementTable>,
    /// Whether a space is put before each text.
    pub add_dummy_prefix: bool,
    remove_extra_spaces: bool,
    escape_spaces: bool,
    space_as_suffix: bool,
    unknown_surface: String,
}

impl Sentencepiece {
    /// Reads a model from the bytes of `tokenizer.model`; `place` names the file.
    ///
    /// # Errors
    /// Bytes that are no sentencepiece model, models for words or characters, and vocabularies that contradict
    /// themselves.
    pub fn read(bytes: &[u8], place: &str) -> Result<Self> {
        let refuse = |what: String| {
            Problem::new(what).at(place).fix("download tokenizer.model of this checkpoint again")
        };
        if bytes.starts_with(b"version https://git-lfs") {
            return Err(Problem::new("is a Git LFS pointer, not the file itself")
                .at(place)
                .fix("run `git lfs pull`, or download tokenizer.model itself"));
        }
        let model = proto::Model::decode(bytes)
            .map_err(|error| refuse(format!("is not a sentencepiece model: {error}")))?;
        if model.pieces.is_empty() {
            return Err(refuse("is not a sentencepiece model: it has no pieces".to_owned()));
        }
        if model.pieces.len() > MAX_TOKEN_ID as usize {
            return Err(refuse(format!("has {} pieces, more than any vocabulary", model.pieces.len())));
        }
        let trainer = model.trainer.unwrap_or_default();
        let algorithm = match trainer.model_type.unwrap_or(1) {
            1 => Algorithm::Unigram,
            2 => Algorithm::Bpe,
            other => {
                let name = ["word", "char"].get(other.wrapping_sub(3) as usize).copied().unwrap_or("unknown");
                return Err(Problem::new(format!(
                    "is a sentencepiece model of the {name} type; only BPE and unigram models are read"
                ))
                .at(place)
                .fix("use a checkpoint with a BPE or unigram tokenizer, as all InternVL versions have"));
            }
        };
        let mut pieces = Vec::with_capacity(model.pieces.len());
        let (mut words, mut reserved) = (HashMap::new(), HashMap::new());
        let mut unknown = None;
        for (id, piece) in model.pieces.into_iter().enumerate() {
            let id = id as u32;
            let text = piece.piece.unwrap_or_default();
            if text.is_empty() {
                return Err(refuse(format!("has an empty piece, number {id}")));
            }
            let kind = match piece.kind.unwrap_or(1) {
                1 => Kind::Normal,
                2 => Kind::Unknown,
                3 => Kind::Control,
                4 => Kind::UserDefined,
                5 => Kind::Unused,
                6 => match byte_of(&text) {
                    Some(byte) => Kind::Byte(byte),
                    None => return Err(refuse(format!("calls the piece {text:?} a byte"))),
                },
                other => return Err(refuse(format!("has a piece of unknown type {other}, number {id}"))),
            };
            let score = piece.score.unwrap_or(0.0);
            if !score.is_finite() {
                return Err(refuse(format!("gives the piece {text:?} no finite score")));
            }
            if kind == Kind::Unknown && unknown.replace(id).is_some() {
                return Err(refuse("has two pieces for the unknown".to_owned()));
            }
            let text_becomes = matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused);
            if words.contains_key(&text) || reserved.contains_key(&text) {
                return Err(refuse(format!("has the piece {text:?} twice")));
            }
            if text_becomes { &mut words } else { &mut reserved }.insert(text.clone(), id);
            pieces.push(Piece { text, score, kind });
        }
        let unknown = unknown.ok_or_else(|| refuse("has no piece for the unknown".to_owned()))?;
        let bytes = if trainer.byte_fallback.unwrap_or(false) {
            let mut ids = vec![None; 256];
            for (id, piece) in pieces.iter().enumerate() {
                if let Kind::Byte(byte) = piece.kind {
                    ids[usize::from(byte)] = Some(id as u32);
                }
            }
            let ids: Option<Vec<u32>> = ids.into_iter().collect();
            Some(ids.ok_or_else(|| refuse("falls back to bytes, but has no piece for some byte".to_owned()))?)
        } else {
            None
        };
        let of_kind = |wanted: fn(Kind) -> bool| {
            pieces.iter().filter(move |piece| wanted(piece.kind)).map(|piece| piece.text.as_str())
        };
        let symbols = Prefixes::new(of_kind(|kind| kind == Kind::UserDefined));
        let candidates = match algorithm {
            Algorithm::Unigram => {
                Prefixes::new(of_kind(|kind| matches!(kind, Kind::Normal | Kind::UserDefined)))
            }
            Algorithm::Bpe => Prefixes::default(),
        };
        let normal = || pieces.iter().filter(|piece| piece.kind == Kind::Normal).map(|piece| piece.score);
        let (lowest, highest) = (normal().fold(f32::MAX, f32::min), normal().fold(f32::MIN, f32::max));
        let normalizer = model.normalizer.unwrap_or_default();
        let table = match normalizer.table.as_deref() {
            None | Some([]) => None,
            Some(bytes) => Some(
                ReplacementTable::read(bytes)
                    .ok_or_else(|| refuse("has a damaged normalization table".to_owned()))?,
            ),
        };
        Ok(Self {
            pieces,
            words,
            reserved,
            unknown,
            algorithm,
            bytes,
            symbols,
            candidates,
            lowest,
            highest,
            table,
            add_dummy_prefix: normalizer.add_dummy_prefix.unwrap_or(true),
            remove_extra_spaces: normalizer.remove_extra_spaces.unwrap_or(true),
            escape_spaces: normalizer.escape_spaces.unwrap_or(true),
            space_as_suffix: trainer.space_as_suffix.unwrap_or(false),
            unknown_surface: trainer.unknown_surface.unwrap_or_else(|| " \u{2047} ".to_owned()),
        })
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The id of a piece, if there is one.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.reserved.get(piece).or_else(|| self.words.get(piece)).copied()
    }

    /// The piece with an id.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(id as usize).map(|piece| piece.text.as_str())
    }

    fn is_unused(&self, id: u32) -> bool {
        self.pieces[id as usize].kind == Kind::Unused
    }

    /// The ids of a text, no token put before or after it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let normalized = self.normalize(text);
        let parts = match self.algorithm {
            Algorithm::Bpe => self.bpe(&normalized),
            Algorithm::Unigram => self.unigram(&normalized),
        };
        let mut ids = Vec::with_capacity(parts.len());
        // Neighbouring unknown characters are one unknown piece: where it begins in the normalized text.
        let mut unknown_from = None;
        let mut place = 0;
        for part in parts {
            let start = place;
            place += part.len();
            // An unused piece that cannot be taken apart is as good as none.
            match self.id(part).filter(|id| *id != self.unknown && !self.is_unused(*id)) {
                Some(id) => {
                    unknown_from = None;
                    ids.push(id);
                }
                None => match (&self.bytes, unknown_from) {
                    (Some(bytes), _) => ids.extend(part.bytes().map(|byte| bytes[usize::from(byte)])),
                    (None, None) => {
                        unknown_from = Some(start);
                        ids.push(self.id(part).unwrap_or(self.unknown));
                    }
                    (None, Some(from)) => {
                        ids.pop();
                        ids.push(self.id(&normalized[from..place]).unwrap_or(self.unknown));
                    }
                },
            }
        }
        ids
    }

    fn normalize(&self, text: &str) -> String {
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

    /// Merges the best-scored neighbours, leftmost first, until no two of them are a piece.
    fn bpe<'a>(&self, text: &'a str) -> Vec<&'a str> {
        struct Symbol {
            start: usize,
            end: usize,
            previous: usize,
            next: usize,
            frozen: bool,
        }
        const NONE: usize = usize::MAX;
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let symbol = self.symbols.longest(&text[start..]);
            let end = start + symbol.unwrap_or_else(|| first_char(&text[start..])).len();
            let index = symbols.len();
            symbols.push(Symbol {
                start,
                end,
                previous: index.checked_sub(1).unwrap_or(NONE),
                next: if end < text.len() { index + 1 } else { NONE },
                frozen: symbol.is_some(),
            });
            start = end;
        }
        let mut agenda: BinaryHeap<Pair> = BinaryHeap::new();
        // How an unused piece came about, to take it apart again.
        let mut halves: HashMap<&str, usize> = HashMap::new();
        let mut consider = |agenda: &mut BinaryHeap<Pair>, symbols: &[Symbol], left: usize, right: usize| {
            if left == NONE || right == NONE || symbols[left].frozen || symbols[right].frozen {
                return;
            }
            let joined = &text[symbols[left].start..symbols[right].end];
            if let Some(&id) = self.words.get(joined) {
                let piece = &self.pieces[id as usize];
                agenda.push(Pair { left, right, score: piece.score, size: joined.len() });
                if piece.kind == Kind::Unused {
                    halves.insert(joined, symbols[left].end - symbols[left].start);
                }
            }
        };
        for right in 1..symbols.len() {
            consider(&mut agenda, &symbols, right - 1, right);
        }
        while let Some(Pair { left, right, size, .. }) = agenda.pop() {
            let length = |symbol: &Symbol| symbol.end - symbol.start;
            let (left_length, right_length) = (length(&symbols[left]), length(&symbols[right]));
            if left_length == 0 || right_length == 0 || left_length + right_length != size {
                continue;
            }
            symbols[left].end = symbols[right].end;
            let next = symbols[right].next;
            symbols[left].next = next;
            if next != NONE {
                symbols[next].previous = left;
            }
            symbols[right].end = symbols[right].start;
            let previous = symbols[left].previous;
            consider(&mut agenda, &symbols, previous, left);
            consider(&mut agenda, &symbols, left, next);
        }
        let mut parts = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.start < symbol.end) {
            let mut open = vec![&text[symbol.start..symbol.end]];
            while let Some(part) = open.pop() {
                let unused = self.words.get(part).is_some_and(|id| self.is_unused(*id));
                match halves.get(part) {
                    Some(&middle) if unused => {
                        open.push(&part[middle..]);
                        open.push(&part[..middle]);
                    }
                    _ => parts.push(part),
                }
            }
        }
        parts
    }

    /// The most probable division into pieces (Viterbi).
    fn unigram<'a>(&self, text: &'a str) -> Vec<&'a str> {
        #[derive(Clone, Copy)]
        struct Node {
            score: f32,
            start: usize,
        }
        const NONE: usize = usize::MAX;
        let unknown_score = self.lowest - UNKNOWN_PENALTY;
        let mut best = vec![Node { score: 0.0, start: NONE }; text.len() + 1];
        let mut start = 0;
        while start < text.len() {
            let here = best[start].score;
            let rest = &text[start..];
            let single = first_char(rest).len();
            let mut has_single = false;
            let mut offer = |end: usize, score: f32| {
                let node = &mut best[end];
                if node.start == NONE || score > node.score {
                    *node = Node { score, start };
                }
            };
            for word in self.candidates.all(rest) {
                let Some(piece) = self.words.get(word).map(|id| &self.pieces[*id as usize]) else { continue };
                let score = match piece.kind {
                    Kind::UserDefined => (word.len() as f32) * self.highest + 1.0,
                    _ => piece.score,
                };
                offer(start + word.len(), here + score);
                has_single |= word.len() == single;
            }
            if !has_single {
                offer(start + single, here + unknown_score);
            }
            start += single;
        }
        let mut parts = Vec::new();
        let mut end = text.len();
        while end > 0 && best[end].start != NONE {
            parts.push(&text[best[end].start..end]);
            end = best[end].start;
        }
        parts.reverse();
        parts
    }
}

/// Decoding of pieces one after another.
#[derive(Debug, Clone)]
pub(super) struct Decoding {
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
    /// Whether no text has come yet.
    empty: bool,
    /// Whether a space at the beginning is still to be dropped.
    expects_space: bool,
    dropped_space: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { pending: Vec::new(), empty: true, expects_space: true, dropped_space: false }
    }
}

impl Decoding {
    /// The text that a further piece completes.
    pub fn push(&mut self, model: &Sentencepiece, piece: &str) -> String {
        let id = model.id(piece).unwrap_or(model.unknown);
        let kind = model.pieces[id as usize].kind;
        if let Kind::Byte(byte) = kind {
            self.pending.push(byte);
            let text = complete(&mut self.pending, Broken::EachByte, false);
            self.empty &= text.is_empty();
            return text;
        }
        let mut text = self.finish();
        if self.dropped_space || !self.empty {
            self.expects_space = false;
        }
        self.dropped_space = false;
        match kind {
            Kind::Control => {}
            Kind::Unknown if model.pieces[id as usize].text == piece => text.push_str(&model.unknown_surface),
            Kind::Unknown => text.push_str(piece),
            _ => {
                let mut rest = piece;
                if self.expects_space
                    && (model.add_dummy_prefix || model.remove_extra_spaces)
                    && let Some(stripped) = piece.strip_prefix(SPACE)
                {
                    rest = stripped;
                    self.dropped_space = !model.remove_extra_spaces;
                }
                text.push_str(&rest.replace(SPACE, " "));
            }
        }
        self.empty &= text.is_empty();
        text
    }

    /// The bytes that never became a character, as U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = complete(&mut self.pending, Broken::EachByte, true);
        self.empty &= text.is_empty();
        text
    }
}

/// Two neighbours that can be merged, ordered by score and then from left to right.
struct Pair {
    left: usize,
    right: usize,
    score: f32,
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Finds which of some words a text begins with.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
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

/// The normalization table of a model (`precompiled_charsmap`): a double-array trie over UTF-8 bytes in the format
/// of darts-clone, whose values are places in a list of replacements.
#[derive(Debug)]
struct ReplacementTable {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl ReplacementTable {
    fn read(bytes: &[u8]) -> Option<Self> {
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

/// The byte that a byte piece such as `<0x0A>` stands for.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The first character of a text, as text.
fn first_char(text: &str) -> &str {
    let length = text.chars().next().map_or(0, char::len_utf8);
    &text[..length]
}
