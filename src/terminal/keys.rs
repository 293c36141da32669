//! Keys on the terminal: asked for without showing them, and kept in the platform's key store (`shardscope key`).

use std::io::IsTerminal;

use super::print_line;
use crate::cli::{Ending, KeyCommand, Outcome};
use crate::endpoint::{Key, KeyStore, key};
use crate::{Problem, Result};

/// Runs `shardscope key`.
///
/// # Errors
/// There is no key store, or it refuses.
pub fn run(command: &KeyCommand) -> Outcome {
    match command {
        KeyCommand::Set { name } => {
            let store = KeyStore::open()?;
            // Whatever can be wrong besides the key is known before one is typed.
            store.check(name)?;
            let key = asked("key: ")?.ok_or_else(|| Problem::new("no key was given; nothing is kept"))?;
            store.keep(name, &key)?;
            print_line(&format!("kept as {name}; use it with: eval --endpoint URL --stored-key {name}"))?;
        }
        KeyCommand::Delete { name } => match KeyStore::open()?.forget(name)? {
            true => print_line(&format!("forgotten: {name}"))?,
            false => return Err(key::not_stored(name).into()),
        },
        KeyCommand::Check { name: None } => {
            KeyStore::open()?;
            print_line("there is a key store")?;
        }
        KeyCommand::Check { name: Some(name) } => {
            key::stored(name)?;
            print_line(&format!("there is a key {name}"))?;
        }
    }
    Ok(Ending::Done)
}

/// A key that is typed on the terminal and not shown; `None` for nothing.
///
/// # Errors
/// There is no terminal, or what was typed is no key.
pub fn asked(prompt: &str) -> Result<Option<Key>> {
    if !std::io::stdin().is_terminal() {
        return Err(Problem::new("there is no terminal to ask for the key")
            .fix(format!("set {} in the environment", key::SERVED_KEYS[0])));
    }
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Problem::new(format!("the key cannot be read: {error}")))?;
    Key::new(&typed)
}
