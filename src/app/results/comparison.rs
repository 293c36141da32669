//! Two sessions on the same questions: how far they are apart, whether that can be chance, and what flipped.

use egui::{RichText, Ui};

use super::{Results, Wish};
use crate::app::language::{fill, told, tr};
use crate::app::parts::card::{card, note};
use crate::app::parts::table::{Column, Table, text};
use crate::app::parts::{figure, verdict};
use crate::app::theme::{Tokens, semibold};
use crate::app::{self, Wishes};
use crate::session::{Comparison, Side};

/// Draws the figures and the flips.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(compared) = &results.compared else { return };
    let comparison = &compared.comparison;
    card(ui, |ui| figures_ui(ui, comparison));
    ui.add_space(6.0);
    let gained = comparison.flips.iter().filter(|flip| flip.is_gain()).count();
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(tr("Flips")).family(semibold()).color(tokens.strong));
        let lost = comparison.flips.len() - gained;
        note(ui, fill("{} right in the second alone, {} in the first alone", &[&gained, &lost]));
    });
    if comparison.flips.is_empty() {
        note(ui, tr("No question is right in one session and not in the other"));
        return;
    }
    let column = |name, width, grows| Column { name, width, grows, is_number: false };
    let columns = [
        column(tr("Question"), 90.0, 0.6),
        column(tr("Category"), 90.0, 1.0),
        column(tr("First"), 96.0, 0.4),
        column(tr("Second"), 96.0, 0.4),
    ];
    let chosen = results.answer().map(|looked| looked.answer.index.clone());
    let flips = &comparison.flips;
    let table = Table {
        id: "flips",
        columns: &columns,
        rows: flips.len(),
        row_height: 26.0,
        sorted: None,
        scroll_to: None,
    };
    let is_chosen = |row: usize| chosen.as_deref() == Some(flips[row].index.as_str());
    let name = |row: usize| {
        let it = &flips[row];
        fill(
            "Question {}, first {}, second {}",
            &[&it.index, &verdict::name(it.first), &verdict::name(it.second)],
        )
    };
    let touched = table.show(ui, is_chosen, name, |ui, row, column| {
        let it = &flips[row];
        match column {
            0 => drop(text(ui, &it.index, tokens.strong)),
            1 => drop(text(ui, it.category.as_deref().unwrap_or(""), tokens.subdued)),
            _ => {
                let of = if column == 2 { it.first } else { it.second };
                let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 14.0), egui::Sense::hover());
                verdict::mark(ui.painter(), rect.center(), 10.0, of, tokens.verdict(of));
                text(ui, verdict::name(of), tokens.verdict(of));
            }
        }
    });
    if let Some(row) = touched.clicked.or(touched.opened) {
        wishes.push(app::Wish::Results(Wish::ChooseIndex(flips[row].index.clone())));
    }
}

fn figures_ui(ui: &mut Ui, comparison: &Comparison) {
    let tokens = Tokens::of(ui);
    for (name, side) in [(tr("First"), &comparison.first), (tr("Second"), &comparison.second)] {
        side_ui(ui, name, side);
    }
    let paired = &comparison.paired;
    ui.add_space(4.0);
    match (paired.difference(), paired.interval()) {
        (Some(difference), Some([low, high])) => {
            let words = fill(
                "Second less first: {} points, 95 % interval {} to {}",
                &[&figure::points(difference), &figure::points(low), &figure::points(high)],
            );
            ui.label(RichText::new(words).family(semibold()).color(tokens.strong));
            let p = fill("p = {} (exact McNemar test)", &[&figure::probability(paired.p())]);
            ui.label(RichText::new(p).color(tokens.subdued)).on_hover_text(tr(
                "How likely flips at least this one-sided are if both are equally good; small values speak for a difference",
            ));
            note(
                ui,
                fill(
                    "{} questions in both: {} right in both, {} in the first alone, {} in the second alone, {} in neither",
                    &[
                        &paired.total(),
                        &paired.both,
                        &paired.first_alone,
                        &paired.second_alone,
                        &paired.neither,
                    ],
                ),
            );
        }
        _ => drop(note(ui, tr("No question is judged in both sessions"))),
    }
    for it in comparison.settings.iter().take(6) {
        let words = fill("{} differs: {} and {}", &[&it.setting, &it.here, &it.there]);
        super::screen::line(ui, &words);
    }
    for caution in comparison.cautions.iter().take(6) {
        ui.label(RichText::new(told(caution)).small().color(tokens.warning));
    }
}

fn side_ui(ui: &mut Ui, name: &str, side: &Side) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        figure::name(ui, name, 60.0);
        figure::interval_bar(ui, &side.tally, 120.0);
        ui.label(RichText::new(figure::accuracy(&side.tally)).color(tokens.strong));
        ui.add(egui::Label::new(RichText::new(&side.checkpoint).color(tokens.text)).truncate())
            .on_hover_text(&side.dir);
    });
}
