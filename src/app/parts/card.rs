//! Cards on the canvas, their headings, and pairs of name and value.

use egui::{CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use crate::app::theme::Tokens;

/// Draws a card around its content, as wide as the room there is.
pub fn card<R>(ui: &mut Ui, content: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::of(ui);
    Frame::new()
        .fill(tokens.card)
        .stroke(Stroke::new(1.0, tokens.line))
        .corner_radius(CornerRadius::same(8))
        .inner_margin(Margin::same(14))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            content(ui)
        })
        .inner
}

/// The heading of a card.
pub fn heading(ui: &mut Ui, text: &str) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(text).heading().color(tokens.strong));
}

/// A name in subdued text and its value, on one line.
pub fn fact(ui: &mut Ui, name: &str, value: impl Into<String>) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(name).color(tokens.subdued));
        ui.label(RichText::new(value.into()).color(tokens.strong));
    });
}
