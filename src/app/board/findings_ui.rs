//! What there is to say about a plan, as cards with the fixes that a click applies.

use egui::{Color32, CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use super::desk::Desk;
use super::paint;
use super::words::{percent, verdict_name};
use super::{Wish, ask};
use crate::app::Wishes;
use crate::app::language::{told, tr};
use crate::app::theme::Tokens;
use crate::plan::checks::{Change, Finding, Fix, Severity};

/// The findings of the plan that is shown.
pub fn ui(ui: &mut Ui, desk: &Desk, wishes: &mut Wishes) {
    let outlook = desk.shown().1;
    if outlook.findings.is_empty() {
        let tokens = Tokens::of(ui);
        ui.add_space(10.0);
        ui.label(RichText::new(tr("Nothing to say against this plan")).color(tokens.strong));
        ui.label(
            RichText::new(tr("Every unit is covered, nothing is cut, and memory lasts at every question."))
                .color(tokens.subdued),
        );
        return;
    }
    let can_apply = desk.hypothesis().is_none();
    cards(ui, &outlook.findings, can_apply, wishes);
    if !outlook.has_fixes && can_apply {
        ui.label(RichText::new(tr("Working out what would help…")).color(Tokens::of(ui).subdued));
    }
}

/// Findings as cards; their fixes can be applied where they belong to the plan on the board.
pub fn cards(ui: &mut Ui, findings: &[Finding], can_apply: bool, wishes: &mut Wishes) {
    for (place, finding) in findings.iter().enumerate() {
        ui.push_id(place, |ui| card(ui, finding, can_apply, wishes));
        ui.add_space(6.0);
    }
}

fn severity(tokens: &Tokens, severity: Severity) -> (Color32, &'static str) {
    match severity {
        Severity::Error => (tokens.bad, tr("Error")),
        Severity::Warning => (tokens.warning, tr("Warning")),
        Severity::Note => (tokens.subdued, tr("Note")),
    }
}

fn card(ui: &mut Ui, finding: &Finding, can_apply: bool, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let (color, word) = severity(tokens, finding.severity);
    let shown = Frame::new()
        .fill(tokens.card)
        .stroke(Stroke::new(1.0, tokens.line))
        .corner_radius(CornerRadius::same(6))
        .inner_margin(Margin { left: 14, right: 10, top: 9, bottom: 9 })
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.spacing_mut().item_spacing.y = 4.0;
            ui.spacing_mut().interact_size.y = 18.0;
            ui.horizontal(|ui| {
                ui.label(RichText::new(word).font(paint::bold(13.0)).color(color));
                ui.label(RichText::new(finding.code).monospace().size(11.0).color(tokens.subdued));
            });
            ui.label(RichText::new(sentence(&finding.message)).color(tokens.text));
            if !finding.fixes.is_empty() {
                ui.add_space(3.0);
                ui.label(RichText::new(tr("What would help")).small().color(tokens.subdued));
            }
            for fix in &finding.fixes {
                fix_ui(ui, fix, can_apply, wishes);
            }
        });
    // The stripe says how bad it is before a word is read.
    let mut stripe = shown.response.rect.shrink2(egui::vec2(0.0, 1.0));
    stripe.set_width(4.0);
    let corners = CornerRadius { nw: 6, sw: 6, ne: 0, se: 0 };
    ui.painter().rect_filled(stripe, corners, color);
}

/// A sentence in the window's language with its first letter large; names of units stay as they are.
fn sentence(text: &str) -> String {
    let text = &*told(text);
    let first_word = text.split(' ').next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !first_word.contains(['.', ':', '_']) && first_word != "cpu" => {
            first.to_uppercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

fn fix_ui(ui: &mut Ui, fix: &Fix, can_apply: bool, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let wish = match &fix.change {
        Change::Assumptions(assumptions) => Some(Wish::AdoptAssumptions(assumptions.clone())),
        Change::Assignment(assignment) => Some(Wish::Adopt(assignment.clone())),
        Change::Outside => None,
    };
    let text = RichText::new(sentence(&fix.what)).size(12.5);
    match wish {
        Some(wish) => {
            let button = egui::Button::new(text.color(tokens.text))
                .wrap()
                .min_size(egui::vec2(ui.available_width(), 24.0));
            if ui.add_enabled(can_apply, button).on_hover_text(tr("Click to apply")).clicked() {
                ask(wishes, wish);
            }
        }
        None => {
            ui.label(text.color(tokens.text)).on_hover_text(tr("This is for you to do, outside this window"));
        }
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        if let Some(outcome) = fix.outcome {
            let color = paint::verdict_color(tokens, outcome.verdict);
            paint::verdict_icon(ui, outcome.verdict);
            let text = format!("{} · {}", verdict_name(outcome.verdict), percent(outcome.worst_share));
            ui.label(RichText::new(text).size(12.0).color(color));
        }
        if fix.changes_results {
            ui.label(RichText::new(tr("changes what is measured")).size(12.0).color(tokens.bad));
        }
    });
    ui.add_space(5.0);
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn names_keep_their_letters() {
        assert_eq!(sentence("use Shardscope's own plan"), "Use Shardscope's own plan");
        assert_eq!(sentence("cpu would need 40 GiB"), "cpu would need 40 GiB");
        assert_eq!(sentence("sim:0 would need 40 GiB"), "sim:0 would need 40 GiB");
        assert_eq!(sentence("language_model.lm_head lies on sim:1"), "language_model.lm_head lies on sim:1");
        assert_eq!(sentence(""), "");
    }
}
