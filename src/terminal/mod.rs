//! A run without a window: progress, score, summary.

pub mod bench;
pub mod comparison;
pub mod datasets;
pub mod devices;
pub mod eval;
pub mod exchange;
pub mod inspect;
pub mod plan;
pub mod plan_sources;
mod plan_text;
pub mod progress;
pub mod scoring;
pub mod sessions;
pub mod summary;

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::{Problem, Result};

/// Says a line on standard error. Nobody may be listening any more, which is no fault of the run.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints the one JSON object of a command to standard output.
///
/// # Errors
/// As [`print_line`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Problem::new(format!("cannot write JSON: {e}")))?;
    print_line(&text)
}

/// Prints a line to standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Standard output takes no more, as on a full disk.
pub fn print_line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Text of a dataset or a model on one line of so many characters, with nothing in it that a terminal obeys. Of a long
/// one the beginning and the end are shown.
pub fn excerpt(text: &str, width: usize) -> String {
    let shown = |c: char| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c };
    let line: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(shown).collect();
    if line.len() <= width {
        return line.into_iter().collect();
    }
    let begin = width / 3;
    let end = width.saturating_sub(begin + 3);
    let (first, last) = (&line[..begin], &line[line.len() - end..]);
    format!(
        "{} … {}",
        first.iter().collect::<String>().trim_end(),
        last.iter().collect::<String>().trim_start()
    )
}

/// Characters that turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

/// A large number as people read it: `3.8 M`, `76.3 B`.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.0} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.1} B", number as f64 / 1e9),
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
