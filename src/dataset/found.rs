//! Where datasets lie: the files of a folder, VLMEvalKit's root, Hugging Face's cache.

use std::path::{Path, PathBuf};

use crate::dataset::folder::lmu_data;
use crate::dataset::mmmu;
use crate::dataset::parquet::split_of;
use crate::dataset::registry::{self, Entry};
use crate::{Problem, Result};

/// How deep folders are searched, and how many entries are looked at.
const DEEPEST: usize = 4;
const MOST_ENTRIES: usize = 20_000;

/// A dataset that lies on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What to open.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Where it was found, in words.
    pub place: &'static str,
    /// Its entry, if VLMEvalKit knows it.
    pub entry: Option<&'static Entry>,
}

/// The datasets in VLMEvalKit's root (`$LMUData`, else `~/LMUData`) and in Hugging Face's cache. Looks at names and
/// sizes only.
pub fn discover() -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(root) = lmu_data() {
        found.extend(in_vlmevalkit_root(&root));
    }
    if let Some(cache) = hugging_face_cache() {
        found.extend(in_hugging_face_cache(&cache));
    }
    found
}

/// The datasets in a folder laid out as VLMEvalKit's root: a TSV a dataset.
pub fn in_vlmevalkit_root(root: &Path) -> Vec<Found> {
    let mut found: Vec<Found> = entries(root)
        .into_iter()
        .filter(|path| has_ending(path, &["tsv"]))
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let bytes = std::fs::metadata(&path).ok()?.len();
            Some(Found { entry: registry::find(&name), name, path, bytes, place: "VLMEvalKit" })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The datasets in a folder laid out as Hugging Face's cache. A dataset with several configurations is found once
/// for each.
pub fn in_hugging_face_cache(cache: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for repository in entries(cache) {
        let Some(name) = repository_name(&repository) else { continue };
        let Some(snapshot) = snapshot(&repository) else { continue };
        let files = question_files(&snapshot);
        let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        folders.sort();
        folders.dedup();
        let several = folders.len() > 1 && !all_subjects(&folders);
        let folders = if several { folders } else { vec![snapshot.as_path()] };
        for folder in folders {
            let inside: Vec<&PathBuf> = files.iter().filter(|file| file.starts_with(folder)).collect();
            let bytes =
                inside.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|about| about.len()).sum();
            if inside.is_empty() {
                continue;
            }
            let configuration =
                folder.strip_prefix(&snapshot).ok().filter(|path| !path.as_os_str().is_empty());
            let name = match configuration {
                Some(path) if several => format!("{name} {}", path.display()),
                _ => name.clone(),
            };
            let entry = registry::find(&name);
            found.push(Found { name, path: folder.to_owned(), bytes, place: "Hugging Face", entry });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The cache's folder: `$HF_HUB_CACHE`, `$HF_HOME/hub`, `~/.cache/huggingface/hub`; the first that exists.
pub(crate) fn hugging_face_cache() -> Option<PathBuf> {
    let named = std::env::var_os("HF_HUB_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HF_HOME").map(|home| PathBuf::from(home).join("hub"));
    let usual = dirs::home_dir().map(|home| home.join(".cache/huggingface/hub"));
    [named, home, usual].into_iter().flatten().find(|folder| folder.is_dir())
}

/// The dataset `org/name` in Hugging Face's cache, if it is there.
pub(crate) fn cached(name: &str) -> Option<PathBuf> {
    let (organisation, name) = name.split_once('/')?;
    let plain = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if !plain(organisation) || !plain(name) {
        return None;
    }
    let repository = hugging_face_cache()?.join(format!("datasets--{organisation}--{name}"));
    snapshot(&repository)
}

/// `name` of a cache folder `datasets--org--name`.
fn repository_name(folder: &Path) -> Option<String> {
    let folder = folder.file_name()?.to_str()?.strip_prefix("datasets--")?;
    Some(folder.rsplit("--").next().unwrap_or(folder).to_owned())
}

/// The snapshot that `refs/main` names, else the one changed last.
fn snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let revision = std::fs::read_to_string(repository.join("refs/main")).ok();
    let revision =
        revision.filter(|revision| revision.trim().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let named = revision.map(|revision| snapshots.join(revision.trim())).filter(|folder| folder.is_dir());
    named.or_else(|| {
        let changed = |folder: &PathBuf| std::fs::metadata(folder).and_then(|about| about.modified()).ok();
        entries(&snapshots).into_iter().filter(|folder| folder.is_dir()).max_by_key(changed)
    })
}

/// What a folder holds, in order of name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .take(MOST_ENTRIES)
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// The files below a folder that may hold questions, in order; image folders are not searched.
fn question_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = MOST_ENTRIES;
    search(folder, 0, &mut left, &mut files);
    files
}

fn search(folder: &Path, depth: usize, left: &mut usize, files: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < DEEPEST && path.file_name().is_none_or(|name| name != "images") {
                search(&path, depth + 1, left, files);
            }
        } else if has_ending(&path, &["parquet", "tsv", "csv", "jsonl", "ndjson"]) {
            files.push(path);
        }
    }
}

/// Whether folders are named by MMMU's subjects.
fn all_subjects(folders: &[&Path]) -> bool {
    let subject = |folder: &&Path| {
        folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| mmmu::discipline(name).is_some())
    };
    folders.iter().all(subject)
}

/// The files of a folder that make one dataset.
///
/// # Errors
/// When there is none, or when it cannot be told which are meant.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = question_files(folder);
    let parquet: Vec<PathBuf> = files.iter().filter(|file| has_ending(file, &["parquet"])).cloned().collect();
    let chosen = if parquet.is_empty() { files } else { parquet };
    let parents: Vec<&Path> = {
        let mut parents: Vec<&Path> = chosen.iter().filter_map(|file| file.parent()).collect();
        parents.dedup();
        parents
    };
    let shown = |paths: &[&Path]| {
        let names: Vec<String> = paths
            .iter()
            .take(12)
            .map(|path| path.strip_prefix(folder).unwrap_or(path).display().to_string())
            .collect();
        names.join(", ")
    };
    let is_parquet = chosen.first().is_some_and(|file| has_ending(file, &["parquet"]));
    match chosen.len() {
        0 => Err(Problem::new("the folder has no file of questions").in_file(folder).fix(
            "give a TSV of VLMEvalKit, parquet files, JSON lines, or a folder of images with a CSV that has the columns image and question",
        )),
        1 => Ok(chosen),
        _ if is_parquet && (parents.len() == 1 || all_subjects(&parents)) => Ok(chosen),
        _ if is_parquet => Err(Problem::new(format!("the folder has several datasets: {}", shown(&parents)))
            .in_file(folder)
            .fix("give one of these folders")),
        _ => {
            let files: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
            Err(Problem::new(format!("the folder has several files of questions: {}", shown(&files)))
                .in_file(folder)
                .fix("give one of these files"))
        }
    }
}

/// The name of the dataset in a file or folder. Files named by a split (`validation-00000-of-00001`) and folders named
/// by a revision have their dataset's name further up.
pub(crate) fn name_of(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = absolute.as_path();
    let is_file = path.extension().is_some() && !path.is_dir();
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let mut tail = Vec::new();
    // In Hugging Face's cache: the repository's name, and the configuration where there is one.
    if let Some(at) = parts.iter().rposition(|part| part.starts_with("datasets--")) {
        let repository = parts[at].rsplit("--").next().unwrap_or_default().to_owned();
        let end = parts.len() - usize::from(is_file);
        tail.extend(
            parts.get(at + 3..end).unwrap_or_default().iter().filter(|part| *part != "data").cloned(),
        );
        tail.insert(0, repository);
        return tail.join(" ");
    }
    if is_file {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if split_of(&stem).is_none() || !has_ending(path, &["parquet", "jsonl", "ndjson"]) {
            return stem;
        }
        parts.pop();
    }
    while parts.last().is_some_and(|part| part == "data" || part == "/") {
        parts.pop();
    }
    parts.pop().unwrap_or_default()
}
