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
    /// Servers as they were chosen, the present one first, and the key that was typed for that.
    known: Vec<(Server, Hidden)>,
    /// The key that was typed for this session.
    key: Option<Hidden>,
}

impl Opening {
    /// From the server that is chosen, and those that answered before.
    pub fn of(served: &Served, before: &[Server]) -> Self {
        let known = std::iter::once((served.server.clone(), served.key.clone()));
        Self {
            known: known.chain(before.iter().map(|it| (it.clone(), Hidden::default()))).collect(),
            key: None,
        }
    }

    /// The same with a key that was asked for.
    pub fn with(self, key: Option<Hidden>) -> Self {
        Self { key, ..self }
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
        } else if served.key_for(&address).is_err()
            || (served.server.key_from == KeyFrom::Typed && served.key.0.is_empty())
        {
            served.server.key_from = KeyFrom::Usual;
        }
        // What was said when the session was begun holds: its address, its model, its leave to use plain http.
        served.server.address = address.base().to_owned();
        (served.server.allow_http, served.server.model) = (true, model);
        served.endpoints()
    }
}
