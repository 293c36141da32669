//! A session open for writing: by one process at a time, and so that nothing counted as done is ever lost.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::journal::{Answer, Event, MemorySample, now};
use super::lines::{Appender, open_file, scan};
use super::manifest::{MANIFEST, Manifest};
use crate::{Problem, Result};

/// Name of the journal in its folder.
pub const ANSWERS: &str = "answers.jsonl";
/// Name of the memory samples in their folder.
pub const MEMORY: &str = "memory.jsonl";
/// Name of the events in their folder.
pub const EVENTS: &str = "events.jsonl";
/// The file whose lock a writer holds. The system drops the lock with the process, so none is ever left over.
const LOCK: &str = "session.lock";

/// A session that is being written.
pub struct Session {
    dir: PathBuf,
    manifest: Manifest,
    answers: Appender,
    events: Appender,
    memory: Appender,
    /// Questions that must not be answered again.
    settled: HashSet<String>,
    /// Held as long as the session is open.
    _lock: File,
}

impl Session {
    /// Begins a session in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// The folder already holds a session, another process is writing there, or it cannot be written.
    pub fn create(dir: &Path, manifest: &Manifest) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| {
            Problem::io("create the session folder", dir, &error).fix("choose another folder with --session")
        })?;
        let lock = lock(dir)?;
        if let Some(name) = [MANIFEST, ANSWERS].into_iter().find(|name| dir.join(name).exists()) {
            return Err(Problem::new(format!("this folder already holds a session: there is {name} in it"))
                .in_file(dir)
                .fix("go on with it (--resume), or choose another folder with --session"));
        }
        manifest.write_once(dir)?;
        Self::open(dir, manifest.clone(), lock, 0, HashSet::new())
    }

    /// Goes on with a session, and gives the answers that it already has, in the order in which they were given.
    ///
    /// A question that was stopped half way is not among them: it is to be asked again.
    ///
    /// # Errors
    /// `manifest` has settings that would change answers, the journal is damaged, another process is writing there,
    /// or the folder cannot be read or written.
    pub fn resume(dir: &Path, manifest: &Manifest) -> Result<(Self, Vec<Answer>)> {
        let begun = Manifest::read(dir)?;
        let differences = manifest.differences(&begun);
        if !differences.is_empty() {
            let list: Vec<String> = differences
                .iter()
                .map(|it| format!("{} is now {} and was {}", it.setting, it.here, it.there))
                .collect();
            return Err(Problem::new(format!(
                "this session was begun under other settings, which would change answers: {}",
                list.join("; ")
            ))
            .in_file(dir)
            .fix(
                "resume with the settings that it was begun with, or choose another folder with --session",
            ));
        }
        let lock = lock(dir)?;
        let (answers, end) = read_answers(&dir.join(ANSWERS))?;
        let settled = answers
            .iter()
            .filter(|answer| !answer.may_be_replaced())
            .map(|answer| answer.index.clone())
            .collect();
        let session = Self::open(dir, begun, lock, end, settled)?;
        Ok((session, answers.into_iter().filter(Answer::is_settled).collect()))
    }

    fn open(dir: &Path, manifest: Manifest, lock: File, end: u64, settled: HashSet<String>) -> Result<Self> {
        Ok(Self {
            answers: Appender::open(dir.join(ANSWERS), end, true)?,
            events: Appender::open(dir.join(EVENTS), whole_lines(&dir.join(EVENTS))?, false)?,
            memory: Appender::open(dir.join(MEMORY), whole_lines(&dir.join(MEMORY))?, false)?,
            dir: dir.to_path_buf(),
            manifest,
            settled,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the session was begun with.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a question need not be asked again.
    pub fn has(&self, index: &str) -> bool {
        self.settled.contains(index)
    }

    /// Keeps the answer to one question: when this returns, it is on the disk.
    ///
    /// # Errors
    /// The question is answered already, or the line cannot be written; then nothing of it stays.
    pub fn append(&mut self, answer: &Answer) -> Result<()> {
        if self.settled.contains(&answer.index) {
            return Err(Problem::new(format!(
                "question {} is already answered in this session",
                answer.index
            ))
            .in_file(&self.dir));
        }
        self.answers.append(answer)?;
        if !answer.may_be_replaced() {
            self.settled.insert(answer.index.clone());
        }
        Ok(())
    }

    /// Keeps many answers that were given elsewhere: when this returns, all of them are on the disk.
    ///
    /// # Errors
    /// As [`Session::append`]; the answers before the one that failed are kept.
    pub fn append_all<'a>(&mut self, answers: impl IntoIterator<Item = &'a Answer>) -> Result<()> {
        self.answers.set_durable(false);
        let appended = answers.into_iter().try_for_each(|answer| self.append(answer));
        self.answers.set_durable(true);
        appended.and(self.answers.sync())
    }

    /// Notes something that happened.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn event(&mut self, kind: &str, details: Value) -> Result<()> {
        self.events.append(&Event { time: now(), kind: kind.to_string(), details })
    }

    /// Keeps a sample of memory.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn memory(&mut self, sample: &MemorySample) -> Result<()> {
        self.memory.append(sample)
    }
}

/// Takes the lock of a folder, so that one process alone writes there.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(|error| {
        Problem::io("write in the session folder", &path, &error).fix("choose another folder with --session")
    })?;
    // Someone may just be looking whether the session is being written.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => return Err(Problem::io("lock the session", &path, &error)),
        }
    }
    Err(Problem::new("another process is writing this session")
        .in_file(dir)
        .fix("wait for it or stop it, or choose another folder with --session"))
}

/// Whether a process is writing this session now.
pub(super) fn is_being_written(dir: &Path) -> bool {
    let Ok(file) = open_file(&dir.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Reads a journal whole, for going on with it: the answers that count, and where they end in the file.
fn read_answers(path: &Path) -> Result<(Vec<Answer>, u64)> {
    if !path.exists() {
        return Ok((Vec::new(), 0));
    }
    let mut answers: Vec<Answer> = Vec::new();
    let mut places: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    let end = scan(path, parse, |line| {
        let place = format!("{}, line {}", path.display(), line.number);
        let answer = line.content.map_err(|why| {
            Problem::new(format!("this line is damaged: {why}"))
                .at(&place)
                .fix("take the file from a copy, or remove the line: its question will be asked again")
        })?;
        match places.get(&answer.index) {
            Some(&earlier) if answers[earlier].may_be_replaced() => answers[earlier] = answer,
            Some(_) => {
                return Err(Problem::new(format!("question {} is answered a second time", answer.index))
                    .at(&place)
                    .fix("remove one of its two lines"));
            }
            None => {
                places.insert(answer.index.clone(), answers.len());
                answers.push(answer);
            }
        }
        Ok(())
    })?;
    Ok((answers, end))
}

/// Reads one line of a journal.
pub(super) fn parse(line: &[u8]) -> Result<Answer, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// Where the whole lines of a file end; nothing where it is missing.
pub(super) fn whole_lines(path: &Path) -> Result<u64> {
    if path.exists() { scan(path, |_| Ok(()), |_| Ok(())) } else { Ok(0) }
}
