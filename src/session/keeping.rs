//! What a person does with sessions on disk: a name of their own, and a trash that gives back.
//!
//! A name stands in `label.txt` beside the manifest, which is never changed. The trash is a folder beside the sessions,
//! so that moving there and back is one rename.

use std::fs;
use std::path::{Path, PathBuf};

use super::folder::{ANSWERS, is_being_written};
use super::manifest::MANIFEST;
use crate::{Problem, Result};

/// Name of the file that holds a session's display name.
const LABEL: &str = "label.txt";

/// Name of the trash in a folder of sessions.
const TRASH: &str = ".trash";

/// Longest display name, in characters.
const LONGEST: usize = 120;

/// The name that a person gave a session.
pub fn label(dir: &Path) -> Option<String> {
    let path = dir.join(LABEL);
    let is_small = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() < 4096);
    let text = if is_small { fs::read_to_string(path).ok()? } else { return None };
    let line: String =
        text.lines().next()?.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    (!line.is_empty()).then_some(line)
}

/// Gives a session a name of a person's own; an empty one takes it away.
///
/// # Errors
/// The folder holds no session, or cannot be written.
pub fn set_label(dir: &Path, name: &str) -> Result<()> {
    is_session(dir)?;
    let path = dir.join(LABEL);
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    let written = match name.is_empty() {
        true if !path.exists() => Ok(()),
        true => fs::remove_file(&path),
        false => fs::write(&path, format!("{name}\n")),
    };
    written.map_err(|error| Problem::io("keep the name", &path, &error))
}

/// Moves a session into the trash beside it, and says where it lies there.
///
/// # Errors
/// The folder holds no session, is being written, or cannot be moved.
pub fn discard(dir: &Path) -> Result<PathBuf> {
    is_session(dir)?;
    if is_being_written(dir) {
        return Err(Problem::new("this session is being written").in_file(dir).fix("stop its run first"));
    }
    let (Some(root), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(Problem::new("has no folder around it").in_file(dir));
    };
    move_to(dir, &root.join(TRASH), &name.to_string_lossy())
}

/// Moves a session out of the trash, back to where it was.
///
/// # Errors
/// It lies in no trash any more, or cannot be moved.
pub fn restore(discarded: &Path) -> Result<PathBuf> {
    is_session(discarded)?;
    let trash = discarded.parent().filter(|folder| folder.file_name().is_some_and(|name| name == TRASH));
    let (Some(root), Some(name)) = (trash.and_then(Path::parent), discarded.file_name()) else {
        return Err(Problem::new("is in no trash").in_file(discarded));
    };
    move_to(discarded, root, &name.to_string_lossy())
}

/// The sessions in the trash of a folder.
pub fn discarded(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(TRASH)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|dir| is_session(dir).is_ok()).collect();
    found.sort();
    found
}

/// Deletes what is in the trash of a folder for good; how many sessions that were.
///
/// # Errors
/// One of them cannot be deleted.
pub fn empty_trash(root: &Path) -> Result<usize> {
    let found = discarded(root);
    for dir in &found {
        fs::remove_dir_all(dir).map_err(|error| Problem::io("delete the session", dir, &error))?;
    }
    Ok(found.len())
}

fn is_session(dir: &Path) -> Result<()> {
    let is_plain = fs::symlink_metadata(dir).is_ok_and(|about| about.is_dir());
    if is_plain && [MANIFEST, ANSWERS].iter().any(|name| dir.join(name).is_file()) {
        return Ok(());
    }
    Err(Problem::new("this folder holds no session").in_file(dir))
}

/// Moves a folder into another one, under its name or one with a number after it.
fn move_to(dir: &Path, into: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(into).map_err(|error| Problem::io("make the folder", into, &error))?;
    let mut to = into.join(name);
    let mut number = 2;
    while to.symlink_metadata().is_ok() {
        to = into.join(format!("{name}-{number}"));
        number += 1;
    }
    fs::rename(dir, &to).map_err(|error| Problem::io("move the session", dir, &error))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::list;

    fn session(root: &Path, name: &str) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(ANSWERS), "").unwrap();
        dir
    }

    #[test]
    fn a_name_is_kept_beside_and_can_be_taken_away() {
        let root = tempfile::tempdir().unwrap();
        let dir = session(root.path(), "a");
        assert_eq!(label(&dir), None);
        set_label(&dir, "  the first\u{7} one ").unwrap();
        assert_eq!(label(&dir).as_deref(), Some("the first one"));
        set_label(&dir, &"长".repeat(500)).unwrap();
        assert_eq!(label(&dir).unwrap().chars().count(), LONGEST);
        set_label(&dir, "").unwrap();
        assert_eq!(label(&dir), None);
        assert!(set_label(root.path(), "no session").is_err());
    }

    #[test]
    fn the_trash_gives_back_what_was_put_there() {
        let root = tempfile::tempdir().unwrap();
        let dir = session(root.path(), "a");
        set_label(&dir, "kept").unwrap();
        let there = discard(&dir).unwrap();
        assert!(list(root.path()).is_empty());
        assert_eq!(discarded(root.path()), std::slice::from_ref(&there));
        // Meanwhile another one of that name came.
        session(root.path(), "a");
        let back = restore(&there).unwrap();
        assert_eq!(back.file_name().unwrap(), "a-2");
        assert_eq!(label(&back).as_deref(), Some("kept"));
        assert!(restore(&back).is_err());
        discard(&back).unwrap();
        assert_eq!(empty_trash(root.path()).unwrap(), 1);
        assert_eq!((list(root.path()).len(), discarded(root.path()).len()), (1, 0));
        assert!(discard(root.path()).is_err());
    }
}
