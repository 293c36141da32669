//! What of a server survives a restart: never a secret, nor what might be one.

use super::{KeyFrom, Served, Server};
use crate::endpoint::Key;

impl Served {
    /// The server as it may be written down; none where there is nothing worth keeping. A field that holds the key, or
    /// that cannot be told from a secret, is left out.
    pub fn kept(&self) -> Option<Server> {
        let server = &self.server;
        let open = Server { allow_http: true, ..server.clone() };
        let address = open.place().ok()?;
        // Keys that were typed, and the one that the environment holds: each may stand where it does not belong.
        let typed: Vec<&str> = self.typed().map(str::trim).filter(|key| !key.is_empty()).collect();
        let keys = typed.iter().map(|key| Key::new(key)).chain([self.key_for(&address)]);
        let keys: Vec<Key> = keys.flatten().flatten().collect();
        let is_safe = |text: &str| {
            !keys.iter().any(|key| key.is_in(text)) && !typed.iter().any(|key| text.trim() == *key)
        };
        if !is_safe(&server.address) {
            return None;
        }
        let safe = |text: &str| if is_safe(text) { text.to_owned() } else { String::new() };
        let is_set = std::env::var_os(server.variable.trim()).is_some();
        Some(Server {
            model: safe(&server.model),
            // A name of no variable may be a key that was put into the wrong field.
            variable: if is_set && server.key_from == KeyFrom::Variable {
                safe(&server.variable)
            } else {
                String::new()
            },
            stored: if server.stored == self.proved { safe(&server.stored) } else { String::new() },
            key_header: if server.header_of_key().is_ok() { safe(&server.key_header) } else { String::new() },
            headers: super::Hidden::default(),
            extra: if server.fields().is_ok() { safe(&server.extra) } else { String::new() },
            ..server.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::served::Hidden;

    const KEY: &str = "sk-hunter2-never-show-me";

    #[test]
    fn a_key_is_kept_in_no_field_whatever_it_was_typed_into() {
        let misplaced: [fn(&mut Server); 6] = [
            |it| (it.key_from, it.stored) = (KeyFrom::Stored, KEY.into()),
            |it| it.model = KEY.into(),
            |it| it.variable = KEY.into(),
            |it| it.key_header = KEY.into(),
            |it| it.extra = format!("{{\"user\": \"{KEY}\"}}"),
            |it| it.headers = Hidden(format!("X-A: {KEY}")),
        ];
        for misplace in misplaced {
            let server = Server { key_from: KeyFrom::Typed, ..Server::at("localhost:8000") };
            let mut served = Served { server, key: Hidden(KEY.into()), ..Served::default() };
            misplace(&mut served.server);
            let kept = serde_json::to_string(&served.kept().unwrap()).unwrap();
            assert!(!kept.contains("hunter2") && kept.contains("localhost:8000"), "{kept}");
        }
        for address in ["https://me:sk-hunter2@example.org", "https://example.org/v1?key=hunter2", ""] {
            let served = Served { server: Server::at(address), ..Served::default() };
            assert_eq!(served.kept(), None, "{address}");
        }
        // A secret field is none that a run would take, so it is not kept either.
        let server = Server { extra: r#"{"api_key": "hunter2"}"#.into(), ..Server::at("localhost:1") };
        let served = Served { server, ..Served::default() };
        assert_eq!(served.kept().unwrap().extra, "");
    }

    #[test]
    fn what_is_no_secret_is_kept() {
        let server = Server {
            model: "OpenGVLab/InternVL3-8B".into(),
            extra: r#"{"top_k": 1}"#.into(),
            key_from: KeyFrom::Variable,
            variable: "PATH".into(),
            in_flight: 40,
            price: [1.0, 4.0],
            ..Server::at("https://example.org")
        };
        let served = Served { server: server.clone(), ..Served::default() };
        let kept = served.kept().unwrap();
        let again: Server = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        assert_eq!(again, server);
    }
}
