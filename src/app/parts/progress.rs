//! Progress of a job, with a way to stop it; parts of a whole as a bar.

use egui::{Color32, CornerRadius, Rect, Response, RichText, Role, Sense, Ui, Vec2, WidgetInfo, pos2};

use super::icon::Icon;
use crate::app::language::tr;
use crate::app::theme::Tokens;

/// What a job is doing and how far it is; whether the person wants it stopped. Without a share the bar rests empty:
/// nothing moves that brings no news.
pub fn progress(ui: &mut Ui, doing: &str, share: Option<f32>, can_stop: bool) -> bool {
    let tokens = Tokens::of(ui);
    let mut stop = false;
    ui.horizontal(|ui| {
        ui.label(RichText::new(doing).color(tokens.subdued));
        if let Some(share) = share {
            ui.label(RichText::new(format!("{:.0} %", 100.0 * share.clamp(0.0, 1.0))).color(tokens.text));
        }
        if can_stop {
            stop = Icon::Cross.button(ui, tr("Cancel")).clicked();
        }
    });
    bar(ui, 4.0, &[(share.unwrap_or(0.0), tokens.accent)], doing);
    stop
}

/// A bar of parts, each a share of the whole and its colour; what they leave is empty.
pub fn bar(ui: &mut Ui, height: f32, parts: &[(f32, Color32)], name: &str) -> Response {
    let size = Vec2::new(ui.available_width(), height);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    bar_at(ui, rect, parts);
    let whole: f32 = parts.iter().map(|(share, _)| share).sum();
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, name);
        info.value = Some(f64::from(whole));
        info
    });
    response
}

/// The same at a place that the caller has found.
pub fn bar_at(ui: &Ui, rect: Rect, parts: &[(f32, Color32)]) {
    let tokens = Tokens::of(ui);
    let radius = CornerRadius::same((rect.height() / 2.0).min(4.0) as u8);
    ui.painter().rect_filled(rect, radius, tokens.line);
    let mut left = rect.left();
    for (place, (share, color)) in parts.iter().enumerate() {
        let right = (left + rect.width() * share.clamp(0.0, 1.0)).min(rect.right());
        if right <= left {
            continue;
        }
        let mut corners = CornerRadius::ZERO;
        if place == 0 {
            (corners.nw, corners.sw) = (radius.nw, radius.sw);
        }
        if right >= rect.right() - 0.5 {
            (corners.ne, corners.se) = (radius.ne, radius.se);
        }
        let part = Rect::from_min_max(pos2(left, rect.top()), pos2(right, rect.bottom()));
        ui.painter().rect_filled(part, corners, *color);
        left = right;
    }
}
