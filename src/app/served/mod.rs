//! A served model as a person chooses it: where it is, how it is opened and asked, and what it says of itself.
//!
//! What is typed stays as it is until it is used. A key that was typed is held in memory alone: no habit, session or
//! picture knows it.

mod kept;
pub mod nearby;
mod opening;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use opening::Opening;

use super::job::{Job, Loadable, Wake};
use super::language::{fill, tr};
use crate::endpoint::{Address, Endpoint, Health, Key, KeyHeader, Limits, Price, key};
use crate::engine::served::Service;
use crate::engine::served::letter::check_extra;
use crate::evaluation::served::{header, refuse_secrets};
use crate::picture::SentAs;
use crate::{Problem, Result};

/// Most questions in flight that can be chosen, as on the command line.
pub const MOST_IN_FLIGHT: usize = 1024;

/// Text that memory alone may hold; shown or debugged it is `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// Where the key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeyFrom {
    /// The usual variables of the environment, as in the terminal.
    #[default]
    Usual,
    /// A variable that is named.
    Variable,
    /// It is typed.
    Typed,
    /// None is sent.
    Nowhere,
}

/// A server and how it is asked, as a person says it. What is missing is as at the first start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Where it is, as typed.
    pub address: String,
    /// Whether plain http will do beyond private addresses.
    pub allow_http: bool,
    /// The model, as the server names it.
    pub model: String,
    /// Where the key comes from.
    pub key_from: KeyFrom,
    /// The variable that holds the key, where one is named.
    pub variable: String,
    /// The header that carries the key alone; empty for a bearer token.
    pub key_header: String,
    /// Further headers, a line each; their values may be secrets.
    #[serde(skip)]
    pub headers: Hidden,
    /// Most questions in flight.
    pub in_flight: usize,
    /// Quality of pictures that are encoded anew as jpeg; none sends png.
    pub jpeg: Option<u8>,
    /// Whether pictures go first and the text keeps its marks.
    pub image_marks: bool,
    /// Further fields of each request, as JSON.
    pub extra: String,
    /// What a million tokens of prompts and of answers cost; nothing is no price.
    pub price: [f64; 2],
    /// Seconds until the first words, and between any two.
    pub first_token: f64,
    /// Seconds for a whole answer.
    pub answer: f64,
    /// Further tries of a question.
    pub retries: u32,
}

impl Default for Server {
    fn default() -> Self {
        let limits = Limits::for_questions();
        Self {
            address: String::new(),
            allow_http: false,
            model: String::new(),
            key_from: KeyFrom::default(),
            variable: String::new(),
            key_header: String::new(),
            headers: Hidden::default(),
            in_flight: Service::default().concurrency,
            jpeg: None,
            image_marks: false,
            extra: String::new(),
            price: [0.0; 2],
            first_token: limits.first_token.unwrap_or(limits.answer).as_secs_f64(),
            answer: limits.answer.as_secs_f64(),
            retries: limits.retries,
        }
    }
}

impl Server {
    /// A server at an address, all else as usual.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    /// The address; where no scheme is typed it is http at home and https elsewhere.
    ///
    /// # Errors
    /// As [`Address::new`].
    pub fn place(&self) -> Result<Address> {
        let typed = self.address.trim();
        if typed.is_empty() {
            return Err(Problem::new(tr("no server is named"))
                .fix(tr("give an address such as http://localhost:8000")));
        }
        let whole = match typed.contains("://") {
            true => typed.to_owned(),
            false => {
                let near = format!("http://{typed}");
                if Address::new(&near, false).is_ok() { near } else { format!("https://{typed}") }
            }
        };
        Address::new(&whole, self.allow_http).map_err(|problem| match Address::new(&whole, true) {
            Ok(address) => {
                let what = tr("plain http would send questions and key over the network for all to read");
                let fix = tr("use https, or allow plain http if the network is your own");
                Problem::new(what).at(address.host()).fix(fix)
            }
            Err(_) => problem,
        })
    }

    /// Whether what is sent can be read on its way: plain http, beyond this machine.
    pub fn is_overheard(&self) -> bool {
        let open = Self { allow_http: true, ..self.clone() };
        open.place().is_ok_and(|address| !address.is_https() && !address.is_loopback())
    }

    /// Whether it is asked over plain http beyond private addresses, which has to be allowed.
    pub fn needs_leave(&self) -> bool {
        let closed = Self { allow_http: false, ..self.clone() };
        let open = Self { allow_http: true, ..self.clone() };
        open.place().is_ok() && closed.place().is_err()
    }

    fn header_of_key(&self) -> Result<KeyHeader> {
        let name = self.key_header.trim();
        if name.is_empty() {
            return Ok(KeyHeader::Bearer);
        }
        let named = name.parse().map(KeyHeader::Named);
        named.map_err(|_| {
            Problem::new(tr("the key's header cannot have such a name"))
                .fix(tr("write a name such as api-key"))
        })
    }

    /// The further headers, by name and value.
    fn further(&self) -> Result<Vec<(ureq::http::HeaderName, ureq::http::HeaderValue)>> {
        let lines = self.headers.0.lines().map(str::trim).filter(|line| !line.is_empty());
        let fix = tr("write NAME: VALUE on each line; a secret is the key's, with the name of its header");
        lines.map(|line| header(line).map_err(|problem| problem.fix(fix))).collect()
    }

    /// The further fields of a request.
    fn fields(&self) -> Result<Map<String, Value>> {
        let text = self.extra.trim();
        if text.is_empty() {
            return Ok(Map::new());
        }
        let place = tr("further fields");
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            // What stands there may be a secret, so it is not repeated.
            let what = tr("the further fields are no JSON object");
            return Err(Problem::new(what).fix(tr("write an object, such as {\"top_k\": 1}")));
        };
        check_extra(&fields).map_err(|problem| problem.at(place).fix(tr("leave it out")))?;
        refuse_secrets(&Value::Object(fields.clone()))
            .map_err(|problem| problem.at(place).fix(tr("give the secret as the key")))?;
        Ok(fields)
    }

    /// How it is asked.
    ///
    /// # Errors
    /// Further fields that are none.
    pub fn service(&self) -> Result<Service> {
        let [input, output] = self.price;
        Ok(Service {
            concurrency: self.in_flight.clamp(1, MOST_IN_FLIGHT),
            images: self.jpeg.map_or(SentAs::Png, SentAs::Jpeg),
            image_marks: self.image_marks,
            extra: self.fields()?,
            price: (input > 0.0 || output > 0.0).then_some(Price { input, output }),
        })
    }

    /// How long an answer may take, and how often it is asked for.
    pub fn limits(&self) -> Limits {
        let seconds = |it: f64| Duration::try_from_secs_f64(it).unwrap_or(Limits::default().answer);
        Limits {
            first_token: Some(seconds(self.first_token)),
            answer: seconds(self.answer),
            retries: self.retries,
            ..Limits::for_questions()
        }
    }
}

/// For a word with the server while a person waits.
pub fn brief() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        first_token: Some(Duration::from_secs(15)),
        answer: Duration::from_secs(20),
        retries: 0,
        ..Limits::default()
    }
}

/// The served model that is chosen, or could be.
#[derive(Default)]
pub struct Served {
    /// Whether it answers in the next run, and not the checkpoint.
    pub is_chosen: bool,
    /// The server, and how it is asked.
    pub server: Server,
    /// The key that was typed.
    pub key: Hidden,
    /// What it said of itself.
    pub health: Loadable<Health>,
    /// Who is being asked; shut where nobody waits for the reply.
    asked: Option<Endpoint>,
}

impl Served {
    /// Takes other settings; what the server said of itself holds only for the place and key with which it was asked.
    pub fn change(&mut self, server: Server) {
        let asked = |it: &Server| {
            let of = (it.address.clone(), it.allow_http, it.key_from, it.variable.clone());
            (of, it.key_header.clone(), it.headers.clone())
        };
        if asked(&self.server) != asked(&server) {
            self.forget();
        }
        self.server = server;
    }

    /// Takes the key that is typed.
    pub fn type_key(&mut self, key: Hidden) {
        if self.key != key {
            self.key = key;
            self.forget();
        }
    }

    /// Stops asking, and forgets what was said.
    pub fn forget(&mut self) {
        self.health = Loadable::Empty;
        if let Some(endpoint) = self.asked.take() {
            endpoint.shut();
        }
    }

    /// The key for an address, where there is one.
    ///
    /// # Errors
    /// The variable that is named is not set, or the key cannot be sent.
    pub fn key_for(&self, address: &Address) -> Result<Option<Key>> {
        match self.server.key_from {
            KeyFrom::Usual => Key::for_served(address),
            KeyFrom::Typed => Key::new(&self.key.0),
            KeyFrom::Nowhere => Ok(None),
            KeyFrom::Variable => {
                let name = self.server.variable.trim();
                let is_name = !name.is_empty() && !name.contains(['=', '\0']);
                let found = if is_name { Key::from_environment(&[name])? } else { None };
                found.map(Some).ok_or_else(|| {
                    Problem::new(tr("the variable that should hold the key is not set"))
                        .fix(tr("set it before the program starts, or type the key"))
                })
            }
        }
    }

    /// The model, to be asked within these limits. Nothing is sent.
    ///
    /// # Errors
    /// What is typed cannot be used.
    pub fn endpoint(&self, limits: Limits) -> Result<Endpoint> {
        let address = self.server.place()?;
        let key = self.key_for(&address)?;
        let endpoint = Endpoint::new(address, self.server.model.trim(), key, limits);
        Ok(endpoint
            .with_key_names(&key::SERVED_KEYS)
            .with_key_header(self.server.header_of_key()?)
            .with_headers(self.server.further()?))
    }

    /// The same twice: for a brief word, and for questions, which may take long.
    ///
    /// # Errors
    /// As [`Served::endpoint`].
    pub fn endpoints(&self) -> Result<(Endpoint, Endpoint)> {
        Ok((self.endpoint(brief())?, self.endpoint(self.server.limits())?))
    }

    /// What keeps it from being asked anything.
    pub fn fault(&self) -> Option<Problem> {
        let checked = || {
            self.key_for(&self.server.place()?)?;
            self.server.header_of_key()?;
            self.server.further()?;
            self.server.service()
        };
        checked().err()
    }

    /// What keeps it from answering a run's questions.
    pub fn obstacle(&self) -> Option<Problem> {
        let refused = match &self.health {
            Loadable::Refused(problem) => Some(problem.clone()),
            _ => None,
        };
        let nameless = || {
            let what = tr("no model of the server is chosen");
            let fix = tr("connect, and choose one of those that it offers, or type its name");
            self.server.model.trim().is_empty().then(|| Problem::new(what).fix(fix))
        };
        self.fault().or(refused).or_else(nameless)
    }

    /// Asks the server what it offers; it is the one that answers from now on.
    pub fn connect(&mut self, wake: &Wake) {
        self.forget();
        self.is_chosen = true;
        self.health = match self.endpoint(brief()) {
            Err(problem) => Loadable::Refused(problem),
            Ok(endpoint) => {
                self.asked = Some(endpoint.clone());
                Loadable::Loading(Job::start("ask the server", wake, move |_| health(&endpoint)))
            }
        };
    }

    /// Takes what the server has said; whether it just came. The only model that it offers is the one.
    pub fn poll(&mut self) -> bool {
        if !self.health.poll() {
            return false;
        }
        self.asked = None;
        if let (true, Some([only])) =
            (self.server.model.trim().is_empty(), self.health.ready().map(|health| health.models.as_slice()))
        {
            self.server.model.clone_from(&only.id);
        }
        true
    }

    /// The name under which it is spoken of: the model's, else the server's.
    pub fn name(&self) -> String {
        let (model, address) = (self.server.model.trim(), self.server.address.trim());
        let host = || self.server.place().map(|place| place.host().to_owned());
        match (model.is_empty(), address.is_empty()) {
            (false, _) => model.to_owned(),
            (true, false) => host().unwrap_or_else(|_| address.to_owned()),
            (true, true) => tr("Served model").to_owned(),
        }
    }
}

/// Asks a server what it is.
///
/// # Errors
/// As [`Endpoint::health`], with what can be done here.
pub fn health(endpoint: &Endpoint) -> Result<Health> {
    endpoint.health().map_err(|fault| locked(fault.problem, endpoint.has_key()))
}

/// A refusal for want of a key, with the way to give one in a window.
pub fn locked(problem: Problem, has_key: bool) -> Problem {
    match wants_key(&problem) {
        true if has_key => problem.fix(tr("the key is not accepted here; check it and what it may do")),
        true => problem.fix(tr("give its key: name the variable that holds it, or type it")),
        false => problem,
    }
}

/// Whether a server refused for want of a key, or of the right one.
pub fn wants_key(problem: &Problem) -> bool {
    ["refused with 401", "refused with 403"].iter().any(|status| problem.what.contains(status))
}

/// How long a server took to answer, as a person reads it.
pub fn latency(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => fill("{} ms", &[&((1000.0 * s).ceil() as u64)]),
        s => fill("{} s", &[&format!("{s:.1}")]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str) -> Served {
        let server = Server { key_from: KeyFrom::Typed, ..Server::at("localhost:8000") };
        Served { server, key: Hidden(key.into()), ..Served::default() }
    }

    #[test]
    fn an_address_without_a_scheme_is_plain_at_home_alone() {
        let base = |text: &str| Server::at(text).place().unwrap().base().to_owned();
        assert_eq!(base("localhost:8000"), "http://localhost:8000/v1");
        assert_eq!(base("192.168.0.7:30000"), "http://192.168.0.7:30000/v1");
        assert_eq!(base("api.example.org"), "https://api.example.org/v1");
        let mut open = Server::at("http://example.org");
        assert!(open.place().unwrap_err().fix.is_some_and(|fix| fix.contains("allow")));
        assert!(open.needs_leave() && open.is_overheard());
        open.allow_http = true;
        assert!(open.place().is_ok());
        assert!(
            !Server::at("https://example.org").is_overheard() && !Server::at("localhost:1").is_overheard()
        );
    }

    #[test]
    fn what_cannot_be_sent_is_told_before_it_is() {
        assert!(with("sk-good-key-of-mine").fault().is_none());
        let told = with("two words and é").fault().unwrap().to_string();
        assert!(!told.contains("two words"), "{told}");
        for (extra, what) in
            [("[1]", "no JSON object"), (r#"{"model": "x"}"#, "own"), (r#"{"api_key": 1}"#, "secret")]
        {
            let mut served = with("");
            served.server.extra = extra.into();
            let fault = served.fault().unwrap();
            assert!(fault.what.contains(what) && !fault.to_string().contains("--"), "{fault}");
        }
        let mut served = with("");
        served.server.headers = Hidden("Authorization: Bearer sk-hunter2".into());
        let fault = served.fault().unwrap().to_string();
        assert!(!fault.contains("hunter2") && !fault.contains("--"), "{fault}");
        served.server =
            Server { key_from: KeyFrom::Variable, variable: "NO_SUCH=".into(), ..Server::at("[::1]:1") };
        assert!(served.fault().is_some());
        assert!(!format!("{:?}", with("sk-hunter2-hunter2").key).contains("hunter2"));
    }

    #[test]
    fn other_places_and_keys_make_what_was_said_void() {
        let mut served = with("a-key-of-eight");
        let health = || {
            let models = Vec::new();
            Health { models, server: None, version: None, seconds: 0.1, problem: None }
        };
        served.health = Loadable::Ready(health());
        served.change(Server { model: "other".into(), in_flight: 3, ..served.server.clone() });
        assert!(served.health.ready().is_some());
        served.type_key(Hidden("another-key".into()));
        assert!(served.health.ready().is_none());
        served.health = Loadable::Ready(health());
        served.change(Server::at("elsewhere.org"));
        assert!(served.health.ready().is_none());
    }
}
