//! Server-sent events, as chat completions are streamed: the data of one event after the other, each of bounded length.
//!
//! After the WHATWG standard, but for two liberties that servers take: an event may end without an empty line where
//! its data is whole, and the last one may end with the stream.

use std::io::{self, BufRead};

/// Longest line, and longest data of one event.
const LONGEST: usize = 1 << 20;

/// The data of a stream's events.
pub struct Events<R> {
    source: R,
    line: Vec<u8>,
    data: String,
    /// Bytes read so far.
    read: u64,
    limit: u64,
    ended: bool,
}

/// Why there is no further event.
#[derive(Debug)]
pub enum Trouble {
    /// The stream broke.
    Broken(io::Error),
    /// It says more than it may: so many bytes.
    TooLong(u64),
    /// It is no text.
    NoText,
}

/// What a line leaves to do.
enum Line {
    Data(String),
    Empty,
    Other,
}

impl<R: BufRead> Events<R> {
    /// Events of a stream of at most so many bytes.
    pub fn new(source: R, limit: u64) -> Self {
        Self { source, line: Vec::new(), data: String::new(), read: 0, limit, ended: false }
    }

    /// What was not read.
    pub fn into_source(self) -> R {
        self.source
    }

    /// The data of the next event, [`Trouble`], or nothing at the end. `beat` is called at every line, comments too:
    /// its `false` ends the stream.
    pub fn next(&mut self, beat: &mut dyn FnMut() -> bool) -> Option<Result<String, Trouble>> {
        while !self.ended {
            let line = match self.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(trouble) => return self.end_with(trouble),
            };
            if !beat() {
                self.ended = true;
                return None;
            }
            match line {
                Line::Data(more) if self.data.is_empty() => self.data = more,
                Line::Data(more) if is_whole(&self.data) => {
                    return Some(Ok(std::mem::replace(&mut self.data, more)));
                }
                Line::Data(more) if self.data.len() + more.len() > LONGEST => {
                    return self.end_with(Trouble::TooLong(LONGEST as u64));
                }
                Line::Data(more) => {
                    self.data.push('\n');
                    self.data.push_str(&more);
                }
                Line::Empty if !self.data.is_empty() => return Some(Ok(std::mem::take(&mut self.data))),
                Line::Empty | Line::Other => {}
            }
        }
        self.ended = true;
        (!self.data.is_empty()).then(|| Ok(std::mem::take(&mut self.data)))
    }

    fn end_with(&mut self, trouble: Trouble) -> Option<Result<String, Trouble>> {
        self.ended = true;
        self.data.clear();
        Some(Err(trouble))
    }

    fn next_line(&mut self) -> Result<Option<Line>, Trouble> {
        self.line.clear();
        loop {
            let bytes = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes.map_err(Trouble::Broken)?,
            };
            if bytes.is_empty() {
                // What stands after the last line feed was cut off.
                return Ok(None);
            }
            let feed = bytes.iter().position(|&byte| byte == b'\n');
            let taken = feed.map_or(bytes.len(), |at| at + 1);
            if self.line.len() + taken > LONGEST {
                return Err(Trouble::TooLong(LONGEST as u64));
            }
            self.line.extend_from_slice(&bytes[..taken]);
            self.source.consume(taken);
            self.read += taken as u64;
            if self.read > self.limit {
                return Err(Trouble::TooLong(self.limit));
            }
            if feed.is_some() {
                break;
            }
        }
        let line = std::str::from_utf8(&self.line).map_err(|_| Trouble::NoText)?;
        let line = line.trim_end_matches(['\r', '\n']).trim_start_matches('\u{feff}');
        Ok(Some(match line.strip_prefix("data:") {
            Some(data) => Line::Data(data.strip_prefix(' ').unwrap_or(data).to_owned()),
            None if line.is_empty() => Line::Empty,
            None => Line::Other,
        }))
    }
}

/// Whether the data of an event is complete although no empty line has followed.
fn is_whole(data: &str) -> bool {
    data == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], limit: u64) -> (Vec<String>, Option<Trouble>) {
        let mut events = Events::new(io::BufReader::with_capacity(3, text), limit);
        let mut seen = Vec::new();
        while let Some(event) = events.next(&mut || true) {
            match event {
                Ok(data) => seen.push(data),
                Err(trouble) => return (seen, Some(trouble)),
            }
        }
        (seen, None)
    }

    #[test]
    fn events_are_read_as_servers_write_them() {
        let (seen, trouble) = all(
            b": ping\r\nevent: x\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid: 7\ndata:{}\ndata: [1]\n\ndata: [DONE]\n",
            1000,
        );
        assert_eq!(seen, ["{\"a\":\n1}", "{}", "[1]", "[DONE]"]);
        assert!(trouble.is_none());
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_event() {
        assert_eq!(all(b"data: {}\n\ndata: {\"a\"", 1000).0, ["{}"]);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_said_to_be() {
        assert!(matches!(all(&vec![b'x'; LONGEST + 1], u64::MAX).1, Some(Trouble::TooLong(_))));
        assert!(matches!(all(&b"data: 1\n\n".repeat(20), 100).1, Some(Trouble::TooLong(100))));
        assert!(matches!(all(b"data: \xff\n\n", 100).1, Some(Trouble::NoText)));
        let lines = b"data: \"xxxxxxxxxxxxxxxx\n".repeat(1 << 16);
        assert!(matches!(all(&lines, u64::MAX).1, Some(Trouble::TooLong(_))));
    }

    #[test]
    fn whoever_listens_may_end_it() {
        let mut events = Events::new(&b": a\n: b\ndata: 1\n\n"[..], 100);
        let mut lines = 0;
        let mut beat = || {
            lines += 1;
            lines < 2
        };
        assert!(events.next(&mut beat).is_none() && events.next(&mut beat).is_none());
        assert_eq!(lines, 2);
    }
}
