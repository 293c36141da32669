//! The chips: selecting and dragging units, menus, and the keys that do the same.

use egui::{
    Align2, CursorIcon, DragAndDrop, EventFilter, Id, Key, LayerId, Modifiers, Order, Rect, Response, Role,
    Sense, Ui, Vec2, WidgetInfo, vec2,
};

use super::desk::{Desk, Pull};
use super::layout::CHIP_GAP;
use super::model::{self, Chip, Column, Kind};
use super::view::{Folding, View};
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::plan::bytes::human;
use crate::plan::edits::Draft;

/// What travels with the pointer.
pub(super) struct Carried(pub(super) Vec<usize>);

pub(super) fn stage_menu(ui: &mut Ui, column: &Column, draft: &Draft, view: &mut View, wishes: &mut Wishes) {
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

pub(super) fn chip_ui(
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
pub(super) fn keys(
    ui: &Ui,
    response: &Response,
    device: usize,
    draft: &Draft,
    units: &[usize],
    wishes: &mut Wishes,
) {
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
pub(super) fn walk(ui: &Ui, chips: &[(usize, usize, Rect)], view: &mut View) {
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

/// The chips under the pointer while dragging.
pub(super) fn ghost_ui(ui: &Ui, desk: &Desk, zoom: f32) {
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
