//! How the board's pieces are drawn: chips, capacity bars, verdicts.

use egui::text::LayoutJob;
use egui::{
    Align2, Color32, CornerRadius, FontFamily, FontId, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, Ui,
    Vec2, pos2, vec2,
};

use super::layout::{self, Bar};
use super::model::{Chip, Memory, PARTS, Pinned};
use crate::app::theme::{SEMIBOLD, Tokens};
use crate::plan::forecast::Verdict;

/// Small figures.
pub fn small() -> FontId {
    FontId::proportional(11.5)
}

/// Names.
pub fn bold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(SEMIBOLD.into()))
}

/// One line of text at a place, cut with an ellipsis where it is wider than there is room. Gives what it covers.
pub fn line(
    painter: &Painter,
    at: Pos2,
    align: Align2,
    room: f32,
    text: &str,
    font: FontId,
    color: Color32,
) -> Rect {
    let mut job = LayoutJob::simple_singleline(text.to_owned(), font, color);
    job.wrap.max_width = room.max(8.0);
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    let galley = painter.layout_job(job);
    let rect = align.anchor_size(at, galley.size());
    painter.galley(rect.min, galley, color);
    rect
}

/// The colour of a verdict.
pub fn verdict_color(tokens: &Tokens, verdict: Verdict) -> Color32 {
    match verdict {
        Verdict::Fits => tokens.good,
        Verdict::Tight => tokens.warning,
        Verdict::DoesNotFit => tokens.bad,
    }
}

/// A verdict as a shape: a tick, a triangle, a cross; told apart without colour.
pub fn verdict_mark(painter: &Painter, center: Pos2, size: f32, verdict: Verdict, color: Color32) {
    let at = |x: f32, y: f32| center + vec2(x, y) * size / 2.0;
    let stroke = Stroke::new((size / 6.0).max(1.5), color);
    match verdict {
        Verdict::Fits => {
            painter.add(Shape::line(vec![at(-0.8, 0.05), at(-0.2, 0.65), at(0.85, -0.6)], stroke));
        }
        Verdict::Tight => {
            let corners = vec![at(0.0, -0.85), at(0.95, 0.75), at(-0.95, 0.75)];
            painter.add(Shape::closed_line(corners, Stroke::new(1.5, color)));
            painter.line_segment([at(0.0, -0.2), at(0.0, 0.25)], Stroke::new(1.5, color));
            painter.circle_filled(at(0.0, 0.52), 0.9, color);
        }
        Verdict::DoesNotFit => {
            painter.line_segment([at(-0.65, -0.65), at(0.65, 0.65)], stroke);
            painter.line_segment([at(-0.65, 0.65), at(0.65, -0.65)], stroke);
        }
    }
}

/// A verdict's mark as a widget of text height, for lines of text.
pub fn verdict_icon(ui: &mut Ui, verdict: Verdict) {
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(12.0), egui::Sense::hover());
    let color = verdict_color(Tokens::of(ui), verdict);
    verdict_mark(ui.painter(), rect.center(), 10.0, verdict, color);
}

/// A capacity bar: the parts of the memory, the mark of the capacity where it is passed, hatching beyond it.
pub fn bar(painter: &Painter, tokens: &Tokens, rect: Rect, memory: &Memory) {
    let Bar { parts, capacity } = layout::bar(&memory.parts, memory.capacity);
    let at = |share: f32| egui::lerp(rect.min.x..=rect.max.x, share);
    painter.rect_filled(rect, CornerRadius::same(3), tokens.canvas);
    for (part, (begin, end)) in parts.into_iter().enumerate().take(PARTS) {
        let (left, right) = (at(begin), at(end));
        if right - left < 0.3 {
            continue;
        }
        let piece = Rect::from_x_y_ranges(left..=right, rect.y_range());
        let round = |is_edge: bool| if is_edge { 3 } else { 0 };
        let (west, east) = (round(begin <= 0.0), round(end >= 1.0));
        let corners = CornerRadius { nw: west, sw: west, ne: east, se: east };
        painter.rect_filled(piece, corners, tokens.memory[part]);
        // A hairline keeps neighbours apart whatever their colours.
        if right < rect.max.x - 0.5 && right - left > 2.0 {
            painter.vline(right, rect.y_range(), Stroke::new(1.0, tokens.card));
        }
    }
    if capacity < 1.0 {
        let edge = at(capacity);
        let over = Rect::from_x_y_ranges(edge..=rect.max.x, rect.y_range());
        let hatched = painter.with_clip_rect(over.intersect(painter.clip_rect()));
        hatched.rect_filled(over, CornerRadius::ZERO, tokens.bad.gamma_multiply(0.45));
        let mut x = over.min.x - over.height();
        while x < over.max.x {
            let down = [pos2(x, over.max.y), pos2(x + over.height(), over.min.y)];
            hatched.line_segment(down, Stroke::new(1.5, tokens.bad));
            x += 5.0;
        }
        painter.vline(edge, rect.y_range().expand(3.0), Stroke::new(2.0, tokens.strong));
    } else {
        painter.rect_stroke(rect, CornerRadius::same(3), Stroke::new(1.0, tokens.line), StrokeKind::Outside);
    }
}

/// A part of the memory with its colour, name and figure.
pub fn part(painter: &Painter, tokens: &Tokens, rect: Rect, part: usize, name: &str, figure: &str) {
    let square = Rect::from_center_size(pos2(rect.min.x + 4.0, rect.center().y), Vec2::splat(7.0));
    painter.rect_filled(square, CornerRadius::same(2), tokens.memory[part]);
    let figure = line(
        painter,
        rect.right_center(),
        Align2::RIGHT_CENTER,
        rect.width() * 0.6,
        figure,
        small(),
        tokens.text,
    );
    let left = pos2(rect.min.x + 12.0, rect.center().y);
    let room = figure.min.x - left.x - 4.0;
    if room > 16.0 {
        line(painter, left, Align2::LEFT_CENTER, room, name, small(), tokens.subdued);
    }
}

/// A chip. `lift` is brighter under the pointer.
pub fn chip(painter: &Painter, tokens: &Tokens, rect: Rect, chip: &Chip, zoom: f32, is_lifted: bool) {
    let corner = CornerRadius::same(if zoom < 0.8 { 3 } else { 5 });
    let base = tokens.kinds[chip.kind as usize];
    let fill = if chip.is_dimmed {
        base.gamma_multiply(0.22)
    } else if is_lifted {
        base.lerp_to_gamma(Color32::WHITE, 0.16)
    } else {
        base
    };
    if chip.is_folded() {
        // A second edge below: more than one lies here.
        let below = rect.translate(vec2(0.0, 2.5)).shrink2(vec2(3.0, 0.0));
        painter.rect_filled(below, corner, fill.gamma_multiply(0.55));
    }
    painter.rect_filled(rect, corner, fill);
    if chip.has_moved {
        painter.rect_stroke(
            rect,
            corner,
            Stroke::new(1.5, tokens.strong.gamma_multiply(0.75)),
            StrokeKind::Outside,
        );
    }
    if chip.is_selected {
        painter.rect_stroke(rect, corner, Stroke::new(2.0, tokens.accent), StrokeKind::Outside);
        painter.rect_stroke(rect, corner, Stroke::new(1.0, Color32::WHITE), StrokeKind::Inside);
    }
    let ink = if chip.is_dimmed { tokens.subdued } else { Color32::WHITE };
    let font = FontId::proportional((11.0 * zoom).clamp(8.5, 15.0));
    let galley = painter.layout_no_wrap(chip.label.clone(), font.clone(), ink);
    let galley = if galley.size().x <= rect.width() - 2.0 {
        galley
    } else {
        // Numbers alone where the letter before them does not fit.
        let short = chip.label.split_once(' ').map_or(chip.label.as_str(), |(_, number)| number);
        painter.layout_no_wrap(short.to_owned(), font, ink)
    };
    let clipped = painter.with_clip_rect(rect.intersect(painter.clip_rect()));
    clipped.galley(rect.center() - galley.size() / 2.0, galley, ink);
    let corner_at = pos2(rect.max.x - 5.0, rect.min.y + 5.0);
    match chip.pinned {
        Pinned::No => {}
        Pinned::Some => {
            painter.circle_stroke(corner_at, 2.2, Stroke::new(1.0, ink));
        }
        Pinned::All => {
            painter.circle_filled(corner_at, 2.4, ink);
        }
    }
}

/// The outline of a chip that has the keyboard.
pub fn focus(painter: &Painter, tokens: &Tokens, rect: Rect) {
    painter.rect_stroke(
        rect.expand(2.0),
        CornerRadius::same(6),
        Stroke::new(2.0, tokens.accent),
        StrokeKind::Outside,
    );
}

/// The handle of a boundary.
pub fn handle(painter: &Painter, tokens: &Tokens, center: Pos2, size: Vec2, is_active: bool) {
    let rect = Rect::from_center_size(center, size);
    let (fill, ink) =
        if is_active { (tokens.accent, tokens.on_accent) } else { (tokens.raised, tokens.subdued) };
    painter.rect(rect, CornerRadius::same(5), fill, Stroke::new(1.0, tokens.line), StrokeKind::Inside);
    for y in [-6.0, 0.0, 6.0] {
        painter.circle_filled(center + vec2(0.0, y), 1.3, ink);
    }
}
