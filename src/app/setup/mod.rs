//! Setup: pick a checkpoint and a dataset, see what they are, and run.

use super::dialog::{Then, What};
use super::job::Wake;
use super::language::tr;
use super::shell::Habits;
use super::{Wishes, Workspace};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The screen's own state.
pub struct Setup {}

impl Setup {
    /// The screen at its first showing.
    pub fn new(_wake: &Wake) -> Self {
        Self {}
    }

    /// Takes what jobs have brought.
    pub fn receive(&mut self, _workspace: &Workspace, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _workspace: &Workspace, _habits: &Habits, _wishes: &mut Wishes) {
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _workspace: &mut Workspace, _wake: &Wake) {
        match wish {}
    }
}

/// Asks for a checkpoint's folder.
pub fn pick_checkpoint() -> super::Wish {
    let title = tr("Choose a checkpoint folder").to_owned();
    super::Wish::Pick(
        What::Folder { title },
        Then::new(|path| super::Wish::OpenCheckpoint(path.display().to_string())),
    )
}

/// Asks for a dataset's file.
pub fn pick_dataset() -> super::Wish {
    let title = tr("Choose a file of questions").to_owned();
    let endings = vec!["tsv", "csv", "parquet", "jsonl", "ndjson"];
    let what = What::File { title, endings: Some((tr("Questions").to_owned(), endings)) };
    super::Wish::Pick(what, Then::new(|path| super::Wish::OpenDataset(path.display().to_string())))
}
