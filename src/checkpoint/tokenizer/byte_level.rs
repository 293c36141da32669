//! The byte-level BPE of Qwen2, 2.5 and 3, built from `vocab.json` and `merges.txt`.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::json::JsonTokenizer;
use super::settings::Settings;
use super::{MAX_TOKEN_ID, guarded};
use crate::checkpoint::Folder;
use crate::{Problem, Result};

/// How Qwen2 parts a text into words (`tokenization_qwen2.py` of transformers).
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Builds the tokenizer that `Qwen2Tokenizer` of transformers makes of the same files.
pub(super) fn from_vocab_and_merges(folder: &Folder, settings: &Settings) -> Result<JsonTokenizer> {
    let place = folder.place("vocab.json");
    let mut vocab = read_vocab(folder, &place)?;
    let merges = read_merges(folder)?;
    // Added tokens keep the ids that they are given, gaps and all, by standing in the vocabulary themselves; no
    // merge leads to them.
    for (id, token) in &settings.added {
        match vocab.insert(token.content.clone(), *id) {
            Some(other) if other != *id => {
                return Err(Problem::new(format!(
                    "gives {:?} the id {other}, but tokenizer_config.json or added_tokens.json says {id}",
                    token.content
                ))
                .at(place)
                .fix("take all tokenizer files from the same checkpoint"));
            }
            _ => {}
        }
    }
    let tokenizer = guarded(&place, "does not fit merges.txt", || {
        let vocab: Vocab = vocab.into_iter().collect();
        let bpe = BPE::builder().vocab_and_merges(vocab, merges).build()?;
        let mut tokenizer = Tokenizer::new(bpe);
        let words =
            Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Isolated, false)?;
        tokenizer
            .with_normalizer(Some(NFC))?
            .with_pre_tokenizer(Some(Sequence::new(vec![
                PreTokenizerWrapper::Split(words),
                PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
            ])))
            .with_decoder(Some(ByteLevel::new(false, true, false)));
        tokenizer.add_tokens(settings.added.values().cloned())?;
        // Tokens with a role are matched whole even if no file lists them as added.
        let roles: Vec<_> = settings
            .roles
            .values()
            .chain(&settings.additional)
            .filter(|token| tokenizer.token_to_id(&token.content).is_some())
            .filter(|token| !settings.added.values().any(|added| added.content == token.content))
            .cloned()
            .collect();
        tokenizer.add_tokens(roles)?;
        Ok(tokenizer)
    })?;
    JsonTokenizer::new(tokenizer, settings, &place)
}

fn read_vocab(folder: &Folder, place: &str) -> Result<HashMap<String, u32>> {
    let refuse = |what: String| Problem::new(what).at(place).fix("download vocab.json again");
    let Some(serde_json::Value::Object(entries)) = folder.json("vocab.json")? else {
        return Err(refuse("is not a JSON object of tokens and ids".to_owned()));
    };
    let mut vocab = HashMap::with_capacity(entries.len());
    for (token, id) in entries {
        match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(number) if number <= MAX_TOKEN_ID => vocab.insert(token, number),
            _ => return Err(refuse(format!("gives {token:?} the id {id}, which no vocabulary has"))),
        };
    }
    Ok(vocab)
}

fn read_merges(folder: &Folder) -> Result<Vec<(String, String)>> {
    let text = folder.text("merges.txt")?.unwrap_or_default();
    let mut merges = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || (index == 0 && line.starts_with("#version:")) {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => {
                return Err(Problem::new(format!("line {} is not a pair of tokens", index + 1))
                    .at(folder.place("merges.txt"))
                    .fix("download merges.txt again"));
            }
        }
    }
    Ok(merges)
}

/// The byte that a character of a byte-level token stands for: printable Latin-1 stands for itself, the other
/// bytes follow from U+0100 on (GPT-2's `bytes_to_unicode`).
pub(super) fn byte_of(character: char) -> Option<u8> {
    match character as u32 {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}
