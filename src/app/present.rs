//! Present: one question of a session, full screen, in large type.

use super::Wishes;
use super::results::Results;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// Where the presentation stands.
#[derive(Default)]
pub struct Presentation {}

impl Presentation {
    /// Begins at one answer of the open session.
    pub fn begin(&mut self, _place: usize) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _results: &Results, _wishes: &mut Wishes) {}

    /// Carries out a wish; whether the presentation is over.
    pub fn apply(&mut self, wish: Wish, _results: &Results) -> bool {
        match wish {}
    }
}
