//! Progress of a run on standard error: a bar on a terminal, a line now and then elsewhere.

use std::fs::Metadata;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say;
use crate::scoring::Accuracy;
use crate::words::{duration, size};

/// Between two lines where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How the server stands is said where nothing else was for so long.
const QUIET: Duration = Duration::from_secs(15);

/// Tells now and then how many of something are done, from whatever thread.
pub struct Ticker {
    every: Duration,
    what: &'static str,
    done: AtomicU64,
    last: Mutex<Instant>,
}

impl Ticker {
    /// A ticker that speaks at most so often.
    pub fn new(every: Duration, what: &'static str) -> Self {
        Self { every, what, done: AtomicU64::new(0), last: Mutex::new(Instant::now()) }
    }

    /// One more is done.
    pub fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever finds the lock taken leaves the telling to its holder.
        if let Ok(mut last) = self.last.try_lock()
            && last.elapsed() >= self.every
        {
            *last = Instant::now();
            say(format!("{done} {}", self.what));
        }
    }
}

/// Before the first line about a file, so that small ones are read in silence.
const SILENT: Duration = Duration::from_secs(1);

/// Tells now and then how much of a file has been gone through.
pub struct Reading {
    name: String,
    total: Option<u64>,
    due: Instant,
}

impl Reading {
    /// Of the file (or folder) at a path.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let total = path.metadata().ok().filter(Metadata::is_file).map(|about| about.len());
        Self { name, total, due: Instant::now() + SILENT }
    }

    /// So many bytes have been gone through. Always `true`: to go on.
    pub fn at(&mut self, bytes: u64) -> bool {
        if let Some(line) = self.line(bytes, Instant::now()) {
            say(line);
        }
        true
    }

    fn line(&mut self, bytes: u64, now: Instant) -> Option<String> {
        if now < self.due {
            return None;
        }
        self.due = now + LINE_EVERY;
        let total = self.total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
        Some(format!("reading {}: {}{total}", self.name, size(bytes)))
    }
}

/// The progress display of one run.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    last_line: Option<Instant>,
    beside: String,
    seen: Option<String>,
}

impl Progress {
    /// A display for so many questions.
    pub fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(8));
            // The template is a constant that the tests draw; a mistake in it would fall back to the default look.
            if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/blue} {pos}/{len}  {wide_msg}") {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        });
        Self { bar, total: total as u64, last_line: None, beside: String::new(), seen: None }
    }

    /// Says something that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Weights are being loaded.
    pub fn loading(&mut self, bytes: u64, total: u64) {
        let text = format!("loading {} of {}", size(bytes), size(total));
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        } else if self.is_due() {
            say(text);
        }
    }

    /// What happens with the question at hand.
    pub fn now(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// How the server stands, beside what is said of the questions.
    pub fn beside(&mut self, text: String) {
        self.beside = text;
        if let (Some(bar), Some(seen)) = (&self.bar, &self.seen) {
            bar.set_message(format!("{seen}  ·  {}", self.beside));
        } else if self.bar.is_none() && self.last_line.is_none_or(|at| at.elapsed() >= QUIET) {
            self.last_line = Some(Instant::now());
            say(self.beside.clone());
        }
    }

    /// Questions are done.
    pub fn done(&mut self, done: u64, accuracy: &Accuracy, remaining: Option<f64>, speed: Option<f64>) {
        let mut text = match accuracy.total {
            0 => "not scored".to_owned(),
            _ => format!("{:.1} % right", 100.0 * accuracy.value()),
        };
        if let Some(speed) = speed {
            text.push_str(&format!(", {speed:.1} tokens/s"));
        }
        if let Some(seconds) = remaining.filter(|_| done < self.total) {
            text.push_str(&format!(", {} left", duration(seconds)));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            let beside = if self.beside.is_empty() { "" } else { "  ·  " };
            bar.set_message(format!("{text}{beside}{}", self.beside));
            self.seen = Some(text);
        } else if self.is_due() || done == self.total {
            say(format!("{done}/{}: {text}", self.total));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if due {
            self.last_line = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reading_is_told_now_and_then() {
        let mut reading = Reading { name: "big.tsv".into(), total: Some(4 << 30), due: Instant::now() };
        let start = reading.due;
        let line = reading.line(1 << 30, start).unwrap();
        assert!(line.starts_with("reading big.tsv: ") && line.contains(" of "), "{line}");
        assert_eq!(reading.line(2 << 30, start + LINE_EVERY / 2), None);
        assert!(reading.line(3 << 30, start + LINE_EVERY).is_some());
    }
}
