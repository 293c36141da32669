//! A refusal as a value: what is wrong, where, and what to do about it.

use std::fmt;
use std::path::Path;

/// Result of everything that can be refused or go wrong.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// Something that went wrong, said for the person who has to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One sentence: what is wrong.
    pub what: String,
    /// The file, row, tensor or setting it is about.
    pub place: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Problem {
    /// A problem with nothing but its sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, fix: None }
    }

    /// Says where: a file, row, tensor or setting.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Says where: a file.
    pub fn in_file(self, path: &Path) -> Self {
        self.at(path.display().to_string())
    }

    /// Says what to do about it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// A failed operation on a file.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {doing}: {error}")).in_file(path)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(fix) = &self.fix {
            write!(f, "\n  what to do: {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<candle_core::Error> for Problem {
    fn from(error: candle_core::Error) -> Self {
        Self::new(format!("tensor computation failed: {error}"))
    }
}
