//! A run without a window: progress, score, summary.

pub mod bench;
pub mod eval;
pub mod inspect;
pub mod progress;
pub mod scoring;
pub mod sessions;
pub mod summary;

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::Problem;
use crate::cli::Failure;

/// Says a line on standard error. Nobody may be listening any more, which is no fault of the run.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints the one JSON object of a command to standard output.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    print_line(&text.map_err(|e| Failure::Broken(Problem::new(format!("cannot write JSON: {e}"))))?)
}

/// Prints a line to standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Standard output takes no more, as on a full disk.
pub fn print_line(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Broken(Problem::new(format!("cannot write to standard output: {error}"))))
        }
        _ => Ok(()),
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match power {
        0 => format!("{bytes} B"),
        _ => format!("{:.2} {}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power]),
    }
}

/// Seconds as people read them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
