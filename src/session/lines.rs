//! Files of JSON lines: appended so that nothing half-written stays, scanned in bounded memory and on all cores.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::{Problem, Result};

/// Longest line written or read, in bytes: some hundred thousand tokens with their alternatives.
pub const LONGEST_LINE: usize = 64 << 20;

/// Bytes parsed together.
const BATCH: usize = 8 << 20;

/// Opens a file for reading; what is no file (a pipe, a device) would never end.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a file")),
    }
}

/// A file of JSON lines, open for appending. Whatever fails, it holds whole lines only.
pub(super) struct Appender {
    file: File,
    path: PathBuf,
    end: u64,
    durable: bool,
}

impl Appender {
    /// Opens a file and cuts it at `end`, where its last whole line ends; makes it where it is missing.
    /// `durable`: each line is on the disk before `append` returns.
    pub fn open(path: PathBuf, end: u64, durable: bool) -> Result<Self> {
        if path.is_symlink() {
            return Err(Problem::new("this is a link, and what it leads to is no part of the session")
                .in_file(&path)
                .fix("put the file itself into the session folder"));
        }
        let open = || {
            // Read access too: on Windows a file opened for appending alone cannot be cut.
            let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            if file.metadata()?.len() != end {
                file.set_len(end)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        let file = open().map_err(|error: io::Error| Problem::io("open for writing", &path, &error))?;
        Ok(Self { file, path, end, durable })
    }

    /// Whether each line is on the disk before `append` returns.
    pub fn set_durable(&mut self, durable: bool) {
        self.durable = durable;
    }

    /// Puts all lines on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Problem::io("write", &self.path, &error))
    }

    /// Appends one line.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)
            .map_err(|error| Problem::new(format!("cannot write a line: {error}")).in_file(&self.path))?;
        bytes.push(b'\n');
        if bytes.len() > LONGEST_LINE {
            return Err(Problem::new(format!("a line of {} MiB is too long to keep", bytes.len() >> 20))
                .in_file(&self.path)
                .fix("keep fewer log-probabilities, or allow fewer tokens"));
        }
        let written = self.file.write_all(&bytes).and_then(|()| match self.durable {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        match written {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Should even this fail, the torn line is cut when the session is resumed.
                let _ = self.file.set_len(self.end);
                Err(Problem::io("write", &self.path, &error)
                    .fix("make room on the disk, then resume: every question counted as done is kept"))
            }
        }
    }
}

/// A line of a scanned file.
pub(super) struct Line<T> {
    /// Its number, from 1.
    pub number: usize,
    /// Its bytes in the file, without the line feed.
    pub bytes: Range<u64>,
    /// What it holds, or why that cannot be read.
    pub content: Result<T, String>,
}

/// Reads every whole line of a file and hands it on, in order; empty lines are skipped.
///
/// A write that was interrupted leaves a line without its line feed, or after a power cut a last line of garbage.
/// Neither was ever counted as done, so a last line that cannot be read is left out.
/// Returns where the lines that count end.
pub(super) fn scan<T: Send>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, String> + Sync,
    mut each: impl FnMut(Line<T>) -> Result<()>,
) -> Result<u64> {
    let failed = |error: io::Error| Problem::io("read", path, &error);
    let mut reader = BufReader::with_capacity(1 << 20, open_file(path).map_err(failed)?);
    let (mut number, mut end) = (0, 0);
    // The line seen last, while it cannot be read.
    let mut doubtful: Option<Line<T>> = None;
    let mut text = Vec::new();
    loop {
        let lines = read_batch(&mut reader, &mut text).map_err(failed)?;
        if lines.is_empty() {
            return Ok(doubtful.map_or(end, |line| line.bytes.start));
        }
        let contents: Vec<Option<Result<T, String>>> = lines
            .par_iter()
            .map(|line| match &line.text {
                Some(range) => {
                    let line = text[range.clone()].trim_ascii();
                    (!line.is_empty()).then(|| parse(line))
                }
                None => Some(Err(format!("longer than {} MiB", LONGEST_LINE >> 20))),
            })
            .collect();
        for (line, content) in lines.iter().zip(contents) {
            number += 1;
            let bytes = end..end + line.length - 1;
            end += line.length;
            let Some(content) = content else { continue };
            if let Some(line) = doubtful.take() {
                each(line)?;
            }
            let line = Line { number, bytes, content };
            match line.content {
                Ok(_) => each(line)?,
                Err(_) => doubtful = Some(line),
            }
        }
    }
}

/// A whole line of a batch.
struct Slice {
    /// Its bytes in the file, line feed counted.
    length: u64,
    /// Where its text stands in the batch; nothing where it is too long to be held.
    text: Option<Range<usize>>,
}

/// Reads the next lines into `text`; none at the end of the file, where a torn line may stand.
fn read_batch(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<Vec<Slice>> {
    text.clear();
    let mut lines = Vec::new();
    while text.len() < BATCH {
        let from = text.len();
        let mut length = reader.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', text)? as u64;
        if length > 0 && text.last() == Some(&b'\n') {
            lines.push(Slice { length, text: Some(from..text.len() - 1) });
            continue;
        }
        text.truncate(from);
        if length < LONGEST_LINE as u64 {
            break;
        }
        // The file is torn inside this line, or the line ends further on.
        let Some(rest) = skip_line(reader)? else { break };
        length += rest;
        lines.push(Slice { length, text: None });
    }
    Ok(lines)
}

/// Skips to behind the next line feed and says how many bytes that were; nothing where the file ends before it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut skipped = 0;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let feed = bytes.iter().position(|&byte| byte == b'\n');
        let step = feed.map_or(bytes.len(), |at| at + 1);
        reader.consume(step);
        skipped += step as u64;
        if feed.is_some() {
            return Ok(Some(skipped));
        }
    }
}
