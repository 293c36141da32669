//! Ask: any picture and any question to the chosen model, outside any benchmark.

use super::job::Wake;
use super::{Wishes, Workspace};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The conversation with the model.
#[derive(Default)]
pub struct Ask {}

impl Ask {
    /// Takes what the model has said.
    pub fn receive(&mut self, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _workspace: &Workspace, _wishes: &mut Wishes) {}

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _workspace: &Workspace, _wake: &Wake) {
        match wish {}
    }
}
