//! Another layout below the plan.

use egui::{CornerRadius, Id, Rect, Sense, Stroke, StrokeKind, Ui, vec2};

use super::alternatives::Alternative;
use super::columns::{chips_rect, extent, placed};
use super::desk::{Desk, Habits};
use super::head::{Figures, head, head_tooltip, head_ui};
use super::layout::{self, Grid, MARGIN};
use super::model;
use super::view::{Folding, View};
use super::words::{hops, percent, verdict_name};
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::plan::edits::Draft;

/// Another layout below the plan: the same devices, runs folded, what lies elsewhere outlined.
pub(super) fn beside_ui(
    ui: &mut Ui,
    alternative: &Alternative,
    desk: &Desk,
    view: &mut View,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    let Some(judged) = alternative.at_home() else { return };
    ui.horizontal(|ui| {
        ui.label(egui::RichText::new(alternative.layout.name()).font(paint::bold(14.0)).color(tokens.strong));
        let verdict = judged.forecast.verdict;
        paint::verdict_icon(ui, verdict);
        let share = percent(judged.forecast.worst_share);
        let text = format!(
            "{}, {}",
            fill("{}, {} of the fullest device", &[&verdict_name(verdict), &share]),
            hops(judged.plan.hops())
        );
        ui.label(egui::RichText::new(text).color(paint::verdict_color(tokens, verdict)));
        if alternative.released.is_some() {
            ui.label(egui::RichText::new(tr("as the software it comes from runs it")).color(tokens.subdued));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.button(tr("Close")).clicked() {
                view.beside = None;
            }
            if ui.button(tr("Use this one")).clicked() {
                ask(wishes, Wish::Strategy(alternative.layout));
                view.beside = None;
            }
        });
    });
    let habits = if alternative.released.is_some() { Habits::Released } else { Habits::Own };
    let folded = View { folding: Folding::All, zoom: view.zoom, ..View::default() };
    let draft = Draft::new(judged.plan.clone());
    let columns =
        model::columns(desk.case_of(habits), &draft, &judged.forecast, &folded, Some(&desk.draft().plan));
    let grid = Grid::of(vec2(ui.available_width(), 0.0), columns.len(), layout::WIDEST);
    let figures = Figures::none();
    let natural = |device: usize| {
        let cells = columns[device].chips.iter().map(|chip| layout::cells(&chip.label));
        head(grid.width) + 4.0 + layout::chips(grid.width - 2.0 * MARGIN, view.zoom, cells).1 + MARGIN
    };
    let origin = ui.cursor().min;
    let rects: Vec<Rect> = grid
        .columns(columns.len(), natural)
        .into_iter()
        .map(|rect| rect.translate(origin.to_vec2()))
        .collect();
    let extent = extent(origin, ui.available_width(), &rects);
    for (column, rect) in columns.iter().zip(&rects) {
        ui.painter().rect(
            *rect,
            CornerRadius::same(8),
            tokens.panel,
            Stroke::new(1.0, tokens.line),
            StrokeKind::Inside,
        );
        head_ui(ui, column, *rect, &figures, false);
        let inside = chips_rect(*rect, &figures);
        for (chip, at) in column.chips.iter().zip(placed(column, inside, view.zoom)) {
            paint::chip(ui.painter(), tokens, at, chip, view.zoom, false);
        }
        let hover = ui.interact(*rect, Id::unique(("board beside", column.device)), Sense::hover());
        hover.on_hover_ui(|ui| head_tooltip(ui, column));
    }
    ui.advance_cursor_after_rect(extent);
}
