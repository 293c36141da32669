//! The board: one column a device, units as chips, and what each device will hold.

use super::job::Wake;
use super::{Wishes, Workspace};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The screen's own state.
#[derive(Default)]
pub struct Board {}

impl Board {
    /// Takes what jobs have brought, and plans anew where the workspace has changed.
    pub fn receive(&mut self, _workspace: &Workspace, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _workspace: &Workspace, _wishes: &mut Wishes) {}

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _workspace: &mut Workspace, _wake: &Wake) {
        match wish {}
    }
}
