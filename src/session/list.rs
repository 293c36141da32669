//! The sessions on disk: where they are kept, and what each of them is.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::folder::{ANSWERS, is_being_written};
use super::manifest::{MANIFEST, Manifest};
use super::record::Record;
use crate::scoring::Accuracy;

/// Longest part of a folder's name that comes from a checkpoint or a dataset, in characters.
const LONGEST_NAME: usize = 48;

/// One session of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its folder.
    pub dir: PathBuf,
    /// Its manifest, where that can be read.
    pub manifest: Option<Manifest>,
    /// How far it is.
    pub state: State,
    /// Whether a process is writing it now.
    pub running: bool,
    /// Its verdicts, counted.
    pub tally: Accuracy,
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Every question has its answer.
    Complete,
    /// Some questions have none yet.
    Partial {
        /// Questions answered.
        done: usize,
        /// Questions selected.
        of: usize,
    },
    /// Not all of it can be read, and why.
    Damaged(String),
}

impl Summary {
    /// What a session folder holds; whatever is wrong with it is told as its state.
    pub fn of(dir: &Path) -> Self {
        let running = is_being_written(dir);
        let dir = dir.to_path_buf();
        match Record::open(&dir) {
            Ok(record) => {
                let state = match (record.problems().first(), record.settled(), record.questions()) {
                    (Some(problem), ..) => State::Damaged(problem.to_string()),
                    (None, done, of) if done >= of => State::Complete,
                    (None, done, of) => State::Partial { done, of },
                };
                Self { dir, state, running, tally: record.tally(), manifest: Some(record.manifest().clone()) }
            }
            Err(problem) => {
                let state = State::Damaged(problem.to_string());
                Self { manifest: Manifest::read(&dir).ok(), dir, state, running, tally: Accuracy::default() }
            }
        }
    }

    /// Name of the folder.
    pub fn name(&self) -> String {
        self.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The sessions directly under a folder, newest first; none where there is no such folder.
pub fn list(root: &Path) -> Vec<Summary> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let dirs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| dir.join(MANIFEST).is_file() || dir.join(ANSWERS).is_file())
        .collect();
    let mut all: Vec<Summary> = dirs.par_iter().map(|dir| Summary::of(dir)).collect();
    all.sort_by_cached_key(|summary| {
        let started =
            summary.manifest.as_ref().and_then(|manifest| manifest.started.parse::<jiff::Timestamp>().ok());
        std::cmp::Reverse((started, summary.name()))
    });
    all
}

/// The folder in which sessions are kept: `sessions` where the program runs, if there is such a folder, else the
/// place for data that the system gives each user.
pub fn sessions_root() -> PathBuf {
    let here = PathBuf::from("sessions");
    match dirs::data_dir() {
        Some(data) if !here.is_dir() => data.join("shardscope").join("sessions"),
        _ => here,
    }
}

/// A folder for a new session, `<time>-<checkpoint>-<dataset>`, which does not exist yet.
pub fn default_folder(checkpoint: &str, dataset: &str, now: &jiff::Zoned) -> PathBuf {
    unused_folder(&sessions_root(), checkpoint, dataset, now)
}

/// The same under a given root.
pub fn unused_folder(root: &Path, checkpoint: &str, dataset: &str, now: &jiff::Zoned) -> PathBuf {
    let time = now.strftime("%Y-%m-%d-%H%M%S");
    let name = format!("{time}-{}-{}", plain(checkpoint, "checkpoint"), plain(dataset, "dataset"));
    let mut folder = root.join(&name);
    let mut number = 2;
    while folder.symlink_metadata().is_ok() {
        folder = root.join(format!("{name}-{number}"));
        number += 1;
    }
    folder
}

/// The last part of a path or `org/name`, with nothing in it that a file system or a shell minds.
fn plain(name: &str, otherwise: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or_default();
    let kept: String = last
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .take(LONGEST_NAME)
        .collect();
    let kept = kept.trim_matches(|c| "-_.".contains(c));
    if kept.is_empty() { otherwise.to_string() } else { kept.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_plainly_and_never_twice() {
        let root = tempfile::tempdir().unwrap();
        let now: jiff::Zoned = "2026-03-04T05:06:07+00:00[UTC]".parse().unwrap();
        let first = unused_folder(root.path(), "OpenGVLab/InternVL3-8B", "/data/MMMU DEV:VAL.tsv", &now);
        assert_eq!(first.file_name().unwrap(), "2026-03-04-050607-InternVL3-8B-MMMU_DEV_VAL.tsv");
        fs::create_dir(&first).unwrap();
        let second = unused_folder(root.path(), "OpenGVLab/InternVL3-8B", "/data/MMMU DEV:VAL.tsv", &now);
        assert_eq!(second.file_name().unwrap(), "2026-03-04-050607-InternVL3-8B-MMMU_DEV_VAL.tsv-2");
        for (hostile, plainly) in [
            ("../..", "checkpoint"),
            ("a\0b\nc", "a_b_c"),
            ("", "checkpoint"),
            ("C:\\models\\x\\", "x"),
            ("..x", "x"),
        ] {
            assert_eq!(plain(hostile, "checkpoint"), plainly);
        }
        assert_eq!(plain(&"长".repeat(500), "x").chars().count(), LONGEST_NAME);
    }
}
