//! The columns: where they stand, what a drag over them would do, and how a device is drawn.

use egui::{
    Align2, CornerRadius, CursorIcon, DragAndDrop, Id, Key, Pos2, Rect, Role, ScrollArea, Sense, Stroke,
    StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::alternatives::Alternative;
use super::beside::beside_ui;
use super::boundaries::{Pulling, handles_ui};
use super::chips::{Carried, chip_ui, ghost_ui, keys, stage_menu, walk};
use super::desk::{Desk, Pull};
use super::head::{Figures, head, head_tooltip, head_ui};
use super::layout::{self, GAP, Grid, MARGIN};
use super::model::{self, Column};
use super::view::View;
use super::words::verdict_name;
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::plan::Device;

/// Draws the board.
pub fn ui(
    ui: &mut Ui,
    desk: &mut Desk,
    view: &mut View,
    pulling: &mut Option<Pulling>,
    beside: Option<&Alternative>,
    wishes: &mut Wishes,
) {
    let scroll = ScrollArea::vertical().id_salt("board").auto_shrink(false);
    scroll.show(ui, |ui| {
        let room = vec2(ui.available_width(), ui.available_height());
        let own = match beside {
            Some(_) => vec2(room.x, (room.y - GAP) * 0.62),
            None => room,
        };
        let places = Places::of(ui.max_rect().min, own, desk, view, beside.is_some());
        follow_pointer(ui, desk, &places, pulling, wishes);
        scroll_along(ui);
        let (draft, outlook) = desk.shown();
        let from = desk.hypothesis().map(|_| &desk.draft().plan);
        let shown = model::columns(desk.case(), draft, &outlook.forecast, view, from);
        ui.advance_cursor_after_rect(places.extent);
        let mut chips: Vec<(usize, usize, Rect)> = Vec::new();
        for (column, rect) in shown.iter().zip(&places.columns) {
            let is_target = target(desk) == Some(column.device);
            column_ui(ui, column, *rect, &places.figures, is_target, desk, view, wishes);
            let inside = chips_rect(*rect, &places.figures);
            for (chip, rect) in column.chips.iter().zip(placed(column, inside, places.zoom)) {
                chips.push((column.device, chip.first, rect));
                chip_ui(ui, chip, (rect, inside, places.zoom), column, draft, view, wishes);
            }
        }
        walk(ui, &chips, view);
        what_if_ui(ui, desk, &places, wishes);
        handles_ui(ui, desk, &places, pulling, wishes);
        if let Some(alternative) = beside {
            ui.add_space(GAP);
            beside_ui(ui, alternative, desk, view, wishes);
        }
    });
    ghost_ui(ui, desk, view.zoom);
}

/// Where columns lie in this frame. They follow the draft, not what a drag would make of it, so that nothing shifts
/// below the pointer.
pub(super) struct Places {
    pub(super) columns: Vec<Rect>,
    figures: Figures,
    zoom: f32,
    extent: Rect,
}

/// Where there is room, chips grow by these.
const GROWTH: [f32; 3] = [1.4, 1.2, 1.0];

impl Places {
    fn of(origin: Pos2, room: Vec2, desk: &Desk, view: &View, is_shared: bool) -> Self {
        let columns = model::columns(desk.case(), desk.draft(), &desk.outlook().forecast, view, None);
        // Beside a machine without GPUs stands the offer to simulate some.
        let widest = if has_gpu(desk) { layout::WIDEST } else { 620.0 };
        let grid = Grid::of(room, columns.len(), widest);
        let inner = grid.width - 2.0 * MARGIN;
        let natural = |device: usize, figures: &Figures, zoom: f32| {
            let cells = columns[device].chips.iter().map(|chip| layout::cells(&chip.label));
            head(grid.width) + figures.height(inner) + layout::chips(inner, zoom, cells).1 + MARGIN
        };
        let fits = |figures: &Figures, zoom: f32| {
            (0..columns.len()).all(|device| natural(device, figures, zoom) <= grid.share)
        };
        let figures = Figures::of(&columns);
        let grown = GROWTH.into_iter().map(|by| by * view.zoom).find(|zoom| fits(&figures, *zoom));
        // A single row scrolls rather than hide its figures.
        let (figures, zoom) = match grown {
            Some(zoom) => (figures, zoom),
            None if grid.rows == 1 && !is_shared => (figures, view.zoom),
            None => (Figures::none(), view.zoom),
        };
        let rects: Vec<Rect> = grid
            .columns(columns.len(), |device| natural(device, &figures, zoom))
            .into_iter()
            .map(|rect| rect.translate(origin.to_vec2()))
            .collect();
        let extent = extent(origin, room.x, &rects);
        Self { columns: rects, figures, zoom, extent }
    }
}

fn has_gpu(desk: &Desk) -> bool {
    desk.ground().found.devices.iter().any(Device::is_gpu)
}

pub(super) fn extent(origin: Pos2, width: f32, rects: &[Rect]) -> Rect {
    rects.iter().fold(Rect::from_min_size(origin, vec2(width, 0.0)), |all, rect| all.union(*rect))
}

pub(super) fn chips_rect(column: Rect, figures: &Figures) -> Rect {
    let inner = column.shrink2(vec2(MARGIN, 0.0));
    let top = column.min.y + head(column.width()) + figures.height(inner.width());
    Rect::from_min_max(pos2(inner.min.x, top), pos2(inner.max.x, column.max.y - 4.0))
}

pub(super) fn placed(column: &Column, inside: Rect, zoom: f32) -> Vec<Rect> {
    let cells = column.chips.iter().map(|chip| layout::cells(&chip.label));
    let (rects, _) = layout::chips(inside.width(), zoom, cells);
    rects.into_iter().map(|rect| rect.translate(inside.min.to_vec2())).collect()
}

/// The device onto which a drag would drop.
fn target(desk: &Desk) -> Option<usize> {
    match &desk.hypothesis()?.pull {
        Pull::Move { device, .. } => Some(*device),
        Pull::Boundary { .. } => None,
    }
}

/// Works out what the drag under way would do, and does it where the pointer is released.
fn follow_pointer(
    ui: &Ui,
    desk: &mut Desk,
    places: &Places,
    pulling: &mut Option<Pulling>,
    wishes: &mut Wishes,
) {
    let (pointer, is_released, is_escaped) =
        ui.input(|i| (i.pointer.interact_pos(), i.pointer.any_released(), i.key_pressed(Key::Escape)));
    let mut pull = None;
    if let Some(carried) = DragAndDrop::payload::<Carried>(ui) {
        let on = pointer
            .filter(|at| ui.clip_rect().contains(*at))
            .and_then(|at| places.columns.iter().position(|rect| rect.contains(at)));
        let lies = |unit: &usize| desk.draft().plan.assignment.get(*unit).copied();
        pull = on
            .filter(|device| carried.0.iter().any(|unit| lies(unit) != Some(*device)))
            .map(|device| Pull::Move { units: carried.0.clone(), device });
        if is_released {
            DragAndDrop::clear_payload(ui);
        }
    } else if let Some(held) = *pulling {
        if is_escaped {
            *pulling = None;
        } else if let Some(at) = pointer {
            let by = ((at.x - held.from) * held.outward / layout::PULL).round() as i64;
            pull = (by != 0).then_some(Pull::Boundary { run: held.run, by });
        }
        if is_released {
            *pulling = None;
        }
    }
    if is_released && let Some(pull) = pull.take() {
        ask(wishes, Wish::Pull(pull));
    }
    if desk.imagine(pull) {
        // The panels around the board are drawn before it.
        ui.ctx().request_repaint();
    }
}

/// Scrolls while something is carried to the upper or lower edge, so that every device can be reached.
fn scroll_along(ui: &mut Ui) {
    let is_carried = DragAndDrop::has_payload_of_type::<Carried>(ui);
    let Some(at) = ui.input(|i| i.pointer.interact_pos()).filter(|_| is_carried) else { return };
    let seen = ui.clip_rect();
    let edge = 32.0;
    let step = if at.y < seen.min.y + edge {
        10.0
    } else if at.y > seen.max.y - edge {
        -10.0
    } else {
        return;
    };
    if seen.x_range().contains(at.x) && ui.max_rect().height() > seen.height() + 1.0 {
        ui.scroll_with_delta(vec2(0.0, step));
        ui.ctx().request_repaint();
    }
}

#[allow(clippy::too_many_arguments, reason = "what is drawn, where, and who hears of it")]
fn column_ui(
    ui: &mut Ui,
    column: &Column,
    rect: Rect,
    figures: &Figures,
    is_target: bool,
    desk: &Desk,
    view: &mut View,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    let stroke = if is_target { Stroke::new(2.0, tokens.accent) } else { Stroke::new(1.0, tokens.line) };
    ui.painter().rect(rect, CornerRadius::same(8), tokens.card, stroke, StrokeKind::Inside);
    let whole = ui.interact(rect, Id::unique(("board column", column.device)), Sense::click());
    let state = if column.is_used { verdict_name(column.verdict) } else { tr("empty") };
    whole.widget_info(|| {
        let label = fill("{}, device, {}, {}", &[&column.name, &state, &column.figures()]);
        WidgetInfo::labeled(Role::ListBox, true, label)
    });
    if whole.clicked() {
        view.selection.clear();
    }
    head_ui(ui, column, rect, figures, true);
    let bottom = chips_rect(rect, figures).min.y - 4.0;
    let head = Rect::from_min_max(rect.min, pos2(rect.max.x, bottom));
    let stage = ui.interact(head, Id::unique(("board stage", column.device)), Sense::click_and_drag());
    stage.widget_info(|| WidgetInfo::labeled(Role::Button, true, fill("{}, all its units", &[&column.name])));
    if stage.drag_started() {
        DragAndDrop::set_payload(ui, Carried(column.units()));
    }
    if stage.clicked() {
        view.selection.only(column.units());
    }
    if stage.has_focus() {
        paint::focus(ui.painter(), tokens, rect.shrink(4.0));
    }
    keys(ui, &stage, column.device, desk.draft(), &column.units(), wishes);
    stage.context_menu(|ui| stage_menu(ui, column, desk.draft(), view, wishes));
    if !DragAndDrop::has_any_payload(ui) {
        stage.on_hover_ui(|ui| head_tooltip(ui, column)).on_hover_cursor(CursorIcon::Grab);
    }
    if column.chips.is_empty() {
        let inside = chips_rect(rect, figures);
        let text = if is_target { "" } else { tr("Drop here") };
        let at = pos2(inside.center().x, inside.min.y + 14.0);
        paint::line(
            ui.painter(),
            at,
            Align2::CENTER_CENTER,
            inside.width(),
            text,
            paint::small(),
            tokens.subdued,
        );
    }
}

/// On a machine without GPUs: the offer to plan for some.
fn what_if_ui(ui: &mut Ui, desk: &Desk, places: &Places, wishes: &mut Wishes) {
    let (Some(column), false) = (places.columns.first(), has_gpu(desk)) else { return };
    let room = Rect::from_min_max(column.right_top() + vec2(28.0, 10.0), places.extent.right_bottom());
    if places.columns.len() > 1 || room.width() < 220.0 {
        return;
    }
    let tokens = Tokens::of(ui);
    ui.scope_builder(egui::UiBuilder::new().max_rect(room), |ui| {
        ui.set_max_width(260.0);
        let title =
            egui::RichText::new(tr("What if I had GPUs?")).font(paint::bold(14.0)).color(tokens.strong);
        ui.label(title);
        ui.label(
            egui::RichText::new(tr("Simulate some, and see where this model would lie on them."))
                .color(tokens.subdued),
        );
        ui.add_space(4.0);
        ui.horizontal_wrapped(|ui| {
            for (text, spec) in
                [("2 × 24 GiB", "sim:2x24GiB"), ("4 × 80 GiB", "sim:4x80GiB"), ("8 × 40 GiB", "sim:8x40GiB")]
            {
                if ui.button(text).clicked() {
                    ask(wishes, Wish::Devices(spec.into()));
                }
            }
        });
    });
}
