//! A run without a window: progress, score, summary.

pub mod bench;
pub mod comparison;
pub mod datasets;
pub mod devices;
pub mod eval;
pub mod exchange;
pub mod inspect;
pub mod judging;
pub mod keys;
pub mod plan;
pub mod plan_sources;
mod plan_text;
pub mod progress;
pub mod scoring;
pub mod served;
pub mod sessions;
pub mod summary;
pub mod watch;

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::Problem;
use crate::cli::Failure;
use crate::words::visible;

/// Says a line on standard error; what a terminal would obey is replaced. Nobody may be listening any more, which is no
/// fault of the run.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(&text.to_string()));
}

/// Prints the one JSON object of a command to standard output.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    write_line(&text.map_err(|e| Failure::Broken(Problem::new(format!("cannot write JSON: {e}"))))?)
}

/// Prints a line to standard output, or several; what a terminal would obey is replaced. A reader that has seen enough
/// (`| head`) is no error.
///
/// # Errors
/// Standard output takes no more, as on a full disk.
pub fn print_line(text: &str) -> Result<(), Failure> {
    write_line(&visible(text))
}

fn write_line(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Broken(Problem::new(format!("cannot write to standard output: {error}"))))
        }
        _ => Ok(()),
    }
}
