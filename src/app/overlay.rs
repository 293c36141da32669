//! What stands above the screens: the question before closing, the keys, and where dropped files go.

use egui::{Align2, Id, Order, RichText, Stroke, StrokeKind, Ui};

use super::language::tr;
use super::parts::button::primary;
use super::parts::card;
use super::parts::modal::modal;
use super::theme::Tokens;
use super::{Wish, Wishes, shortcut};

/// Asks whether to close though a run is in progress.
pub fn ask_before_closing(ui: &Ui, wishes: &mut Wishes) {
    let left = modal(ui, "closing", 420.0, |ui| {
        card::heading(ui, tr("A run is in progress"));
        ui.label(tr(
            "Every answer so far is on the disk. The question being answered now is asked again when the session is resumed.",
        ));
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            if primary(ui, None, tr("Keep running")).clicked() {
                wishes.push(Wish::Stay);
            }
            if ui.button(tr("Stop the run and close")).clicked() {
                wishes.push(Wish::CloseAnyway);
            }
        });
    });
    if left {
        wishes.push(Wish::Stay);
    }
}

/// Lists the keys.
pub fn keys_ui(ui: &Ui, wishes: &mut Wishes) {
    let left = modal(ui, "keys", 440.0, |ui| {
        card::heading(ui, tr("Keys"));
        ui.add_space(4.0);
        let most = ui.ctx().content_rect().height() - 180.0;
        egui::ScrollArea::vertical().max_height(most).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().interact_size.y = 18.0;
            egui::Grid::new("keys").num_columns(2).spacing([24.0, 6.0]).min_col_width(150.0).show(ui, |ui| {
                for it in shortcut::TABLE {
                    row(ui, &shortcut::keys(ui.ctx(), &it.keys), tr(it.name));
                }
                let zoom = egui::gui_zoom::kb_shortcuts::ZOOM_IN;
                let larger = tr("Everything larger; with minus smaller, with 0 as it was");
                row(ui, &shortcut::keys(ui.ctx(), &zoom), larger);
                let mut shown = None;
                for (screen, keys, name) in shortcut::ON_SCREENS {
                    if shown.replace(*screen) != Some(*screen) {
                        card::section(ui, screen.name());
                        ui.end_row();
                    }
                    row(ui, keys, tr(name));
                }
            });
        });
        ui.add_space(10.0);
        if ui.button(tr("Close")).clicked() {
            wishes.push(Wish::ShowKeys);
        }
    });
    if left {
        wishes.push(Wish::ShowKeys);
    }
}

fn row(ui: &mut Ui, keys: &str, name: &str) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(keys).color(tokens.strong));
    ui.label(name);
    ui.end_row();
}

/// Takes files that were dropped, and shows where they would fall.
pub fn drops(ui: &Ui, wishes: &mut Wishes) {
    let dropped = ui.input(|input| input.raw.dropped_files.clone());
    wishes.extend(dropped.into_iter().map(|file| file.path().to_owned()).map(Wish::OpenDropped));
    if ui.input(|input| input.raw.hovered_files.is_empty()) {
        return;
    }
    let tokens = Tokens::of(ui);
    let layer = egui::LayerId::new(Order::Foreground, Id::unique("drop"));
    let painter = ui.ctx().layer_painter(layer);
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, 0.0, tokens.canvas.gamma_multiply(0.85));
    painter.rect_stroke(rect.shrink(16.0), 12.0, Stroke::new(2.0, tokens.accent), StrokeKind::Inside);
    let font = egui::TextStyle::Heading.resolve(ui.style());
    let text = tr("Drop a checkpoint, a dataset or a session to open it");
    painter.text(rect.center(), Align2::CENTER_CENTER, text, font, tokens.strong);
}
