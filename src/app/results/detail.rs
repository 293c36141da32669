//! One answer: what was asked with its pictures, what the model said, what was read of it, and what it cost.

use egui::{Align, Layout, RichText, ScrollArea, Ui, vec2};

use super::session::Looked;
use super::{Results, Wish};
use crate::app::job::Loadable;
use crate::app::language::{fill, told, tr};
use crate::app::parts::button::button;
use crate::app::parts::card::{card, facts, note, section};
use crate::app::parts::problem::problem;
use crate::app::parts::{Icon, figure, verdict};
use crate::app::pictures;
use crate::app::text::answer::{response_ui, verdict_ui};
use crate::app::text::marked;
use crate::app::text::question::Asked;
use crate::app::theme::{Tokens, semibold};
use crate::app::{self, Wishes};
use crate::scoring::Verdict;
use crate::session::Answer;
use crate::words::size;

/// Size of questions and answers in points.
const TEXT: f32 = 14.0;

/// Draws the chosen answer.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(chosen) = results.chosen else {
        ui.centered_and_justified(|ui| {
            ui.label(RichText::new(tr("Choose an answer to see it here")).color(tokens.subdued))
        });
        return;
    };
    bar_ui(results, ui, chosen, wishes);
    let looked = match &results.looked {
        Some(Ok(looked)) => looked,
        Some(Err(why)) => return problem(ui, why),
        None => return,
    };
    let name = format!("answer {}", looked.place);
    let room = ui.available_size();
    ScrollArea::vertical().id_salt("detail").auto_shrink([false, false]).show(ui, |ui| {
        ui.set_width(ui.available_width() - 6.0);
        pictures_ui(results.dataset.is_loading(), &results.dataset, looked, &results.gallery, &mut results.look, ui, room.y);
        card(ui, |ui| Asked::answered(&looked.answer, true).ui(ui, &mut results.prose, &name, TEXT));
        ui.add_space(6.0);
        card(ui, |ui| {
            ui.horizontal(|ui| {
                ui.vertical(|ui| {
                    ui.set_width((ui.available_width() - 90.0).max(120.0));
                    verdict_ui(ui, &looked.answer);
                });
                ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                    let about = tr("Set Markdown and formulas, instead of the text as it came with what was read marked in it");
                    ui.toggle_value(&mut results.formatted, tr("Formatted")).on_hover_text(about);
                });
            });
            response_ui(ui, &mut results.prose, &name, &looked.answer, results.formatted, TEXT);
        });
        if let Some(other) = &looked.other {
            ui.add_space(6.0);
            card(ui, |ui| {
                section(ui, tr("The second session"));
                verdict_ui(ui, other);
                response_ui(ui, &mut results.prose, &format!("{name} other"), other, results.formatted, TEXT);
            });
        }
        ui.add_space(6.0);
        let said = results.session.ready().and_then(|opened| opened.record.overrides().get(&looked.answer.index).cloned());
        card(ui, |ui| override_ui(ui, &looked.answer, said.as_ref(), &mut results.reason, wishes));
        ui.add_space(6.0);
        card(ui, |ui| cost_ui(ui, &name, &looked.answer));
        ui.add_space(6.0);
    });
}

/// Which answer this is, and the way to its neighbours.
fn bar_ui(results: &Results, ui: &mut Ui, chosen: usize, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(opened) = results.session.ready() else { return };
    let at = results.row();
    let index = opened.record.outlines().get(chosen).map(|it| it.index.to_string()).unwrap_or_default();
    let category = opened.record.outlines().get(chosen).and_then(|it| it.category.clone());
    ui.horizontal(|ui| {
        let step = |by| app::Wish::Results(Wish::Step(by));
        if Icon::Left.button(ui, tr("The answer before")).clicked() {
            wishes.push(step(-1));
        }
        if Icon::Right.button(ui, tr("The next answer")).clicked() {
            wishes.push(step(1));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(6.0);
            let present = button(ui, Icon::Screen, tr("Present"));
            if present.on_hover_text(tr("Full screen, in large type (P)")).clicked() {
                wishes.push(app::Wish::Present(chosen));
            }
            if let Some(at) = at {
                note(ui, format!("{} / {}", at + 1, results.listed.len()));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(
                    egui::Label::new(
                        RichText::new(fill("Question {}", &[&index])).family(semibold()).color(tokens.strong),
                    )
                    .truncate(),
                );
                if let Some(category) = category {
                    ui.add(
                        egui::Label::new(RichText::new(&*category).small().color(tokens.subdued)).truncate(),
                    );
                }
            });
        });
    });
}

fn pictures_ui(
    loading: bool,
    dataset: &Loadable<std::sync::Arc<crate::dataset::Dataset>>,
    looked: &Looked,
    gallery: &pictures::Gallery,
    look: &mut pictures::Look,
    ui: &mut Ui,
    room: f32,
) {
    if looked.answer.images.is_empty() && looked.row.is_none() {
        return;
    }
    let size = vec2(ui.available_width(), (room * 0.42).clamp(150.0, 520.0));
    match (looked.row, dataset) {
        (Some(row), _) => match gallery.get(row) {
            Some(Loadable::Ready(shown)) => pictures::show(ui, &shown.pictures, look, size),
            Some(Loadable::Refused(why)) => problem(ui, why),
            _ => drop(ui.allocate_space(size)),
        },
        (None, _) if loading => drop(ui.allocate_space(size)),
        (None, Loadable::Refused(why)) => {
            let mut why = why.clone();
            why.what = fill(
                "The pictures cannot be shown, since the dataset cannot be opened: {}",
                &[&told(&why.what)],
            );
            problem(ui, &why);
        }
        (None, _) => {
            note(
                ui,
                tr("The dataset has no such question, or another one, by now: its pictures cannot be shown"),
            );
        }
    }
    ui.add_space(6.0);
}

/// A verdict set by a person, with its reason; the machine's stays.
fn override_ui(
    ui: &mut Ui,
    answer: &Answer,
    said: Option<&crate::session::Override>,
    reason: &mut String,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    section(ui, tr("Set by a person"));
    if let Some(said) = said {
        ui.horizontal_wrapped(|ui| {
            verdict::badge(ui, said.verdict.unwrap_or(answer.verdict));
            ui.label(RichText::new(&said.reason).color(tokens.text));
            if ui.small_button(tr("Take back")).clicked() {
                wishes.push(app::Wish::Results(Wish::Override(None, String::new())));
            }
        });
        return;
    }
    ui.horizontal_wrapped(|ui| {
        let edit = egui::TextEdit::singleline(reason).hint_text(tr("Why is the verdict another one?"));
        let edit = ui.add(edit.desired_width((ui.available_width() - 200.0).max(120.0)));
        edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, tr("Reason")));
        for (of, text) in [(Verdict::Right, tr("It is right")), (Verdict::Wrong, tr("It is wrong"))] {
            if of == answer.verdict {
                continue;
            }
            let ready = !reason.trim().is_empty();
            let button = ui.add_enabled(ready, egui::Button::new(text));
            let button = button.on_disabled_hover_text(tr("Give a reason first"));
            if button
                .on_hover_text(tr("Kept beside the machine's verdict, which stays; the score shows both"))
                .clicked()
            {
                wishes.push(app::Wish::Results(Wish::Override(Some(of), reason.clone())));
            }
        }
    });
}

/// Costs, and the prompt as it was sent.
fn cost_ui(ui: &mut Ui, name: &str, answer: &Answer) {
    let mut pairs = vec![
        (tr("Tiles"), answer.tiles.to_string()),
        (tr("Tokens in the prompt"), answer.prompt_tokens.to_string()),
        (tr("Tokens of the answer"), answer.output_tokens.to_string()),
        (tr("Pictures"), figure::seconds(answer.seconds.images)),
        (tr("First token"), figure::seconds(answer.seconds.prefill)),
        (tr("Further tokens"), figure::seconds(answer.seconds.decode)),
        (tr("In all"), figure::seconds(answer.seconds.total)),
    ];
    if answer.output_tokens > 1 && answer.seconds.decode > 0.0 {
        pairs.push((tr("Tokens/s"), format!("{:.1}", answer.output_tokens as f64 / answer.seconds.decode)));
    }
    facts(ui, 110.0, &pairs);
    if !answer.peak_bytes.is_empty() || !answer.forecast_bytes.is_empty() {
        ui.add_space(6.0);
        section(ui, tr("Peak memory"));
        let names: std::collections::BTreeSet<&String> =
            answer.peak_bytes.keys().chain(answer.forecast_bytes.keys()).collect();
        let text = |bytes: Option<&u64>| bytes.map_or_else(|| tr("not measured").to_owned(), |it| size(*it));
        for device in names {
            let peak = text(answer.peak_bytes.get(device));
            match answer.forecast_bytes.get(device) {
                Some(forecast) => note(ui, fill("{}: {}, forecast {}", &[device, &peak, &size(*forecast)])),
                None => note(ui, format!("{device}: {peak}")),
            };
        }
    }
    if !answer.prompt.is_empty() {
        ui.add_space(4.0);
        egui::CollapsingHeader::new(tr("The prompt as sent")).id_salt(("prompt", name)).show(ui, |ui| {
            marked(ui, &format!("{name} prompt"), &answer.prompt, egui::FontId::monospace(12.0), None);
        });
    }
    if let Some(judge) = &answer.judge {
        let reply = judge
            .reply
            .as_ref()
            .map_or_else(|| judge.problem.clone().unwrap_or_default(), |it| it.text.clone());
        note(ui, fill("Judge {}: {}", &[&judge.judge, &crate::words::excerpt(&reply, 200)]));
    }
}
