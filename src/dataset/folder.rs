//! Where a dataset's image files lie, and never a file elsewhere.

use std::path::{Component, Path, PathBuf};

use crate::{Problem, Result};

/// Longest name of an image file with its folders, in bytes.
const LONGEST_NAME: usize = 1024;

/// Folders in which a dataset's image files may lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFolders {
    folders: Vec<PathBuf>,
}

impl ImageFolders {
    /// Folders of a dataset: its file's own, `images/<name>` beside it, and `images/<name>` under VLMEvalKit's root
    /// (`$LMUData`, else `~/LMUData`). VLMEvalKit names the folder of some datasets by their name's first part.
    pub(crate) fn of_dataset(name: &str, file: Option<&Path>) -> Self {
        let name = name.strip_suffix("_local").unwrap_or(name);
        let first = name.split('_').next().unwrap_or(name);
        let mut folders: Vec<PathBuf> = Vec::new();
        let mut roots = Vec::new();
        if let Some(beside) = file.and_then(Path::parent) {
            let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
            folders.push(beside.to_owned());
            roots.push(beside.to_owned());
        }
        roots.extend(lmu_data());
        for root in roots {
            for name in [name, first] {
                let folder = root.join("images").join(name);
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
        Self { folders }
    }

    /// The file of this name in the first folder that has it.
    pub(crate) fn find(&self, name: &str) -> Result<PathBuf> {
        if name.len() > LONGEST_NAME {
            return Err(Problem::new(format!(
                "the image's text of {} bytes is too long for a file's name",
                name.len()
            ))
            .fix("name a file, or begin base64 with data:image/png;base64,"));
        }
        let relative = Path::new(name.trim());
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(inside) || name.contains('\0') {
            return Err(Problem::new(format!("the image '{name}' lies outside the dataset's folders"))
                .fix("name image files relative to the dataset's folder"));
        }
        for folder in &self.folders {
            let path = folder.join(relative);
            let (Ok(folder), Ok(file)) = (folder.canonicalize(), path.canonicalize()) else { continue };
            if !file.starts_with(&folder) && !in_same_repository(&folder, &file) {
                return Err(Problem::new(format!(
                    "the image '{name}' is a link that leads out of the dataset's folder"
                ))
                .fix("put the image itself into the folder"));
            }
            if file.is_file() {
                return Ok(file);
            }
        }
        let looked: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        Err(Problem::new(format!("there is no image file '{name}'"))
            .fix(format!("put it into one of: {}", looked.join(", "))))
    }
}

/// Whether a file lies in the same repository of Hugging Face's cache, whose snapshots are links to its blobs.
fn in_same_repository(folder: &Path, file: &Path) -> bool {
    let repository =
        |part: &&Path| part.file_name().is_some_and(|name| name.to_string_lossy().starts_with("datasets--"));
    folder.ancestors().find(repository).is_some_and(|repository| file.starts_with(repository.join("blobs")))
}

/// VLMEvalKit's root: `$LMUData` if it exists, else `~/LMUData` if that does.
pub(crate) fn lmu_data() -> Option<PathBuf> {
    let named = std::env::var_os("LMUData").map(PathBuf::from).filter(|folder| folder.is_dir());
    named.or_else(|| dirs::home_dir().map(|home| home.join("LMUData")).filter(|folder| folder.is_dir()))
}
