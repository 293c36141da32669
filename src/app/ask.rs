//! Ask: any picture and any question to the chosen model, outside any benchmark.

use std::path::PathBuf;

use crossbeam_channel::Receiver;
use egui::{Align, CentralPanel, FontId, Frame, Key, Layout, Margin, Panel, RichText, ScrollArea, Ui};

use super::dialog::{Then, What};
use super::job::{Job, Wake};
use super::language::{fill, tr};
use super::parts::button::{button, primary};
use super::parts::card::{card, note};
use super::parts::empty::empty;
use super::parts::problem::problem;
use super::parts::progress::progress;
use super::parts::{Icon, figure};
use super::pictures::{self, Look, Picture};
use super::run::link::forwarded;
use super::text::answer::{parted, thinking_ui};
use super::text::{Prose, marked};
use super::theme::{Tokens, semibold};
use super::{Screen, Wishes, Workspace};
use crate::app;
use crate::engine::talk::{Said, Talk};
use crate::evaluation::free;
use crate::session::Answer;
use crate::{Problem, Result};

/// Exchanges that are kept on the screen.
const KEPT: usize = 100;

/// Size of the conversation's text in points.
const TEXT: f32 = 14.5;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Put this picture to the question.
    Picture(PathBuf),
    /// Ask without a picture.
    NoPicture,
    /// Ask what is written.
    Ask,
    /// Give up the answer that is being written.
    Stop,
    /// Forget the conversation.
    Clear,
}

/// A question and what came of it.
pub struct Exchange {
    number: u64,
    /// What was asked.
    pub question: String,
    /// The picture's name.
    pub picture: Option<String>,
    /// What the model has said so far.
    pub text: String,
    /// How it ended.
    pub end: Option<End>,
    cost: Option<(usize, usize)>,
}

/// How an exchange ended.
pub enum End {
    /// The model answered.
    Answered(Box<Answer>),
    /// The person stopped it.
    Stopped,
    /// It could not be answered.
    Failed(Problem),
}

/// How far the model is.
#[derive(Default)]
enum Model {
    /// Nothing was asked yet.
    #[default]
    Absent,
    /// Where it lies is being planned.
    Preparing(Job<crate::engine::talk::Ordered>),
    /// Its weights are being loaded: bytes so far, and in all.
    Loading(Talk, Receiver<Said>, (u64, u64)),
    /// It answers.
    Ready(Talk, Receiver<Said>),
    /// It cannot be used.
    Refused(Problem),
}

/// The conversation with the model.
#[derive(Default)]
pub struct Ask {
    model: Model,
    /// What the model was loaded from and how, and its name.
    of: Option<(String, String)>,
    question: String,
    path: String,
    picture: Option<PathBuf>,
    reading: Option<Job<Picture>>,
    shown: Vec<Result<Picture>>,
    waiting: bool,
    exchanges: Vec<Exchange>,
    prose: Prose,
    look: Look,
    formatted: bool,
}

impl Ask {
    /// The conversation so far.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Writes a question, as a person would.
    pub fn write(&mut self, question: &str) {
        question.clone_into(&mut self.question);
    }

    /// Whether an answer is being written, or waits for the model.
    pub fn is_busy(&self) -> bool {
        self.waiting || self.exchanges.iter().any(|it| it.end.is_none())
    }

    /// Takes what the model has said.
    pub fn receive(&mut self, wake: &Wake, _wishes: &mut Wishes) {
        if let Some(read) = self.reading.as_ref().and_then(Job::poll) {
            self.reading = None;
            self.shown = vec![read];
        }
        self.model = match std::mem::take(&mut self.model) {
            Model::Preparing(job) => match job.poll() {
                None => Model::Preparing(job),
                Some(Err(problem)) => Model::Refused(problem),
                Some(Ok(ordered)) => {
                    let begun = Talk::start(ordered).and_then(|talk| {
                        let said = forwarded(talk.events.clone(), wake)?;
                        Ok((talk, said))
                    });
                    match begun {
                        Ok((talk, said)) => Model::Loading(talk, said, (0, 0)),
                        Err(problem) => Model::Refused(problem),
                    }
                }
            },
            other => other,
        };
        let said: Vec<Said> = match &self.model {
            Model::Loading(_, said, _) | Model::Ready(_, said) => said.try_iter().collect(),
            _ => Vec::new(),
        };
        for said in said {
            self.take(said);
        }
        if matches!(self.model, Model::Ready(..)) && std::mem::take(&mut self.waiting) {
            self.send();
        }
        if matches!(self.model, Model::Refused(_)) {
            self.waiting = false;
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Loading(bytes, total) => {
                if let Model::Loading(_, _, at) = &mut self.model {
                    *at = (bytes, total);
                }
            }
            Said::Loaded => {
                self.model = match std::mem::take(&mut self.model) {
                    Model::Loading(talk, said, _) => Model::Ready(talk, said),
                    other => other,
                };
            }
            Said::Asking { number, tiles, prompt_tokens } => {
                if let Some(it) = self.exchange(number) {
                    it.cost = Some((tiles, prompt_tokens));
                }
            }
            Said::Text { number, text } => {
                if let Some(it) = self.exchange(number) {
                    it.text.push_str(&text);
                }
            }
            Said::Answered { number, answer } => {
                self.cut(&answer);
                self.end(number, End::Answered(answer));
            }
            Said::Stopped { number } => self.end(number, End::Stopped),
            Said::Failed { number, problem } => self.end(number, End::Failed(problem)),
            Said::Broken(problem) => {
                for it in self.exchanges.iter_mut().filter(|it| it.end.is_none()) {
                    it.end = Some(End::Failed(problem.clone()));
                }
                self.model = Model::Refused(problem);
            }
        }
    }

    /// How the picture was cut is known when it was asked about.
    fn cut(&mut self, answer: &Answer) {
        if let (Some(Ok(picture)), [cut]) = (self.shown.first_mut(), answer.images.as_slice())
            && picture.name == cut.name
        {
            let [cols, rows] = cut.grid;
            picture.grid = Some((cut.grid, answer.tiles > u64::from(cols) * u64::from(rows)));
        }
    }

    fn exchange(&mut self, number: u64) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().rev().find(|it| it.number == number)
    }

    fn end(&mut self, number: u64, end: End) {
        if let Some(it) = self.exchange(number) {
            it.end = Some(end);
        }
    }

    /// Sends what is written to the model, which is ready.
    fn send(&mut self) {
        let Model::Ready(talk, _) = &mut self.model else { return };
        let pictures: Vec<PathBuf> = self.picture.iter().cloned().collect();
        let name = self
            .picture
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|it| it.to_string_lossy().into_owned());
        let Ok(question) = free::question(&self.question, &pictures) else { return };
        let text = question.text.clone();
        let number = talk.ask(question);
        self.exchanges.push(Exchange {
            number,
            question: text,
            picture: name,
            text: String::new(),
            end: None,
            cost: None,
        });
        let over = self.exchanges.len().saturating_sub(KEPT);
        self.exchanges.drain(..over);
        self.question.clear();
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, workspace: &Workspace, wake: &Wake) {
        match wish {
            Wish::Picture(path) => {
                self.path = path.display().to_string();
                self.picture = Some(path.clone());
                self.look = Look::default();
                self.shown.clear();
                self.reading = Some(Job::start("read a picture", wake, move |_| pictures::read_file(path)));
            }
            Wish::NoPicture => {
                (self.picture, self.reading) = (None, None);
                self.path.clear();
                self.shown.clear();
            }
            Wish::Ask => {
                if self.is_busy() || self.question.trim().is_empty() {
                    return;
                }
                self.waiting = true;
                self.load(workspace, wake);
            }
            Wish::Stop => {
                self.waiting = false;
                if let Model::Loading(talk, ..) | Model::Ready(talk, _) = &self.model {
                    talk.stop();
                }
            }
            Wish::Clear => self.exchanges.retain(|it| it.end.is_none()),
        }
    }

    /// Loads the chosen model, unless it is there.
    fn load(&mut self, workspace: &Workspace, wake: &Wake) {
        let here = matches!(self.model, Model::Preparing(_) | Model::Loading(..) | Model::Ready(..));
        if here && self.is_of(workspace) {
            return;
        }
        let Some(subject) = workspace.subject.ready() else {
            self.model = Model::Refused(
                Problem::new(tr("no checkpoint is chosen")).fix(tr("choose one on the setup screen")),
            );
            return;
        };
        if let Some(obstacle) = subject.obstacle() {
            self.model = Model::Refused(obstacle);
            return;
        }
        let Some(checkpoint) = subject.checkpoint.clone() else { return };
        let choices = workspace.choices.clone();
        self.of = Some((wanted(workspace), subject.name.clone()));
        self.model = Model::Preparing(Job::start("prepare the model", wake, move |_| {
            free::prepare(checkpoint, &choices)
        }));
    }

    fn is_of(&self, workspace: &Workspace) -> bool {
        self.of.as_ref().is_some_and(|(of, _)| *of == wanted(workspace))
    }

    /// Lets go of the model, so that a run has the devices to itself.
    pub fn release(&mut self) {
        if !self.is_busy() {
            self.model = Model::Absent;
        }
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
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
            let ready = !busy && !self.question.trim().is_empty() && workspace.subject.ready().is_some();
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
            (Model::Ready(..), Some((_, name))) => fill("{} is loaded", &[name]),
            (Model::Ready(..), None) => {
                tr("Something else is chosen by now: the next question loads it").to_owned()
            }
            _ => match workspace.subject.ready() {
                Some(subject) => fill("The first question loads {}", &[&subject.name]),
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
            let name = workspace
                .subject
                .ready()
                .map_or(tr("the chosen checkpoint"), |subject| subject.name.as_str());
            let what = fill("Ask {}", &[&name]);
            let why = tr(
                "Any picture and any question, put as it stands, outside any benchmark; nothing of it is kept",
            );
            empty(ui, Icon::Info, &what, why, |ui| {
                if workspace.subject.ready().is_none() && ui.button(tr("Setup")).clicked() {
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

/// Everything on which the loaded model depends.
fn wanted(workspace: &Workspace) -> String {
    let choices = &workspace.choices;
    let source = workspace.subject.ready().map(|subject| subject.source.as_str()).unwrap_or_default();
    let (dtype, devices, layout) = (&choices.dtype, &choices.devices, &choices.layout);
    format!("{source}\n{dtype}\n{devices}\n{layout}\n{:?}", choices.settings)
}

fn exchange_ui(ui: &mut Ui, it: &Exchange, prose: &mut Prose, formatted: bool) {
    let tokens = Tokens::of(ui);
    let name = format!("exchange {}", it.number);
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
            let mut words =
                fill("{} tokens in {}", &[&answer.output_tokens, &figure::seconds(answer.seconds.total)]);
            if answer.output_tokens > 1 {
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
