//! The layouts side by side: how full, how many hops, which question fails first, and what lies elsewhere.

use egui::{CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use super::alternatives::{self, Alternative, Judged};
use super::desk::Desk;
use super::paint;
use super::toolbar::layout_words;
use super::view::View;
use super::words::{hops, percent, unit_words, verdict_name};
use super::{Wish, ask};
use crate::app::Wishes;
use crate::app::job::Loadable;
use crate::app::language::{fill, told, tr};
use crate::app::parts::problem::problem;
use crate::app::theme::Tokens;
use crate::plan::Layout;

/// The layouts, ours first.
pub fn ui(
    ui: &mut Ui,
    desk: &Desk,
    compared: &Loadable<Vec<Alternative>>,
    view: &mut View,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    match compared {
        Loadable::Ready(all) => {
            ui.label(RichText::new(tr("The same model, devices and questions under every layout. Maps from PyTorch are judged as the software they come from runs them.")).small().color(tokens.subdued));
            ui.add_space(4.0);
            // Those that InternVL has been run with stand first.
            let is_usual = |a: &&Alternative| Layout::COMPARED.contains(&a.layout);
            for alternative in all.iter().filter(is_usual) {
                card(ui, desk, alternative, view, wishes);
            }
            egui::CollapsingHeader::new(tr("Rules for other models")).id_salt("board other rules").show(
                ui,
                |ui| {
                    for alternative in all.iter().filter(|a| !is_usual(a)) {
                        card(ui, desk, alternative, view, wishes);
                    }
                },
            );
        }
        Loadable::Refused(refused) => problem(ui, refused),
        _ => {
            ui.label(RichText::new(tr("Comparing layouts…")).color(tokens.subdued));
        }
    }
}

fn card(ui: &mut Ui, desk: &Desk, alternative: &Alternative, view: &mut View, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let is_here = desk.draft().plan.layout == alternative.layout;
    let stroke = if is_here { tokens.accent } else { tokens.line };
    ui.push_id(alternative.layout.name(), |ui| {
        Frame::new()
            .fill(tokens.card)
            .stroke(Stroke::new(1.0, stroke))
            .corner_radius(CornerRadius::same(6))
            .inner_margin(Margin::symmetric(12, 9))
            .show(ui, |ui| {
                ui.set_min_width(ui.available_width());
                let name =
                    RichText::new(alternative.layout.name()).font(paint::bold(13.5)).color(tokens.strong);
                ui.label(name).on_hover_text(layout_words(alternative.layout));
                match (&alternative.here, alternative.at_home()) {
                    (_, Some(judged)) => judged_ui(ui, desk, alternative, judged, view, wishes),
                    (Err(refused), None) => {
                        ui.label(RichText::new(told(&refused.what)).color(tokens.subdued));
                    }
                    (Ok(_), None) => {}
                }
            });
    });
    ui.add_space(6.0);
}

fn judged_ui(
    ui: &mut Ui,
    desk: &Desk,
    alternative: &Alternative,
    judged: &Judged,
    view: &mut View,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    let verdict = judged.forecast.verdict;
    let color = paint::verdict_color(tokens, verdict);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        paint::verdict_icon(ui, verdict);
        let said = fill(
            "{}, {} of the fullest device",
            &[&verdict_name(verdict), &percent(judged.forecast.worst_share)],
        );
        ui.label(RichText::new(said).color(color));
    });
    let mut facts = vec![hops(judged.plan.hops())];
    match judged.idle() {
        0 => {}
        1 => facts.push(tr("1 GPU idle").into()),
        idle => facts.push(fill("{} GPUs idle", &[&idle])),
    }
    let lost = judged.forecast.counts[2];
    if lost > 0 {
        facts.push(fill("questions lost: {}", &[&lost]));
    }
    ui.label(RichText::new(facts.join(" · ")).small().color(tokens.subdued));
    if let Some((question, device)) = &judged.first_failure {
        let text = fill("First to fail: {} on {}", &[question, device]);
        ui.label(RichText::new(text).color(tokens.text));
    }
    if let Some(why) = &judged.why {
        ui.label(RichText::new(told(why)).small().color(tokens.subdued));
    }
    if let (Some(_), Ok(here)) = (&alternative.released, &alternative.here) {
        let verdict = here.forecast.verdict;
        let said =
            fill("Run by Shardscope: {}, {}", &[&verdict_name(verdict), &percent(here.forecast.worst_share)]);
        ui.label(RichText::new(said).small().color(paint::verdict_color(tokens, verdict)));
    }
    let moved = alternatives::moved(&desk.draft().plan, &judged.plan);
    let units = &desk.case().model.units;
    ui.horizontal(|ui| {
        let is_beside = view.beside == Some(alternative.layout);
        let beside = egui::Button::selectable(is_beside, tr("Show beside"));
        if ui
            .add(beside)
            .on_hover_text(tr("Draws this layout below the board, what lies elsewhere outlined"))
            .clicked()
        {
            view.beside = (!is_beside).then_some(alternative.layout);
        }
        if ui.button(tr("Use this one")).clicked() {
            ask(wishes, Wish::Strategy(alternative.layout));
        }
    });
    if moved.is_empty() {
        return;
    }
    let title = fill("{} runs of units lie elsewhere", &[&moved.len()]);
    egui::CollapsingHeader::new(RichText::new(title).small()).id_salt("moved").show(ui, |ui| {
        for it in &moved {
            let (Some(first), Some(last)) = (units.get(it.units.0), units.get(it.units.1)) else { continue };
            let text = format!("{}: {} → {}", unit_words(first.kind, last.kind), it.from, it.to);
            ui.label(RichText::new(text).small());
        }
    });
}
