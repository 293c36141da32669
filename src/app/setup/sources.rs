//! What there is to choose from on this machine: Hugging Face's cache, VLMEvalKit's root, the catalogue.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::checkpoint::locate::hugging_face_caches;
use crate::dataset::discover;
use crate::plan::Model;
use crate::plan::catalogue::Known;

/// Folders of a cache that are looked at.
const MOST: usize = 2000;

/// Something that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name for people.
    pub name: String,
    /// What to open: a path, a name.
    pub named: String,
    /// Where it is, in words.
    pub place: String,
    /// Bytes on the disk, or parameters for a model of the catalogue.
    pub size: u64,
}

/// What a look around has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Checkpoints in Hugging Face's cache.
    pub checkpoints: Vec<Source>,
    /// Datasets in VLMEvalKit's root and Hugging Face's cache.
    pub datasets: Vec<Source>,
}

/// Looks around on this machine: names and sizes only.
pub fn look() -> Found {
    let datasets = discover().into_iter().map(|found| Source {
        name: found.name,
        named: found.path.display().to_string(),
        place: found.place.to_owned(),
        size: found.bytes,
    });
    Found {
        checkpoints: hugging_face_caches().iter().flat_map(|cache| checkpoints(cache)).collect(),
        datasets: datasets.collect(),
    }
}

/// The models of the catalogue.
pub fn catalogue() -> &'static [Source] {
    static CATALOGUE: OnceLock<Vec<Source>> = OnceLock::new();
    let source = |known: &Known| Source {
        name: known.name.clone(),
        named: known.name.clone(),
        place: known.family.clone(),
        size: Model::new(known.shape.clone(), known.shape.stored, None).parameters(),
    };
    CATALOGUE.get_or_init(|| crate::plan::catalogue::all().iter().map(source).collect())
}

/// The InternVL checkpoints in a folder laid out as Hugging Face's cache.
pub fn checkpoints(cache: &Path) -> Vec<Source> {
    let mut found: Vec<Source> = folders(cache).into_iter().filter_map(|folder| cached(&folder)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn cached(folder: &Path) -> Option<Source> {
    let name = folder.file_name()?.to_str()?.strip_prefix("models--")?.replacen("--", "/", 1);
    let snapshot = crate::checkpoint::locate::checkpoint_folder(&folder.display().to_string()).ok()?;
    if !is_internvl(&snapshot.join("config.json")) {
        return None;
    }
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "safetensors");
    let weights = files(&snapshot).into_iter().filter(is_weights);
    let size = weights.filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum();
    Some(Source { name, named: folder.display().to_string(), place: "Hugging Face".into(), size })
}

/// Whether a configuration is one of InternVL: its `model_type` says so.
fn is_internvl(config: &Path) -> bool {
    let is_small = std::fs::metadata(config).is_ok_and(|about| about.len() < 16 << 20);
    let text = if is_small { std::fs::read(config).unwrap_or_default() } else { Vec::new() };
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    value.get("model_type").and_then(|it| it.as_str()).is_some_and(|it| it.starts_with("internvl"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_searched_for_models_that_can_be_opened() {
        let cache = tempfile::tempdir().unwrap();
        let make = |entry: &str, config: &str| {
            let snapshot = cache.path().join(entry).join("snapshots/abc");
            std::fs::create_dir_all(&snapshot).unwrap();
            std::fs::write(snapshot.join("config.json"), config).unwrap();
            std::fs::write(snapshot.join("model.safetensors"), [0; 40]).unwrap();
        };
        make("models--OpenGVLab--InternVL3-1B", r#"{"model_type":"internvl_chat"}"#);
        make("models--org--Other", r#"{"model_type":"bert"}"#);
        make("datasets--org--Some", r#"{"model_type":"internvl_chat"}"#);
        let found = checkpoints(cache.path());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].size), ("OpenGVLab/InternVL3-1B", 40));
        assert!(catalogue().iter().any(|it| it.name == "InternVL2-Llama3-76B" && it.size > 70_000_000_000));
    }
}
