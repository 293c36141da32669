//! An answer on the screen: what the model said, the part that the rule read, and how that was judged.

use egui::{FontId, RichText, Ui};

use super::question::value_text;
use super::{Prose, marked};
use crate::Problem;
use crate::app::language::{fill, told, tr};
use crate::app::parts::problem::problem;
use crate::app::parts::verdict;
use crate::app::theme::Tokens;
use crate::scoring::Verdict;
use crate::session::{Answer, Finish};
use crate::words::excerpt;

/// Draws verdict, reading and gold answer on a line or two.
pub fn verdict_ui(ui: &mut Ui, answer: &Answer) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        verdict::badge(ui, answer.verdict);
        let judged = !matches!(answer.verdict, Verdict::Failed | Verdict::OutOfMemory);
        if judged {
            pair(ui, tr("read"), &excerpt(&value_text(&answer.read), 80));
        }
        if !answer.answer.is_null() {
            pair(ui, tr("gold"), &excerpt(&value_text(&answer.answer), 80));
        }
        if answer.score > 0.0 && answer.score < 1.0 {
            pair(ui, tr("credit"), &format!("{:.2}", answer.score));
        }
        if judged && !answer.by.is_empty() {
            let by =
                ui.label(RichText::new(fill("by {}", &[&told(&answer.by)])).small().color(tokens.subdued));
            by.on_hover_text(fill(
                "The step of the rule {} that decided; what it read is marked in the answer",
                &[&answer.rule],
            ));
        }
        if answer.finish == Finish::Length {
            ui.label(RichText::new(tr("cut at the longest answer")).small().color(tokens.warning));
        }
    });
}

fn pair(ui: &mut Ui, name: &str, value: &str) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.x = 5.0;
    ui.label(RichText::new(name).small().color(tokens.subdued));
    ui.label(RichText::new(value).color(tokens.strong));
    ui.add_space(8.0);
}

/// Draws the response with the part that was read marked; formatted where that is chosen. Thinking is folded.
pub fn response_ui(ui: &mut Ui, prose: &mut Prose, name: &str, answer: &Answer, formatted: bool, size: f32) {
    let tokens = Tokens::of(ui);
    if let Some(error) = &answer.error {
        problem(ui, &Problem::new(error));
    }
    if let Some(thinking) = answer.thinking.as_deref().filter(|it| !it.trim().is_empty()) {
        thinking_ui(ui, name, thinking, false, size);
    }
    if answer.response.is_empty() {
        if answer.error.is_none() {
            ui.label(RichText::new(tr("The model said nothing")).color(tokens.subdued));
        }
    } else if formatted {
        prose.show(ui, &format!("{name} response"), &answer.response, size);
    } else {
        let span = answer.span.map(|[from, to]| from..to);
        let ground = tokens.verdict(answer.verdict).gamma_multiply(0.28);
        let font = FontId::proportional(size);
        marked(ui, &format!("{name} response"), &answer.response, font, span.map(|span| (span, ground)));
    }
}

/// Draws what the model thought, folded; open while it is still thinking.
pub fn thinking_ui(ui: &mut Ui, name: &str, thinking: &str, open: bool, size: f32) {
    let tokens = Tokens::of(ui);
    let title =
        RichText::new(fill("Thinking ({} characters)", &[&thinking.chars().count()])).color(tokens.subdued);
    egui::CollapsingHeader::new(title).id_salt(("thinking", name)).default_open(open).show(ui, |ui| {
        marked(ui, &format!("{name} thinking"), thinking, FontId::proportional(size * 0.92), None);
    });
}

/// Parts an answer that is still being written: what the model thinks, and what it answers; and whether it still
/// thinks.
pub fn parted(text: &str) -> (Option<&str>, &str, bool) {
    let trimmed = text.trim_start();
    let Some(inside) = trimmed.strip_prefix("<think>") else {
        return match text.split_once("</think>") {
            Some((thought, answer)) => (Some(thought.trim()), answer.trim_start(), false),
            None => (None, text, false),
        };
    };
    match inside.split_once("</think>") {
        Some((thought, answer)) => (Some(thought.trim()), answer.trim_start(), false),
        None => (Some(inside.trim()), "", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_is_parted_from_the_answer_while_it_comes() {
        assert_eq!(parted("B"), (None, "B", false));
        assert_eq!(parted("<think>\nIs it"), (Some("Is it"), "", true));
        assert_eq!(parted("<think>Yes.</think>\nB"), (Some("Yes."), "B", false));
        assert_eq!(parted("Yes.</think> B"), (Some("Yes."), "B", false));
    }
}
