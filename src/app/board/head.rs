//! What stands above a device's chips: its name, whether it fits, its figures and its bar.

use egui::{Align2, Rect, Ui, pos2, vec2};

use super::layout::MARGIN;
use super::model::{Column, PARTS};
use super::paint;
use super::words::{bare, part_meaning, part_name, part_word, verdict_name, verdict_word};
use crate::app::language::tr;
use crate::app::theme::Tokens;
use crate::plan::bytes::human;

/// Height of a column's bar.
const BAR: f32 = 10.0;

/// Whether a column is too narrow for name and verdict on one line.
pub(super) fn is_narrow(width: f32) -> bool {
    width < 150.0
}

/// Height of a column above its bar: name, verdict and figures.
fn head_lines(width: f32) -> f32 {
    MARGIN + if is_narrow(width) { 3.0 * 17.0 } else { 2.0 * 18.0 } + 6.0
}

/// Height of a column above its figures.
pub(super) fn head(width: f32) -> f32 {
    head_lines(width) + BAR + 8.0
}

/// Height of a line of figures.
const LINE: f32 = 15.0;

/// Which parts of the memory are written out.
#[derive(Clone)]
pub(super) struct Figures {
    parts: Vec<usize>,
}

impl Figures {
    /// The parts that any device has.
    pub(super) fn of(columns: &[Column]) -> Self {
        let any = |part: &usize| *part < 3 || columns.iter().any(|column| column.memory.parts[*part] > 0);
        Self { parts: (0..PARTS).filter(any).collect() }
    }

    /// None: where there is no room for them.
    pub(super) fn none() -> Self {
        Self { parts: Vec::new() }
    }

    fn per_line(width: f32) -> usize {
        if width > 250.0 { 2 } else { 1 }
    }

    pub(super) fn height(&self, width: f32) -> f32 {
        if self.parts.is_empty() {
            return 4.0;
        }
        self.parts.len().div_ceil(Self::per_line(width)) as f32 * LINE + 8.0
    }
}

/// Name, verdict, figures and bar of a device.
pub(super) fn head_ui(ui: &Ui, column: &Column, rect: Rect, figures: &Figures, has_card: bool) {
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
        let word = verdict_word(column.verdict);
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
            true => (part_word(part), bare(bytes, column.memory.capacity)),
            false => (part_name(part), human(bytes)),
        };
        paint::part(painter, tokens, at, part, name, &figure);
    }
}

pub(super) fn head_tooltip(ui: &mut Ui, column: &Column) {
    ui.set_max_width(300.0);
    ui.strong(&column.name);
    ui.label(&column.tooltip);
    ui.separator();
    for (part, bytes) in column.memory.parts.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
        ui.label(format!("{} {}", part_name(part), human(*bytes)));
        ui.small(part_meaning(part));
    }
}
