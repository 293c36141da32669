//! What can be planned under a name: a checkpoint on this machine, a configuration alone, or a model of the catalogue.

use std::collections::BTreeMap;
use std::path::Path;

use super::placing;
use crate::checkpoint::Checkpoint;
use crate::plan::{ModelShape, catalogue};
use crate::{Problem, Result, demo};

/// What is known of a checkpoint without loading it.
#[derive(Debug, Clone)]
pub struct CheckpointFacts {
    /// Its numbers.
    pub shape: ModelShape,
    /// True size of each unit in the files, by unit name, where there are files.
    pub unit_bytes: Option<BTreeMap<String, u64>>,
}

/// A checkpoint with its weights, else a configuration alone, else a model of the catalogue.
pub fn of(name: &str) -> Result<CheckpointFacts> {
    match open(name) {
        Some(Ok(checkpoint)) => of_checkpoint(&checkpoint),
        // A folder with a configuration and no weights can be planned all the same.
        Some(Err(problem)) => match has_weights(name) {
            true => Err(problem),
            false => catalogue_or_config(name),
        },
        None => catalogue_or_config(name),
    }
}

/// Opens a checkpoint where the name means one on this machine.
pub fn open(name: &str) -> Option<Result<Checkpoint>> {
    if name == demo::BUILT_IN && !Path::new(name).exists() {
        return Some(demo::checkpoint());
    }
    let folder = crate::checkpoint::locate::checkpoint_folder(name).ok()?;
    Some(Checkpoint::open(&folder.to_string_lossy()))
}

fn has_weights(name: &str) -> bool {
    let entries = std::fs::read_dir(name).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).any(|n| n.ends_with(".safetensors"))
}

fn of_checkpoint(checkpoint: &Checkpoint) -> Result<CheckpointFacts> {
    let (shape, unit_bytes) = placing::facts(checkpoint)?;
    Ok(CheckpointFacts { shape, unit_bytes: Some(unit_bytes) })
}

/// A model of the catalogue, or a folder with a `config.json` (of which only that file is read).
///
/// # Errors
/// Neither is there, or the configuration is not InternVL's.
pub fn catalogue_or_config(name: &str) -> Result<CheckpointFacts> {
    let folder = Path::new(name);
    let file = if folder.is_dir() { folder.join("config.json") } else { folder.to_path_buf() };
    if !file.is_file() {
        return Ok(CheckpointFacts { shape: catalogue::find(name)?, unit_bytes: None });
    }
    let size = std::fs::metadata(&file).map_err(|e| Problem::io("read the configuration", &file, &e))?.len();
    if size > 64 << 20 {
        return Err(Problem::new("the configuration is larger than any configuration").in_file(&file));
    }
    let text =
        std::fs::read_to_string(&file).map_err(|e| Problem::io("read the configuration", &file, &e))?;
    let config = serde_json::from_str(&text)
        .map_err(|e| Problem::new(format!("the configuration is not JSON: {e}")).in_file(&file))?;
    let mut shape = ModelShape::from_config(&config)?;
    if let Some(name) = folder.file_name().filter(|_| folder.is_dir()) {
        shape.name = name.to_string_lossy().into_owned();
    }
    Ok(CheckpointFacts { shape, unit_bytes: None })
}
