//! What a person has made of the window; survives a restart.

use serde::{Deserialize, Serialize};

use super::board::view::Kept;
use super::chosen::Chosen;
use super::language::Language;
use super::served::Server;
use crate::demo::BUILT_IN;

/// How many recent files are kept.
const RECENT: usize = 12;

/// Version of the habits that this program writes.
const VERSION: u32 = 1;

/// What a person has made of the window. What is missing or unknown is as at the first start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habits {
    /// Version of this record.
    pub version: u32,
    /// Language of menus and messages.
    pub language: Language,
    /// Dark, light, or as the system.
    pub theme: Theme,
    /// The checkpoint that was chosen last.
    pub checkpoint: String,
    /// The dataset that was chosen last.
    pub dataset: String,
    /// Checkpoints opened, the latest first.
    pub checkpoints: Vec<String>,
    /// Datasets opened, the latest first.
    pub datasets: Vec<String>,
    /// How runs are made.
    pub chosen: Chosen,
    /// The server that was chosen last, and how it is asked; no key is among what is kept of it.
    pub server: Server,
    /// Whether it answers, and not the checkpoint.
    pub is_served: bool,
    /// Servers that have answered, the latest first.
    pub servers: Vec<Server>,
    /// How the board is looked at.
    pub board: Kept,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            version: VERSION,
            language: Language::default(),
            theme: Theme::default(),
            checkpoint: BUILT_IN.to_owned(),
            dataset: BUILT_IN.to_owned(),
            checkpoints: Vec::new(),
            datasets: Vec::new(),
            chosen: Chosen::default(),
            server: Server::default(),
            is_served: false,
            servers: Vec::new(),
            board: Kept::default(),
        }
    }
}

impl Habits {
    /// Puts a server first among those that have answered; it stands there once for each model, or once without any.
    pub fn remember_server(&mut self, server: Server) {
        let is_other =
            |it: &Server| it.address != server.address || (it.model != server.model && !it.model.is_empty());
        self.servers.retain(is_other);
        self.servers.insert(0, server);
        self.servers.truncate(RECENT);
    }

    /// Puts a name first in a list of recent ones.
    pub fn remember(recent: &mut Vec<String>, named: &str) {
        if named == BUILT_IN {
            return;
        }
        recent.retain(|it| it != named);
        recent.insert(0, named.to_owned());
        recent.truncate(RECENT);
    }
}

/// The choice of a theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Theme {
    /// As the system.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

impl Theme {
    /// As egui names it.
    pub fn preference(self) -> egui::ThemePreference {
        match self {
            Self::System => egui::ThemePreference::System,
            Self::Dark => egui::ThemePreference::Dark,
            Self::Light => egui::ThemePreference::Light,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_names_stand_once_the_latest_first() {
        let mut recent = Vec::new();
        for i in 0..20 {
            Habits::remember(&mut recent, &format!("/models/{i}"));
        }
        Habits::remember(&mut recent, "/models/15");
        Habits::remember(&mut recent, crate::demo::BUILT_IN);
        assert_eq!(recent.len(), RECENT);
        assert_eq!(recent[..2], ["/models/15", "/models/19"]);
    }

    #[test]
    fn habits_of_other_versions_keep_what_is_known() {
        let later: Habits =
            serde_json::from_str(r#"{"version":9,"theme":"Dark","zoom":3,"datasets":["a"]}"#).unwrap();
        assert_eq!((later.theme, later.language), (Theme::Dark, Language::English));
        assert_eq!(later.datasets, ["a"]);
    }
}
