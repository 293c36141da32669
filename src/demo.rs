//! What the program brings along: a small InternVL and questions for it, so that the first run needs nothing.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, Folder};
use crate::dataset::Dataset;
use crate::{Problem, Result};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../assets/demo/checkpoint/", $name)))),*]
    };
}

/// The built-in checkpoint's files; `assets/demo/MODEL_CARD.md` says what it is.
static CHECKPOINT: &[(&str, &[u8])] = embedded![
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
];

/// Questions from the test split of easy-VQA (MIT, `assets/demo/LICENSE-easy-vqa`).
static DATASET: &[u8] = include_bytes!("../assets/demo/dataset.tsv");

/// Name by which the built-in pair is asked for.
pub const BUILT_IN: &str = "built-in";

macro_rules! sample {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../sessions/sample/", $name)))),*]
    };
}

/// A session of a run of the built-in pair.
static SAMPLE: &[(&str, &[u8])] = sample!["manifest.json", "answers.jsonl", "events.jsonl", "memory.jsonl"];

/// Name of the sample session's folder.
pub const SAMPLE_SESSION: &str = "sample";

/// Puts the sample session into a folder for sessions that does not exist yet: only a first start finds none. Whether it
/// was put there.
///
/// # Errors
/// The folder cannot be made or written.
pub fn offer_sample(sessions: &Path) -> Result<bool> {
    if sessions.exists() {
        return Ok(false);
    }
    let folder = sessions.join(SAMPLE_SESSION);
    let refuse = |error: &std::io::Error| Problem::io("put the sample session there", &folder, error);
    std::fs::create_dir_all(&folder).map_err(|error| refuse(&error))?;
    for (name, bytes) in SAMPLE {
        std::fs::write(folder.join(name), bytes).map_err(|error| refuse(&error))?;
    }
    Ok(true)
}

/// Opens the built-in checkpoint.
///
/// # Errors
/// None that a tested build has.
pub fn checkpoint() -> Result<Checkpoint> {
    Checkpoint::from_folder(Folder::Embedded(CHECKPOINT))
}

/// Opens the built-in dataset.
///
/// # Errors
/// None that a tested build has.
pub fn dataset() -> Result<Arc<Dataset>> {
    Dataset::from_bytes("easy-vqa-demo", DATASET).map(Arc::new)
}
