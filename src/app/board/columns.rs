//! The columns: dragging chips, stages and boundaries between devices, with mouse and keys.

use egui::{
    Align2, CornerRadius, CursorIcon, DragAndDrop, EventFilter, Id, Key, LayerId, Modifiers, Order, Pos2,
    Rect, Response, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::alternatives::Alternative;
use super::desk::{Desk, Habits, Pull};
use super::layout::{self, CHIP_GAP, GAP, Grid, HANDLE, MARGIN};
use super::model::{self, Chip, Column, Kind, PARTS, part_meaning, part_name, part_word, verdict_name};
use super::view::{Folding, View};
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::plan::Device;
use crate::plan::bytes::human;
use crate::plan::edits::Draft;

/// What travels with the pointer.
struct Carried(Vec<usize>);

/// A boundary being pulled.
#[derive(Debug, Clone, Copy)]
pub struct Pulling {
    run: usize,
    from: f32,
    outward: f32,
}

/// Height of a column's bar.
const BAR: f32 = 10.0;

/// Whether a column is too narrow for name and verdict on one line.
fn is_narrow(width: f32) -> bool {
    width < 150.0
}

/// Height of a column above its bar: name, verdict and figures.
fn head_lines(width: f32) -> f32 {
    MARGIN + if is_narrow(width) { 3.0 * 17.0 } else { 2.0 * 18.0 } + 6.0
}

/// Height of a column above its figures.
fn head(width: f32) -> f32 {
    head_lines(width) + BAR + 8.0
}

/// Height of a line of figures.
const LINE: f32 = 15.0;

/// Which parts of the memory are written out.
#[derive(Clone)]
struct Figures {
    parts: Vec<usize>,
}

impl Figures {
    /// The parts that any device has.
    fn of(columns: &[Column]) -> Self {
        let any = |part: &usize| *part < 3 || columns.iter().any(|column| column.memory.parts[*part] > 0);
        Self { parts: (0..PARTS).filter(any).collect() }
    }

    /// None: where there is no room for them.
    fn none() -> Self {
        Self { parts: Vec::new() }
    }

    fn per_line(width: f32) -> usize {
        if width > 250.0 { 2 } else { 1 }
    }

    fn height(&self, width: f32) -> f32 {
        if self.parts.is_empty() {
            return 4.0;
        }
        self.parts.len().div_ceil(Self::per_line(width)) as f32 * LINE + 8.0
    }
}

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
struct Places {
    columns: Vec<Rect>,
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
    desk.ground.found.devices.iter().any(Device::is_gpu)
}

fn extent(origin: Pos2, width: f32, rects: &[Rect]) -> Rect {
    rects.iter().fold(Rect::from_min_size(origin, vec2(width, 0.0)), |all, rect| all.union(*rect))
}

fn chips_rect(column: Rect, figures: &Figures) -> Rect {
    let inner = column.shrink2(vec2(MARGIN, 0.0));
    let top = column.min.y + head(column.width()) + figures.height(inner.width());
    Rect::from_min_max(pos2(inner.min.x, top), pos2(inner.max.x, column.max.y - 4.0))
}

fn placed(column: &Column, inside: Rect, zoom: f32) -> Vec<Rect> {
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

#[allow(clippy::too_many_arguments)]
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

/// Name, verdict, figures and bar of a device.
fn head_ui(ui: &Ui, column: &Column, rect: Rect, figures: &Figures, has_card: bool) {
    let tokens = Tokens::of(ui);
    let painter = ui.painter();
    let (left, right) = (rect.min.x + MARGIN, rect.max.x - MARGIN);
    let first = rect.min.y + MARGIN + 9.0;
    painter.circle_filled(pos2(left + 4.0, first), 4.0, tokens.device(column.device));
    let color = paint::verdict_color(tokens, column.verdict);
    let is_narrow = is_narrow(rect.width());
    let (percent, word) = (column.percent(), verdict_name(column.verdict));
    let right_of = |y: f32, text: &str, font| {
        paint::line(painter, pos2(right, y), Align2::RIGHT_CENTER, rect.width() * 0.6, text, font, color)
            .min
            .x
    };
    // The verdict as a shape and in words, and the share: beside the name, or below it where room is short.
    let (mut name_end, mut figures_end, mut second) = (right, right, first + 18.0);
    if column.is_used && is_narrow {
        paint::verdict_mark(painter, pos2(right - 6.0, first), 10.0, column.verdict, color);
        name_end = right - 16.0;
        let share = paint::line(
            painter,
            pos2(left, first + 17.0),
            Align2::LEFT_CENTER,
            60.0,
            &percent,
            paint::bold(12.5),
            color,
        );
        let at = pos2(share.max.x + 5.0, first + 17.0);
        let word = model::verdict_word(column.verdict);
        paint::line(painter, at, Align2::LEFT_CENTER, right - at.x, word, paint::small(), color);
    } else if column.is_used {
        let said = right_of(first, word, paint::small());
        paint::verdict_mark(painter, pos2(said - 10.0, first), 10.0, column.verdict, color);
        name_end = said - 20.0;
        figures_end = right_of(second, &percent, paint::bold(12.5)) - 4.0;
    } else if is_narrow {
        paint::line(
            painter,
            pos2(left, first + 17.0),
            Align2::LEFT_CENTER,
            right - left,
            tr("empty"),
            paint::small(),
            tokens.subdued,
        );
    }
    if is_narrow {
        second = first + 2.0 * 17.0;
    }
    let ink = if column.is_used { tokens.text } else { tokens.subdued };
    paint::line(
        painter,
        pos2(left, second),
        Align2::LEFT_CENTER,
        figures_end - left,
        &column.figures(),
        paint::small(),
        ink,
    );
    let name_at = pos2(left + 14.0, first);
    let name_font = paint::bold(if is_narrow { 13.0 } else { 14.0 });
    let name = paint::line(
        painter,
        name_at,
        Align2::LEFT_CENTER,
        name_end - name_at.x,
        &column.name,
        name_font,
        tokens.strong,
    );
    let room = name_end - name.max.x - 10.0;
    if has_card && room > 60.0 && column.card != human(column.memory.capacity) {
        let at = pos2(name.max.x + 8.0, first + 1.0);
        paint::line(painter, at, Align2::LEFT_CENTER, room, &column.card, paint::small(), tokens.subdued);
    }
    let bar_top = rect.min.y + head_lines(rect.width());
    let bar = Rect::from_x_y_ranges(left..=right, bar_top..=bar_top + BAR);
    paint::bar(painter, tokens, bar, &column.memory);
    let per_line = Figures::per_line(right - left);
    let width = (right - left - 14.0 * (per_line - 1) as f32) / per_line as f32;
    for (place, &part) in figures.parts.iter().enumerate() {
        let min = pos2(
            left + (place % per_line) as f32 * (width + 14.0),
            bar.max.y + 6.0 + (place / per_line) as f32 * LINE,
        );
        let at = Rect::from_min_size(min, vec2(width, LINE));
        let bytes = column.memory.parts[part];
        let (name, figure) = match is_narrow {
            true => (part_word(part), model::bare(bytes, column.memory.capacity)),
            false => (part_name(part), human(bytes)),
        };
        paint::part(painter, tokens, at, part, name, &figure);
    }
}

fn head_tooltip(ui: &mut Ui, column: &Column) {
    ui.set_max_width(300.0);
    ui.strong(&column.name);
    ui.label(&column.tooltip);
    ui.separator();
    for (part, bytes) in column.memory.parts.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
        ui.label(format!("{} {}", part_name(part), human(*bytes)));
        ui.small(part_meaning(part));
    }
}

fn stage_menu(ui: &mut Ui, column: &Column, draft: &Draft, view: &mut View, wishes: &mut Wishes) {
    let units = column.units();
    if ui.button(tr("Select all of it")).clicked() {
        view.selection.only(units.iter().copied());
    }
    if ui.button(tr("Pin all of it")).clicked() {
        ask(wishes, Wish::Pin(units.clone()));
    }
    if ui.button(tr("Unpin all of it")).clicked() {
        ask(wishes, Wish::Unpin(units.clone()));
    }
    ui.separator();
    ui.menu_button(tr("Move all of it to"), |ui| move_menu(ui, column.device, &units, draft, wishes));
    ui.menu_button(tr("Exchange with"), |ui| {
        for (device, it) in draft.plan.devices.iter().enumerate() {
            if device != column.device && ui.button(&it.name).clicked() {
                ask(wishes, Wish::Exchange(column.device, device));
            }
        }
    });
    ui.separator();
    for kind in [Kind::Vision, Kind::Layer] {
        if ui.button(fill("Fold or unfold: {}", &[&kind.name()])).clicked() {
            view.turn(column.device, kind);
        }
    }
}

fn move_menu(ui: &mut Ui, from: usize, units: &[usize], draft: &Draft, wishes: &mut Wishes) {
    for (device, it) in draft.plan.devices.iter().enumerate() {
        let button = egui::Button::new(fill("Move to {}", &[&it.name]));
        if ui.add_enabled(device != from, button).clicked() {
            ask(wishes, Wish::Pull(Pull::Move { units: units.to_vec(), device }));
        }
    }
}

/// The id names the unit, not the place: the keyboard stays with a chip that changes columns.
fn chip_id(first: usize) -> Id {
    Id::unique(("board chip", first))
}

fn chip_ui(
    ui: &mut Ui,
    chip: &Chip,
    (rect, inside, zoom): (Rect, Rect, f32),
    column: &Column,
    draft: &Draft,
    view: &mut View,
    wishes: &mut Wishes,
) {
    let response = ui.interact(rect, chip_id(chip.first), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, chip.is_selected, &chip.name));
    if response.gained_focus() {
        response.scroll_to_me(None);
    }
    let tokens = Tokens::of(ui);
    if ui.is_rect_visible(rect) {
        let clip = inside.expand2(vec2(4.0, 4.0)).intersect(ui.clip_rect());
        let painter = ui.painter().with_clip_rect(clip);
        paint::chip(&painter, tokens, rect, chip, zoom, response.hovered());
        if response.has_focus() {
            paint::focus(&painter, tokens, rect);
        }
    }
    if response.drag_started() {
        DragAndDrop::set_payload(ui, Carried(carried(chip, view)));
    }
    if response.has_focus() {
        keys(ui, &response, column.device, draft, &carried(chip, view), wishes);
    }
    if response.double_clicked() {
        view.turn(column.device, chip.kind);
    } else if response.clicked() {
        let modifiers = ui.input(|i| i.modifiers);
        if modifiers.shift {
            view.selection.extend_to(chip.first, chip.last);
        } else if modifiers.command {
            view.selection.toggle(chip.first, chip.last);
        } else {
            view.selection.only(chip.first..=chip.last);
        }
    }
    response.context_menu(|ui| {
        let units = carried(chip, view);
        move_menu(
            ui,
            if units.len() == chip.len() { column.device } else { usize::MAX },
            &units,
            draft,
            wishes,
        );
        ui.separator();
        let all_pinned = units.iter().all(|unit| draft.pins.contains_key(unit));
        if ui.button(if all_pinned { tr("Unpin") } else { tr("Pin") }).clicked() {
            ask(wishes, if all_pinned { Wish::Unpin(units.clone()) } else { Wish::Pin(units.clone()) });
        }
        if matches!(chip.kind, Kind::Vision | Kind::Layer)
            && ui.button(fill("Fold or unfold: {}", &[&chip.kind.name()])).clicked()
        {
            view.turn(column.device, chip.kind);
        }
    });
    if !DragAndDrop::has_any_payload(ui) {
        response.on_hover_ui(|ui| chip_tooltip(ui, chip)).on_hover_cursor(CursorIcon::Grab);
    }
}

/// What a drag of this chip takes along: the selection where it belongs to it, else itself.
fn carried(chip: &Chip, view: &View) -> Vec<usize> {
    if chip.is_selected { view.selection.units() } else { (chip.first..=chip.last).collect() }
}

fn chip_tooltip(ui: &mut Ui, chip: &Chip) {
    ui.set_max_width(280.0);
    ui.strong(&chip.name);
    ui.label(fill("weights {}", &[&human(chip.weights)]));
    if chip.kv_per_token > 0 {
        ui.label(fill("keys and values {} a token", &[&human(chip.kv_per_token)]));
    }
    if chip.pinned != model::Pinned::No {
        ui.label(tr("pinned: it stays when the rest is planned anew"));
    }
    ui.small(tr("Drag to another device. Shift selects a range, Ctrl several; double click folds."));
}

/// Keys of a chip or a stage that has the keyboard: Alt with an arrow moves, P pins.
fn keys(ui: &Ui, response: &Response, device: usize, draft: &Draft, units: &[usize], wishes: &mut Wishes) {
    if !response.has_focus() || units.is_empty() {
        return;
    }
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let (step, pins) = ui.input_mut(|input| {
        let right = input.consume_key(Modifiers::ALT, Key::ArrowRight);
        let left = input.consume_key(Modifiers::ALT, Key::ArrowLeft);
        (isize::from(right) - isize::from(left), input.consume_key(Modifiers::NONE, Key::P))
    });
    let to = device.checked_add_signed(step).filter(|to| step != 0 && *to < draft.plan.devices.len());
    if let Some(device) = to {
        ask(wishes, Wish::Pull(Pull::Move { units: units.to_vec(), device }));
    }
    if pins {
        let all = units.iter().all(|unit| draft.pins.contains_key(unit));
        ask(wishes, if all { Wish::Unpin(units.to_vec()) } else { Wish::Pin(units.to_vec()) });
    }
}

/// Arrows go from chip to chip: left and right in execution order, up and down within the column. With Shift they
/// select on their way.
fn walk(ui: &Ui, chips: &[(usize, usize, Rect)], view: &mut View) {
    let Some(here) = chips.iter().find(|(_, first, _)| ui.memory(|m| m.has_focus(chip_id(*first)))) else {
        return;
    };
    let arrows = [Key::ArrowLeft, Key::ArrowRight, Key::ArrowUp, Key::ArrowDown];
    let pressed = ui.input_mut(|input| {
        arrows.into_iter().find_map(|key| {
            let extends = input.consume_key(Modifiers::SHIFT, key);
            (extends || input.consume_key(Modifiers::NONE, key)).then_some((key, extends))
        })
    });
    let Some((key, extends)) = pressed else { return };
    let &(device, first, rect) = here;
    let next = match key {
        Key::ArrowLeft => chips.iter().filter(|c| c.1 < first).max_by_key(|c| c.1),
        Key::ArrowRight => chips.iter().filter(|c| c.1 > first).min_by_key(|c| c.1),
        up_or_down => {
            let sign = if up_or_down == Key::ArrowUp { -1.0 } else { 1.0 };
            let away = |c: &(usize, usize, Rect)| (c.2.center().y - rect.center().y) * sign;
            let beyond = chips.iter().filter(|c| c.0 == device && away(c) > 1.0);
            beyond.min_by(|a, b| {
                let far =
                    |c: &(usize, usize, Rect)| away(c) * 16.0 + (c.2.center().x - rect.center().x).abs();
                far(a).total_cmp(&far(b))
            })
        }
    };
    let Some(next) = next else { return };
    ui.memory_mut(|memory| memory.request_focus(chip_id(next.1)));
    if extends {
        if view.selection.is_empty() {
            view.selection.only([first]);
        }
        view.selection.extend_to(next.1, next.1);
    }
}

/// The handles of the boundaries between stages.
fn handles_ui(ui: &mut Ui, desk: &Desk, places: &Places, pulling: &mut Option<Pulling>, wishes: &mut Wishes) {
    let plan = &desk.draft().plan;
    let runs = plan.runs();
    // A scattered plan has more boundaries than a hand can pull.
    if runs.len() > 4 * plan.devices.len() + 4 {
        return;
    }
    let pairs: Vec<(usize, usize)> = runs.windows(2).map(|pair| (pair[0].device, pair[1].device)).collect();
    let tokens = Tokens::of(ui);
    let width = places.columns.first().map_or(0.0, Rect::width);
    for (run, place) in layout::handles(&places.columns, &pairs, head(width)).into_iter().enumerate() {
        let Some(place) = place else { continue };
        let is_held = pulling.is_some_and(|held| held.run == run);
        let mut center = place.center;
        if is_held && let Some(at) = ui.input(|i| i.pointer.interact_pos()) {
            center.x = at.x;
        }
        let rect = Rect::from_center_size(place.center, HANDLE);
        let response = ui.interact(rect, Id::unique(("board boundary", run)), Sense::click_and_drag());
        let names = |run: usize| plan.devices[runs[run].device].name.as_str();
        response.widget_info(|| {
            let label = fill("boundary between {} and {}", &[&names(run), &names(run + 1)]);
            WidgetInfo::labeled(Role::Splitter, true, label)
        });
        if response.drag_started() {
            let from = ui.input(|i| i.pointer.press_origin()).map_or(place.center.x, |at| at.x);
            *pulling = Some(Pulling { run, from, outward: place.outward });
        }
        let is_active = is_held || response.hovered() || response.has_focus();
        paint::handle(ui.painter(), tokens, center, HANDLE, is_active);
        if is_held && let Some(Pull::Boundary { by, .. }) = desk.hypothesis().map(|h| &h.pull) {
            let at = center - vec2(0.0, HANDLE.y / 2.0 + 10.0);
            let text = format!("{by:+}");
            paint::line(
                ui.painter(),
                at,
                Align2::CENTER_CENTER,
                60.0,
                &text,
                paint::bold(13.0),
                tokens.accent,
            );
        }
        if response.has_focus() {
            let filter = EventFilter { horizontal_arrows: true, ..EventFilter::default() };
            ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
            let step = ui.input_mut(|input| {
                let right = input.consume_key(Modifiers::NONE, Key::ArrowRight);
                i64::from(right) - i64::from(input.consume_key(Modifiers::NONE, Key::ArrowLeft))
            });
            if step != 0 {
                let by = if place.outward > 0.0 { step } else { -step };
                ask(wishes, Wish::Pull(Pull::Boundary { run, by }));
            }
        }
        let text = fill(
            "Pull to hand units from {} to {} or back; arrow keys do the same. Pinned units stop it.",
            &[&names(run), &names(run + 1)],
        );
        if pulling.is_none() {
            response.on_hover_text(text).on_hover_cursor(CursorIcon::ResizeHorizontal);
        }
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

/// Another layout below the plan: the same devices, runs folded, what lies elsewhere outlined.
fn beside_ui(ui: &mut Ui, alternative: &Alternative, desk: &Desk, view: &mut View, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(judged) = alternative.at_home() else { return };
    ui.horizontal(|ui| {
        ui.label(egui::RichText::new(alternative.layout.name()).font(paint::bold(14.0)).color(tokens.strong));
        let verdict = judged.forecast.verdict;
        paint::verdict_icon(ui, verdict);
        let share = model::percent(judged.forecast.worst_share);
        let text = format!(
            "{}, {}",
            fill("{}, {} of the fullest device", &[&verdict_name(verdict), &share]),
            model::hops(judged.plan.hops())
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

/// The chips under the pointer while dragging.
fn ghost_ui(ui: &Ui, desk: &Desk, zoom: f32) {
    let Some(carried) = DragAndDrop::payload::<Carried>(ui) else { return };
    let Some(pointer) = ui.input(|i| i.pointer.interact_pos()) else { return };
    let Some(&first) = carried.0.first() else { return };
    let view = View { folding: Folding::Nothing, ..View::default() };
    let chip = model::single(desk.case(), desk.draft(), &view, first);
    let tokens = Tokens::of(ui);
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Tooltip, Id::unique("board ghost")));
    let size = vec2(50.0, 24.0) * zoom;
    for depth in (0..carried.0.len().min(3)).rev() {
        let center = pointer + Vec2::splat(CHIP_GAP * depth as f32);
        paint::chip(&painter, tokens, Rect::from_center_size(center, size), &chip, zoom, depth == 0);
    }
    if carried.0.len() > 1 {
        let center = pointer + vec2(size.x, -size.y) / 2.0;
        painter.circle_filled(center, 10.0, tokens.accent);
        painter.text(center, Align2::CENTER_CENTER, carried.0.len(), paint::small(), tokens.on_accent);
    }
}
