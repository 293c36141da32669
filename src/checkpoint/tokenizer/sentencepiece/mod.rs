//! Sentencepiece models (`tokenizer.model`): reading, normalizing, BPE and unigram encoding, decoding.
//!
//! The algorithms are those of google/sentencepiece (`normalizer.cc`, `bpe_model.cc`, `unigram_model.cc`,
//! `sentencepiece_processor.cc`), without training and sampling. Encoding here rather than through a list of
//! merges keeps what such a list cannot say: pieces of equal score, user-defined symbols, unused pieces, the
//! model's own normalization.

mod decode;
mod normalize;
mod prefixes;
mod search;

use std::collections::HashMap;

use prost::Message;

pub(super) use self::decode::Decoding;
use self::normalize::ReplacementTable;
pub(super) use self::prefixes::Prefixes;
use super::MAX_TOKEN_ID;
use crate::{Problem, Result};

/// What stands for a space within pieces.
pub(super) const SPACE: &str = "\u{2581}";

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
}

/// The byte that a byte piece such as `<0x0A>` stands for.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}
