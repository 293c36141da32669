//! The client of an OpenAI-compatible endpoint: one request, one reply, bounded in time and memory.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, Error, Proxy, Timeout};

use super::{Address, Key};
use crate::{Problem, Result};

/// Letters of a server's own words that are kept.
const WORDS: usize = 300;

/// How long an endpoint may take, how much it may say, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For the connection.
    pub connect: Duration,
    /// For the whole answer to one try, connection included.
    pub answer: Duration,
    /// Bytes of one reply.
    pub bytes: u64,
    /// Further tries after a server that was busy or a connection that broke.
    pub retries: u32,
    /// Before the first of them; twice as long before each that follows.
    pub pause: Duration,
    /// The longest pause that the server may ask for with `Retry-After`.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            bytes: 4 << 20,
            retries: 2,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// A text, or a list of parts.
    pub content: Value,
}

impl Message {
    /// What the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: "user", content: Value::String(text.into()) }
    }
}

/// Tokens as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Of the reply.
    pub completion_tokens: Option<u64>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Its text.
    pub text: String,
    /// Whether it was cut at the longest reply allowed.
    pub is_cut: bool,
    /// What it took.
    pub usage: Usage,
}

/// A served model.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: Address,
    model: String,
    key: Option<Key>,
    limits: Limits,
    agent: Agent,
}

/// Why one try failed, and whether another may help.
enum Fault {
    /// The server is busy or the connection broke; it may have said after what time to come again.
    Passing(Problem, Option<Duration>),
    /// Another try would end the same way.
    Lasting(Problem),
}

impl Endpoint {
    /// A model at an address. Nothing is sent yet.
    pub fn new(address: Address, model: impl Into<String>, key: Option<Key>, limits: Limits) -> Self {
        let proxy = if address.is_loopback() { None } else { Proxy::try_from_env() };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.answer))
            .user_agent(concat!("shardscope/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { address, model: model.into(), key, limits, agent: config.new_agent() }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The model's name, as the server knows it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The names of the models that the server offers (`/v1/models`).
    ///
    /// # Errors
    /// As [`Endpoint::complete`].
    pub fn models(&self) -> Result<Vec<String>> {
        let url = self.address.of("models");
        let reply = self.persist(&url, || {
            let mut request = self.agent.get(&url);
            if let Some(key) = &self.key {
                request = request.header(header::AUTHORIZATION, key.bearer());
            }
            request.call()
        })?;
        let names = reply["data"].as_array().map(|models| {
            models.iter().filter_map(|model| model["id"].as_str()).map(|id| self.hidden(id)).collect()
        });
        names.ok_or_else(|| Problem::new("the server's reply names no models").at(url))
    }

    /// The model's reply to a conversation, without randomness, of at most so many tokens (`/v1/chat/completions`).
    ///
    /// # Errors
    /// The server cannot be reached, refuses, is busy for too long, takes too long, says too much, or says what is no
    /// completion. The key is in none of these texts.
    pub fn complete(&self, messages: &[Message], max_tokens: u32) -> Result<Completion> {
        let url = self.address.of("chat/completions");
        let body = json!({
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": max_tokens,
            "stream": false,
        });
        let reply = self.persist(&url, || {
            let mut request = self.agent.post(&url);
            if let Some(key) = &self.key {
                request = request.header(header::AUTHORIZATION, key.bearer());
            }
            request.send_json(&body)
        })?;
        let choice = &reply["choices"][0];
        let refused = |what: String| Err(Problem::new(what).at(&url));
        let text = match &choice["message"]["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => match choice["message"]["refusal"].as_str().map(str::to_owned).or_else(|| said(&reply)) {
                Some(words) => return refused(format!("the model refused: {}", self.shown(&words))),
                None => return refused("the server's reply is no completion: it has no text".into()),
            },
        };
        let tokens = |name: &str| reply["usage"][name].as_u64();
        Ok(Completion {
            text: self.hidden(&text),
            is_cut: choice["finish_reason"] == "length",
            usage: Usage {
                prompt_tokens: tokens("prompt_tokens"),
                completion_tokens: tokens("completion_tokens"),
            },
        })
    }

    /// Tries until there is a reply, the fault lasts, or the retries are spent.
    fn persist(
        &self,
        url: &str,
        send: impl Fn() -> std::result::Result<Response<Body>, Error>,
    ) -> Result<Value> {
        let mut pause = self.limits.pause;
        for tries_left in (0..=self.limits.retries).rev() {
            let tried = match send() {
                Ok(response) => self.read(response),
                Err(error) => Err(self.fault(&error)),
            };
            match tried {
                Ok(reply) => return Ok(reply),
                Err(Fault::Lasting(problem)) => return Err(problem.at(url)),
                Err(Fault::Passing(problem, _)) if tries_left == 0 => return Err(problem.at(url)),
                Err(Fault::Passing(problem, asked)) => {
                    let wait = asked.unwrap_or(pause);
                    if wait > self.limits.longest_pause {
                        let what = format!("{}; it asks to wait {} s", problem.what, wait.as_secs());
                        return Err(Problem { what, ..problem }.at(url));
                    }
                    std::thread::sleep(wait);
                    pause = (pause * 2).min(self.limits.longest_pause);
                }
            }
        }
        // The loop runs at least once and its last round returns.
        Err(Problem::new("the server was not asked").at(url))
    }

    fn read(&self, mut response: Response<Body>) -> std::result::Result<Value, Fault> {
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, response));
        }
        let mime = response.body().mime_type().map(str::to_owned);
        let bytes = response.body_mut().with_config().limit(self.limits.bytes).read_to_vec();
        let bytes = bytes.map_err(|error| self.fault(&error))?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(mime) = mime.filter(|mime| !mime.contains("json")) {
            let what =
                format!("the server replied with {}, not JSON: {}", self.shown(&mime), self.shown(&text));
            return Err(Fault::Lasting(
                Problem::new(what).fix("is this the address of an OpenAI-compatible endpoint?"),
            ));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Fault::Lasting(Problem::new(format!(
                "the server's reply is not JSON ({error}): {}",
                self.shown(&text)
            )))
        })
    }

    /// What a status other than success means, with the server's own words.
    fn refusal(&self, status: StatusCode, response: Response<Body>) -> Fault {
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(retry_after);
        let target = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let target = target.map(|target| self.shown(target));
        let mut words = Vec::new();
        // A refusal counts even where its words are lost.
        let _ = response.into_body().into_reader().take(64 << 10).read_to_end(&mut words);
        let words = match serde_json::from_slice::<Value>(&words).ok().as_ref().and_then(said) {
            Some(words) => words,
            None => String::from_utf8_lossy(&words).into_owned(),
        };
        let mut what = format!("the server refused with {}", status.as_u16());
        if !words.trim().is_empty() {
            what = format!("{what}: {}", self.shown(&words));
        }
        let problem = Problem::new(what);
        match status.as_u16() {
            408 | 429 | 500 | 502..=599 => {
                Fault::Passing(problem.fix("the server is busy or ill; try again later"), after)
            }
            401 | 403 => Fault::Lasting(problem.fix(match self.key {
                Some(_) => "the key is not accepted here; check it and what it may do",
                None => "set the key in the environment: SHARDSCOPE_JUDGE_KEY or OPENAI_API_KEY",
            })),
            404 => Fault::Lasting(problem.fix(format!(
                "check the address, and that the server has a model {:?} (ask {})",
                self.model,
                self.address.of("models")
            ))),
            300..=399 => Fault::Lasting(problem.fix(match target {
                Some(target) => {
                    format!("redirects are not followed; if you trust it, give its target: {target}")
                }
                None => "give the address that the server really has".into(),
            })),
            _ => Fault::Lasting(problem),
        }
    }

    /// What a failed transport means. An answer that took too long is not asked for again: the server may still be
    /// at it, and would be paid twice.
    fn fault(&self, error: &Error) -> Fault {
        let seconds = |limit: Duration| format!("{} s", limit.as_secs_f64());
        let passing = |what: String| Fault::Passing(Problem::new(what).fix("is the server running?"), None);
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                passing(format!("no connection within {}", seconds(self.limits.connect)))
            }
            Error::Timeout(_) => Fault::Lasting(
                Problem::new(format!("no whole answer within {}", seconds(self.limits.answer)))
                    .fix("allow more time"),
            ),
            Error::BodyExceedsLimit(limit) => {
                Fault::Lasting(Problem::new(format!("the reply is too large: more than {limit} bytes")))
            }
            Error::Io(error) if error.kind() == ErrorKind::TimedOut => Fault::Lasting(
                Problem::new(format!("no whole answer within {}", seconds(self.limits.answer)))
                    .fix("allow more time"),
            ),
            Error::Io(_) | Error::ConnectionFailed | Error::HostNotFound | Error::BodyStalled => {
                passing(format!("the connection failed: {}", self.shown(&error.to_string())))
            }
            _ => Fault::Lasting(Problem::new(format!(
                "the request failed: {}",
                self.shown(&error.to_string())
            ))),
        }
    }

    /// Text of the server without the key.
    fn hidden(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.hide_in(text))
    }

    /// The same, on one line and cut.
    fn shown(&self, text: &str) -> String {
        let line = self.hidden(text).split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(WORDS) {
            Some((end, _)) => format!("{} …", &line[..end]),
            None => line,
        }
    }
}

/// The server's own words in an error object: `{"error": {"message": …}}`, or shorter forms that servers use.
fn said(reply: &Value) -> Option<String> {
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
