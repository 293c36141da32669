//! A problem as a person should meet it: what is wrong, where, what to do.

use egui::{CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use crate::Problem;
use crate::app::theme::Tokens;

/// Draws a problem as a card.
pub fn problem(ui: &mut Ui, problem: &Problem) {
    let tokens = Tokens::of(ui);
    Frame::new()
        .fill(tokens.bad.gamma_multiply(0.10))
        .stroke(Stroke::new(1.0, tokens.bad.gamma_multiply(0.6)))
        .corner_radius(CornerRadius::same(6))
        .inner_margin(Margin::same(10))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.label(RichText::new(&problem.what).color(tokens.strong));
            if let Some(place) = &problem.place {
                ui.label(RichText::new(place).monospace().color(tokens.subdued));
            }
            if let Some(fix) = &problem.fix {
                ui.label(RichText::new(fix).color(tokens.text));
            }
        });
}
