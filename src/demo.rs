//! What the program brings along: a small InternVL and questions for it, so that the first run needs nothing.

use std::sync::Arc;

use crate::Result;
use crate::checkpoint::{Checkpoint, Folder};
use crate::dataset::Dataset;

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
