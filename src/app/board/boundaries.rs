//! The boundaries between stages, pulled with the mouse or moved with arrow keys.

use egui::{Align2, CursorIcon, EventFilter, Id, Key, Modifiers, Rect, Role, Sense, Ui, WidgetInfo, vec2};

use super::columns::Places;
use super::desk::{Desk, Pull};
use super::head::head;
use super::layout::{self, HANDLE};
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::language::fill;
use crate::app::theme::Tokens;

/// A boundary being pulled.
#[derive(Debug, Clone, Copy)]
pub struct Pulling {
    pub(super) run: usize,
    pub(super) from: f32,
    pub(super) outward: f32,
}

/// The handles of the boundaries between stages.
pub(super) fn handles_ui(
    ui: &mut Ui,
    desk: &Desk,
    places: &Places,
    pulling: &mut Option<Pulling>,
    wishes: &mut Wishes,
) {
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
