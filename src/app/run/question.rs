//! The question that a run shows: its text, the answer as it comes, and the way to the others.

use egui::{Align, FontId, Layout, RichText, ScrollArea, Sense, Stroke, Ui, WidgetInfo, vec2};

use super::live::Flight;
use super::{Runs, Wish};
use crate::app::language::{fill, tr};
use crate::app::parts::card::card;
use crate::app::parts::{figure, verdict};
use crate::app::text::answer::{parted, response_ui, thinking_ui, verdict_ui};
use crate::app::text::marked;
use crate::app::text::question::Asked;
use crate::app::theme::{Tokens, semibold};
use crate::app::{self, Wishes};
use crate::session::Answer;

/// Size of questions and answers in points.
const TEXT: f32 = 14.5;

/// Width of the name of a question in flight.
const CHIP: f32 = 62.0;

/// Draws the question that is shown, below the ribbon of answers.
pub fn question_ui(runs: &mut Runs, ui: &mut Ui, wishes: &mut Wishes) {
    ribbon_ui(runs, ui, wishes);
    let shown = runs.shown();
    let Runs { live: Some(live), gallery, prose, formatted, .. } = runs else { return };
    let Some(row) = shown else {
        let tokens = Tokens::of(ui);
        ui.add_space(20.0);
        ui.label(
            RichText::new(tr("The first question comes when the model is loaded")).color(tokens.subdued),
        );
        return;
    };
    let question = gallery.get(row).and_then(|it| it.ready()).map(|shown| &shown.question);
    let done = live.answer(row).map(|done| done.answer.clone());
    ScrollArea::vertical().id_salt("run question").auto_shrink([false, false]).show(ui, |ui| {
        ui.set_width(ui.available_width() - 4.0);
        // The name of a row's texts tells them from those of other rows.
        let name = format!("row {row}");
        card(ui, |ui| {
            let mut asked = match (&done, question) {
                (Some(answer), _) => Asked::answered(answer, true),
                (None, Some(question)) => Asked::of(question),
                (None, None) => Asked::default(),
            };
            asked.hint = question.and_then(|it| it.hint.clone());
            let index = done.as_ref().map(|it| it.index.as_str()).or(question.map(|it| it.index.as_str()));
            let category = question.and_then(|it| it.category.as_deref());
            title_ui(ui, index.unwrap_or(""), category, &cost(live.flight(row), done.as_deref()));
            ui.add_space(4.0);
            if done.is_some() || question.is_some() {
                asked.ui(ui, prose, &name, TEXT);
            }
        });
        ui.add_space(8.0);
        card(ui, |ui| match (&done, live.flight(row)) {
            (Some(answer), _) => {
                ui.horizontal(|ui| {
                    verdict_ui(ui, answer);
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        ui.toggle_value(formatted, tr("Formatted")).on_hover_text(tr("Set Markdown and formulas, instead of the text as it came with what was read marked in it"));
                    });
                });
                ui.add_space(4.0);
                response_ui(ui, prose, &name, answer, *formatted, TEXT);
            }
            (None, Some(flight)) => streaming_ui(ui, &name, flight, live.about.server.is_some()),
            _ => {}
        });
    });
}

/// The number of a question, its category, and what it costs.
fn title_ui(ui: &mut Ui, index: &str, category: Option<&str>, cost: &str) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(fill("Question {}", &[&index])).family(semibold()).color(tokens.strong));
        if let Some(category) = category {
            ui.label(RichText::new(category).color(tokens.subdued));
        }
        ui.label(RichText::new(cost).small().color(tokens.subdued))
            .on_hover_text(tr("Tiles of its pictures, and tokens of the prompt with theirs counted"));
    });
}

fn cost(flight: Option<&Flight>, done: Option<&Answer>) -> String {
    let text = |tiles: u64, tokens: u64| match tiles {
        // A server cuts pictures as it likes, and says nothing of it.
        0 if tokens == 0 => String::new(),
        0 => fill("{} tokens in the prompt", &[&tokens]),
        1 => fill("1 tile · {} tokens in the prompt", &[&tokens]),
        _ => fill("{} tiles · {} tokens in the prompt", &[&tiles, &tokens]),
    };
    match (flight, done) {
        (_, Some(answer)) => {
            let asked = text(answer.tiles, answer.prompt_tokens);
            let took = figure::seconds(answer.seconds.total);
            let answered = match answer.output_tokens {
                0 => fill("answered in {}", &[&took]),
                tokens => fill("{} tokens in {}", &[&tokens, &took]),
            };
            if asked.is_empty() { answered } else { format!("{asked} · {answered}") }
        }
        (Some(flight), _) => text(flight.tiles as u64, flight.prompt_tokens as u64),
        _ => String::new(),
    }
}

/// An answer that is being written.
fn streaming_ui(ui: &mut Ui, name: &str, flight: &Flight, is_served: bool) {
    let tokens = Tokens::of(ui);
    let (thinking, answer, still) = parted(&flight.text);
    let state = match (flight.text.is_empty(), still) {
        (true, _) if is_served => tr("with the server, which has said nothing yet"),
        (true, _) => tr("taking in the pictures and the prompt"),
        (_, true) => tr("thinking"),
        _ => tr("answering"),
    };
    ui.label(RichText::new(state).small().color(tokens.accent));
    if let Some(thinking) = thinking.filter(|it| !it.is_empty()) {
        thinking_ui(ui, name, thinking, still, TEXT);
    }
    if !answer.is_empty() {
        marked(ui, &format!("{name} stream"), answer, FontId::proportional(TEXT), None);
    }
}

/// The latest answers as a row of verdicts, then the questions in flight; each can be looked at.
fn ribbon_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(live) = &runs.live else { return };
    let shown = runs.shown();
    let cell = 18.0;
    // Of one height from the beginning, so that all stand on one line.
    let size = vec2(ui.available_width(), 28.0);
    ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        let follows = runs.follow.is_none();
        let latest = ui.selectable_label(follows, tr("Latest"));
        if latest.on_hover_text(tr("Follow the run; the arrow keys go back through its answers")).clicked() {
            wishes.push(app::Wish::Run(Wish::Follow(None)));
        }
        ui.add_space(6.0);
        // A server is asked many questions at once: the latest of them are shown, the others counted.
        let most = ((0.5 * ui.available_width() / (CHIP + 2.0)) as usize).max(1);
        let hidden = live.flights.len().saturating_sub(most);
        let flights =
            (live.flights.len() - hidden) as f32 * (CHIP + 2.0) + if hidden > 0 { 40.0 } else { 0.0 };
        let room = ((ui.available_width() - flights) / (cell + 2.0)).max(0.0) as usize;
        let kept: Vec<_> = live.verdicts().rev().take(room).collect();
        for (row, of) in kept.into_iter().rev() {
            let (rect, response) = ui.allocate_exact_size(vec2(cell, cell), Sense::click());
            let index = live.answer(row).map_or("", |done| done.answer.index.as_str());
            let words = fill("Question {}, {}", &[&index, &verdict::name(of)]);
            response
                .widget_info(|| WidgetInfo::selected(egui::Role::Button, true, shown == Some(row), &words));
            let painter = ui.painter();
            if shown == Some(row) || response.hovered() || response.has_focus() {
                painter.rect_filled(rect, 4.0, tokens.raised);
            }
            if shown == Some(row) {
                painter.rect_stroke(rect, 4.0, Stroke::new(1.0, tokens.accent), egui::StrokeKind::Inside);
            }
            verdict::mark(painter, rect.center(), 10.0, of, tokens.verdict(of));
            if response.on_hover_text(words).clicked() {
                wishes.push(app::Wish::Run(Wish::Follow(Some(row))));
            }
        }
        ui.spacing_mut().button_padding = vec2(4.0, 2.0);
        if hidden > 0 {
            let words = fill("{} more questions are in flight", &[&hidden]);
            ui.label(RichText::new(format!("+{hidden}")).small().color(tokens.subdued)).on_hover_text(words);
        }
        for flight in live.flights.iter().skip(hidden) {
            let text = fill("row {}", &[&(flight.row + 1)]);
            let here = shown == Some(flight.row);
            let chip = egui::Button::selectable(here, RichText::new(&text).small()).truncate();
            let chip = ui.add_sized([CHIP, 20.0], chip);
            if chip.on_hover_text(tr("In flight: the model is answering it")).clicked() {
                wishes.push(app::Wish::Run(Wish::Follow(Some(flight.row))));
            }
        }
    });
    ui.add_space(4.0);
}
