//! Verdicts as people tell them apart: by shape, word and colour.

use egui::{Color32, Painter, Pos2, Response, RichText, Sense, Stroke, Ui, pos2, vec2};

use crate::app::language::tr;
use crate::app::theme::Tokens;
use crate::scoring::Verdict;

/// All verdicts in the order in which they are listed.
pub const ALL: [Verdict; 6] = [
    Verdict::Right,
    Verdict::Wrong,
    Verdict::Unparsed,
    Verdict::Failed,
    Verdict::OutOfMemory,
    Verdict::Unscored,
];

/// The word for a verdict.
pub fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => tr("right"),
        Verdict::Wrong => tr("wrong"),
        Verdict::Unparsed => tr("unparsed"),
        Verdict::Failed => tr("failed"),
        Verdict::OutOfMemory => tr("out of memory"),
        Verdict::Unscored => tr("unscored"),
    }
}

/// What a verdict means, in a sentence.
pub fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => tr("The answer that was read agrees with the gold answer"),
        Verdict::Wrong => tr("An answer was read, and it is not the gold answer"),
        Verdict::Unparsed => tr("No answer could be read from the response; it counts as wrong"),
        Verdict::Failed => tr("The question could not be answered; it counts as wrong"),
        Verdict::OutOfMemory => tr("A device ran out of memory; it counts as wrong"),
        Verdict::Unscored => tr("The dataset has no gold answer; it does not count"),
    }
}

/// Draws the shape of a verdict, `size` points high, around a point.
pub fn mark(painter: &Painter, at: Pos2, size: f32, verdict: Verdict, color: Color32) {
    let r = size / 2.0;
    let stroke = Stroke::new((size * 0.15).max(1.2), color);
    let line = |from: [f32; 2], to: [f32; 2]| {
        let point = |[x, y]: [f32; 2]| pos2(at.x + x * r, at.y + y * r);
        painter.line_segment([point(from), point(to)], stroke);
    };
    match verdict {
        Verdict::Right => {
            line([-0.75, 0.1], [-0.2, 0.65]);
            line([-0.2, 0.65], [0.8, -0.6]);
        }
        Verdict::Wrong => {
            line([-0.6, -0.6], [0.6, 0.6]);
            line([-0.6, 0.6], [0.6, -0.6]);
        }
        Verdict::Unparsed => {
            let font = egui::FontId::proportional(size * 1.15);
            painter.text(at, egui::Align2::CENTER_CENTER, "?", font, color);
        }
        Verdict::Failed => {
            line([0.0, -0.8], [-0.85, 0.7]);
            line([-0.85, 0.7], [0.85, 0.7]);
            line([0.85, 0.7], [0.0, -0.8]);
        }
        Verdict::OutOfMemory => {
            let rect = egui::Rect::from_center_size(at, vec2(size * 0.8, size * 0.8));
            painter.rect_stroke(rect, 1.0, stroke, egui::StrokeKind::Middle);
            line([-0.7, -0.15], [0.7, -0.15]);
        }
        Verdict::Unscored => line([-0.6, 0.0], [0.6, 0.0]),
    }
}

/// A verdict's shape and word.
pub fn badge(ui: &mut Ui, verdict: Verdict) -> Response {
    labelled(ui, verdict, name(verdict))
}

/// A verdict's shape and how many answers have it.
pub fn count(ui: &mut Ui, verdict: Verdict, count: u64) -> Response {
    labelled(ui, verdict, &format!("{count} {}", name(verdict)))
}

fn labelled(ui: &mut Ui, verdict: Verdict, text: &str) -> Response {
    let color = Tokens::of(ui).verdict(verdict);
    let inner = ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        let (rect, _) = ui.allocate_exact_size(vec2(12.0, 16.0), Sense::hover());
        mark(ui.painter(), rect.center(), 11.0, verdict, color);
        ui.label(RichText::new(text).color(color))
    });
    inner.response.on_hover_text(meaning(verdict))
}
