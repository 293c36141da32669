//! A question on the screen: its text, its options, and which of them is right and which was read.

use egui::{Align2, FontId, RichText, Sense, Stroke, Ui, WidgetInfo, vec2};
use serde_json::Value;

use super::Prose;
use crate::app::language::{fill, tr};
use crate::app::theme::{SEMIBOLD, Tokens};
use crate::dataset::Question;
use crate::session::Answer;

/// A question as it is shown.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A hint that stands before the question.
    pub hint: Option<String>,
    /// The question's text.
    pub text: String,
    /// Letters and texts of its options.
    pub options: Vec<(String, String)>,
    /// The right letter, where it is to be shown.
    pub gold: Option<String>,
    /// The letter that was read, where there is one.
    pub read: Option<String>,
}

impl Asked {
    /// A question of a dataset, its gold answer not shown.
    pub fn of(question: &Question) -> Self {
        let options = question.options.iter().map(|(letter, text)| (letter.to_string(), text.clone()));
        Self {
            hint: question.hint.clone(),
            text: question.text.clone(),
            options: options.collect(),
            gold: None,
            read: None,
        }
    }

    /// A question as its answer keeps it; `revealed` shows which option is right and which was read.
    pub fn answered(answer: &Answer, revealed: bool) -> Self {
        let letter = |value: &Value| value.as_str().map(str::to_owned).filter(|_| revealed);
        Self {
            hint: None,
            text: answer.question.clone(),
            options: answer.options.iter().map(|(letter, text)| (letter.clone(), value_text(text))).collect(),
            gold: letter(&answer.answer),
            read: letter(&answer.read),
        }
    }

    /// Draws it at a size in points; `name` tells it from the other questions on the screen.
    pub fn ui(&self, ui: &mut Ui, prose: &mut Prose, name: &str, size: f32) {
        let tokens = Tokens::of(ui);
        if let Some(hint) = self.hint.as_deref().filter(|hint| !hint.trim().is_empty()) {
            ui.label(RichText::new(tr("Hint")).small().color(tokens.subdued));
            prose.show(ui, &format!("{name} hint"), hint, size * 0.92);
            ui.add_space(4.0);
        }
        if self.text.trim().is_empty() {
            ui.label(RichText::new(tr("The question stands in its picture")).color(tokens.subdued));
        } else {
            prose.show(ui, name, &self.text, size);
        }
        if !self.options.is_empty() {
            ui.add_space(size * 0.5);
        }
        for (letter, text) in &self.options {
            self.option_ui(ui, prose, name, (letter, text), size);
        }
    }

    fn option_ui(&self, ui: &mut Ui, prose: &mut Prose, name: &str, (letter, text): (&str, &str), size: f32) {
        let tokens = Tokens::of(ui);
        let is_gold = self.gold.as_deref() == Some(letter);
        let is_read = self.read.as_deref() == Some(letter);
        let color = match (is_gold, is_read) {
            (true, _) => tokens.good,
            (false, true) => tokens.bad,
            _ => tokens.subdued,
        };
        ui.horizontal_top(|ui| {
            let side = (size * 1.55).round();
            let (square, response) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
            let painter = ui.painter();
            if is_gold || is_read {
                painter.rect_filled(square, 5.0, color.gamma_multiply(0.18));
            }
            painter.rect_stroke(square, 5.0, Stroke::new(1.2, color), egui::StrokeKind::Inside);
            let font = FontId::new(size * 0.92, egui::FontFamily::Name(SEMIBOLD.into()));
            let ink = if is_gold || is_read { color } else { tokens.text };
            painter.text(square.center(), Align2::CENTER_CENTER, letter, font, ink);
            let words = match (is_gold, is_read) {
                (true, true) => tr("right, and read"),
                (true, false) => tr("the right one"),
                (false, true) => tr("read"),
                _ => "",
            };
            let label = fill("Option {}: {}", &[&letter, &text]);
            response
                .widget_info(|| WidgetInfo::labeled(egui::Role::ListItem, true, format!("{label} {words}")));
            let chip = if words.is_empty() { 0.0 } else { size * 7.6 };
            ui.allocate_ui(vec2((ui.available_width() - chip).max(60.0), side), |ui| {
                ui.vertical(|ui| {
                    ui.add_space((side - size * 1.3) / 2.0);
                    prose.show(ui, &format!("{name} {letter}"), text, size);
                });
            });
            if !words.is_empty() {
                ui.vertical(|ui| {
                    ui.add_space((side - size * 1.1) / 2.0);
                    ui.label(RichText::new(words).size(size * 0.82).color(color));
                });
            }
        });
        ui.add_space(2.0);
    }
}

/// A reading or a gold answer in words.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => tr("nothing").to_owned(),
        Value::String(text) if text.trim().is_empty() => tr("nothing").to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().map(value_text).collect::<Vec<_>>().join(" | "),
        other => other.to_string(),
    }
}
