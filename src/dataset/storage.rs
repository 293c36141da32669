//! The bytes of a dataset's file, on disk or in the program, read piece by piece.
//!
//! Files are read at positions instead of being mapped: a file that shrinks while it is open then gives an error
//! rather than a crash, and pages that were read once do not stay in the process's memory.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::{Problem, Result};

/// Bytes that can be read in any order, by several threads.
#[derive(Debug)]
pub(crate) enum Storage {
    /// Part of the program.
    Embedded(&'static [u8]),
    /// A file, its length when it was opened, and its path for messages.
    File {
        /// The open file.
        file: File,
        /// Length in bytes when it was opened.
        len: u64,
        /// Where it is.
        path: PathBuf,
    },
}

/// Digests of a file's bytes, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prints {
    /// SHA-256, by which a session knows the file again.
    pub(crate) sha256: String,
    /// MD5, which VLMEvalKit publishes; only where it is asked for.
    pub(crate) md5: Option<String>,
}

/// How much is read at a time when a whole file is gone through.
const CHUNK: usize = 1 << 20;

impl Storage {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Problem::io("open the file", path, &error))?;
        let about = file.metadata().map_err(|error| Problem::io("read the file", path, &error))?;
        if !about.is_file() {
            return Err(Problem::new("this is not a file").in_file(path));
        }
        Ok(Self::File { file, len: about.len(), path: path.to_owned() })
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Storage::Embedded(bytes) => bytes.len() as u64,
            Storage::File { len, .. } => *len,
        }
    }

    /// The bytes of a range that lies inside.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let outside = || Problem::new("the file ends before the place that was to be read");
        match self {
            Storage::Embedded(bytes) => {
                let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                let part = range.and_then(|(start, end)| bytes.get(start..end));
                part.map(Cow::Borrowed).ok_or_else(outside)
            }
            Storage::File { file, len, path } => {
                if range.end > *len || range.start > range.end {
                    return Err(outside().in_file(path));
                }
                let mut bytes = vec![0; (range.end - range.start) as usize];
                read_at(file, &mut bytes, range.start).map_err(|error| {
                    if error.kind() == std::io::ErrorKind::UnexpectedEof {
                        Problem::new("the file has become shorter since it was opened").in_file(path)
                    } else {
                        Problem::io("read the file", path, &error)
                    }
                })?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Goes through all bytes from a place on; `each` gets a piece and says whether to go on. `false` when it was
    /// stopped.
    pub(crate) fn walk(&self, from: u64, mut each: impl FnMut(&[u8]) -> bool) -> Result<bool> {
        if let Storage::Embedded(bytes) = self {
            let rest = bytes.get(from as usize..).unwrap_or_default();
            return Ok(rest.chunks(CHUNK).all(each));
        }
        let mut at = from;
        while at < self.len() {
            let end = (at + CHUNK as u64).min(self.len());
            if !each(&self.read(at..end)?) {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    /// The digests of everything, in one pass; `None` when `go_on` (which hears the bytes done) stopped it.
    pub(crate) fn prints(
        &self,
        with_md5: bool,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Option<Prints>> {
        let (mut sha256, mut md5) = (sha2::Sha256::new(), with_md5.then(md5::Md5::new));
        let mut done = 0;
        let finished = self.walk(0, |piece| {
            sha256.update(piece);
            if let Some(md5) = &mut md5 {
                md5.update(piece);
            }
            done += piece.len() as u64;
            go_on(done)
        })?;
        Ok(finished.then(|| Prints {
            sha256: hexadecimal(&sha256.finalize()),
            md5: md5.map(|md5| hexadecimal(&md5.finalize())),
        }))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], from: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, from)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut from: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, from)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        from += read as u64;
    }
    Ok(())
}
