//! Two rules on the same answers: how far their scores are apart, and every answer on which they disagree.

use egui::{RichText, Ui};

use super::{Results, Wish};
use crate::app::job::Loadable;
use crate::app::language::{fill, told, tr};
use crate::app::parts::button::list;
use crate::app::parts::card::{card, note};
use crate::app::parts::problem::problem;
use crate::app::parts::table::{Column, Table, text};
use crate::app::parts::{figure, verdict};
use crate::app::text::question::value_text;
use crate::app::theme::{Tokens, semibold};
use crate::app::{self, Wishes};
use crate::scoring::{Reading, Rule};
use crate::words::excerpt;

/// Draws the choice of the second rule, both scores, and the list of disagreements.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(opened) = results.session.ready() else { return };
    let own = opened.record.manifest().settings.rule.clone();
    card(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(&own).family(semibold()).color(tokens.strong));
            ui.label(tr("against"));
            let shown = results.second.map_or_else(|| tr("choose a rule").to_owned(), |rule| rule.name());
            let chosen = list("second rule", shown, 180.0).show_ui(ui, |ui| {
                for rule in Rule::all().into_iter().filter(|rule| rule.name() != own) {
                    if ui.selectable_label(results.second == Some(rule), rule.name()).clicked() {
                        wishes.push(app::Wish::Results(Wish::Against(rule)));
                    }
                }
            });
            chosen
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, tr("The second rule")));
        });
        if let Loadable::Ready(found) = &results.rules {
            for (rule, accuracy) in found.rules.iter().zip(&found.accuracy) {
                ui.horizontal(|ui| {
                    figure::name(ui, rule, 150.0);
                    figure::interval_bar(ui, accuracy, 140.0);
                    ui.label(RichText::new(figure::accuracy(accuracy)).color(tokens.strong));
                });
            }
            let mut words =
                fill("{} of {} answers are judged differently", &[&found.answers.len(), &found.compared]);
            if found.left_out > 0 {
                let left = fill(
                    "{} are left out: failed, without a gold answer, or of unknown type",
                    &[&found.left_out],
                );
                words = format!("{words}; {left}");
            }
            note(ui, words);
        }
    });
    ui.add_space(6.0);
    match &results.rules {
        Loadable::Refused(why) => return problem(ui, why),
        Loadable::Loading(_) => {
            note(ui, tr("Every answer is being read under both rules"));
            return;
        }
        Loadable::Empty => return,
        Loadable::Ready(found) if found.answers.is_empty() => {
            ui.label(RichText::new(tr("The two rules agree on every answer")).color(tokens.good));
            return;
        }
        Loadable::Ready(_) => {}
    }
    let Some(found) = results.rules.ready() else { return };
    let column = |name, width, grows| Column { name, width, grows, is_number: false };
    let columns = [
        column(tr("Question"), 80.0, 0.4),
        column(tr("Gold"), 60.0, 0.6),
        column(tr("Session's rule"), 110.0, 1.0),
        column(tr("Other rule"), 110.0, 1.0),
        column(tr("Answer"), 120.0, 2.0),
    ];
    let chosen = results.answer().map(|looked| looked.answer.index.clone());
    let table = Table {
        id: "disputed",
        columns: &columns,
        rows: found.answers.len(),
        row_height: 26.0,
        sorted: None,
        scroll_to: None,
    };
    let is_chosen = |row: usize| chosen.as_deref() == Some(found.answers[row].index.as_str());
    let name = |row: usize| fill("Question {}", &[&found.answers[row].index]);
    let touched = table.show(ui, is_chosen, name, |ui, row, column| {
        let it = &found.answers[row];
        match column {
            0 => drop(text(ui, &it.index, tokens.strong)),
            1 => drop(text(ui, excerpt(&value_text(&it.answer), 40), tokens.text)),
            2 | 3 => reading(ui, &it.readings[column - 2]),
            _ => drop(text(ui, excerpt(&it.response, 120), tokens.subdued)),
        }
    });
    if let Some(row) = touched.clicked.or(touched.opened) {
        wishes.push(app::Wish::Results(Wish::ChooseIndex(found.answers[row].index.clone())));
    }
}

fn reading(ui: &mut Ui, reading: &Reading) {
    let tokens = Tokens::of(ui);
    let color = tokens.verdict(reading.verdict);
    let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 14.0), egui::Sense::hover());
    verdict::mark(ui.painter(), rect.center(), 10.0, reading.verdict, color);
    let words = fill("{}, by {}", &[&value_text(&reading.read), &told(&reading.by)]);
    text(ui, excerpt(&value_text(&reading.read), 40), tokens.text).on_hover_text(words);
}
