//! Charts: every category with its share right and the interval of that; the figures that the benchmark reports.

use egui::{Align2, FontId, Rect, RichText, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};

use super::{Page, Results, Wish};
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::card::{card, heading, note};
use crate::app::parts::problem::problem;
use crate::app::parts::{figure, verdict};
use crate::app::theme::Tokens;
use crate::app::{self, Wishes};
use crate::scoring::Accuracy;
use crate::scoring::benchmark::Figures;

/// Height of a category's line.
const LINE: f32 = 26.0;

/// Draws the charts.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(opened) = results.session.ready().cloned() else { return };
    ScrollArea::vertical().id_salt("charts").auto_shrink([false, false]).show(ui, |ui| {
        ui.set_width((ui.available_width() - 8.0).min(1100.0));
        card(ui, |ui| {
            heading(ui, tr("All questions"));
            ui.add_space(4.0);
            line_ui(ui, tr("Share right"), &opened.tally, false);
            if !opened.record.overrides().is_empty() {
                line_ui(ui, tr("With verdicts set by a person"), &opened.overridden, false);
            }
            ui.add_space(4.0);
            ui.horizontal_wrapped(|ui| {
                ui.spacing_mut().item_spacing.x = 14.0;
                for of in verdict::ALL {
                    let count = super::list::count(&opened.tally, of);
                    if count > 0 {
                        verdict::count(ui, of, count);
                    }
                }
            });
        });
        ui.add_space(8.0);
        if opened.categories.len() > 1 {
            card(ui, |ui| {
                heading(ui, tr("By category"));
                note(ui, tr("The line is the share right, the band its 95 % interval: of few questions, a wide one. A click lists the category's answers."));
                ui.add_space(4.0);
                let categories = &opened.ranking;
                let height = LINE * categories.len() as f32;
                // Only what is in sight is laid out: a dataset may name a thousand categories.
                let top = ui.cursor().top();
                let clip = ui.clip_rect();
                let first = (((clip.top() - top) / LINE).floor().max(0.0) as usize).min(categories.len());
                let last = (((clip.bottom() - top) / LINE).ceil().max(0.0) as usize).min(categories.len());
                ui.spacing_mut().item_spacing.y = 0.0;
                ui.add_space(first as f32 * LINE);
                for (name, accuracy) in &categories[first..last] {
                    if line_ui(ui, name, accuracy, true) {
                        let filter = super::Filter { category: Some(name.as_str().into()), ..super::Filter::default() };
                        wishes.push(app::Wish::Results(Wish::Filter(Box::new(filter))));
                        wishes.push(app::Wish::Results(Wish::Turn(Page::Answers)));
                    }
                }
                ui.add_space(height - last as f32 * LINE);
            });
            ui.add_space(8.0);
        }
        match &results.figures {
            Loadable::Ready(Some(figures)) => card(ui, |ui| figures_ui(ui, figures)),
            Loadable::Refused(why) => problem(ui, why),
            Loadable::Loading(_) => drop(note(ui, tr("The benchmark's own figures are being added up"))),
            _ => {}
        }
    });
}

/// A name, its interval drawn, and the figures; whether it was clicked.
fn line_ui(ui: &mut Ui, name: &str, accuracy: &Accuracy, can_choose: bool) -> bool {
    let tokens = Tokens::of(ui);
    let sense = if can_choose { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), LINE), sense);
    let text = fill("{}: {}", &[&name, &figure::accuracy(accuracy)]);
    let role = if can_choose { egui::Role::Button } else { egui::Role::Meter };
    response.widget_info(|| WidgetInfo::labeled(role, true, &text));
    let painter = ui.painter();
    if can_choose && (response.hovered() || response.has_focus()) {
        painter.rect_filled(rect, 4.0, tokens.raised);
    }
    let names = (rect.width() * 0.28).clamp(120.0, 280.0);
    let words = 210.0;
    let font = FontId::proportional(13.0);
    let galley = {
        let mut job = egui::text::LayoutJob::simple_singleline(name.to_owned(), font.clone(), tokens.text);
        job.wrap = egui::text::TextWrapping::truncate_at_width(names - 12.0);
        painter.layout_job(job)
    };
    painter.galley(pos2(rect.left() + 4.0, rect.center().y - galley.size().y / 2.0), galley, tokens.text);
    let bar = Rect::from_min_max(
        pos2(rect.left() + names, rect.center().y - 8.0),
        pos2(rect.right() - words, rect.center().y + 8.0),
    );
    if bar.width() > 30.0 {
        figure::interval_in(ui, bar, accuracy, tokens.accent);
    }
    let right = match accuracy.is_all_or_nothing() {
        true => format!("{} / {}", accuracy.right, accuracy.total),
        false => format!("{:.1} / {}", accuracy.score_sum, accuracy.total),
    };
    let painter = ui.painter();
    painter.text(
        pos2(rect.right() - 4.0, rect.center().y),
        Align2::RIGHT_CENTER,
        right,
        FontId::proportional(12.0),
        tokens.subdued,
    );
    painter.text(
        pos2(rect.right() - words + 12.0, rect.center().y),
        Align2::LEFT_CENTER,
        figure::accuracy(accuracy),
        font,
        tokens.strong,
    );
    response.on_hover_text(text).clicked()
}

/// The table that the benchmark itself reports.
fn figures_ui(ui: &mut Ui, figures: &Figures) {
    let tokens = Tokens::of(ui);
    heading(ui, &figures.title);
    note(ui, tr("As the benchmark's own program adds up these verdicts"));
    ui.add_space(4.0);
    for (name, row) in figures.table.rows.iter().take(200) {
        ui.horizontal_wrapped(|ui| {
            if !name.is_empty() {
                ui.label(RichText::new(name).color(tokens.strong));
            }
            for (what, value) in row {
                let value = if what == "num" { format!("{value:.0}") } else { format!("{value:.3}") };
                ui.label(RichText::new(what).small().color(tokens.subdued));
                ui.label(RichText::new(value).color(tokens.text));
                ui.add_space(6.0);
            }
        });
    }
}
