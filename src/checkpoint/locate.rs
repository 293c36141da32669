//! Where a checkpoint is: a folder, a Hugging Face cache entry, or `org/name` found in that cache.

use std::path::{Path, PathBuf};

use crate::{Problem, Result};

/// The folder that holds `config.json` of what a person named.
///
/// # Errors
/// Nothing of that name exists, or a cache entry has no finished snapshot.
pub fn checkpoint_folder(named: &str) -> Result<PathBuf> {
    let path = Path::new(named);
    if path.is_dir() {
        if path.join("config.json").is_file() || !path.join("snapshots").is_dir() {
            return Ok(path.to_owned());
        }
        return snapshot(path);
    }
    if path.is_file() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(folder.to_owned());
    }
    if is_repository_id(named) {
        let entry = format!("models--{}", named.replace('/', "--"));
        let roots = hugging_face_caches();
        return match roots.iter().map(|root| root.join(&entry)).find(|p| p.is_dir()) {
            Some(found) => snapshot(&found),
            None => {
                let looked = roots.iter().map(|r| r.display().to_string()).collect::<Vec<_>>().join(", ");
                Err(Problem::new(format!(
                    "is no folder here and not in the Hugging Face cache (looked in {looked})"
                ))
                .at(named)
                .fix(format!("download it first (`hf download {named}`), or give the checkpoint's folder")))
            }
        };
    }
    Err(Problem::new("does not exist")
        .at(named)
        .fix("give the folder that holds the checkpoint's config.json"))
}

/// Folders in which Hugging Face libraries keep downloads, in the order in which those look.
pub fn hugging_face_caches() -> Vec<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut roots: Vec<PathBuf> =
        ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].iter().filter_map(|n| from(n)).collect();
    roots.extend(from("HF_HOME").map(|home| home.join("hub")));
    roots.extend(from("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")));
    roots.extend(dirs::home_dir().map(|home| home.join(".cache/huggingface/hub")));
    roots.dedup();
    roots
}

fn is_repository_id(named: &str) -> bool {
    let parts: Vec<&str> = named.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    parts.len() == 2 && parts.iter().all(plain)
}

/// The snapshot that `refs/main` names; else the only one, or the newest.
fn snapshot(entry: &Path) -> Result<PathBuf> {
    let snapshots = entry.join("snapshots");
    let named = std::fs::read_to_string(entry.join("refs").join("main")).ok();
    if let Some(revision) = named.as_deref().map(str::trim).filter(|r| super::folder::is_plain_name(r)) {
        let folder = snapshots.join(revision);
        if folder.join("config.json").exists() {
            return Ok(folder);
        }
    }
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(&snapshots)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().join("config.json").exists())
        .map(|e| (e.metadata().and_then(|m| m.modified()).unwrap_or(std::time::UNIX_EPOCH), e.path()))
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| {
        Problem::new("is a Hugging Face cache entry without a finished snapshot")
            .in_file(entry)
            .fix("download the checkpoint again (`hf download`)")
    })
}
