//! Figures as people read them: shares, intervals, and both as a drawing.

use egui::{Rect, Response, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use crate::app::language::{fill, tr};
use crate::app::theme::Tokens;
use crate::scoring::Accuracy;

/// A share as percent with one digit behind the point.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A difference of shares in points of a hundred, with its sign unless it is nothing.
pub fn points(difference: f64) -> String {
    let points = (1000.0 * difference).round() / 10.0;
    if points == 0.0 { "0.0".into() } else { format!("{points:+.1}") }
}

/// A probability in as many digits as say something.
pub fn probability(p: f64) -> String {
    match p {
        p if p >= 0.001 => format!("{p:.3}"),
        p if p > 0.0 => format!("{p:.1e}"),
        _ => "0".into(),
    }
}

/// Seconds of one question: short ones with digits behind the point.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => format!("{:.0} ms", 1000.0 * s),
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s => crate::words::duration(s),
    }
}

/// A rate or a level: small ones with digits behind the point, large ones in thousands.
pub fn rate(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v < 1.0 => format!("{value:.2}"),
        v if v < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        v if v < 10_000.0 => format!("{value:.0}"),
        v if v < 1e6 => format!("{:.0} k", value / 1e3),
        _ => format!("{:.1} M", value / 1e6),
    }
}

/// Accuracy with its interval in words; that nothing is scored where nothing is.
pub fn accuracy(accuracy: &Accuracy) -> String {
    match accuracy.accuracy() {
        None => tr("not scored yet").into(),
        Some(value) => {
            let (low, high) = accuracy.interval();
            format!("{}  [{:.1}, {:.1}]", percent(value), 100.0 * low, 100.0 * high)
        }
    }
}

/// What the interval means.
pub fn interval_meaning() -> &'static str {
    tr(
        "Share of the questions that count, and its 95 % interval (Wilson's where each answer is right or wrong): were the same model asked other questions of this sort, its share would lie in there 19 times out of 20",
    )
}

/// What a figure is of, in a column of its own so that several stand below each other.
pub fn name(ui: &mut Ui, text: &str, width: f32) {
    let tokens = Tokens::of(ui);
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(vec2(width, 18.0), layout, |ui| {
        ui.set_width(width);
        ui.add(egui::Label::new(egui::RichText::new(text).color(tokens.subdued)).truncate());
    });
}

/// A scale from 0 to 100 % with the interval as a band and the share as a line on it.
pub fn interval_bar(ui: &mut Ui, accuracy: &Accuracy, width: f32) -> Response {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(width, 14.0), Sense::hover());
    interval_in(ui, rect, accuracy, tokens.accent);
    let text = fill("Share right {}", &[&self::accuracy(accuracy)]);
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Meter, true, &text));
    response.on_hover_text(interval_meaning())
}

/// The same into a rectangle.
pub fn interval_in(ui: &Ui, rect: Rect, accuracy: &Accuracy, color: egui::Color32) {
    let tokens = Tokens::of(ui);
    let painter = ui.painter();
    let track = Rect::from_center_size(rect.center(), vec2(rect.width(), 6.0));
    painter.rect_filled(track, 3.0, tokens.raised);
    let x = |share: f64| rect.left() + rect.width() * share as f32;
    if let Some(value) = accuracy.accuracy() {
        let (low, high) = accuracy.interval();
        let band =
            Rect::from_min_max(pos2(x(low), track.top()), pos2(x(high).max(x(low) + 2.0), track.bottom()));
        painter.rect_filled(band, 3.0, color.gamma_multiply(0.45));
        let line = [pos2(x(value), rect.top()), pos2(x(value), rect.bottom())];
        painter.line_segment(line, Stroke::new(2.5, color));
    }
}
