//! The key of a session's server, asked for where that refuses to go on without it.

use egui::{Key, RichText, TextEdit, Ui};

use super::Runs;
use crate::app::language::tr;
use crate::app::parts::card::note;
use crate::app::parts::field::field;
use crate::app::theme::Tokens;
use crate::app::{Wish, Wishes};

/// Draws the field and the button that goes on with what was typed.
pub fn key_ui(runs: &mut Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(folder) = runs.locked().map(|folder| folder.to_owned()) else { return };
    let tokens = Tokens::of(ui);
    ui.add_space(6.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new(tr("Key")).color(tokens.text));
        let edit = TextEdit::singleline(&mut runs.key.0).password(true).desired_width(260.0);
        let field = field(ui, tr("The key itself"), edit.hint_text(tr("The key itself")));
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let is_typed = !runs.key.0.trim().is_empty();
        let go_on = ui.add_enabled(is_typed, egui::Button::new(tr("Go on with this key")));
        if is_typed && (entered || go_on.clicked()) {
            wishes.push(Wish::ResumeWith(folder, runs.key.clone()));
        }
    });
    note(ui, tr("Held in memory alone until the window is closed; written to no file"));
}
