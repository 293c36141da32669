//! Why one try at an endpoint failed, in the server's own words, and whether another try may help.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Response, header};
use ureq::{Body, Error, Timeout};

use super::Endpoint;
use crate::Problem;

/// Letters of a server's own words that are kept.
const WORDS: usize = 300;

/// What sort of fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The server has too much to do, or too many requests came.
    Busy,
    /// No connection, or one that broke.
    Broken,
    /// The server is ill, or says what cannot be understood.
    Ill,
    /// Nothing came within the time allowed for it.
    Slow,
    /// The whole answer did not come within the time allowed for it. It is not asked for again: the server may still
    /// be at it, and would be paid twice.
    Late,
    /// The server refuses whatever it is asked: the key, the address or the model is wrong.
    Refused,
    /// The server refuses this question, or its answer is none that can be kept.
    Question,
    /// Whoever asked wanted no more.
    Stopped,
}

impl Cause {
    /// Whether another try may end better.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Busy | Self::Broken | Self::Ill | Self::Slow)
    }

    /// Whether it says nothing about the question: another one would have met the same fault.
    pub fn is_the_servers(self) -> bool {
        !matches!(self, Self::Question | Self::Late | Self::Stopped)
    }

    /// The word for it in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Broken => "broken",
            Self::Ill => "ill",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Question => "question",
            Self::Stopped => "stopped",
        }
    }
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What sort of fault.
    pub cause: Cause,
    /// What is said of it; the key is not in it.
    pub problem: Problem,
    /// After what time the server asked to be tried again.
    pub after: Option<Duration>,
}

impl Fault {
    /// A fault of this sort.
    pub fn new(cause: Cause, problem: Problem) -> Self {
        Self { cause, problem, after: None }
    }

    /// Nobody wanted the rest.
    pub fn stopped() -> Self {
        Self::new(Cause::Stopped, Problem::new("stopped"))
    }
}

impl Endpoint {
    /// What a status other than success means, with the server's own words.
    pub(super) fn refusal(&self, response: Response<Body>) -> Fault {
        let status = response.status().as_u16();
        let told = |name: header::HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
        let after = told(header::RETRY_AFTER).and_then(retry_after);
        let target = told(header::LOCATION).map(|target| self.shown(target));
        let mut words = Vec::new();
        // A refusal counts even where its words are lost.
        let _ = response.into_body().into_reader().take(64 << 10).read_to_end(&mut words);
        let words = match serde_json::from_slice::<Value>(&words).ok().as_ref().and_then(said) {
            Some(words) => words,
            None => String::from_utf8_lossy(&words).into_owned(),
        };
        Fault { after, ..self.status_fault(status, &words, target) }
    }

    /// The fault of a status and the words that came with it.
    pub(super) fn status_fault(&self, status: u16, words: &str, target: Option<String>) -> Fault {
        let mut what = format!("the server refused with {status}");
        if !words.trim().is_empty() {
            what = format!("{what}: {}", self.shown(words));
        }
        let problem = Problem::new(what);
        let passing = "the server is busy or ill; try again later";
        match status {
            408 | 425 | 429 | 503 | 529 => Fault::new(Cause::Busy, problem.fix(passing)),
            // Another try meets the same model: llama.cpp says with 500 that a model sees no pictures.
            500 | 501 if words.contains("not support") => Fault::new(
                Cause::Question,
                problem.fix("serve a model that can read what the question has, with all its files"),
            ),
            500 | 502 | 504..=599 => Fault::new(Cause::Ill, problem.fix(passing)),
            401 | 403 => Fault::new(
                Cause::Refused,
                problem.fix(match self.has_key() {
                    true => "the key is not accepted here; check it and what it may do".to_owned(),
                    false => format!("set the key in the environment: {}", self.key_names().join(" or ")),
                }),
            ),
            402 => Fault::new(Cause::Refused, problem.fix("the account has to be paid first")),
            404 | 405 => Fault::new(
                Cause::Refused,
                problem.fix(format!(
                    "check the address, and that the server has a model {:?} (ask {})",
                    self.model(),
                    self.address().of("models")
                )),
            ),
            300..=399 => Fault::new(
                Cause::Refused,
                problem.fix(match target {
                    Some(target) => {
                        format!("redirects are not followed; if you trust it, give its target: {target}")
                    }
                    None => "give the address that the server really has".into(),
                }),
            ),
            _ => Fault::new(Cause::Question, problem),
        }
    }

    /// What a failed transport means.
    pub(super) fn transport_fault(&self, error: &Error) -> Fault {
        let limits = self.limits();
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                broken(format!("no connection within {}", seconds(limits.connect)))
            }
            Error::Timeout(Timeout::RecvResponse | Timeout::PerRead | Timeout::PerWrite) => self.slow(),
            Error::Timeout(_) => self.late(),
            Error::BodyExceedsLimit(limit) => too_large(*limit),
            Error::Io(error) if error.kind() == ErrorKind::TimedOut => self.late(),
            Error::Io(_) | Error::ConnectionFailed | Error::HostNotFound | Error::BodyStalled => {
                broken(format!("the connection failed: {}", self.shown(&error.to_string())))
            }
            _ => Fault::new(
                Cause::Refused,
                Problem::new(format!("the request failed: {}", self.shown(&error.to_string()))),
            ),
        }
    }

    /// What a failed reading of a body means.
    pub(super) fn reading_fault(&self, error: io::Error) -> Fault {
        self.transport_fault(&Error::from(error))
    }

    /// Nothing came in time.
    pub(super) fn slow(&self) -> Fault {
        let limit = self.limits().first_token.unwrap_or(self.limits().answer);
        Fault::new(
            Cause::Slow,
            Problem::new(format!("nothing came within {}", seconds(limit)))
                .fix("allow more time, or fewer questions in flight"),
        )
    }

    /// The whole did not come in time.
    pub(super) fn late(&self) -> Fault {
        Fault::new(
            Cause::Late,
            Problem::new(format!("no whole answer within {}", seconds(self.limits().answer)))
                .fix("allow more time"),
        )
    }

    /// Text of the server without the key.
    pub(super) fn hidden(&self, text: &str) -> String {
        self.key().map_or_else(|| text.to_owned(), |key| key.hide_in(text))
    }

    /// The same, on one line and cut.
    pub(super) fn shown(&self, text: &str) -> String {
        let line = self.hidden(text).split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(WORDS) {
            Some((end, _)) => format!("{} …", &line[..end]),
            None => line,
        }
    }
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

fn broken(what: String) -> Fault {
    Fault::new(Cause::Broken, Problem::new(what).fix("is the server running?"))
}

/// The reply is more than can be meant.
pub(super) fn too_large(limit: u64) -> Fault {
    Fault::new(Cause::Question, Problem::new(format!("the reply is too large: more than {limit} bytes")))
}

/// The server's own words in an error object: `{"error": {"message": …}}`, or shorter forms that servers use.
pub(super) fn said(reply: &Value) -> Option<String> {
    let places = [&reply["error"]["message"], &reply["error"], &reply["message"], &reply["detail"]];
    places.into_iter().find_map(Value::as_str).map(str::to_owned)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date =
        jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()?;
    let wait = date.duration_since(jiff::Timestamp::now());
    Some(wait.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("3"), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(retry_after("Tue, 21 Oct 2994 07:28:00 GMT").is_some_and(|wait| wait.as_secs() > 1 << 30));
        assert_eq!((retry_after("soon"), retry_after("-1"), retry_after("inf")), (None, None, None));
    }
}
