//! Present: one question of a session, full screen, in large type.

use egui::{Align, CentralPanel, Frame, Layout, Margin, Rect, RichText, ScrollArea, Ui, UiBuilder, pos2};

use super::Wishes;
use super::job::Loadable;
use super::language::{fill, tr};
use super::parts::problem::problem;
use super::parts::{Icon, verdict};
use super::pictures::{self, Look};
use super::results::{self, Results};
use super::text::Prose;
use super::text::answer::response_ui;
use super::text::question::{Asked, value_text};
use super::theme::{Tokens, semibold};
use crate::app;
use crate::session::Answer;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Show the answer, or hide it.
    Reveal,
    /// Leave.
    End,
}

/// Where the presentation stands.
#[derive(Default)]
pub struct Presentation {
    /// The answer to begin at, until it is chosen.
    begin: Option<usize>,
    /// The answer that is shown, and whether it is revealed.
    shown: Option<usize>,
    revealed: bool,
    prose: Prose,
    look: Look,
}

impl Presentation {
    /// Begins at one answer of the open session.
    pub fn begin(&mut self, place: usize) {
        (self.begin, self.shown, self.revealed) = (Some(place), None, false);
    }

    /// Whether the answer is shown.
    pub fn is_revealed(&self) -> bool {
        self.revealed
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut Ui, results: &Results, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        if let Some(place) = self.begin.take() {
            wishes.push(app::Wish::Results(results::Wish::Choose(place)));
        }
        if self.shown != results.chosen() {
            (self.shown, self.revealed) = (results.chosen(), false);
            self.look = Look::default();
        }
        keys(ui, wishes);
        let frame = Frame::new().fill(tokens.canvas).inner_margin(Margin::symmetric(28, 18));
        CentralPanel::default().frame(frame).show(ui, |ui| {
            self.head_ui(ui, results, wishes);
            match results.answer() {
                Some(looked) if Some(looked.place) == results.chosen() => {
                    self.body_ui(ui, results, &looked.answer)
                }
                _ => {
                    let words = if results.opened().is_some() { "" } else { tr("No session is open") };
                    ui.centered_and_justified(|ui| ui.label(RichText::new(words).color(tokens.subdued)));
                }
            }
        });
    }

    fn head_ui(&self, ui: &mut Ui, results: &Results, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        ui.horizontal(|ui| {
            if let Some(looked) = results.answer() {
                let at = results.row().map_or(0, |at| at + 1);
                let number = fill("Question {}", &[&looked.answer.index]);
                ui.label(RichText::new(number).size(15.0).family(semibold()).color(tokens.strong));
                if let Some(category) = &looked.answer.category {
                    ui.label(RichText::new(category).color(tokens.subdued));
                }
                ui.label(RichText::new(format!("{at} / {}", results.listed().len())).color(tokens.subdued));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if Icon::Cross.button(ui, tr("Leave (Esc)")).clicked() {
                    wishes.push(app::Wish::Presentation(Wish::End));
                }
                let step = |by| app::Wish::Results(results::Wish::Step(by));
                if Icon::Right.button(ui, tr("The next answer")).clicked() {
                    wishes.push(step(1));
                }
                if Icon::Left.button(ui, tr("The answer before")).clicked() {
                    wishes.push(step(-1));
                }
                let words =
                    if self.revealed { tr("Hide the answer (Space)") } else { tr("Show the answer (Space)") };
                if ui.button(words).clicked() {
                    wishes.push(app::Wish::Presentation(Wish::Reveal));
                }
            });
        });
        ui.add_space(10.0);
    }

    /// Picture and text beside each other; one above the other where the window is narrow.
    fn body_ui(&mut self, ui: &mut Ui, results: &Results, answer: &Answer) {
        let room = ui.available_rect_before_wrap();
        // Type that can be read from the back of a room, and still leaves room for the question.
        let size = (room.height() / 32.0).clamp(18.0, 44.0);
        let pictures = results.pictures();
        let has_pictures =
            !answer.images.is_empty() && !matches!(pictures, None | Some(Loadable::Refused(_)));
        let gap = 28.0;
        let text = match (has_pictures, room.width() > room.height() * 1.1) {
            (false, _) => {
                let width = room.width().min(size * 46.0);
                Rect::from_center_size(room.center(), egui::vec2(width, room.height()))
            }
            (true, true) => {
                Rect::from_min_max(pos2(room.left() + room.width() * 0.48 + gap, room.top()), room.max)
            }
            (true, false) => {
                Rect::from_min_max(pos2(room.left(), room.top() + room.height() * 0.45 + gap), room.max)
            }
        };
        if has_pictures {
            let beside = text.left() > room.left();
            let end = if beside {
                pos2(text.left() - gap, room.bottom())
            } else {
                pos2(room.right(), text.top() - gap)
            };
            let place = Rect::from_min_max(room.min, end);
            ui.scope_builder(UiBuilder::new().max_rect(place), |ui| match pictures {
                Some(Loadable::Ready(shown)) => {
                    pictures::show(ui, &shown.pictures, &mut self.look, place.size())
                }
                Some(Loadable::Refused(why)) => problem(ui, why),
                _ => {}
            });
        }
        let revealed = self.revealed;
        let prose = &mut self.prose;
        ui.scope_builder(UiBuilder::new().max_rect(text), |ui| {
            ScrollArea::vertical().id_salt(("present", &answer.index)).auto_shrink([false, false]).show(
                ui,
                |ui| {
                    if !has_pictures {
                        ui.add_space(room.height() * 0.1);
                    }
                    Asked::answered(answer, revealed).ui(
                        ui,
                        prose,
                        &format!("present {}", answer.index),
                        size,
                    );
                    if revealed {
                        ui.add_space(size * 0.6);
                        revealed_ui(ui, prose, answer, size);
                    }
                },
            );
        });
    }

    /// Carries out a wish; whether the presentation is over.
    pub fn apply(&mut self, wish: Wish, _results: &Results) -> bool {
        match wish {
            Wish::Reveal => self.revealed = !self.revealed,
            Wish::End => return true,
        }
        false
    }
}

/// The verdict in large type, then what the model said.
fn revealed_ui(ui: &mut Ui, prose: &mut Prose, answer: &Answer, size: f32) {
    let tokens = Tokens::of(ui);
    let color = tokens.verdict(answer.verdict);
    ui.horizontal_wrapped(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(size * 1.2, size * 1.3), egui::Sense::hover());
        verdict::mark(ui.painter(), rect.center(), size, answer.verdict, color);
        ui.label(RichText::new(verdict::name(answer.verdict)).size(size).family(semibold()).color(color));
        let short = |value| crate::words::excerpt(&value_text(value), 60);
        if !answer.read.is_null() {
            let read = fill("read {}", &[&short(&answer.read)]);
            ui.label(RichText::new(read).size(size * 0.8).color(tokens.text));
        }
        if !answer.answer.is_null() {
            let gold = fill("gold {}", &[&short(&answer.answer)]);
            ui.label(RichText::new(gold).size(size * 0.8).color(tokens.subdued));
        }
    });
    ui.add_space(size * 0.3);
    response_ui(ui, prose, &format!("present {}", answer.index), answer, false, size * 0.9);
}

fn keys(ui: &Ui, wishes: &mut Wishes) {
    let mut take = |key, wish: app::Wish| {
        if ui.input_mut(|input| input.consume_key(egui::Modifiers::NONE, key)) {
            wishes.push(wish);
        }
    };
    let step = |by| app::Wish::Results(results::Wish::Step(by));
    for key in [egui::Key::ArrowRight, egui::Key::ArrowDown, egui::Key::PageDown] {
        take(key, step(1));
    }
    for key in [egui::Key::ArrowLeft, egui::Key::ArrowUp, egui::Key::PageUp] {
        take(key, step(-1));
    }
    take(egui::Key::Space, app::Wish::Presentation(Wish::Reveal));
    take(egui::Key::Escape, app::Wish::Presentation(Wish::End));
}
