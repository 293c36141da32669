//! Verdicts that a person has set against the machine's: `overrides.jsonl` beside the answers, which stay as they are.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::whole_lines;
use super::journal::now;
use super::lines::{Appender, scan};
use crate::Result;
use crate::scoring::Verdict;

/// Name of the file in its folder.
pub const OVERRIDES: &str = "overrides.jsonl";

/// What a person said about one answer; a line of `overrides.jsonl`. The last line about a question holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Seconds since 1970.
    pub time: f64,
    /// Index of the question.
    pub index: String,
    /// The verdict, or nothing where an earlier one is taken back.
    pub verdict: Option<Verdict>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl Override {
    /// A verdict set now, or taken back.
    pub fn new(index: impl Into<String>, verdict: Option<Verdict>, reason: impl Into<String>) -> Self {
        Self { time: now(), index: index.into(), verdict, reason: reason.into() }
    }

    /// The credit that it gives: 1 where it says right, else 0.
    pub fn score(&self) -> f64 {
        if self.verdict == Some(Verdict::Right) { 1.0 } else { 0.0 }
    }

    /// Adds it to a session folder: when this returns, it is on the disk.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        let path = dir.join(OVERRIDES);
        let end = whole_lines(&path)?;
        Appender::open(path, end, true)?.append(self)
    }
}

/// The overrides of a session folder that hold, by question; lines that cannot be read are left out.
///
/// # Errors
/// The file cannot be read.
pub fn overrides(dir: &Path) -> Result<HashMap<String, Override>> {
    let path = dir.join(OVERRIDES);
    let mut held = HashMap::new();
    if path.exists() {
        let read = |line: &[u8]| serde_json::from_slice::<Override>(line).map_err(|why| why.to_string());
        scan(&path, read, |line| {
            if let Ok(said) = line.content {
                match said.verdict {
                    Some(_) => drop(held.insert(said.index.clone(), said)),
                    None => drop(held.remove(&said.index)),
                }
            }
            Ok(())
        })?;
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_question_holds() {
        let dir = tempfile::tempdir().unwrap();
        assert!(overrides(dir.path()).unwrap().is_empty());
        for (index, verdict) in [
            ("1", Some(Verdict::Wrong)),
            ("2", Some(Verdict::Right)),
            ("1", Some(Verdict::Right)),
            ("2", None),
        ] {
            Override::new(index, verdict, "looked at it").keep(dir.path()).unwrap();
        }
        // A torn line is nobody's word.
        let path = dir.path().join(OVERRIDES);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"index\":\"1\""].concat()).unwrap();
        let held = overrides(dir.path()).unwrap();
        assert_eq!((held.len(), held["1"].verdict, held["1"].score()), (1, Some(Verdict::Right), 1.0));
        Override::new("3", Some(Verdict::Wrong), "").keep(dir.path()).unwrap();
        assert_eq!(overrides(dir.path()).unwrap().len(), 2);
    }
}
