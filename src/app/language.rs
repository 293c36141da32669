//! The window's languages. Texts stand in the code in English; a pack in `assets/languages` gives them in another.

mod sentences;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use sentences::told;

/// A language of menus and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its own name for itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }
}

thread_local! {
    // The window draws on one thread; every test has its own.
    static PRESENT: Cell<Language> = const { Cell::new(Language::English) };
}

/// English to simplified Chinese.
static CHINESE: LazyLock<HashMap<String, String>> =
    LazyLock::new(|| toml::from_str(include_str!("../../assets/languages/zh-CN.toml")).unwrap_or_default());

/// Chooses the language of this thread's texts.
pub fn choose(language: Language) {
    PRESENT.set(language);
}

/// The language of this thread's texts.
pub fn chosen() -> Language {
    PRESENT.get()
}

/// A text in the present language; in English where the pack lacks it.
pub fn tr(english: &'static str) -> &'static str {
    match PRESENT.get() {
        Language::English => english,
        Language::Chinese => CHINESE.get(english).map_or(english, String::as_str),
    }
}

/// A text with `{}` places, filled in order.
pub fn fill(english: &'static str, values: &[&dyn std::fmt::Display]) -> String {
    let mut parts = tr(english).split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (i, part) in parts.enumerate() {
        if let Some(value) = values.get(i) {
            text.push_str(&value.to_string());
        }
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What asks for a text in the source.
    static CALLS: LazyLock<regex::Regex> = LazyLock::new(|| {
        regex::Regex::new(r#"\b(?:tr|fill|tip)\(\s*(?:\w+,\s*)?"((?:[^"\\]|\\.)*)""#).unwrap()
    });

    /// Every text that the window's source asks for, by a plain reading of the source.
    fn asked(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                asked(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let source = source.split("#[cfg(test)]").next().unwrap();
                found.extend(CALLS.captures_iter(source).map(|c| c[1].replace("\\\"", "\"")));
            }
        }
    }

    #[test]
    fn every_text_has_its_chinese_with_the_same_places() {
        let mut texts: Vec<String> =
            crate::app::shortcut::TABLE.iter().map(|shortcut| shortcut.name.to_owned()).collect();
        texts.extend(crate::app::shortcut::ON_SCREENS.iter().map(|(_, _, name)| (*name).to_owned()));
        asked(Path::new("src/app"), &mut texts);
        assert!(texts.len() > 100);
        for text in texts {
            let chinese = CHINESE.get(&text).unwrap_or_else(|| panic!("zh-CN.toml lacks {text:?}"));
            assert_eq!(chinese.matches("{}").count(), text.matches("{}").count(), "{text:?}");
        }
    }

    #[test]
    fn places_are_filled_in_order() {
        assert_eq!(fill("no such text {} of {}", &[&3, &"ten"]), "no such text 3 of ten");
    }
}
