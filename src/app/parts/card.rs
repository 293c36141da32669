//! Cards on the canvas, their headings, and pairs of name and value.

use egui::{Color32, CornerRadius, Frame, Margin, Response, RichText, Sense, Stroke, TextStyle, Ui, Vec2};

use crate::app::theme::{self, Tokens};

/// Draws a card around its content, as wide as the room there is.
pub fn card<R>(ui: &mut Ui, content: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::of(ui);
    Frame::new()
        .fill(tokens.card)
        .stroke(Stroke::new(1.0, tokens.line))
        .corner_radius(CornerRadius::same(8))
        .inner_margin(Margin::same(16))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            content(ui)
        })
        .inner
}

/// The heading of a screen.
pub fn title(ui: &mut Ui, text: &str) -> Response {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(text).text_style(theme::title()).color(tokens.strong))
}

/// The heading of a card.
pub fn heading(ui: &mut Ui, text: &str) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(text).heading().color(tokens.strong));
}

/// The heading of a part of a card: small and quiet.
pub fn section(ui: &mut Ui, text: &str) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(text).text_style(theme::section()).color(tokens.subdued));
}

/// Text of lesser weight.
pub fn note(ui: &mut Ui, text: impl Into<String>) -> Response {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(text.into()).text_style(TextStyle::Small).color(tokens.subdued))
}

/// A name in subdued text and its value, on one line.
pub fn fact(ui: &mut Ui, name: &str, value: impl Into<String>) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(name).color(tokens.subdued));
        ui.label(RichText::new(value.into()).color(tokens.strong));
    });
}

/// Pairs of name and value in columns as wide as `least` or more: names above, small; a long value is cut and told whole
/// under the pointer.
pub fn facts(ui: &mut Ui, least: f32, pairs: &[(&str, String)]) {
    let pairs: Vec<Explained<'_>> = pairs.iter().map(|(name, value)| (*name, value.clone(), "")).collect();
    explained(ui, least, &pairs);
}

/// A name, a value, and what the value means.
pub type Explained<'a> = (&'a str, String, &'a str);

/// The same as [`facts`], each with what it means under the pointer.
pub fn explained(ui: &mut Ui, least: f32, pairs: &[Explained<'_>]) {
    let tokens = Tokens::of(ui);
    let gap = ui.spacing().item_spacing.x;
    let columns = (((ui.available_width() + gap) / (least + gap)) as usize).clamp(1, pairs.len().max(1));
    let width = (ui.available_width() - gap * (columns - 1) as f32) / columns as f32;
    for row in pairs.chunks(columns) {
        ui.horizontal_top(|ui| {
            for (name, value, why) in row {
                let drawn = ui.allocate_ui_with_layout(
                    Vec2::new(width, 0.0),
                    egui::Layout::top_down(egui::Align::Min),
                    |ui| {
                        ui.set_width(width);
                        ui.spacing_mut().item_spacing.y = 1.0;
                        ui.label(RichText::new(*name).small().color(tokens.subdued));
                        ui.add(egui::Label::new(RichText::new(value).color(tokens.strong)).truncate());
                    },
                );
                if !why.is_empty() {
                    drawn.response.on_hover_text(*why);
                }
            }
        });
    }
}

/// A word in a pill of its colour: a state, a kind.
pub fn pill(ui: &mut Ui, text: &str, color: Color32) -> Response {
    let font = TextStyle::Small.resolve(ui.style());
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font, color);
    let (rect, response) = ui.allocate_exact_size(galley.size() + Vec2::new(12.0, 4.0), Sense::hover());
    ui.painter().rect_filled(rect, CornerRadius::same(9), color.gamma_multiply(0.14));
    let corner = rect.center() - galley.size() / 2.0;
    ui.painter().galley(corner, galley, color);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, text));
    response
}

/// A square of a colour, what it stands for, and how much of it: one entry of a legend, never broken over two lines.
pub fn legend(ui: &mut Ui, name: &str, value: &str, color: Color32) -> Response {
    let tokens = Tokens::of(ui);
    let font = TextStyle::Small.resolve(ui.style());
    let name = ui.painter().layout_no_wrap(name.to_owned(), font.clone(), tokens.subdued);
    let value = ui.painter().layout_no_wrap(value.to_owned(), font, tokens.text);
    let size = Vec2::new(12.0 + name.size().x + 5.0 + value.size().x, name.size().y);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let square = egui::Rect::from_center_size(rect.left_center() + Vec2::new(4.0, 0.0), Vec2::splat(8.0));
    ui.painter().rect_filled(square, 2.0, color);
    let told = format!("{} {}", name.text(), value.text());
    let at = rect.left_top() + Vec2::new(12.0, 0.0);
    let beside = at + Vec2::new(name.size().x + 5.0, 0.0);
    ui.painter().galley(at, name, tokens.subdued);
    ui.painter().galley(beside, value, tokens.text);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &told));
    response
}
