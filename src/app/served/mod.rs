//! A served model as a person chooses it: where it is, how it is opened and asked, and what it says of itself.
//!
//! What is typed stays as it is until it is used. A key that was typed is held in memory alone: no habit, session or
//! picture knows it.

mod door;
mod kept;
pub mod nearby;
mod opening;
pub mod server;

use std::collections::HashMap;

pub use door::{Door, Line};
pub use opening::Opening;
pub use server::{Hidden, KeyFrom, MOST_IN_FLIGHT, Server};

use super::job::{Job, Loadable, Wake};
use super::language::{fill, tr};
use crate::endpoint::{Address, Endpoint, Health, Key};
use crate::{Problem, Result};
use door::Lock;

/// The served model that is chosen, or could be.
#[derive(Default)]
pub struct Served {
    /// Whether it answers in the next run, and not the checkpoint.
    pub is_chosen: bool,
    /// The server, and how it is asked.
    pub server: Server,
    /// The key that was typed for its address.
    pub key: Hidden,
    /// Keys that were typed for other addresses: each goes only where it was meant to go.
    others: HashMap<String, Hidden>,
    /// What it said of itself.
    pub health: Loadable<Health>,
    /// Who is being asked.
    asked: Line,
    /// The name of a key in the key store that has opened the server: it is a name, and no key in the wrong field.
    proved: String,
}

impl Served {
    /// The server of the last time, as it was kept.
    pub fn remembered(server: Server, is_chosen: bool) -> Self {
        Self { is_chosen, proved: server.stored.clone(), server, ..Self::default() }
    }

    /// Takes other settings; what the server said of itself holds only for the place and key with which it was asked.
    pub fn change(&mut self, server: Server) {
        let asked = |it: &Server| {
            let of = (it.address.clone(), it.allow_http, it.key_from, it.variable.clone(), it.stored.clone());
            (of, it.key_header.clone(), it.headers.clone())
        };
        if asked(&self.server) != asked(&server) {
            self.forget();
        }
        let (from, to) = (base(&self.server), base(&server));
        if from != to {
            let key = std::mem::take(&mut self.key);
            if !key.0.is_empty() {
                self.others.insert(from, key);
            }
            self.key = self.others.get(&to).cloned().unwrap_or_default();
        }
        self.server = server;
    }

    /// Every key that was typed.
    fn typed(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.key).chain(self.others.values()).map(|key| key.0.as_str())
    }

    /// The key that was typed for a server.
    pub(super) fn typed_for(&self, server: &Server) -> Hidden {
        let of = base(server);
        if of == base(&self.server) {
            self.key.clone()
        } else {
            self.others.get(&of).cloned().unwrap_or_default()
        }
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
        std::mem::take(&mut self.asked).cut();
    }

    /// The key for an address, or where it lies.
    ///
    /// # Errors
    /// The variable that is named is not set, no key is named, or the key cannot be sent.
    fn lock(&self, address: &Address) -> Result<Lock> {
        let key = match self.server.key_from {
            KeyFrom::Usual => Key::for_served(address)?,
            KeyFrom::Typed => Key::new(&self.key.0)?,
            KeyFrom::Nowhere => None,
            KeyFrom::Variable => {
                let name = self.server.variable.trim();
                let is_name = !name.is_empty() && !name.contains(['=', '\0']);
                let found = if is_name { Key::from_environment(&[name])? } else { None };
                Some(found.ok_or_else(|| {
                    Problem::new(tr("the variable that should hold the key is not set"))
                        .fix(tr("set it before the program starts, or type the key"))
                })?)
            }
            KeyFrom::Stored if self.server.stored.trim().is_empty() => {
                return Err(Problem::new(tr("no key of the key store is named"))
                    .fix(tr("name the key as it was kept: shardscope key set NAME")));
            }
            KeyFrom::Stored => return Ok(Lock::Stored(self.server.stored.trim().to_owned())),
        };
        Ok(Lock::Here(key))
    }

    /// The key for an address, where it is here.
    fn key_for(&self, address: &Address) -> Result<Option<Key>> {
        Ok(match self.lock(address)? {
            Lock::Here(key) => key,
            Lock::Stored(_) => None,
        })
    }

    /// The way to the model. Nothing is sent.
    ///
    /// # Errors
    /// What is typed cannot be used.
    pub fn door(&self) -> Result<Door> {
        let address = self.server.place()?;
        Ok(Door {
            lock: self.lock(&address)?,
            address,
            model: self.server.model.trim().to_owned(),
            key_header: self.server.header_of_key()?,
            headers: self.server.further()?,
            patient: self.server.limits(),
        })
    }

    /// What keeps it from being asked anything.
    pub fn fault(&self) -> Option<Problem> {
        self.door().and_then(|_| self.server.service()).err()
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
        self.health = match self.door() {
            Err(problem) => Loadable::Refused(problem),
            Ok(door) => {
                let line = self.asked.clone();
                Loadable::Loading(Job::start("ask the server", wake, move |handle| {
                    let (endpoint, _) = door.open()?;
                    line.is(&endpoint);
                    match handle.goes_on() {
                        true => health(&endpoint),
                        false => Err(Problem::new("stopped")),
                    }
                }))
            }
        };
    }

    /// Takes what the server has said; whether it just came. The only model that it offers is the one.
    pub fn poll(&mut self) -> bool {
        if !self.health.poll() {
            return false;
        }
        self.asked = Line::default();
        if self.health.ready().is_some() && self.server.key_from == KeyFrom::Stored {
            self.proved.clone_from(&self.server.stored);
        }
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

/// The address of a server as keys are told apart by it; as typed where it is none.
fn base(server: &Server) -> String {
    let open = Server { allow_http: true, ..server.clone() };
    open.place().map_or_else(|_| server.address.trim().to_owned(), |place| place.base().to_owned())
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
    fn a_key_stays_with_the_address_for_which_it_was_typed() {
        let mut served = with("sk-of-the-first");
        let (first, second) = (served.server.clone(), Server::at("https://example.org"));
        served.change(second.clone());
        assert_eq!(served.key, Hidden::default(), "it is not sent elsewhere");
        served.type_key(Hidden("sk-of-the-second".into()));
        assert_eq!(served.typed_for(&first).0, "sk-of-the-first");
        served.change(first);
        assert_eq!(
            (served.key.0.as_str(), served.typed_for(&second).0.as_str()),
            ("sk-of-the-first", "sk-of-the-second")
        );
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
