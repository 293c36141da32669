//! A problem as a person should meet it: what is wrong, where, what to do.

use egui::{Color32, CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use super::icon::Icon;
use crate::Problem;
use crate::app::language::told;
use crate::app::theme::Tokens;

/// Draws a problem as a card.
pub fn problem(ui: &mut Ui, problem: &Problem) {
    let tokens = Tokens::of(ui);
    notice(ui, Icon::Warning, tokens.bad, problem);
}

/// Draws something to know that stops nothing.
pub fn remark(ui: &mut Ui, problem: &Problem) {
    let tokens = Tokens::of(ui);
    notice(ui, Icon::Info, tokens.warning, problem);
}

fn notice(ui: &mut Ui, icon: Icon, color: Color32, problem: &Problem) {
    let tokens = Tokens::of(ui);
    Frame::new()
        .fill(color.gamma_multiply(0.10))
        .stroke(Stroke::new(1.0, color.gamma_multiply(0.45)))
        .corner_radius(CornerRadius::same(6))
        .inner_margin(Margin::symmetric(12, 10))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_top(|ui| {
                icon.ui(ui, 16.0, color);
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 4.0;
                    ui.label(RichText::new(sentence(&problem.what)).color(tokens.strong));
                    if let Some(place) = &problem.place {
                        ui.label(
                            RichText::new(told(place))
                                .text_style(egui::TextStyle::Monospace)
                                .color(tokens.subdued),
                        );
                    }
                    if let Some(fix) = &problem.fix {
                        ui.label(RichText::new(sentence(fix)).color(tokens.text));
                    }
                });
            });
        });
}

/// A text in the window's language that begins with a capital, as sentences in a window do.
pub fn sentence(text: &str) -> String {
    let text = told(text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
