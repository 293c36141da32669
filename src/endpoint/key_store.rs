//! Keys that the platform keeps: the Secret Service (GNOME Keyring, KWallet, KeePassXC) on Linux, the keychain on macOS, the
//! credential manager on Windows. Nothing is asked of them before a key is; every call may wait for a person who unlocks
//! the store, so the window makes them in a job.

use std::fmt;
use std::sync::Arc;

use keyring_core::{CredentialStore, Entry, Error};

use super::{Key, key};
use crate::{Problem, Result};

/// Under whose name the keys lie.
const SERVICE: &str = "shardscope";

/// Longest name of a key, in letters.
const LONGEST_NAME: usize = 64;

/// The platform's key store.
#[derive(Clone)]
pub struct KeyStore(Arc<CredentialStore>);

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyStore({})", self.0.vendor())
    }
}

impl KeyStore {
    /// The store of this platform.
    ///
    /// # Errors
    /// There is none that can be reached, which is no fault: a machine without a desktop seldom has one.
    pub fn open() -> Result<Self> {
        let absent = |why: String| {
            Problem::new(format!("no key store of this system can be reached: {why}")).fix(format!(
                "set {} in the environment, or give the key with --ask-key; on Linux, stores are GNOME Keyring, KWallet or \
                 KeePassXC on a session bus",
                key::SERVED_KEYS[0]
            ))
        };
        keyring::Entry::store_status().as_ref().map_err(|error| absent(error.to_string()))?;
        keyring_core::get_default_store().map(Self).ok_or_else(|| absent("it was not started".into()))
    }

    /// Whether a key could be kept under a name.
    ///
    /// # Errors
    /// A name that is none, or a store that stays locked.
    pub fn check(&self, name: &str) -> Result<()> {
        match self.entry(name)?.get_password() {
            Err(error @ (Error::NoStorageAccess(_) | Error::PlatformFailure(_))) => {
                Err(trouble(name, &error))
            }
            _ => Ok(()),
        }
    }

    /// The key of a name; `None` where the store has none.
    ///
    /// # Errors
    /// A name that is none, a store that stays locked, or what it keeps is no key.
    pub fn find(&self, name: &str) -> Result<Option<Key>> {
        match self.entry(name)?.get_password() {
            Ok(text) => Key::new(&text).map_err(|problem| problem.at(place(name))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(trouble(name, &error)),
        }
    }

    /// Keeps a key under a name, in the place of the one that was there.
    ///
    /// # Errors
    /// A name that is none, or a store that stays locked.
    pub fn keep(&self, name: &str, key: &Key) -> Result<()> {
        self.entry(name)?.set_password(key.plain()).map_err(|error| trouble(name, &error))
    }

    /// Forgets the key of a name; whether there was one.
    ///
    /// # Errors
    /// As [`KeyStore::keep`].
    pub fn forget(&self, name: &str) -> Result<bool> {
        match self.entry(name)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(trouble(name, &error)),
        }
    }

    fn entry(&self, name: &str) -> Result<Entry> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
            return Err(Problem::new("that is no name for a key").fix(format!(
                "give a name of up to {LONGEST_NAME} letters, digits, dots, dashes and underscores; the key itself is asked for"
            )));
        }
        self.0.build(SERVICE, name, None).map_err(|error| trouble(name, &error))
    }
}

fn place(name: &str) -> String {
    format!("key {name} of the key store")
}

fn trouble(name: &str, error: &Error) -> Problem {
    let fix = match error {
        Error::NoStorageAccess(_) => "unlock the key store, and allow shardscope to read it",
        Error::Ambiguous(_) => "leave one of them in the platform's own program for keys",
        _ => {
            "look at the key in the platform's own program for keys, or keep it anew with `shardscope key set`"
        }
    };
    // What is wrong with what is kept is not shown: it may be the key.
    let what = match error {
        Error::BadEncoding(_) | Error::BadDataFormat(..) => "what the key store keeps is no key".to_owned(),
        Error::Ambiguous(entries) => format!("the key store has {} keys of this name", entries.len()),
        error => format!("the key store refused: {error}"),
    };
    Problem::new(what).at(place(name)).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyring_core::mock;

    fn store() -> KeyStore {
        KeyStore(mock::Store::new().unwrap())
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap().unwrap()
    }

    #[test]
    fn a_key_is_kept_found_replaced_and_forgotten() {
        let store = store();
        assert_eq!(store.find("work"), Ok(None));
        store.keep("work", &key("sk-secret-1")).unwrap();
        store.keep("home", &key("sk-secret-2")).unwrap();
        assert_eq!(store.find("work"), Ok(Some(key("sk-secret-1"))));
        store.keep("work", &key("sk-secret-3")).unwrap();
        assert_eq!(store.find("work"), Ok(Some(key("sk-secret-3"))));
        assert_eq!((store.forget("work"), store.forget("work")), (Ok(true), Ok(false)));
        assert_eq!((store.find("work"), store.find("home")), (Ok(None), Ok(Some(key("sk-secret-2")))));
        assert!(!format!("{store:?}").contains("sk-secret"));
    }

    #[test]
    fn what_is_no_name_is_refused_and_not_repeated() {
        let long = "a".repeat(65);
        for name in ["", "a b", "a/b", "sk\n", "ключ", &long] {
            let refused = store().keep(name, &key("sk-secret")).unwrap_err();
            assert!(refused.fix.is_some() && refused.place.is_none(), "{refused}");
        }
    }

    #[test]
    fn troubles_are_sentences_without_the_key() {
        let store = store();
        store.keep("work", &key("sk-secret")).unwrap();
        let fail = |error: Error| {
            let entry = store.entry("work").unwrap();
            entry.as_any().downcast_ref::<mock::Cred>().unwrap().set_error(error);
            store.find("work").unwrap_err().to_string()
        };
        let locked = fail(Error::NoStorageAccess("the collection is locked".into()));
        assert!(locked.contains("is locked") && locked.contains("unlock"), "{locked}");
        let broken = fail(Error::BadEncoding(b"sk-secret\xff".to_vec()));
        assert!(broken.contains("is no key") && !broken.contains("sk-"), "{broken}");
        store.entry("work").unwrap().set_password("sk secret").unwrap();
        let refused = store.find("work").unwrap_err().to_string();
        assert!(refused.contains("key work") && !refused.contains("secret"), "{refused}");
    }
}
