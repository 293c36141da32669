//! A refusal as a value: what is wrong, where, and what to do about it.

use std::fmt;
use std::path::Path;

use crate::plan::bytes::human;

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
    /// The device that had no memory left, where that is what went wrong.
    pub out_of_memory: Option<Box<OutOfMemory>>,
    /// Whether nothing more can be computed in this process, whatever is tried.
    pub is_final: bool,
}

/// A device that had no memory left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Its name; empty where a driver said no without one.
    pub device: String,
    /// Bytes that would have been held on it; 0 where that is not known.
    pub needed: u64,
    /// Bytes that it can hold, where known.
    pub capacity: Option<u64>,
}

impl Problem {
    /// A problem with nothing but its sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, fix: None, out_of_memory: None, is_final: false }
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

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.capacity.filter(|capacity| self.needed > *capacity).map(human);
        let needed = human(self.needed);
        match (self.device.as_str(), self.needed, there) {
            ("", 0, _) => write!(f, "out of memory"),
            ("", _, None) => write!(f, "out of memory: {needed} could not be held"),
            ("", _, Some(there)) => write!(f, "out of memory: {needed} needed, {there} there"),
            (device, 0, _) => write!(f, "out of memory on {device}"),
            (device, _, None) => write!(f, "out of memory on {device}: {needed} could not be held"),
            (device, _, Some(there)) => {
                write!(f, "out of memory on {device}: {needed} needed, {there} there")
            }
        }
    }
}

impl std::error::Error for OutOfMemory {}

impl From<OutOfMemory> for Problem {
    fn from(short: OutOfMemory) -> Self {
        Self { out_of_memory: Some(Box::new(short.clone())), ..Self::new(short.to_string()) }
    }
}

impl From<OutOfMemory> for candle_core::Error {
    /// Inside candle it travels as an input/output error of this kind, from which it can be had back whole.
    fn from(short: OutOfMemory) -> Self {
        Self::Io(std::io::Error::new(std::io::ErrorKind::OutOfMemory, short))
    }
}

impl From<candle_core::Error> for Problem {
    fn from(error: candle_core::Error) -> Self {
        match OutOfMemory::of(&error) {
            Some(short) => short.into(),
            None if leaves_nothing(&error) => Self {
                is_final: true,
                ..Self::new(format!("a GPU cannot be used any more: {}", said(&error)))
                    .fix("what was answered is kept; start the program again and go on with --resume")
            },
            None => Self::new(format!("tensor computation failed: {}", said(&error))),
        }
    }
}

/// What an error of candle's says, without the program's stack, which candle adds where `RUST_BACKTRACE` is set.
pub fn said(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => said(inner),
        error => error.to_string(),
    }
}

/// CUDA's errors after which the process cannot use the device again: "the context cannot be used" or "the process must
/// be terminated and relaunched" (CUDA driver API, `CUresult`).
const FINAL: [&str; 14] = [
    "DEINITIALIZED",
    "ECC_UNCORRECTABLE",
    "NVLINK_UNCORRECTABLE",
    "ILLEGAL_ADDRESS",
    "LAUNCH_TIMEOUT",
    "CONTEXT_IS_DESTROYED",
    "ASSERT",
    "HARDWARE_STACK_ERROR",
    "ILLEGAL_INSTRUCTION",
    "MISALIGNED_ADDRESS",
    "INVALID_ADDRESS_SPACE",
    "INVALID_PC",
    "LAUNCH_FAILED",
    "EXTERNAL_DEVICE",
];

/// Whether an error of candle says that a CUDA context is beyond use.
fn leaves_nothing(error: &candle_core::Error) -> bool {
    use candle_core::Error::{Context, Cuda, WithBacktrace, WithPath};
    match error {
        Context { inner, .. } | WithBacktrace { inner, .. } | WithPath { inner, .. } => leaves_nothing(inner),
        Cuda(driver) => {
            let said = driver.to_string();
            let mut codes = said.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            codes.any(|code| code.strip_prefix("CUDA_ERROR_").is_some_and(|code| FINAL.contains(&code)))
        }
        _ => false,
    }
}

impl OutOfMemory {
    /// The lack of memory that an error of candle stands for: one of ours, or a driver's.
    pub fn of(error: &candle_core::Error) -> Option<Self> {
        use candle_core::Error::{Context, Cuda, Io, WithBacktrace, WithPath};
        match error {
            Io(io) => io.get_ref()?.downcast_ref::<Self>().cloned(),
            Context { inner, .. } | WithBacktrace { inner, .. } | WithPath { inner, .. } => Self::of(inner),
            Cuda(driver) => {
                let said = driver.to_string().to_ascii_lowercase().replace('_', " ");
                said.contains("out of memory").then(|| Self {
                    device: String::new(),
                    needed: 0,
                    capacity: None,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_spared_the_stack() {
        let stack = std::backtrace::Backtrace::force_capture();
        let inner = Box::new(candle_core::Error::Msg("no such device".into()));
        let error = candle_core::Error::WithBacktrace { inner, backtrace: Box::new(stack) };
        assert!(error.to_string().lines().count() > 1);
        assert_eq!(said(&error), "no such device");
        assert_eq!(Problem::from(error).what, "tensor computation failed: no such device");
    }

    #[test]
    fn what_a_driver_says_is_told_apart() {
        let said = |text: &str| {
            let error: Box<dyn std::error::Error + Send + Sync> = text.into();
            Problem::from(candle_core::Error::Cuda(error).context("while copying"))
        };
        let broken =
            said(r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")"#);
        assert!(broken.is_final && broken.out_of_memory.is_none());
        let short = said(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#);
        assert!(!short.is_final && short.out_of_memory.is_some());
        let other = said(r#"DriverError(CUDA_ERROR_INVALID_VALUE, "invalid argument")"#);
        assert!(!other.is_final && other.out_of_memory.is_none());
        // Another code that begins alike.
        assert!(!said("CUDA_ERROR_ASSERTION_OF_NO_CONCERN").is_final);
        assert!(!Problem::from(candle_core::Error::Msg("CUDA_ERROR_ASSERT".into())).is_final);
    }
}
