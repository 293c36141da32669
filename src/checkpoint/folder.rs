//! Where a checkpoint's files lie: a folder on disk, or embedded in the program.

use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::{Problem, Result};

/// Largest text file (configuration, tokenizer, index) that is read into memory.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// The files of one checkpoint.
#[derive(Debug, Clone)]
pub enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// Files compiled into the program: name and content.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// The bytes of a weight file, memory-mapped or embedded; cheap to clone.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// A memory-mapped file.
    Mapped(Arc<Mmap>),
    /// Bytes compiled into the program.
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// Maps what of a range the system holds in memory already, all of it at once: a fault for every few pages at their
    /// first use takes longer. A range that would have to be read from the disk is left alone.
    pub fn map_in(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let (Self::Mapped(map), Some(bytes)) = (self, self.get(range.clone())) {
            const PAGE: usize = 4096;
            let first = range.start / PAGE * PAGE;
            let mut held = vec![0u8; (range.end - first).div_ceil(PAGE)];
            // SAFETY: the range lies in the mapping, which begins at a page; `held` has a byte for each of its pages.
            let known = unsafe {
                let from = map.as_ptr().add(first).cast_mut().cast();
                libc::mincore(from, range.end - first, held.as_mut_ptr())
            };
            if !bytes.is_empty() && known == 0 && held.iter().all(|page| page & 1 == 1) {
                // An older system does not know the advice.
                let _ = map.advise_range(memmap2::Advice::PopulateRead, first, range.end - first);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}

impl Folder {
    /// What to call a file of this folder in a message.
    pub fn place(&self, name: &str) -> String {
        match self {
            Self::Disk(dir) => dir.join(name).display().to_string(),
            Self::Embedded(_) => format!("built-in {name}"),
        }
    }

    /// Whether the folder holds a file of this name.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Disk(dir) => is_plain_name(name) && dir.join(name).is_file(),
            Self::Embedded(files) => files.iter().any(|(file, _)| *file == name),
        }
    }

    /// Names of the files directly in the folder, sorted; unreadable folders are empty.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Disk(dir) => std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().is_file())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
            Self::Embedded(files) => files.iter().map(|(file, _)| (*file).to_owned()).collect(),
        };
        names.sort();
        names
    }

    /// Reads a small file whole; `None` where there is none.
    ///
    /// # Errors
    /// A name that leaves the folder, a file over 256 MiB, a Git LFS pointer, or one that cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Self::Embedded(files) => {
                Ok(files.iter().find(|(f, _)| *f == name).map(|(_, b)| Cow::Borrowed(*b)))
            }
            Self::Disk(dir) => {
                let path = self.checked(dir, name)?;
                if !path.is_file() {
                    return Ok(None);
                }
                let length = std::fs::metadata(&path).map_err(|e| Problem::io("read", &path, &e))?.len();
                if length > MAX_TEXT_BYTES {
                    return Err(Problem::new(format!(
                        "is {length} bytes long; such a file is a few MB at most"
                    ))
                    .in_file(&path)
                    .fix("download this file again"));
                }
                let bytes = std::fs::read(&path).map_err(|e| Problem::io("read", &path, &e))?;
                refuse_pointer(&bytes, &path)?;
                Ok(Some(Cow::Owned(bytes)))
            }
        }
    }

    /// Reads a small UTF-8 file whole; `None` where there is none.
    ///
    /// # Errors
    /// As [`Folder::read`], and text that is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        match String::from_utf8(bytes.into_owned()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                Err(Problem::new("is not UTF-8 text").at(self.place(name)).fix("download this file again"))
            }
        }
    }

    /// Reads and parses a JSON file; `None` where there is none.
    ///
    /// # Errors
    /// As [`Folder::text`], and malformed JSON (with line and column).
    pub fn json(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Problem::new(format!("is not valid JSON: {error}"))
                .at(self.place(name))
                .fix("download this file again")
        })
    }

    /// Maps a weight file into memory without reading it.
    ///
    /// # Errors
    /// A name that leaves the folder, or a file that is missing, a Git LFS pointer, or cannot be mapped.
    pub fn map(&self, name: &str) -> Result<Bytes> {
        match self {
            Self::Embedded(files) => files
                .iter()
                .find(|(f, _)| *f == name)
                .map(|(_, bytes)| Bytes::Static(bytes))
                .ok_or_else(|| Problem::new("is missing").at(self.place(name))),
            Self::Disk(dir) => {
                let path = self.checked(dir, name)?;
                let file = File::open(&path).map_err(|e| Problem::io("open", &path, &e))?;
                // SAFETY: the map is read-only; a checkpoint rewritten while it runs gives wrong numbers or a
                // bus error, as it does for every program that maps weights. It is never treated as anything
                // but plain bytes.
                let map = unsafe { Mmap::map(&file) }.map_err(|e| Problem::io("map", &path, &e))?;
                refuse_pointer(&map, &path)?;
                Ok(Bytes::Mapped(Arc::new(map)))
            }
        }
    }

    fn checked(&self, dir: &Path, name: &str) -> Result<PathBuf> {
        if is_plain_name(name) {
            return Ok(dir.join(name));
        }
        Err(Problem::new(format!("names the file {name:?}, which is outside the checkpoint's folder"))
            .in_file(dir)
            .fix("use an index whose files lie in the same folder"))
    }
}

/// Refuses what `git clone` leaves in place of a large file where Git LFS is not installed.
fn refuse_pointer(bytes: &[u8], path: &Path) -> Result<()> {
    if !bytes.starts_with(b"version https://git-lfs") {
        return Ok(());
    }
    Err(Problem::new("is a Git LFS pointer, not the file itself")
        .in_file(path)
        .fix("install Git LFS and run `git lfs pull` in this folder, or download the file itself"))
}

/// Whether a name stays inside the folder: relative, with no `..`.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}
