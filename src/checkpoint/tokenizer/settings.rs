//! What the small files beside a vocabulary say: added tokens, special tokens, the beginning of a sequence.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::MAX_TOKEN_ID;
use crate::checkpoint::Folder;
use crate::{Problem, Result};

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

/// Keys under which the special tokens stand, in both files.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The settings of a tokenizer, from `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Tokens outside the model of the tokenizer, by id.
    pub added: BTreeMap<u32, AddedToken>,
    /// Every token that has a role (`bos_token` and so on), by role.
    pub roles: BTreeMap<&'static str, AddedToken>,
    /// Further special tokens.
    pub additional: Vec<AddedToken>,
    /// Whether the token that begins a sequence is put before a text.
    pub add_bos: Option<bool>,
    /// Whether spaces before punctuation are dropped from decoded text.
    pub clean_up: Option<bool>,
    /// Whether a `LlamaTokenizer` puts a space before every stretch between special tokens (`legacy`).
    pub legacy: Option<bool>,
    /// Whether a `LlamaTokenizer` puts a space before the text.
    pub add_prefix_space: Option<bool>,
    /// The class that transformers would use.
    pub class: String,
}

impl Settings {
    /// Reads whichever of the files are there.
    ///
    /// # Errors
    /// Malformed JSON, ids that no vocabulary has, and two tokens for one id or two ids for one token.
    pub fn read(folder: &Folder) -> Result<Self> {
        let config = object(folder, CONFIG)?;
        let special = object(folder, SPECIAL)?;
        let flag = |key: &str| config.get(key).and_then(Value::as_bool);
        let mut settings = Self {
            add_bos: flag("add_bos_token"),
            clean_up: flag("clean_up_tokenization_spaces"),
            legacy: flag("legacy"),
            add_prefix_space: flag("add_prefix_space"),
            class: config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default().to_owned(),
            ..Self::default()
        };
        for role in ROLES {
            if let Some(token) = token(config.get(role)).or_else(|| token(special.get(role))) {
                settings.roles.insert(role, token);
            }
        }
        let additional = config.get("additional_special_tokens").or(special.get("additional_special_tokens"));
        if let Some(Value::Array(tokens)) = additional {
            settings.additional = tokens.iter().filter_map(|t| token(Some(t))).collect();
        }
        settings.read_added(folder, &config)?;
        Ok(settings)
    }

    /// The text of the token with a role such as `bos_token`.
    pub fn role(&self, role: &str) -> Option<&str> {
        self.roles.get(role).map(|token| token.content.as_str())
    }

    fn read_added(&mut self, folder: &Folder, config: &Map<String, Value>) -> Result<()> {
        let mut ids: BTreeMap<String, u32> = BTreeMap::new();
        let mut add = |file: &str, id: u32, token: AddedToken| -> Result<()> {
            let refuse = |what: String| {
                Err(Problem::new(what)
                    .at(folder.place(file))
                    .fix("download tokenizer_config.json and added_tokens.json of the same checkpoint again"))
            };
            if id > MAX_TOKEN_ID {
                return refuse(format!("gives {:?} the id {id}, which no vocabulary has", token.content));
            }
            if token.content.is_empty() {
                return refuse(format!("gives the id {id} an empty token"));
            }
            match (ids.get(&token.content), self.added.get(&id)) {
                (Some(&other), _) if other != id => {
                    refuse(format!("gives {:?} the id {id}, but it also has the id {other}", token.content))
                }
                (None, Some(other)) => {
                    refuse(format!("gives the id {id} to {:?} and to {:?}", token.content, other.content))
                }
                (Some(_), _) => Ok(()),
                (None, None) => {
                    ids.insert(token.content.clone(), id);
                    self.added.insert(id, token);
                    Ok(())
                }
            }
        };
        if let Some(decoder) = config.get("added_tokens_decoder").filter(|value| !value.is_null()) {
            let Value::Object(decoder) = decoder else {
                return Err(malformed(folder, CONFIG, "added_tokens_decoder is not an object"));
            };
            for (key, value) in decoder {
                let id = key.parse::<u32>().map_err(|_| {
                    malformed(
                        folder,
                        CONFIG,
                        &format!("added_tokens_decoder has {key:?} where an id belongs"),
                    )
                })?;
                let token = token(Some(value)).ok_or_else(|| {
                    malformed(folder, CONFIG, &format!("added_tokens_decoder has no token under {key}"))
                })?;
                add(CONFIG, id, token)?;
            }
        }
        // The older file has ids alone: what is special is said elsewhere.
        let special: BTreeSet<String> =
            self.roles.values().chain(&self.additional).map(|token| token.content.clone()).collect();
        for (content, id) in object(folder, ADDED)? {
            let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                return Err(malformed(folder, ADDED, &format!("gives {content:?} the id {id}")));
            };
            let is_special = special.contains(&content);
            add(ADDED, id, AddedToken::from(content, is_special).normalized(false))?;
        }
        Ok(())
    }
}

fn malformed(folder: &Folder, file: &str, what: &str) -> Problem {
    Problem::new(what).at(folder.place(file)).fix("download this file again")
}

/// The JSON object in a file; empty where there is no such file.
fn object(folder: &Folder, file: &str) -> Result<Map<String, Value>> {
    match folder.json(file)? {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(malformed(folder, file, "is not a JSON object")),
    }
}

/// A token as these files write it: its text alone, or an object with flags. A text alone is a special token.
fn token(value: Option<&Value>) -> Option<AddedToken> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(AddedToken::from(text.as_str(), true)),
        Value::Object(fields) => {
            let content = fields.get("content")?.as_str()?;
            let flag = |key: &str| fields.get(key).and_then(Value::as_bool).unwrap_or(false);
            let special = flag("special");
            Some(
                AddedToken::from(content, special)
                    .lstrip(flag("lstrip"))
                    .rstrip(flag("rstrip"))
                    .single_word(flag("single_word"))
                    .normalized(fields.get("normalized").and_then(Value::as_bool).unwrap_or(!special)),
            )
        }
        _ => None,
    }
}
