//! The way to a served model: everything that is needed to ask it, the key last. Opening it may take a while, since the
//! platform's key store may wait for a person; so that is done in jobs.

use std::sync::{Arc, OnceLock};

use ureq::http::{HeaderName, HeaderValue};

use crate::app::language::tr;
use crate::endpoint::{Address, Endpoint, Key, KeyHeader, Limits, key};
use crate::{Problem, Result};

/// The key, or where it lies.
#[derive(Debug, Clone)]
pub(super) enum Lock {
    /// The key, where there is one.
    Here(Option<Key>),
    /// The name of a key in the platform's key store.
    Stored(String),
}

/// The way to a served model.
#[derive(Debug, Clone)]
pub struct Door {
    pub(super) address: Address,
    pub(super) model: String,
    pub(super) lock: Lock,
    pub(super) key_header: KeyHeader,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) patient: Limits,
}

impl Door {
    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The model twice, to be asked for a brief word and for questions, which may take long. Nothing is sent.
    ///
    /// # Errors
    /// The key store cannot be read, or has no such key.
    pub fn open(&self) -> Result<(Endpoint, Endpoint)> {
        let key = match &self.lock {
            Lock::Here(key) => key.clone(),
            Lock::Stored(name) => Some(key::stored(name).map_err(elsewhere)?),
        };
        let endpoint = |limits| {
            Endpoint::new(self.address.clone(), self.model.as_str(), key.clone(), limits)
                .with_key_names(&key::SERVED_KEYS)
                .with_key_header(self.key_header.clone())
                .with_headers(self.headers.clone())
        };
        Ok((endpoint(brief()), endpoint(self.patient)))
    }
}

/// A store that cannot be reached, with what can be done in a window.
fn elsewhere(problem: Problem) -> Problem {
    match problem.fix.as_deref().is_some_and(|fix| fix.contains("--ask-key")) {
        true => problem.fix(tr("type the key, or name a variable that holds it")),
        false => problem,
    }
}

/// For a word with the server while a person waits.
fn brief() -> Limits {
    use std::time::Duration;
    Limits {
        connect: Duration::from_secs(5),
        first_token: Some(Duration::from_secs(15)),
        answer: Duration::from_secs(20),
        retries: 0,
        ..Limits::default()
    }
}

/// Who is being asked by a job, so that the connection can be broken off from outside.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<OnceLock<Endpoint>>);

impl Line {
    /// The job asks this one.
    pub fn is(&self, endpoint: &Endpoint) {
        // A line is used once.
        let _ = self.0.set(endpoint.clone());
    }

    /// Breaks the connection off; a line that is not used yet stays so.
    pub fn cut(&self) {
        if let Some(endpoint) = self.0.get() {
            endpoint.shut();
        }
    }
}
