//! What the Python tokenizers of transformers do around a sentencepiece model.
//!
//! OpenGVLab's code opens these checkpoints with `use_fast=False`: the text is parted at added tokens first, and
//! sentencepiece encodes each stretch between them by itself. So a stretch after a special token begins with a
//! space of its own wherever the model adds one to every text.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokenizers::AddedToken;

use super::clean_up_spaces;
use super::sentencepiece::{Decoding, Prefixes, SPACE, Sentencepiece};
use super::settings::Settings;
use crate::checkpoint::Folder;
use crate::{Problem, Result};

/// A sentencepiece model with the tokens added to it.
pub(super) struct PieceTokenizer {
    model: Sentencepiece,
    manner: Manner,
    /// Added tokens by id and by text.
    added: BTreeMap<u32, AddedToken>,
    added_ids: HashMap<String, u32>,
    starts: Prefixes,
    /// Texts and ids of the tokens that are left out of answers.
    special: HashSet<String>,
    special_ids: HashSet<u32>,
    /// Added tokens that decoding keeps apart from the pieces.
    apart: HashSet<String>,
    /// The token that begins a sequence, if one is put before a text.
    begin: Option<(String, u32)>,
    clean_up: bool,
    unknown: String,
}

/// Whose Python code is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// `tokenization_internlm2.py`.
    InternLm2,
    /// `InternLM3Tokenizer`, with `add_prefix_space`.
    InternLm3 { prefix: bool },
    /// `LlamaTokenizer`, with `legacy` and `add_prefix_space`.
    Llama { legacy: bool, prefix: bool },
}

impl Manner {
    fn of(settings: &Settings, backbone: &str) -> Self {
        let class = settings.class.trim_end_matches("Fast");
        let named = ["InternLM2", "InternLM3", "Llama"].into_iter().find(|name| class.starts_with(name));
        let family =
            named.or_else(|| ["InternLM2", "InternLM3"].into_iter().find(|name| backbone.starts_with(name)));
        let prefix = settings.add_prefix_space.unwrap_or(true);
        match family {
            Some("InternLM2") => Self::InternLm2,
            Some("InternLM3") => Self::InternLm3 { prefix },
            _ => Self::Llama { legacy: settings.legacy.unwrap_or(true), prefix },
        }
    }
}

impl PieceTokenizer {
    pub fn open(folder: &Folder, settings: &Settings, backbone: &str) -> Result<Self> {
        let place = folder.place("tokenizer.model");
        let bytes = folder.read("tokenizer.model")?.ok_or_else(|| Problem::new("is missing").at(&place))?;
        let mut model = Sentencepiece::read(&bytes, &place)?;
        let manner = Manner::of(settings, backbone);
        if let Manner::Llama { legacy: false, .. } = manner {
            model.add_dummy_prefix = false;
        }
        let mut added = settings.added.clone();
        let mut added_ids: HashMap<String, u32> =
            added.iter().map(|(id, token)| (token.content.clone(), *id)).collect();
        // Tokens with a role are matched whole even if no file lists them as added.
        let mut roles: Vec<AddedToken> =
            settings.roles.values().chain(&settings.additional).cloned().collect();
        for (role, default) in [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")] {
            if settings.role(role).is_none() {
                roles.push(AddedToken::from(default, true));
            }
        }
        for token in &roles {
            if let (None, Some(id)) = (added_ids.get(&token.content), model.id(&token.content)) {
                added_ids.insert(token.content.clone(), id);
                added.entry(id).or_insert_with(|| token.clone());
            }
        }
        let special: HashSet<String> = roles.iter().map(|token| token.content.clone()).collect();
        let id_of = |text: &str| added_ids.get(text).copied().or_else(|| model.id(text));
        let special_ids = special.iter().filter_map(|text| id_of(text)).collect();
        let apart = added
            .iter()
            .filter(|(id, token)| {
                let additional = settings.additional.iter().any(|other| other.content == token.content);
                !special.contains(&token.content) || (additional && **id as usize >= model.len())
            })
            .map(|(_, token)| token.content.clone())
            .collect();
        let begin = if settings.add_bos.unwrap_or(true) {
            let bos = settings.role("bos_token").unwrap_or("<s>");
            let id = id_of(bos).ok_or_else(|| {
                Problem::new(format!("has no {bos:?}, the token with which a text is to begin"))
                    .at(&place)
                    .fix("take tokenizer.model and tokenizer_config.json from the same checkpoint")
            })?;
            Some((bos.to_owned(), id))
        } else {
            None
        };
        Ok(Self {
            starts: Prefixes::new(added_ids.keys().map(String::as_str)),
            unknown: settings.role("unk_token").unwrap_or("<unk>").to_owned(),
            clean_up: settings.clean_up.unwrap_or(false),
            model,
            manner,
            added,
            added_ids,
            special,
            special_ids,
            apart,
            begin,
        })
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        if let Some((bos, id)) = &self.begin
            && !text.starts_with(bos)
        {
            ids.push(*id);
        }
        match self.manner {
            Manner::Llama { legacy: false, prefix } if !text.is_empty() => {
                let space = if prefix { SPACE } else { "" };
                let text = format!("{space}{}", text.replace(SPACE, " "));
                let parts = self.split(&text);
                // The space before the text goes again where a special token comes first.
                let alone = matches!(
                    parts.as_slice(),
                    [Part::Text(first), Part::Added(second), ..]
                        if self.special_ids.contains(second) && self.is_space_alone(first)
                );
                self.encode_parts(&parts[usize::from(alone)..], &mut ids);
            }
            _ => self.encode_parts(&self.split(text), &mut ids),
        }
        ids
    }

    fn encode_parts(&self, parts: &[Part<'_>], ids: &mut Vec<u32>) {
        for part in parts {
            match part {
                Part::Added(id) => ids.push(*id),
                Part::Text(text) => ids.extend(self.encode_stretch(text)),
            }
        }
    }

    fn encode_stretch(&self, text: &str) -> Vec<u32> {
        let spaced = text.starts_with(SPACE) || text.starts_with(' ');
        match self.manner {
            Manner::Llama { legacy: false, .. } if spaced => {
                // Behind another text, so that no space at the beginning gets lost.
                let before = self.model.encode(&self.unknown).len();
                let mut ids = self.model.encode(&format!("{}{text}", self.unknown));
                if ids.len() >= before {
                    ids.drain(..before);
                }
                ids
            }
            _ => self.model.encode(text),
        }
    }

    fn is_space_alone(&self, text: &str) -> bool {
        self.encode_stretch(text).as_slice() == self.model.id(SPACE).as_slice()
    }

    /// Parts a text at its added tokens: leftmost first, of those the longest.
    fn split<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        let mut found: Vec<(usize, usize, u32)> = Vec::new();
        let mut place = 0;
        while let Some(length) = text[place..].chars().next().map(char::len_utf8) {
            match self.starts.longest(&text[place..]) {
                Some(token) => {
                    found.push((
                        place,
                        place + token.len(),
                        self.added_ids.get(token).copied().unwrap_or_default(),
                    ));
                    place += token.len();
                }
                None => place += length,
            }
        }
        let eats = |id: u32, side: fn(&AddedToken) -> bool| self.added.get(&id).is_some_and(side);
        let mut parts = Vec::with_capacity(found.len() * 2 + 1);
        let mut start = 0;
        for (index, &(begin, end, id)) in found.iter().enumerate() {
            let mut stretch = &text[start..begin];
            if index > 0 && eats(found[index - 1].2, |token| token.rstrip) {
                stretch = stretch.trim_start();
            }
            if eats(id, |token| token.lstrip) {
                stretch = stretch.trim_end();
            }
            if !stretch.is_empty() {
                parts.push(Part::Text(stretch));
            }
            parts.push(Part::Added(id));
            start = end;
        }
        let mut last = &text[start..];
        if found.last().is_some_and(|(_, _, id)| eats(*id, |token| token.rstrip)) {
            last = last.trim_start();
        }
        if !last.is_empty() {
            parts.push(Part::Text(last));
        }
        parts
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let tokens = ids.iter().filter(|id| !skip_special || !self.special_ids.contains(id));
        let mut texts: Vec<String> = Vec::new();
        let mut pieces: Vec<&str> = Vec::new();
        for token in tokens.filter_map(|id| self.token(*id)) {
            if self.apart.contains(token) {
                if !pieces.is_empty() {
                    texts.extend(Some(self.join(&pieces)).filter(|text| !text.is_empty()));
                    pieces.clear();
                }
                texts.push(token.to_owned());
            } else {
                pieces.push(token);
            }
        }
        if !pieces.is_empty() {
            texts.push(self.join(&pieces));
        }
        let text = texts.join(" ");
        if self.clean_up { clean_up_spaces(&text) } else { text }
    }

    /// The text of pieces and special tokens (`convert_tokens_to_string`).
    fn join(&self, tokens: &[&str]) -> String {
        let (space_before_special, prefix) = match self.manner {
            Manner::InternLm2 => (true, false),
            Manner::InternLm3 { prefix } => (false, prefix),
            Manner::Llama { legacy, prefix } => (legacy, prefix),
        };
        let mut out = String::new();
        let mut decoding = Decoding::default();
        let mut stretch = String::new();
        let mut after_special = false;
        for (index, token) in tokens.iter().enumerate() {
            let token = if index == 0 && prefix { token.strip_prefix(SPACE).unwrap_or(token) } else { token };
            if self.special.contains(token) {
                if !after_special && space_before_special && (index > 0 || self.manner == Manner::InternLm2) {
                    out.push(' ');
                }
                stretch.push_str(&decoding.finish());
                out.push_str(&stretch);
                out.push_str(token);
                stretch.clear();
                decoding = Decoding::default();
                after_special = true;
            } else {
                let llama = matches!(self.manner, Manner::Llama { .. });
                if llama && after_special && index == 1 && prefix && !token.starts_with(SPACE) {
                    out.push(' ');
                }
                stretch.push_str(&decoding.push(&self.model, token));
                after_special = false;
            }
        }
        stretch.push_str(&decoding.finish());
        out.push_str(&stretch);
        // InternLM2's own code cleans up whatever the settings say.
        if self.manner == Manner::InternLm2 { clean_up_spaces(&out) } else { out }
    }

    fn token(&self, id: u32) -> Option<&str> {
        self.added.get(&id).map(|token| token.content.as_str()).or_else(|| self.model.piece(id))
    }

    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.added_ids.get(token).copied().or_else(|| self.model.id(token))
    }

    pub fn vocab_size(&self) -> usize {
        let added = self.added.keys().next_back().map_or(0, |id| *id as usize + 1);
        added.max(self.model.len())
    }

    fn drops_first_space(&self) -> bool {
        matches!(self.manner, Manner::InternLm3 { prefix: true } | Manner::Llama { prefix: true, .. })
    }
}

/// A stretch of text, or an added token in it.
enum Part<'a> {
    Text(&'a str),
    Added(u32),
}

/// Decoding of ids one after another.
#[derive(Debug, Default)]
pub(super) struct PieceDecoding {
    pieces: Decoding,
    begun: bool,
}

impl PieceDecoding {
    /// The text that a further token completes.
    pub fn push(&mut self, tokenizer: &PieceTokenizer, id: u32, skip_special: bool) -> String {
        let Some(token) = tokenizer.token(id) else { return String::new() };
        let special = tokenizer.special_ids.contains(&id);
        if special && skip_special {
            return String::new();
        }
        let first = !std::mem::replace(&mut self.begun, true);
        if special || tokenizer.apart.contains(token) {
            let text = self.pieces.finish() + token;
            self.pieces = Decoding::default();
            return text;
        }
        let drops = first && tokenizer.drops_first_space();
        let token = if drops { token.strip_prefix(SPACE).unwrap_or(token) } else { token };
        self.pieces.push(&tokenizer.model, token)
    }

    /// What never became a character.
    pub fn finish(&mut self) -> String {
        self.pieces.finish()
    }
}
