//! Buttons: the one that a screen is for, ordinary ones, and choices of which one holds.

use egui::{Button, CornerRadius, Frame, Margin, Response, RichText, Stroke, Ui, Vec2};

use super::icon::Icon;
use crate::app::theme::{self, Tokens};

/// The button that a screen is for.
pub fn primary(ui: &mut Ui, icon: Option<Icon>, text: &str) -> Response {
    let tokens = Tokens::of(ui);
    let widgets = &mut ui.visuals_mut().widgets;
    for widget in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active] {
        widget.fg_stroke.color = tokens.on_accent;
    }
    let padding = std::mem::replace(&mut ui.spacing_mut().button_padding, Vec2::new(18.0, 8.0));
    let text = RichText::new(text).family(theme::semibold()).color(tokens.on_accent);
    let button = match icon {
        Some(icon) => Button::new((icon.atom(), text)),
        None => Button::new(text),
    };
    let response = ui.add(button.fill(tokens.accent));
    ui.spacing_mut().button_padding = padding;
    ui.reset_style();
    response
}

/// An ordinary button with an icon.
pub fn button(ui: &mut Ui, icon: Icon, text: &str) -> Response {
    ui.add(Button::new((icon.atom(), text)))
}

/// A choice of which one holds, side by side; whether it changed.
pub fn choice<T: PartialEq + Copy>(ui: &mut Ui, chosen: &mut T, choices: &[(T, &str)]) -> bool {
    let tokens = Tokens::of(ui);
    let mut changed = false;
    Frame::new().fill(tokens.raised).corner_radius(CornerRadius::same(7)).inner_margin(Margin::same(2)).show(
        ui,
        |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 2.0;
                ui.spacing_mut().interact_size.y = 24.0;
                ui.spacing_mut().button_padding = Vec2::new(10.0, 3.0);
                for (value, name) in choices {
                    let here = chosen == value;
                    let color = if here { tokens.strong } else { tokens.subdued };
                    let mut button = Button::selectable(here, RichText::new(*name).color(color));
                    if here {
                        button = button.fill(tokens.card).stroke(Stroke::new(1.0, tokens.line));
                    }
                    if ui.add(button).clicked() && !here {
                        *chosen = *value;
                        changed = true;
                    }
                }
            });
        },
    );
    changed
}

/// A list that opens under what is chosen of it.
pub fn list<'a>(id: impl egui::AsIdSalt, chosen: impl Into<String>, width: f32) -> egui::ComboBox<'a> {
    egui::ComboBox::from_id_salt(id).selected_text(chosen.into()).width(width).truncate().height(360.0).icon(
        |ui, rect, visuals, _| {
            let side = egui::Rect::from_center_size(rect.center(), Vec2::splat(11.0));
            Icon::Down.paint(ui.painter(), side, visuals.fg_stroke.color);
        },
    )
}
