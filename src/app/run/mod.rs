//! Run: the question being answered, the score so far, and the memory of every device.

use std::path::PathBuf;

use super::job::Wake;
use super::{Wishes, Workspace};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The run in progress, or the last one.
#[derive(Default)]
pub struct Runs {}

impl Runs {
    /// Begins a run of what is chosen.
    pub fn start(&mut self, _workspace: &Workspace, _wake: &Wake) {}

    /// Goes on with a session on disk.
    pub fn resume(&mut self, _folder: PathBuf, _wake: &Wake) {}

    /// Takes what the engine has said.
    pub fn receive(&mut self, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Whether a run is in progress: loading, asking or paused.
    pub fn is_active(&self) -> bool {
        false
    }

    /// Ends the run and waits until the worker has let go of its session; the window is being closed.
    pub fn shut(&mut self) {}

    /// A word on the run in progress, for the top bar.
    pub fn badge_ui(&mut self, _ui: &mut egui::Ui, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _workspace: &Workspace, _wishes: &mut Wishes) {}

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _wake: &Wake) {
        match wish {}
    }
}
