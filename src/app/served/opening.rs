//! What opens the server of a session that goes on: its key, asked for again where that is needed, and how it is sent.

use std::path::Path;

use super::{Hidden, KeyFrom, Served, Server};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::evaluation::served::server_of;
use crate::session::Manifest;

/// The servers that are known, and a key that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Servers as they were chosen, the present one first, and the keys that were typed for them.
    known: Vec<(Server, Hidden)>,
    /// The key that was typed for this session.
    key: Option<Hidden>,
    /// Whether questions that failed are asked again.
    pub failed_again: bool,
}

impl Opening {
    /// From the server that is chosen, and those that answered before.
    pub fn of(served: &Served, before: &[Server]) -> Self {
        let known = std::iter::once(&served.server).chain(before);
        Self { known: known.map(|it| (it.clone(), served.typed_for(it))).collect(), ..Self::default() }
    }

    /// The same with a key that was asked for.
    pub fn with_key(self, key: Hidden) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The same, and what failed is asked again.
    pub fn with_failed(self) -> Self {
        Self { failed_again: true, ..self }
    }

    /// The endpoint of a session: for a brief word, and for its questions.
    ///
    /// # Errors
    /// The session is not of a served model, or the key cannot be sent.
    pub fn endpoints(&self, manifest: &Manifest, folder: &Path) -> Result<(Endpoint, Endpoint)> {
        let (address, model) = server_of(manifest, folder)?;
        let is_it = |(server, _): &&(Server, Hidden)| {
            let open = Server { allow_http: true, ..server.clone() };
            open.place().is_ok_and(|place| place == address)
        };
        // A server of which nothing is known is opened as the terminal would.
        let (server, key) = self.known.iter().find(is_it).cloned().unwrap_or_default();
        let mut served = Served { server, key, ..Served::default() };
        if let Some(key) = &self.key {
            served.server.key_from = KeyFrom::Typed;
            served.key.clone_from(key);
        } else if served.lock(&address).is_err()
            || (served.server.key_from == KeyFrom::Typed && served.key.0.is_empty())
        {
            served.server.key_from = KeyFrom::Usual;
        }
        // What was said when the session was begun holds: its address, its model, its leave to use plain http.
        served.server.address = address.base().to_owned();
        (served.server.allow_http, served.server.model) = (true, model);
        served.door()?.open()
    }
}
