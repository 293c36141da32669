//! Tokenizers that the `tokenizers` crate runs: `tokenizer.json`, and what is built in its image.

use std::collections::HashMap;

use tokenizers::decoders::DecoderWrapper;

use super::settings::Settings;
use super::{MAX_TOKEN_ID, clean_up_spaces, guarded};
use crate::checkpoint::Folder;
use crate::{Problem, Result};

/// A tokenizer of the `tokenizers` crate and what transformers does around it.
pub(super) struct JsonTokenizer {
    tokenizer: tokenizers::Tokenizer,
    begin: Begin,
    /// Text of the token that begins a sequence.
    bos: Option<String>,
    clean_up: bool,
    vocab_size: usize,
}

/// Who puts the token that begins a sequence before a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// The tokenizer's own post-processor, if it has one.
    PostProcessor,
    /// We do: this id.
    Put(u32),
    /// Nobody.
    Never,
}

/// Reads `tokenizer.json`, and adds the tokens that only the files beside it know.
pub(super) fn from_json(folder: &Folder, settings: &Settings) -> Result<JsonTokenizer> {
    let place = folder.place("tokenizer.json");
    let bytes = folder.read("tokenizer.json")?.ok_or_else(|| Problem::new("is missing").at(&place))?;
    let mut tokenizer = guarded(&place, "is not a tokenizer", || tokenizers::Tokenizer::from_bytes(&bytes))?;
    for (id, token) in &settings.added {
        match tokenizer.token_to_id(&token.content) {
            Some(known) if known == *id => continue,
            Some(known) => return Err(disagree(&place, &token.content, *id, known)),
            None => {}
        }
        guarded(&place, "takes no further token", || tokenizer.add_tokens([token.clone()]))?;
        match tokenizer.token_to_id(&token.content) {
            Some(given) if given == *id => {}
            given => return Err(disagree(&place, &token.content, *id, given.unwrap_or_default())),
        }
    }
    JsonTokenizer::new(tokenizer, settings, &place)
}

fn disagree(place: &str, token: &str, id: u32, other: u32) -> Problem {
    Problem::new(format!(
        "gives {token:?} the id {other}, but tokenizer_config.json or added_tokens.json says {id}"
    ))
    .at(place)
    .fix("take all tokenizer files from the same checkpoint")
}

impl JsonTokenizer {
    /// Puts a tokenizer to use: whole texts, never padded or cut.
    pub fn new(mut tokenizer: tokenizers::Tokenizer, settings: &Settings, place: &str) -> Result<Self> {
        guarded(place, "cannot be used", || {
            tokenizer.with_truncation(None)?.with_padding(None);
            Ok(())
        })?;
        let vocab_size = checked_vocab_size(&tokenizer, place)?;
        let bos = settings.role("bos_token").map(str::to_owned);
        // transformers rewrites the post-processor of this one class from its settings; for all others the
        // post-processor alone decides.
        let begin = match (settings.class.as_str(), settings.add_bos) {
            ("LlamaTokenizer" | "LlamaTokenizerFast", Some(false)) => Begin::Never,
            ("LlamaTokenizer" | "LlamaTokenizerFast", _) => bos
                .as_deref()
                .and_then(|bos| tokenizer.token_to_id(bos))
                .map_or(Begin::PostProcessor, Begin::Put),
            _ => Begin::PostProcessor,
        };
        let clean_up = settings.clean_up.unwrap_or(false);
        Ok(Self { tokenizer, begin, bos, clean_up, vocab_size })
    }

    pub fn encode(&self, text: &str, place: &str) -> Result<Vec<u32>> {
        let begun = self.bos.as_deref().is_some_and(|bos| text.starts_with(bos));
        let by_post_processor = self.begin == Begin::PostProcessor && !begun;
        let encoding =
            guarded(place, "cannot split a text", || self.tokenizer.encode_fast(text, by_post_processor))?;
        let mut ids = encoding.get_ids().to_vec();
        if let (Begin::Put(bos), false) = (self.begin, begun) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool, place: &str) -> Result<String> {
        let text = guarded(place, "cannot decode an answer", || self.tokenizer.decode(ids, skip_special))?;
        Ok(if self.clean_up { clean_up_spaces(&text) } else { text })
    }

    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The bytes that a token stands for, where each token stands for bytes of its own: with a byte-level
    /// decoder. `None` for ids outside the vocabulary and for special tokens that are left out.
    pub fn token_bytes(&self, id: u32, skip_special: bool) -> Option<Vec<u8>> {
        let added = self.tokenizer.get_added_vocabulary();
        let token = added.simple_id_to_token(id).or_else(|| self.tokenizer.id_to_token(id))?;
        if skip_special && added.is_special_token(&token) {
            return None;
        }
        let bytes: Option<Vec<u8>> = token.chars().map(super::byte_level::byte_of).collect();
        Some(bytes.unwrap_or_else(|| token.into_bytes()))
    }

    /// What the ids from `shown` on add to the text of those before them.
    pub fn fresh(&self, ids: &[u32], shown: usize, skip_special: bool) -> String {
        let decode =
            |ids: &[u32]| guarded("", "", || self.tokenizer.decode(ids, skip_special)).unwrap_or_default();
        let (before, now) = (decode(&ids[..shown]), decode(ids));
        let same =
            before.chars().zip(now.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        now[same..].to_owned()
    }

    /// Whether each token stands for bytes of its own.
    pub fn is_byte_level(&self) -> bool {
        match self.tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => true,
            Some(DecoderWrapper::Sequence(sequence)) => {
                matches!(sequence.get_decoders(), [DecoderWrapper::ByteLevel(_)])
            }
            _ => false,
        }
    }
}

/// One past the highest id, after a check that ids are sane and unique.
fn checked_vocab_size(tokenizer: &tokenizers::Tokenizer, place: &str) -> Result<usize> {
    let vocab = tokenizer.get_vocab(true);
    let mut owners: HashMap<u32, &str> = HashMap::with_capacity(vocab.len());
    let mut size = 0;
    for (token, id) in &vocab {
        let refuse =
            |what: String| Err(Problem::new(what).at(place).fix("download the tokenizer files again"));
        if *id > MAX_TOKEN_ID {
            return refuse(format!("gives {token:?} the id {id}, which no vocabulary has"));
        }
        if let Some(other) = owners.insert(*id, token) {
            let (first, second) =
                if other < token.as_str() { (other, token.as_str()) } else { (token.as_str(), other) };
            return refuse(format!("gives the id {id} to both {first:?} and {second:?}"));
        }
        size = size.max(*id as usize + 1);
    }
    Ok(size)
}
