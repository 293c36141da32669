//! A question that stands above everything else until it is answered.

use egui::{Frame, Id, Margin, Modal, Ui};

/// Draws a dialog of a width; whether it is to be left without an answer (Escape, a click beside it).
pub fn modal(ui: &Ui, name: &str, width: f32, content: impl FnOnce(&mut Ui)) -> bool {
    let frame = Frame::window(ui.style()).inner_margin(Margin::same(20));
    let shown = Modal::new(Id::unique(name)).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(width.min(ui.ctx().content_rect().width() - 60.0));
        ui.spacing_mut().item_spacing = egui::vec2(8.0, 8.0);
        content(ui);
    });
    shown.should_close()
}
