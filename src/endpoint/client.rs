//! The client of an OpenAI-compatible endpoint: one request, one reply, bounded in time and memory.

use std::io::ErrorKind;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::{HeaderName, HeaderValue, Response, header};
use ureq::{Agent, Body, Error, Proxy, RequestBuilder};

use super::ending::Endings;
use super::fault::{Cause, Fault, said};
use super::{Address, Key, key};
use crate::{Problem, Result};

/// How long an endpoint may take, how much it may say, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For the connection.
    pub connect: Duration,
    /// For the first words of an answer, and between any two of them; where none is set, only the whole counts.
    pub first_token: Option<Duration>,
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
            first_token: None,
            answer: Duration::from_secs(60),
            bytes: 4 << 20,
            retries: 2,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// For the questions of an evaluation, which may take long and are many: it is worth being patient.
    pub fn for_questions() -> Self {
        Self {
            first_token: Some(Duration::from_secs(180)),
            answer: Duration::from_secs(1800),
            retries: 8,
            longest_pause: Duration::from_secs(300),
            ..Self::default()
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

impl Usage {
    /// What a reply says of it.
    pub(super) fn of(usage: &Value) -> Self {
        let tokens = |name: &str| usage[name].as_u64();
        Self { prompt_tokens: tokens("prompt_tokens"), completion_tokens: tokens("completion_tokens") }
    }
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

/// How a key is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// The key alone in a header of this name, as some gateways want it (`api-key`).
    Named(HeaderName),
}

/// A served model.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: Address,
    model: String,
    key: Option<Key>,
    key_header: KeyHeader,
    key_names: &'static [&'static str],
    headers: Vec<(HeaderName, HeaderValue)>,
    limits: Limits,
    agent: Agent,
    endings: Option<Endings>,
}

/// Connections kept open between two requests.
const IDLE: usize = 8;

/// Bytes of each of a connection's two buffers: many connections may be open at once.
const BUFFER: usize = 32 << 10;

impl Endpoint {
    /// A model at an address. Nothing is sent yet.
    pub fn new(address: Address, model: impl Into<String>, key: Option<Key>, limits: Limits) -> Self {
        let agent = agent(&address, limits, IDLE);
        let (key_header, headers) = (KeyHeader::default(), Vec::new());
        let key_names = &key::JUDGE_KEYS;
        Self {
            address,
            model: model.into(),
            key,
            key_header,
            key_names,
            headers,
            limits,
            agent,
            endings: None,
        }
    }

    /// The same for so many requests at once.
    pub fn for_many(mut self, requests: usize) -> Self {
        self.agent = agent(&self.address, self.limits, requests.max(IDLE));
        self.endings = Endings::start();
        self
    }

    /// The same for another model.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sends the key otherwise than as a bearer token.
    pub fn with_key_header(mut self, key_header: KeyHeader) -> Self {
        self.key_header = key_header;
        self
    }

    /// Names the variables of the environment that a refusal advises to set.
    pub fn with_key_names(mut self, names: &'static [&'static str]) -> Self {
        self.key_names = names;
        self
    }

    /// Sends these headers with every request.
    pub fn with_headers(mut self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.headers = headers;
        self
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The model's name, as the server knows it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How long it may take and how much it may say.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether a text holds the key; stand-ins that are no secret do not count.
    pub fn would_tell_key(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_in(text))
    }

    /// The names of the headers that are sent besides the client's own.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether it is opened with a key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    pub(super) fn endings(&self) -> Option<&Endings> {
        self.endings.as_ref()
    }

    pub(super) fn key_names(&self) -> &[&str] {
        self.key_names
    }

    /// Breaks off every request that is under way, of this endpoint and its clones; they fail at once, and so does
    /// whatever they are asked later.
    pub fn shut(&self) {
        self.agent.clone().shutdown();
    }

    /// The names of the models that the server offers (`/v1/models`).
    ///
    /// # Errors
    /// As [`Endpoint::complete`].
    pub fn models(&self) -> Result<Vec<String>> {
        let url = self.address.of("models");
        let reply = self.persist(&url, || self.get(&url))?;
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
        let reply = self.persist(&url, || self.dressed(self.agent.post(&url)).send_json(&body))?;
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
        Ok(Completion {
            text: self.hidden(&text),
            is_cut: choice["finish_reason"] == "length",
            usage: Usage::of(&reply["usage"]),
        })
    }

    /// Asks for something that the server offers.
    pub(super) fn get(&self, url: &str) -> std::result::Result<Response<Body>, Error> {
        self.dressed(self.agent.get(url)).call()
    }

    /// Sends a body of JSON. A server may close a connection that was kept for the next request just when that comes
    /// (llama.cpp's does after a hundred), which says nothing of the server or the request: it is sent once more.
    pub(super) fn post(&self, url: &str, body: &[u8]) -> std::result::Result<Response<Body>, Error> {
        let send = || {
            let request = self.dressed(self.agent.post(url));
            request.header(header::CONTENT_TYPE, "application/json").send(body)
        };
        let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        match send() {
            Err(Error::Io(error)) if closed.contains(&error.kind()) => send(),
            reply => reply,
        }
    }

    /// A request with the headers that belong to the endpoint.
    fn dressed<B>(&self, mut request: RequestBuilder<B>) -> RequestBuilder<B> {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match (&self.key, &self.key_header) {
            (None, _) => request,
            (Some(key), KeyHeader::Bearer) => request.header(header::AUTHORIZATION, key.bearer()),
            (Some(key), KeyHeader::Named(name)) => request.header(name, key.plain()),
        }
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
                Ok(response) => self.whole(response, self.limits.bytes),
                Err(error) => Err(self.transport_fault(&error)),
            };
            match tried {
                Ok(reply) => return Ok(reply),
                Err(fault) if tries_left == 0 || !fault.cause.may_pass() => {
                    return Err(fault.problem.at(url));
                }
                Err(Fault { problem, after, .. }) => {
                    let wait = after.unwrap_or(pause);
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

    /// A reply of JSON, read whole.
    pub(super) fn whole(
        &self,
        mut response: Response<Body>,
        limit: u64,
    ) -> std::result::Result<Value, Fault> {
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        let mime = response.body().mime_type().map(str::to_owned);
        let bytes = response.body_mut().with_config().limit(limit).read_to_vec();
        let bytes = bytes.map_err(|error| self.transport_fault(&error))?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(mime) = mime.filter(|mime| !mime.contains("json")) {
            return Err(self.not_json(&mime, &text));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let what = format!("the server's reply is not JSON ({error}): {}", self.shown(&text));
            Fault::new(Cause::Ill, Problem::new(what))
        })
    }

    /// The server speaks of something else.
    pub(super) fn not_json(&self, mime: &str, text: &str) -> Fault {
        let what = format!("the server replied with {}, not JSON: {}", self.shown(mime), self.shown(text));
        Fault::new(
            Cause::Refused,
            Problem::new(what).fix("is this the address of an OpenAI-compatible endpoint?"),
        )
    }
}

/// How long a connection is kept for the next question: less than the 5 s after which llama.cpp's server and uvicorn
/// (vLLM, SGLang, LMDeploy, transformers) close theirs, so that no question is put to one that is closed.
const KEPT: Duration = Duration::from_secs(3);

/// An agent for an address. Redirects are not followed, so a key goes only where the person sent it.
fn agent(address: &Address, limits: Limits, idle: usize) -> Agent {
    let proxy = if address.is_loopback() { None } else { Proxy::try_from_env() };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .timeout_connect(Some(limits.connect))
        .timeout_recv_response(limits.first_token)
        .timeout_per_read(limits.first_token)
        .timeout_global(Some(limits.answer))
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        .max_idle_age(KEPT)
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .user_agent(concat!("shardscope/", env!("CARGO_PKG_VERSION")))
        .build();
    config.new_agent()
}
