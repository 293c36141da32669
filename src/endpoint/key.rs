//! A key to an endpoint: held in memory alone, and never shown.

use std::fmt;

use super::{Address, KeyStore};
use crate::{Problem, Result};

/// What stands in a key's place wherever text is shown or kept.
const HIDDEN: &str = "***";

/// A shorter key is a stand-in for servers that want any (`EMPTY`, `none`): no secret, and it could be a word of a reply.
const SHORTEST_SECRET: usize = 8;

/// Variables of the environment in which a judge's key is looked for, in this order.
pub const JUDGE_KEYS: [&str; 2] = ["SHARDSCOPE_JUDGE_KEY", "OPENAI_API_KEY"];

/// Variables in which the key of a served model is looked for, in this order.
pub const SERVED_KEYS: [&str; 2] = ["SHARDSCOPE_API_KEY", "OPENAI_API_KEY"];

/// A key. It cannot be written out: shown or debugged it is `***`, and it has no serialisation.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key as a person gave it, spaces around it left out; `None` for nothing.
    ///
    /// # Errors
    /// It holds what no header may hold: spaces, line breaks, letters beyond ASCII.
    pub fn new(text: &str) -> Result<Option<Self>> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new("the key holds characters that cannot be sent")
                .fix("copy the key again; it has no spaces, line breaks or letters beyond ASCII"));
        }
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }

    /// The key in the first of these variables that is set and not empty.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn from_environment(variables: &[&str]) -> Result<Option<Self>> {
        for variable in variables {
            let Some(text) = std::env::var_os(variable) else { continue };
            if let Some(key) = Self::new(&text.to_string_lossy()).map_err(|problem| problem.at(*variable))? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The key for a served model, from the environment. One that was made for others (`OPENAI_API_KEY`) is not sent where
    /// anybody could read it: only over https, or to this machine.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn for_served(address: &Address) -> Result<Option<Self>> {
        let [own, others] = SERVED_KEYS;
        match Self::from_environment(&[own])? {
            Some(key) => Ok(Some(key)),
            None if address.is_https() || address.is_loopback() => Self::from_environment(&[others]),
            None => Ok(None),
        }
    }

    /// The value of the `Authorization` header.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The key itself, for a header of its own.
    pub(super) fn plain(&self) -> &str {
        &self.0
    }

    /// Whether it is a secret, not a stand-in for servers that want any key.
    fn is_secret(&self) -> bool {
        self.0.len() >= SHORTEST_SECRET
    }

    /// Whether a text holds the key, as it is or as JSON may write it.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_secret() && (text.contains(&self.0) || text.contains(&self.in_json()))
    }

    /// A text of the server without the key, which some servers repeat in their errors.
    pub fn hide_in(&self, text: &str) -> String {
        if !self.is_in(text) {
            return text.to_owned();
        }
        text.replace(&self.0, HIDDEN).replace(&self.in_json(), HIDDEN)
    }

    /// How many bytes at the end of a text could be the beginning of the key.
    pub(super) fn begun_in(&self, text: &str) -> usize {
        if !self.is_secret() {
            return 0;
        }
        (1..self.0.len()).rev().find(|&length| text.ends_with(&self.0[..length])).unwrap_or(0)
    }

    /// The key with its slashes escaped, as some servers write JSON.
    fn in_json(&self) -> String {
        self.0.replace('/', "\\/")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The key of a name in the platform's key store.
///
/// # Errors
/// There is no store, it refuses, or it has no such key.
pub fn stored(name: &str) -> Result<Key> {
    KeyStore::open()?.find(name)?.ok_or_else(|| not_stored(name))
}

/// That the key store has no key of a name, and how one gets there.
pub fn not_stored(name: &str) -> Problem {
    Problem::new(format!("the key store has no key {name}"))
        .fix(format!("keep one with `shardscope key set {name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = Key::new(" sk-secret\n").unwrap().unwrap();
        assert_eq!((format!("{key} {key:?}"), key.bearer().as_str()), ("*** ***".into(), "Bearer sk-secret"));
        assert_eq!(key.hide_in("wrong key sk-secret!"), "wrong key ***!");
        assert_eq!((key.begun_in("so sk-se"), key.begun_in("sk-secret"), key.begun_in("?")), (5, 0, 0));
        let slashed = Key::new("a/b/c/d/e").unwrap().unwrap();
        assert_eq!(slashed.hide_in(r"{a\/b\/c\/d\/e}"), "{***}");
        let stand_in = Key::new("none").unwrap().unwrap();
        assert_eq!((stand_in.hide_in("none"), stand_in.to_string()), ("none".into(), "***".into()));
        assert_eq!(Key::new("  "), Ok(None));
        let refusal = Key::new("sk-secret\r\nX-Other: 1").unwrap_err().to_string();
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}
