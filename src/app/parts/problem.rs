//! A problem as a person should meet it: what is wrong, where, what to do.

use egui::{Color32, CornerRadius, Frame, Margin, RichText, Stroke, Ui};

use super::icon::Icon;
use crate::Problem;
use crate::app::language::{told, tr};
use crate::app::theme::Tokens;

/// Draws a problem as a card.
pub fn problem(ui: &mut Ui, problem: &Problem) {
    let tokens = Tokens::of(ui);
    notice(ui, Icon::Warning, tokens.bad, problem);
}

/// Draws something to know that stops nothing.
pub fn remark(ui: &mut Ui, problem: &Problem) {
    let tokens = Tokens::of(ui);
    notice(ui, Icon::Info, tokens.warning, problem);
}

fn notice(ui: &mut Ui, icon: Icon, color: Color32, problem: &Problem) {
    let tokens = Tokens::of(ui);
    Frame::new()
        .fill(color.gamma_multiply(0.10))
        .stroke(Stroke::new(1.0, color.gamma_multiply(0.45)))
        .corner_radius(CornerRadius::same(6))
        .inner_margin(Margin::symmetric(12, 10))
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_top(|ui| {
                icon.ui(ui, 16.0, color);
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 4.0;
                    ui.label(RichText::new(sentence(&problem.what)).color(tokens.strong));
                    if let Some(place) = &problem.place {
                        ui.label(
                            RichText::new(in_window(&told(place)))
                                .text_style(egui::TextStyle::Monospace)
                                .color(tokens.subdued),
                        );
                    }
                    if let Some(fix) = &problem.fix {
                        ui.label(RichText::new(sentence(fix)).color(tokens.text));
                    }
                });
            });
        });
}

/// A text as a sentence in a window: in its language, with a capital, and of its settings.
pub fn sentence(text: &str) -> String {
    let text = in_window(&told(text));
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The names under which the window has what the command line calls so.
fn setting(option: &str) -> Option<&'static str> {
    Some(match option {
        "--batch" | "--concurrency" => tr("In flight"),
        "--category" => tr("Category"),
        "--devices" => tr("Devices"),
        "--dtype" => tr("Number format"),
        "--extra-body" => tr("Further fields"),
        "--key-header" => tr("Key's header"),
        "--layout" => tr("Layout"),
        "--limit" => tr("The first"),
        "--max-new-tokens" => tr("Longest answer"),
        "--max-tiles" => tr("Tiles an image"),
        "--replicas" => tr("Copies"),
        "--resume" => tr("Resume"),
        "--rule" => tr("Rule"),
        "--sample" => tr("Random"),
        "--split" => tr("Split"),
        "--top-logprobs" => tr("Log-probabilities"),
        _ => return None,
    })
}

/// A text that speaks of options of the command line, with the names of the window's settings in their place; commands
/// for the terminal stay as they are.
pub fn in_window(text: &str) -> String {
    if ["shardscope ", "eval ", "terminal"].iter().any(|command| text.contains(command)) {
        return text.to_owned();
    }
    let mut parts = text.split("--");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !it.is_ascii_lowercase() && it != '-').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match setting(&format!("--{name}")) {
            Some(setting) => told.push_str(&format!("\u{201c}{setting}\u{201d}{rest}")),
            None => told.push_str(&format!("--{part}")),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_by_the_names_of_the_windows_settings() {
        let told = sentence("use --layout auto, or simulated devices: --devices sim:8x40GiB");
        assert_eq!(
            told,
            "Use \u{201c}Layout\u{201d} auto, or simulated devices: \u{201c}Devices\u{201d} sim:8x40GiB"
        );
        let command = "resume it in the terminal: eval --session DIR --resume";
        assert_eq!(in_window(command), command);
        for text in ["", "--", "a -- b", "--no-such-thing 3", "caf\u{e9}--\u{e9}"] {
            assert_eq!(in_window(text), text);
        }
    }
}
