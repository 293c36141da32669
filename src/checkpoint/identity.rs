//! By what a checkpoint is known again: hashes of its small files, and of samples of its weights.

use sha2::{Digest, Sha256};

use super::{Bytes, Checkpoint};
use crate::Result;

/// Files besides `config.json` that decide what a model reads and says: tokenizer, its settings, chat template.
const TEXTS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Places of a weight file that are looked at, from its beginning to its end.
const SAMPLES: usize = 16;

/// Bytes looked at in each place.
const SAMPLE: usize = 64 << 10;

/// Hashes of a checkpoint (SHA-256, hexadecimal).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Of `config.json`.
    pub config: String,
    /// Of the weights' index, or of the headers of their files.
    pub index: String,
    /// Of tokenizer, its settings and chat template, as far as there are such files.
    pub texts: String,
    /// Of the weight files: names, lengths, and up to a MiB of each, taken from all over it. Files of which one number was
    /// changed may look the same; files of another training do not.
    pub weights: String,
}

impl Identity {
    /// The identity of a checkpoint.
    ///
    /// # Errors
    /// A file can no longer be read.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let config = checkpoint.folder.read("config.json")?.unwrap_or_default();
        let mut texts = Sha256::new();
        for name in TEXTS {
            if let Some(bytes) = checkpoint.folder.read(name)? {
                part(&mut texts, name.as_bytes());
                part(&mut texts, &bytes);
            }
        }
        let (mut index, mut weights) = (Sha256::new(), Sha256::new());
        if let Some(text) = &checkpoint.weights.index {
            index.update(text);
        }
        for (name, bytes) in &checkpoint.weights.files {
            if checkpoint.weights.index.is_none() {
                let length = bytes.first_chunk::<8>().map_or(0, |n| u64::from_le_bytes(*n)) as usize;
                index.update(bytes.get(..length.saturating_add(8)).unwrap_or_default());
            }
            part(&mut weights, name.as_bytes());
            sample(&mut weights, bytes);
        }
        Ok(Self {
            config: hex(Sha256::digest(config)),
            index: hex(index.finalize()),
            texts: hex(texts.finalize()),
            weights: hex(weights.finalize()),
        })
    }
}

/// Adds bytes with their length, so that no two lists of parts look the same.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Adds the length of a file, and samples at even distances; a small file is taken whole.
fn sample(hash: &mut Sha256, bytes: &Bytes) {
    hash.update((bytes.len() as u64).to_le_bytes());
    if bytes.len() <= SAMPLES * SAMPLE {
        hash.update(&**bytes);
        return;
    }
    for place in 0..SAMPLES {
        let start = ((bytes.len() - SAMPLE) as u128 * place as u128 / (SAMPLES - 1) as u128) as usize;
        hash.update(bytes.get(start..start + SAMPLE).unwrap_or_default());
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &'static [u8]) -> String {
        let mut hash = Sha256::new();
        sample(&mut hash, &Bytes::Static(bytes));
        hex(hash.finalize())
    }

    #[test]
    fn samples_come_from_all_over_a_file() {
        let length = 40 * SAMPLE + 7;
        let plain: &'static [u8] = vec![1; length].leak();
        for at in [0, length / 2, length - 1] {
            // Where every number differs from some place on, a sample sees it.
            let mut changed = vec![1; length];
            changed[at..(at + 3 * SAMPLE).min(length)].fill(2);
            assert_ne!(of(changed.leak()), of(plain), "{at}");
        }
        assert_ne!(of(&plain[..length - 1]), of(plain));
        assert_eq!(of(vec![1; length].leak()), of(plain));
    }
}
