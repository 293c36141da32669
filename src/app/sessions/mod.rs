//! Sessions: all runs on disk.

use super::Wishes;
use super::job::Wake;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The sessions on disk.
#[derive(Default)]
pub struct Sessions {}

impl Sessions {
    /// Takes what jobs have brought.
    pub fn receive(&mut self, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _wishes: &mut Wishes) {}

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _wake: &Wake) {
        match wish {}
    }
}
