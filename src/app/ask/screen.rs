//! The screen of free questions as it is drawn.

use std::path::PathBuf;

use egui::{Align, CentralPanel, FontId, Frame, Key, Layout, Margin, Panel, RichText, ScrollArea, Ui};

use super::{Ask, End, Exchange, Model, Wish};
use crate::app;
use crate::app::dialog::{Then, What};
use crate::app::language::{fill, tr};
use crate::app::parts::button::{button, primary};
use crate::app::parts::card::{card, note};
use crate::app::parts::empty::empty;
use crate::app::parts::problem::problem;
use crate::app::parts::progress::progress;
use crate::app::parts::{Icon, figure};
use crate::app::text::answer::{parted, thinking_ui};
use crate::app::text::{Prose, marked};
use crate::app::theme::{Tokens, semibold};
use crate::app::{Screen, Wishes, Workspace, pictures};

/// Size of the conversation's text in points.
const TEXT: f32 = 14.5;

impl Ask {
    /// Draws the screen.
    pub(super) fn screen_ui(&mut self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        let width = ui.available_width();
        Panel::left("ask picture")
            .resizable(true)
            .default_size(width * 0.42)
            .size_range(240.0..=(width * 0.7).max(250.0))
            .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin::same(12)))
            .show(ui, |ui| self.picture_ui(ui, wishes));
        let frame =
            Frame::new().fill(tokens.canvas).inner_margin(Margin { left: 4, right: 12, top: 12, bottom: 12 });
        let bar = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(14, 10));
        Panel::bottom("ask question").frame(bar).show(ui, |ui| self.question_ui(ui, workspace, wishes));
        CentralPanel::default().frame(frame).show(ui, |ui| self.conversation_ui(ui, workspace, wishes));
    }

    /// The picture, and the ways to choose one.
    fn picture_ui(&mut self, ui: &mut Ui, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        ui.horizontal(|ui| {
            if button(ui, Icon::Picture, tr("Picture…")).clicked() {
                let endings = pictures::ENDINGS.to_vec();
                let what = What::File {
                    title: tr("Choose a picture").into(),
                    endings: Some((tr("Pictures").into(), endings)),
                };
                wishes.push(app::Wish::Pick(what, Then::new(|path| app::Wish::Ask(Wish::Picture(path)))));
            }
            let edit = egui::TextEdit::singleline(&mut self.path).hint_text(tr("or its path"));
            let edit = edit.background_color(tokens.card);
            let edit = ui.add(edit.desired_width((ui.available_width() - 40.0).max(60.0)));
            edit.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::TextInput, true, tr("Path of a picture"))
            });
            if edit.lost_focus()
                && ui.input(|input| input.key_pressed(Key::Enter))
                && !self.path.trim().is_empty()
            {
                wishes.push(app::Wish::Ask(Wish::Picture(PathBuf::from(self.path.trim()))));
            }
            if self.picture.is_some() && Icon::Cross.button(ui, tr("Ask without a picture")).clicked() {
                wishes.push(app::Wish::Ask(Wish::NoPicture));
            }
        });
        ui.add_space(6.0);
        if self.picture.is_some() {
            let room = ui.available_size();
            if !self.shown.is_empty() {
                pictures::show(ui, &self.shown, &mut self.look, room);
            }
        } else {
            let (rect, _) = ui.allocate_exact_size(ui.available_size(), egui::Sense::hover());
            ui.painter().rect_stroke(
                rect,
                8.0,
                egui::Stroke::new(1.0, tokens.line),
                egui::StrokeKind::Inside,
            );
            ui.scope_builder(egui::UiBuilder::new().max_rect(rect.shrink(16.0)), |ui| {
                empty(
                    ui,
                    Icon::Picture,
                    tr("No picture"),
                    tr("Choose one, type its path, or ask without"),
                    |_| {},
                );
            });
        }
    }

    /// Where the question is written.
    fn question_ui(&mut self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
        let busy = self.is_busy();
        let line = egui::vec2(ui.available_width(), 46.0);
        ui.allocate_ui_with_layout(line, Layout::right_to_left(Align::Center), |ui| {
            let ready = !busy && !self.question.trim().is_empty() && who(workspace).is_some();
            let mut send = false;
            if busy {
                if button(ui, Icon::Stop, tr("Stop")).clicked() {
                    wishes.push(app::Wish::Ask(Wish::Stop));
                }
            } else {
                ui.add_enabled_ui(ready, |ui| send = primary(ui, None, tr("Ask")).clicked());
            }
            let edit = egui::TextEdit::multiline(&mut self.question)
                .hint_text(tr("Ask the model anything; Enter sends, Shift+Enter begins a new line"))
                .desired_rows(2)
                .background_color(Tokens::of(ui).card)
                .desired_width(ui.available_width())
                .return_key(egui::KeyboardShortcut::new(egui::Modifiers::SHIFT, Key::Enter));
            let edit = ui.add(edit);
            edit.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::MultilineTextInput, true, tr("Question"))
            });
            let entered =
                edit.has_focus() && ui.input(|input| input.key_pressed(Key::Enter) && !input.modifiers.shift);
            if send || (entered && ready) {
                wishes.push(app::Wish::Ask(Wish::Ask));
            }
        });
        let of = self.of.as_ref().filter(|_| self.is_of(workspace));
        let words = match (&self.model, of) {
            (Model::Preparing(_), _) => tr("planning where the model lies").to_owned(),
            (Model::Loading(_, _, (bytes, total)), _) => {
                let share = if *total > 0 { Some(*bytes as f32 / *total as f32) } else { None };
                progress(ui, tr("Loading the model"), share, false);
                return;
            }
            (Model::Ready(..), Some((_, name))) if !workspace.served.is_chosen => {
                fill("{} is loaded", &[name])
            }
            (Model::Ready(..), None) if !workspace.served.is_chosen => {
                tr("Something else is chosen by now: the next question loads it").to_owned()
            }
            _ if workspace.served.is_chosen => match (who(workspace), workspace.served.server.place()) {
                (Some(name), Ok(place)) => fill("Questions go to {}, served at {}", &[&name, &place.host()]),
                _ => tr("the served model cannot be asked yet; see the setup").to_owned(),
            },
            _ => match who(workspace) {
                Some(name) => fill("The first question loads {}", &[&name]),
                None => tr("no checkpoint is chosen").to_owned(),
            },
        };
        note(ui, words);
    }

    fn conversation_ui(&mut self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
        if let Model::Refused(why) = &self.model {
            problem(ui, why);
            ui.add_space(6.0);
        }
        if self.exchanges.is_empty() {
            let name = who(workspace).unwrap_or_else(|| tr("the chosen model").to_owned());
            let what = fill("Ask {}", &[&name]);
            let why = tr(
                "Any picture and any question, put as it stands, outside any benchmark; nothing of it is kept",
            );
            empty(ui, Icon::Info, &what, why, |ui| {
                if who(workspace).is_none() && ui.button(tr("Setup")).clicked() {
                    wishes.push(app::Wish::Go(Screen::Setup));
                }
            });
            return;
        }
        ui.horizontal(|ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if ui.button(tr("Clear")).clicked() {
                    wishes.push(app::Wish::Ask(Wish::Clear));
                }
                ui.toggle_value(&mut self.formatted, tr("Formatted"));
            });
        });
        let (prose, formatted) = (&mut self.prose, self.formatted);
        ScrollArea::vertical()
            .id_salt("conversation")
            .auto_shrink([false, false])
            .stick_to_bottom(true)
            .show(ui, |ui| {
                ui.set_width(ui.available_width() - 6.0);
                for it in &self.exchanges {
                    card(ui, |ui| exchange_ui(ui, it, prose, formatted));
                    ui.add_space(8.0);
                }
            });
    }
}

/// Who would answer.
fn who(workspace: &Workspace) -> Option<String> {
    let is_ready = !workspace.served.is_chosen || workspace.served.obstacle().is_none();
    workspace.answerer().filter(|_| is_ready)
}

fn exchange_ui(ui: &mut Ui, it: &Exchange, prose: &mut Prose, formatted: bool) {
    let tokens = Tokens::of(ui);
    let name = format!("exchange {}", it.serial);
    if let Some(picture) = &it.picture {
        ui.horizontal(|ui| {
            Icon::Picture.ui(ui, 14.0, tokens.subdued);
            ui.add(egui::Label::new(RichText::new(picture).small().color(tokens.subdued)).truncate());
        });
    }
    ui.label(RichText::new(&it.question).size(TEXT).family(semibold()).color(tokens.strong));
    ui.add_space(4.0);
    let whole = match &it.end {
        Some(End::Answered(answer)) => answer.response.as_str(),
        _ => it.text.as_str(),
    };
    let (thinking, answer, still) = parted(whole);
    let kept = match &it.end {
        Some(End::Answered(answer)) => answer.thinking.as_deref(),
        _ => None,
    };
    if let Some(thinking) = kept.or(thinking).filter(|it| !it.trim().is_empty()) {
        thinking_ui(ui, &name, thinking, still && it.end.is_none(), TEXT);
    }
    if formatted && it.end.is_some() {
        prose.show(ui, &name, answer, TEXT);
    } else if !answer.is_empty() {
        marked(ui, &name, answer, FontId::proportional(TEXT), None);
    }
    match &it.end {
        None if it.text.is_empty() => drop(note(ui, tr("taking in the pictures and the prompt"))),
        None => {}
        Some(End::Stopped) => drop(note(ui, tr("stopped"))),
        Some(End::Failed(why)) => problem(ui, why),
        Some(End::Answered(answer)) => {
            if answer.response.is_empty() {
                note(ui, tr("The model said nothing"));
            }
            let speed = answer.output_tokens as f64 / answer.seconds.decode.max(1e-9);
            let took = figure::seconds(answer.seconds.total);
            let mut words = match answer.output_tokens {
                0 => fill("answered in {}", &[&took]),
                tokens => fill("{} tokens in {}", &[&tokens, &took]),
            };
            // A server that says everything at once tells nothing of its speed.
            if answer.output_tokens > 1 && answer.seconds.decode > 1e-3 {
                words = format!("{words} · {}", fill("{} tokens/s", &[&format!("{speed:.1}")]));
            }
            let cost = it.cost.map(|(tiles, tokens)| match tiles {
                1 => fill("1 tile · {} tokens in the prompt", &[&tokens]),
                _ => fill("{} tiles · {} tokens in the prompt", &[&tiles, &tokens]),
            });
            if let Some(cost) = cost {
                words = format!("{words} · {cost}");
            }
            ui.add_space(2.0);
            note(ui, words);
        }
    }
}
