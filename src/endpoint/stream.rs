//! One try at a streamed chat completion: words as they come, and what the server says of them at the end.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{Response, header};
use ureq::{Body, BodyReader};

use super::client::Usage;
use super::fault::{Cause, Fault, said, too_large};
use super::sse::{Events, Trouble};
use super::{Endpoint, Key};
use crate::Problem;

/// Bytes of an event besides its words: ids, names, counts.
const BYTES_A_TOKEN: u64 = 2048;

/// Bytes of text that a token may be.
const TEXT_A_TOKEN: usize = 64;

/// Bytes that any reply may have, however few its tokens.
const LEAST: u64 = 256 << 10;

/// What a served model answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The answer.
    pub text: String,
    /// What the model thought before it, where the server parts that from the answer.
    pub thinking: Option<String>,
    /// Why it ended, in the server's word.
    pub finish: Option<String>,
    /// Tokens, as far as the server counts them.
    pub usage: Usage,
    /// The model, as the server names it in the reply.
    pub model: Option<String>,
    /// The server's mark of its configuration (`system_fingerprint`).
    pub fingerprint: Option<String>,
    /// Until the first words came.
    pub first_token: Duration,
    /// Until all was there.
    pub total: Duration,
    /// Whether it came in pieces.
    pub streamed: bool,
}

impl Endpoint {
    /// Sends the body of a chat completion, once, and reads the answer of at most so many tokens, in pieces or whole as
    /// the server likes. `watch` hears the answer's text as it comes, and an empty text at every sign of life; its
    /// `false` gives the answer up.
    ///
    /// # Errors
    /// A [`Fault`], which says whether another try may help. Nothing of a reply that did not come whole is kept.
    pub fn ask(
        &self,
        body: &[u8],
        max_tokens: usize,
        watch: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Fault> {
        let start = Instant::now();
        let url = self.address().of("chat/completions");
        let asked = self.post(&url, body).map_err(|error| self.transport_fault(&error));
        let reply = asked.and_then(|response| self.answer(response, start, max_tokens, watch));
        reply.map_err(|fault| Fault { problem: fault.problem.at(&url), ..fault })
    }

    fn answer(
        &self,
        response: Response<Body>,
        start: Instant,
        max_tokens: usize,
        watch: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Fault> {
        if !response.status().is_success() {
            return Err(self.refusal(response));
        }
        let limit = LEAST.saturating_add(BYTES_A_TOKEN.saturating_mul(max_tokens as u64));
        let longest = (LEAST as usize).saturating_add(TEXT_A_TOKEN.saturating_mul(max_tokens));
        let mime = response.body().mime_type().map(str::to_ascii_lowercase);
        let streamed = match mime.as_deref() {
            Some(mime) if mime.contains("event-stream") => true,
            Some(mime) if mime.contains("json") => false,
            Some(mime) => {
                let mime = mime.to_owned();
                let mut text = Vec::new();
                // Its words only explain, so they may be cut or lost.
                let _ = std::io::Read::read_to_end(
                    &mut std::io::Read::take(response.into_body().into_reader(), 4096),
                    &mut text,
                );
                return Err(self.not_json(&mime, &String::from_utf8_lossy(&text)));
            }
            // Said by its first letter.
            None => return self.unnamed(response, start, (limit, longest), watch),
        };
        if streamed {
            let source = BufReader::new(response.into_body().into_reader());
            return self.read_events(source, start, (limit, longest), watch);
        }
        let value = self.whole(response, limit.min(longest as u64 * 2))?;
        self.read_whole(&value, start, longest, watch)
    }

    /// A reply without a content type.
    fn unnamed(
        &self,
        mut response: Response<Body>,
        start: Instant,
        (limit, longest): (u64, usize),
        watch: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Fault> {
        response.headers_mut().remove(header::CONTENT_TYPE);
        let mut source = BufReader::new(response.into_body().into_reader());
        let first = source.fill_buf().map_err(|error| self.reading_fault(error))?.first().copied();
        if first != Some(b'{') {
            return self.read_events(source, start, (limit, longest), watch);
        }
        let mut bytes = Vec::new();
        let most = limit.min(longest as u64 * 2);
        std::io::Read::read_to_end(&mut std::io::Read::take(source, most + 1), &mut bytes)
            .map_err(|error| self.reading_fault(error))?;
        if bytes.len() as u64 > most {
            return Err(too_large(most));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            let what = format!("the server's reply is not JSON ({error}): {}", self.shown(&text));
            Fault::new(Cause::Ill, Problem::new(what))
        })?;
        self.read_whole(&value, start, longest, watch)
    }

    /// A reply that came in one piece, from a server that does not stream.
    fn read_whole(
        &self,
        value: &Value,
        start: Instant,
        longest: usize,
        watch: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Fault> {
        let mut draft = Draft::new(self, start, longest);
        draft.take(value)?;
        let reply = draft.finish(true)?;
        match watch(&reply.text) {
            true => Ok(reply),
            false => Err(Fault::stopped()),
        }
    }

    fn read_events(
        &self,
        source: BufReader<BodyReader<'static>>,
        start: Instant,
        (limit, longest): (u64, usize),
        watch: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Reply, Fault> {
        let mut draft = Draft::new(self, start, longest);
        draft.reply.streamed = true;
        let mut events = Events::new(source, limit);
        let (mut is_wanted, mut is_done) = (true, false);
        let waits = self.limits().first_token;
        let mut is_late = false;
        loop {
            let has_words = draft.has_words;
            let mut beat = || {
                is_late = !has_words && waits.is_some_and(|limit| start.elapsed() > limit);
                is_wanted = watch("");
                is_wanted && !is_late
            };
            let Some(event) = events.next(&mut beat) else { break };
            let data = event.map_err(|trouble| match trouble {
                Trouble::Broken(error) => self.reading_fault(error),
                Trouble::TooLong(limit) => too_large(limit),
                Trouble::NoText => {
                    Fault::new(Cause::Ill, Problem::new("the server's reply is no text (not UTF-8)"))
                }
            })?;
            if data.trim() == "[DONE]" {
                is_done = true;
                break;
            }
            let value: Value = serde_json::from_str(&data).map_err(|error| {
                let what = format!("an event of the reply is not JSON ({error}): {}", self.shown(&data));
                Fault::new(Cause::Ill, Problem::new(what))
            })?;
            draft.take(&value)?;
            let more = draft.rest();
            if !more.is_empty() && !watch(&more) {
                return Err(Fault::stopped());
            }
        }
        if is_late {
            return Err(self.slow());
        }
        if !is_wanted {
            return Err(Fault::stopped());
        }
        if let Some(endings) = self.endings().filter(|_| is_done) {
            endings.take(events.into_source().into_inner());
        }
        let held = std::mem::take(&mut draft.unsaid);
        let reply = draft.finish(is_done)?;
        watch(&held);
        Ok(reply)
    }
}

/// A reply in the making.
struct Draft<'a> {
    endpoint: &'a Endpoint,
    reply: Reply,
    start: Instant,
    longest: usize,
    has_words: bool,
    has_choice: bool,
    refusal: String,
    /// Text that the listener has not heard.
    unsaid: String,
}

impl<'a> Draft<'a> {
    fn new(endpoint: &'a Endpoint, start: Instant, longest: usize) -> Self {
        Self {
            endpoint,
            reply: Reply::default(),
            start,
            longest,
            has_words: false,
            has_choice: false,
            refusal: String::new(),
            unsaid: String::new(),
        }
    }

    fn key(&self) -> Option<&Key> {
        self.endpoint.key()
    }

    /// Takes in a piece of the reply, or all of it.
    fn take(&mut self, value: &Value) -> Result<(), Fault> {
        if !value["error"].is_null() {
            let words = said(value).unwrap_or_else(|| value["error"].to_string());
            let code = &value["error"]["code"];
            let code =
                code.as_u64().or_else(|| code.as_str()?.parse().ok()).filter(|c| (300..600).contains(c));
            return Err(match code {
                Some(code) => self.endpoint.status_fault(code as u16, &words, None),
                None => Fault::new(
                    Cause::Ill,
                    Problem::new(format!("the server broke off: {}", self.endpoint.shown(&words))),
                ),
            });
        }
        if value["usage"].is_object() {
            self.reply.usage = Usage::of(&value["usage"]);
        }
        for (name, place) in
            [("model", &mut self.reply.model), ("system_fingerprint", &mut self.reply.fingerprint)]
        {
            if let Some(told) = value[name].as_str().filter(|told| place.is_none() && !told.is_empty()) {
                *place = Some(self.endpoint.shown(told));
            }
        }
        // A request asks for one answer; others would be of another request.
        let choices = value["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else {
            return Ok(());
        };
        self.has_choice = true;
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.reply.finish = Some(self.endpoint.shown(finish));
        }
        let message = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        let (mut text, mut thought) = (String::new(), String::new());
        collect(&message["content"], &mut text, &mut thought);
        let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|name| message[*name].as_str());
        thought.push_str(reasoning.unwrap_or_default());
        if let Some(words) = message["refusal"].as_str() {
            self.refusal.push_str(words);
        }
        if (!text.is_empty() || !thought.is_empty()) && !self.has_words {
            self.has_words = true;
            self.reply.first_token = self.start.elapsed();
        }
        self.reply.text.push_str(&text);
        self.unsaid.push_str(&text);
        if !thought.is_empty() {
            self.reply.thinking.get_or_insert_default().push_str(&thought);
        }
        let kept =
            self.reply.text.len() + self.reply.thinking.as_ref().map_or(0, String::len) + self.refusal.len();
        match kept > self.longest {
            true => Err(too_large(self.longest as u64)),
            false => Ok(()),
        }
    }

    /// Text that can be shown: what could be the beginning of the key waits for what follows.
    fn rest(&mut self) -> String {
        let mut shown = self.endpoint.hidden(&self.unsaid);
        let held = self.key().map_or(0, |key| key.begun_in(&shown));
        self.unsaid = shown.split_off(shown.len() - held);
        shown
    }

    /// The whole reply, where it is one.
    fn finish(mut self, is_done: bool) -> Result<Reply, Fault> {
        let finish = self.reply.finish.as_deref();
        if finish.is_none() && !is_done {
            let what = match self.has_choice {
                true => "the connection failed: the reply broke off in the middle",
                false => "the connection failed: the reply broke off before it began",
            };
            return Err(Fault::new(Cause::Broken, Problem::new(what)));
        }
        let question = |what: String| Err(Fault::new(Cause::Question, Problem::new(what)));
        match finish {
            Some("content_filter") => return question("the server's filter took the answer away".into()),
            Some("tool_calls" | "function_call") => {
                return question("the model called a tool, and there is none".into());
            }
            Some(word @ ("abort" | "error" | "cancelled")) => {
                return Err(Fault::new(
                    Cause::Ill,
                    Problem::new(format!("the server ended the answer with {word:?}")),
                ));
            }
            _ => {}
        }
        if !self.refusal.is_empty() && self.reply.text.is_empty() {
            return question(format!("the model refused: {}", self.endpoint.shown(&self.refusal)));
        }
        if !self.has_choice {
            let what = "the server's reply is no completion: it has no answer";
            return Err(Fault::new(Cause::Ill, Problem::new(what)));
        }
        self.reply.total = self.start.elapsed();
        if !self.has_words {
            self.reply.first_token = self.reply.total;
        }
        self.reply.text = self.endpoint.hidden(&self.reply.text);
        self.reply.thinking = self.reply.thinking.map(|thought| self.endpoint.hidden(&thought));
        Ok(self.reply)
    }
}

/// The words of a message's content, which is a text or a list of parts.
fn collect(content: &Value, text: &mut String, thought: &mut String) {
    match content {
        Value::String(words) => text.push_str(words),
        Value::Array(parts) => {
            for part in parts {
                match &part["thinking"] {
                    Value::Null => text.push_str(part["text"].as_str().unwrap_or_default()),
                    Value::String(words) => thought.push_str(words),
                    Value::Array(inner) => {
                        inner.iter().filter_map(|it| it["text"].as_str()).for_each(|it| thought.push_str(it));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
