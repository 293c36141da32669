//! Ask: any picture and any question to the chosen model, outside any benchmark.

mod screen;

use std::path::PathBuf;

use crossbeam_channel::Receiver;

use super::job::{Job, Wake};
use super::language::tr;
use super::pictures::{self, Look, Picture};
use super::run::link::forwarded;
use super::served::Line;
use super::text::Prose;
use super::{Wishes, Workspace};
use crate::engine::talk::{Said, Talk};
use crate::evaluation::free;
use crate::session::Answer;
use crate::{Problem, Result, engine};

/// Exchanges that are kept on the screen.
const KEPT: usize = 100;

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
    /// Tells it from all others on the screen; numbers begin anew with each model.
    serial: u64,
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
    Preparing(Job<Ordered>),
    /// Its weights are being loaded: bytes so far, and in all.
    Loading(Talk, Receiver<Said>, (u64, u64)),
    /// It answers.
    Ready(Talk, Receiver<Said>),
    /// It cannot be used.
    Refused(Problem),
}

/// What is needed to answer.
enum Ordered {
    /// The model on this machine.
    Here(Box<engine::talk::Ordered>),
    /// A served one.
    Served(Box<engine::served::talk::Ordered>),
}

impl Ordered {
    fn start(self) -> Result<Talk> {
        match self {
            Self::Here(ordered) => Talk::start(*ordered),
            Self::Served(ordered) => engine::served::talk::start(*ordered),
        }
    }
}

/// The conversation with the model.
#[derive(Default)]
pub struct Ask {
    model: Model,
    /// What the model was loaded from and how, and its name.
    of: Option<(String, String)>,
    /// The server that answers, broken off where a person wants no more.
    server: Option<Line>,
    question: String,
    path: String,
    picture: Option<PathBuf>,
    reading: Option<Job<Picture>>,
    shown: Vec<Result<Picture>>,
    waiting: bool,
    exchanges: Vec<Exchange>,
    asked: u64,
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
                    let begun = ordered.start().and_then(|talk| {
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
        self.asked += 1;
        self.exchanges.push(Exchange {
            number,
            serial: self.asked,
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
                // What hangs on a silent server hears nothing else. The next question begins anew, which costs nothing.
                if let Some(server) = self.server.take() {
                    server.cut();
                    self.model = Model::Absent;
                    for it in self.exchanges.iter_mut().filter(|it| it.end.is_none()) {
                        it.end = Some(End::Stopped);
                    }
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
        self.server = None;
        if workspace.served.is_chosen {
            return self.call(workspace, wake);
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
        self.of = Some((wanted(workspace), workspace.answerer().unwrap_or_default()));
        self.model = Model::Preparing(Job::start("prepare the model", wake, move |_| {
            free::prepare(checkpoint, &choices).map(|ordered| Ordered::Here(Box::new(ordered)))
        }));
    }

    /// Makes ready to ask the served model.
    fn call(&mut self, workspace: &Workspace, wake: &Wake) {
        let served = &workspace.served;
        let made = match served.obstacle() {
            Some(problem) => Err(problem),
            None => served.door().and_then(|it| Ok((it, served.server.service()?))),
        };
        match made {
            Err(problem) => self.model = Model::Refused(problem),
            Ok((door, service)) => {
                self.of = Some((wanted(workspace), served.name()));
                let line = Line::default();
                self.server = Some(line.clone());
                let choices = workspace.choices.clone();
                self.model = Model::Preparing(Job::start("prepare to ask", wake, move |_| {
                    let (_, endpoint) = door.open()?;
                    line.is(&endpoint);
                    free::served(endpoint, service, &choices)
                        .map(|ordered| Ordered::Served(Box::new(ordered)))
                }));
            }
        }
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
    pub fn ui(&mut self, ui: &mut egui::Ui, workspace: &Workspace, wishes: &mut Wishes) {
        self.screen_ui(ui, workspace, wishes);
    }
}

/// Everything on which the loaded model depends.
fn wanted(workspace: &Workspace) -> String {
    let choices = &workspace.choices;
    if workspace.served.is_chosen {
        let served = &workspace.served;
        // Nothing of this is shown: what is hidden is in it to tell whether another key was typed.
        let hidden = (&served.key.0, &served.server.headers.0);
        return format!("{:?}\n{hidden:?}\n{:?}", served.server, choices.settings);
    }
    let source = workspace.subject.ready().map(|subject| subject.source.as_str()).unwrap_or_default();
    let (dtype, devices, layout) = (&choices.dtype, &choices.devices, &choices.layout);
    format!("{source}\n{dtype}\n{devices}\n{layout}\n{:?}", choices.settings)
}
