//! On which cards this model and these questions would fit.

use egui::{Grid, RichText, Ui};

use super::words::percent;
use super::{Wish, ask, paint};
use crate::app::Wishes;
use crate::app::job::Loadable;
use crate::app::language::{fill, told, tr};
use crate::app::parts::problem::problem;
use crate::app::theme::Tokens;
use crate::plan::bytes::human;
use crate::plan::needs::{CardSet, Needs};

/// The panel.
pub fn ui(ui: &mut Ui, needed: &Loadable<Needs>, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let needs = match needed {
        Loadable::Ready(needs) => needs,
        Loadable::Refused(refused) => return problem(ui, refused),
        _ => {
            ui.label(RichText::new(tr("Looking for cards that would do…")).color(tokens.subdued));
            return;
        }
    };
    ui.label(
        RichText::new(tr(
            "The fewest cards of each size on which every question fits. A click simulates them.",
        ))
        .small()
        .color(tokens.subdued),
    );
    ui.add_space(4.0);
    if needs.sets.is_empty() {
        ui.label(RichText::new(tr("No set of up to 16 common cards holds this model")).color(tokens.strong));
    }
    Grid::new("board needs").num_columns(3).spacing([14.0, 6.0]).show(ui, |ui| {
        for need in &needs.sets {
            cards(ui, need.cards, wishes);
            ui.horizontal(|ui| {
                paint::verdict_icon(ui, need.verdict);
                ui.label(
                    RichText::new(percent(need.worst_share))
                        .color(paint::verdict_color(tokens, need.verdict)),
                );
            });
            ui.label(
                RichText::new(fill("{} to spare", &[&human(need.headroom)])).small().color(tokens.subdued),
            );
            ui.end_row();
        }
    });
    if needs.cheaper.is_empty() {
        return;
    }
    ui.add_space(8.0);
    ui.label(RichText::new(tr("With less")).font(paint::bold(13.5)).color(tokens.strong));
    for concession in &needs.cheaper {
        ui.horizontal_top(|ui| {
            cards(ui, concession.cards, wishes);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.label(RichText::new(told(&concession.what)).small().color(tokens.text));
                if concession.changes_results {
                    ui.label(RichText::new(tr("changes what is measured")).small().color(tokens.bad));
                }
            });
        });
    }
}

fn cards(ui: &mut Ui, set: CardSet, wishes: &mut Wishes) {
    let text = format!("{} × {} GB", set.count, set.gigabytes);
    let button = egui::Button::new(RichText::new(text).size(12.5)).min_size(egui::vec2(88.0, 26.0));
    if ui.add(button).clicked() {
        ask(wishes, Wish::Devices(format!("sim:{}x{}GiB", set.count, set.gigabytes)));
    }
}
