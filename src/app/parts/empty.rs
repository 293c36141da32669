//! What stands where there is nothing yet: what would be here, and how to get there.

use egui::{RichText, Ui};

use super::icon::Icon;
use crate::app::theme::Tokens;

/// Draws an empty state in the middle of the room there is; `below` may offer what to do.
pub fn empty(ui: &mut Ui, icon: Icon, what: &str, why: &str, below: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.32 - 40.0).max(24.0));
        icon.ui(ui, 36.0, tokens.subdued.gamma_multiply(0.7));
        ui.add_space(6.0);
        ui.label(RichText::new(what).heading().color(tokens.strong));
        ui.scope(|ui| {
            ui.set_max_width(460.0);
            ui.label(RichText::new(why).color(tokens.subdued));
        });
        ui.add_space(8.0);
        below(ui);
    });
}
