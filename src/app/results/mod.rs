//! Results: every question of a session, filtered, charted, compared, exported.

use std::path::PathBuf;

use super::Wishes;
use super::job::Wake;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {}

/// The open session.
#[derive(Default)]
pub struct Results {}

impl Results {
    /// Opens a session in the background.
    pub fn open(&mut self, _folder: PathBuf, _wake: &Wake) {}

    /// Opens two sessions beside each other.
    pub fn compare(&mut self, _one: PathBuf, _other: PathBuf, _wake: &Wake) {}

    /// Takes what jobs have brought.
    pub fn receive(&mut self, _wake: &Wake, _wishes: &mut Wishes) {}

    /// Draws the screen.
    pub fn ui(&mut self, _ui: &mut egui::Ui, _wishes: &mut Wishes) {}

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, _wake: &Wake) {
        match wish {}
    }
}
