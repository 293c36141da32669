//! Tokenizers from `tokenizer.json`, from `vocab.json` and `merges.txt`, or from a sentencepiece model.
//!
//! Every way ends in the same ids as the tokenizer that OpenGVLab's code uses. Special tokens are matched in the
//! whole prompt, wherever they stand, as the original does: a question whose own text holds `<IMG_CONTEXT>` or
//! `<|im_end|>` therefore yields those ids too. That never goes unnoticed for images: whoever feeds the ids to a
//! network compares the number of [`Tokenizer::image_context_id`] with the number of image tokens and refuses the
//! question where they differ.

mod byte_level;
mod json;
mod pieces;
mod sentencepiece;
mod settings;
mod stream;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use stream::TextStream;

use self::json::JsonTokenizer;
use self::pieces::PieceTokenizer;
use self::settings::Settings;
use super::Folder;
use crate::{Problem, Result};

/// The token that the image features take the place of.
pub const IMAGE_CONTEXT: &str = "<IMG_CONTEXT>";

/// No vocabulary is larger than this; a file that claims more is broken.
const MAX_TOKEN_ID: u32 = (1 << 24) - 1;

/// Turns text into token ids and back. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

/// Which files a tokenizer was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerSource {
    /// `tokenizer.json`.
    Json,
    /// `vocab.json` and `merges.txt`.
    VocabAndMerges,
    /// A sentencepiece `tokenizer.model`.
    Sentencepiece,
}

impl fmt::Display for TokenizerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "tokenizer.json",
            Self::VocabAndMerges => "vocab.json and merges.txt",
            Self::Sentencepiece => "tokenizer.model (sentencepiece)",
        })
    }
}

struct Inner {
    engine: Engine,
    source: TokenizerSource,
    /// What messages call the tokenizer: its main file.
    place: String,
    image_context: u32,
    vocab_size: usize,
}

/// The two ways to tokenize: the `tokenizers` crate, or sentencepiece's own algorithm.
enum Engine {
    Json(Box<JsonTokenizer>),
    Pieces(Box<PieceTokenizer>),
}

impl Tokenizer {
    /// Builds the tokenizer of a checkpoint from `tokenizer.json`; else from `vocab.json` and `merges.txt`; else
    /// from the sentencepiece model `tokenizer.model`.
    ///
    /// `backbone` is the architecture of the language model, such as `InternLM2ForCausalLM`: it decides what the
    /// files leave open.
    ///
    /// # Errors
    /// No tokenizer files at all, files that are malformed or contradict each other, and a tokenizer without
    /// `<IMG_CONTEXT>`.
    pub fn open(folder: &Folder, backbone: &str) -> Result<Self> {
        let settings = Settings::read(folder)?;
        let (engine, source, file) = if folder.has("tokenizer.json") {
            let tokenizer = json::from_json(folder, &settings)?;
            (Engine::Json(Box::new(tokenizer)), TokenizerSource::Json, "tokenizer.json")
        } else if folder.has("vocab.json") && folder.has("merges.txt") {
            let tokenizer = byte_level::from_vocab_and_merges(folder, &settings)?;
            (Engine::Json(Box::new(tokenizer)), TokenizerSource::VocabAndMerges, "vocab.json")
        } else if folder.has("tokenizer.model") {
            let tokenizer = PieceTokenizer::open(folder, &settings, backbone)?;
            (Engine::Pieces(Box::new(tokenizer)), TokenizerSource::Sentencepiece, "tokenizer.model")
        } else {
            return Err(Problem::new(
                "there is no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, nor tokenizer.model",
            )
            .at(folder.place(""))
            .fix("copy the tokenizer files of the same model into the folder"));
        };
        let place = folder.place(file);
        let Some(image_context) = engine.token_id(IMAGE_CONTEXT) else {
            return Err(Problem::new(format!(
                "has no {IMAGE_CONTEXT} token, so no image can be placed in a prompt"
            ))
            .at(place)
            .fix(
                "use the tokenizer files of the InternVL checkpoint itself (with added_tokens.json and \
                     tokenizer_config.json), not those of its language model",
            ));
        };
        let vocab_size = engine.vocab_size();
        Ok(Self { inner: Arc::new(Inner { engine, source, place, image_context, vocab_size }) })
    }

    /// The ids of a text. Special tokens in it are matched; the token that begins a sequence is put before it
    /// where the original tokenizer does so and the text does not begin with it already.
    ///
    /// # Errors
    /// A tokenizer whose rules fail on this text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.inner.engine {
            Engine::Json(tokenizer) => tokenizer.encode(text, &self.inner.place),
            Engine::Pieces(tokenizer) => Ok(tokenizer.encode(text)),
        }
    }

    /// The text of some ids, as the original decodes an answer; ids outside the vocabulary are passed over.
    ///
    /// # Errors
    /// A tokenizer whose decoder fails on these ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        match &self.inner.engine {
            Engine::Json(tokenizer) => tokenizer.decode(ids, skip_special, &self.inner.place),
            Engine::Pieces(tokenizer) => Ok(tokenizer.decode(ids, skip_special)),
        }
    }

    /// The id of one token, spelled exactly: an added or special token, or an entry of the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.engine.token_id(token)
    }

    /// One past the highest token id: the network must have at least this many rows of embeddings, unless tokens
    /// at the end are never used.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// Which files the tokenizer was built from.
    pub fn source(&self) -> TokenizerSource {
        self.inner.source
    }

    /// The id of `<IMG_CONTEXT>`.
    pub fn image_context_id(&self) -> u32 {
        self.inner.image_context
    }

    /// Decodes an answer token by token, special tokens left out.
    pub fn stream(&self) -> TextStream {
        TextStream::new(self.clone(), true)
    }

    /// Decodes an answer token by token, special tokens kept.
    pub fn stream_with_special(&self) -> TextStream {
        TextStream::new(self.clone(), false)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("source", &self.inner.source)
            .field("place", &self.inner.place)
            .field("vocab_size", &self.inner.vocab_size)
            .finish_non_exhaustive()
    }
}

impl Engine {
    fn token_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Json(tokenizer) => tokenizer.token_id(token),
            Self::Pieces(tokenizer) => tokenizer.token_id(token),
        }
    }

    fn vocab_size(&self) -> usize {
        match self {
            Self::Json(tokenizer) => tokenizer.vocab_size(),
            Self::Pieces(tokenizer) => tokenizer.vocab_size(),
        }
    }
}

/// Runs code of the `tokenizers` crate on an untrusted file: whatever fails in it becomes a problem of that file.
fn guarded<T>(place: &str, doing: &str, run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let what = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => format!("{doing}: {error}"),
        Err(_) => format!("{doing}: its rules contradict each other"),
    };
    Err(Problem::new(what).at(place).fix("download the tokenizer files of this checkpoint again"))
}

/// The older clean-up of decoded text, which some tokenizers ask for: no space before punctuation and before
/// English contractions (`clean_up_tokenization` of transformers).
fn clean_up_spaces(text: &str) -> String {
    const JOINED: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    JOINED.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests;
