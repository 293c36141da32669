//! The window itself: navigation, the screens, what the engine and jobs bring, and what wishes change.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chosen::Chosen;
use super::dialog::{self, Dialogs, SystemDialogs};
pub use super::habits::{Habits, Theme};
use super::job::{Job, Wake};
use super::language::{self, tr};
use super::parts::toast::Toasts;
use super::served::{Opening, Served};
use super::theme::{self, Tokens};
use super::{
    Wish, Wishes, Workspace, ask, bar, board, overlay, pictures, present, results, run, sessions, setup,
    shortcut,
};
use crate::Problem;
use crate::evaluation::named::{self, Meant};
use crate::evaluation::{Choices, Learnt};

/// A screen of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Screen {
    /// Pick a checkpoint and a dataset.
    #[default]
    Setup,
    /// The device map.
    Board,
    /// The run in progress.
    Run,
    /// Every question of a session.
    Results,
    /// All sessions on disk.
    Sessions,
    /// Any picture and any question.
    Ask,
    /// One question, full screen.
    Present,
}

impl Screen {
    /// Those of the navigation, in order.
    pub const NAVIGATION: [Self; 6] =
        [Self::Setup, Self::Board, Self::Run, Self::Results, Self::Sessions, Self::Ask];

    /// Its name in the navigation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => tr("Setup"),
            Self::Board => tr("Layout"),
            Self::Run => tr("Run"),
            Self::Results => tr("Results"),
            Self::Sessions => tr("Sessions"),
            Self::Ask => tr("Ask"),
            Self::Present => tr("Present"),
        }
    }
}

/// The window's state.
pub struct App {
    /// The screen shown.
    pub screen: Screen,
    /// What is chosen for the next run.
    pub workspace: Workspace,
    /// What survives a restart.
    pub habits: Habits,
    /// The setup screen.
    pub setup: setup::Setup,
    /// The board.
    pub board: board::Board,
    /// The run in progress, or the last one.
    pub run: run::Runs,
    /// The open session.
    pub results: results::Results,
    /// Sessions on disk.
    pub sessions: sessions::Sessions,
    /// The presentation.
    pub present: present::Presentation,
    /// Free questions.
    pub ask: ask::Ask,
    /// How a person is asked for files.
    pub dialogs: Arc<dyn Dialogs>,
    /// Words for a moment.
    pub toasts: Toasts,
    dialog: Option<dialog::Open>,
    dropped: Vec<Job<(PathBuf, Meant)>>,
    shows_keys: bool,
    /// Whether the last frame was dark.
    is_dark: bool,
    closing: Closing,
    /// The version of the workspace that the habits know, and its choices.
    kept: Option<(u64, Choices)>,
    wake: Wake,
}

/// Whether the window is about to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// No.
    No,
    /// The person is asked, for a run is in progress.
    Asked,
    /// Yes.
    Yes,
}

impl App {
    /// The window as it was left; at its first start with the built-in pair, ready to run.
    pub fn new(ctx: &egui::Context, habits: Habits) -> Self {
        let mut app = Self::in_folder(ctx, habits, crate::session::sessions_root());
        app.workspace.choices.learnt = Learnt::Usual;
        app.setup.look(&app.wake);
        app
    }

    /// The same with another folder of sessions, and without a look at what else lies on this machine.
    pub fn in_folder(ctx: &egui::Context, habits: Habits, sessions: PathBuf) -> Self {
        theme::install(ctx);
        language::choose(habits.language);
        let waking = ctx.clone();
        let wake: Wake = Arc::new(move || waking.request_repaint());
        let mut workspace = Workspace::opening(&habits.checkpoint, &habits.dataset, sessions, &wake);
        workspace.choices = habits.chosen.choices();
        workspace.served = Served::remembered(habits.server.clone(), habits.is_served);
        Self {
            screen: Screen::default(),
            workspace,
            setup: setup::Setup::default(),
            board: board::Board::new(habits.board),
            run: run::Runs::default(),
            results: results::Results::default(),
            sessions: sessions::Sessions::default(),
            present: present::Presentation::default(),
            ask: ask::Ask::default(),
            dialogs: Arc::new(SystemDialogs),
            toasts: Toasts::default(),
            dialog: None,
            dropped: Vec::new(),
            shows_keys: false,
            is_dark: true,
            closing: Closing::No,
            kept: None,
            habits,
            wake,
        }
    }

    /// Whether no job is at work: each of them holds the wake until it has told its result.
    pub fn is_at_rest(&self) -> bool {
        Arc::strong_count(&self.wake) == 1
    }

    /// Whether the window may close now; where a run is in progress, the person is asked first.
    pub fn may_close(&mut self) -> bool {
        if self.closing == Closing::Yes || !self.run.is_active() {
            return true;
        }
        self.closing = Closing::Asked;
        false
    }

    /// Whether the person wants it closed though it was asked whether to stay.
    pub fn is_to_close(&self) -> bool {
        self.closing == Closing::Yes
    }

    /// Takes what jobs and the engine have brought. Called before each frame, and while the window is hidden.
    pub fn receive(&mut self) {
        let mut wishes = Wishes::new();
        self.hear_dialogs(&mut wishes);
        if self.workspace.poll() {
            if let Some(subject) = self.workspace.subject.ready() {
                self.habits.checkpoint.clone_from(&subject.source);
            }
            if let Some(named) = self.workspace.dataset_named() {
                self.habits.dataset = named;
            }
            if self.workspace.served.health.ready().is_some() {
                self.remember_server();
            }
        }
        self.keep();
        self.setup.receive(&self.workspace, &self.wake, &mut wishes);
        self.board.receive(&self.workspace, self.run.is_active(), &self.wake, &mut wishes);
        self.run.receive(&self.wake, &mut wishes);
        self.results.receive(&self.wake, &mut wishes);
        self.sessions.receive(&self.workspace, self.run.is_active(), &self.wake, &mut wishes);
        self.ask.receive(&self.wake, &mut wishes);
        for wish in wishes {
            self.apply(wish);
        }
    }

    /// Takes what is chosen into the habits, where it has changed.
    fn keep(&mut self) {
        let Workspace { version, choices, .. } = &self.workspace;
        if self.kept.as_ref().is_some_and(|(known, before)| known == version && before == choices) {
            return;
        }
        self.kept = Some((*version, choices.clone()));
        self.habits.chosen = Chosen::of(&self.workspace.choices);
        self.habits.is_served = self.workspace.served.is_chosen;
        self.habits.server = self.workspace.served.kept().unwrap_or_default();
    }

    /// Puts the server that is chosen among the recent ones.
    fn remember_server(&mut self) {
        if let Some(server) = self.workspace.served.kept() {
            self.habits.remember_server(server);
        }
    }

    /// What dialogs and dropped files have come to.
    fn hear_dialogs(&mut self, wishes: &mut Wishes) {
        if let Some(closed) = self.dialog.as_ref().and_then(dialog::Open::poll) {
            self.dialog = None;
            match closed {
                Ok(wish) => wishes.extend(wish),
                Err(problem) => wishes.push(Wish::Warn(problem)),
            }
        }
        self.dropped.retain(|job| match job.poll() {
            None => true,
            Some(Err(problem)) => {
                wishes.push(Wish::Warn(problem));
                false
            }
            Some(Ok((path, meant))) => {
                let named = path.display().to_string();
                match meant {
                    Meant::Checkpoint => {
                        wishes.extend([Wish::OpenCheckpoint(named), Wish::Go(Screen::Setup)])
                    }
                    Meant::Dataset => wishes.extend([Wish::OpenDataset(named), Wish::Go(Screen::Setup)]),
                    Meant::Session => wishes.push(Wish::ShowSession(path)),
                    Meant::Predictions => {
                        let import = Wish::Sessions(sessions::Wish::Import(path));
                        wishes.extend([Wish::Go(Screen::Sessions), import]);
                    }
                }
                false
            }
        });
    }

    /// Draws one frame and carries out what it asked for.
    pub fn frame(&mut self, ui: &mut egui::Ui) {
        language::choose(self.habits.language);
        ui.ctx().set_theme(self.habits.theme.preference());
        self.is_dark = ui.ctx().theme() == egui::Theme::Dark;
        let mut wishes = Wishes::new();
        shortcut::take(ui.ctx(), self.screen, &mut wishes);
        if self.screen == Screen::Present {
            self.present.ui(ui, &self.results, &mut wishes);
        } else {
            bar::bar_ui(self, ui, &mut wishes);
            let canvas = egui::Frame::new().fill(Tokens::of(ui).canvas);
            egui::CentralPanel::default().frame(canvas).show(ui, |ui| self.screen_ui(ui, &mut wishes));
        }
        overlay::drops(ui, &mut wishes);
        if self.shows_keys {
            overlay::keys_ui(ui, &mut wishes);
        }
        if self.closing == Closing::Asked {
            overlay::ask_before_closing(ui, &mut wishes);
        }
        self.toasts.show(ui.ctx(), &mut wishes);
        if !wishes.is_empty() {
            // What they change is drawn at once.
            ui.ctx().request_repaint();
        }
        for wish in wishes {
            self.apply(wish);
        }
    }

    fn screen_ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        match self.screen {
            Screen::Setup => self.setup.ui(ui, &self.workspace, &self.habits, wishes),
            Screen::Board => {
                self.board.ui(ui, &self.workspace, wishes);
                self.habits.board = self.board.view.kept();
            }
            Screen::Run => self.run.ui(ui, &self.workspace, wishes),
            Screen::Results => self.results.ui(ui, wishes),
            Screen::Sessions => self.sessions.ui(ui, wishes),
            Screen::Ask => self.ask.ui(ui, &self.workspace, wishes),
            Screen::Present => {}
        }
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish) {
        match wish {
            Wish::Go(screen) => {
                if screen == Screen::Sessions {
                    self.sessions.look(&self.wake);
                }
                if screen == Screen::Results
                    && let Some(newest) = self.sessions.newest()
                {
                    self.results.apply(results::Wish::Offer(newest), &self.wake);
                }
                self.screen = screen;
            }
            Wish::OpenCheckpoint(named) => {
                Habits::remember(&mut self.habits.checkpoints, &named);
                self.workspace.open_checkpoint(named, &self.wake);
            }
            Wish::OpenDataset(named) => {
                Habits::remember(&mut self.habits.datasets, &named);
                self.workspace.open_dataset(named, &self.wake);
            }
            Wish::OpenDropped(path) if self.screen == Screen::Ask && pictures::is_named_so(&path) => {
                self.ask.apply(ask::Wish::Picture(path), &self.workspace, &self.wake);
            }
            Wish::OpenDropped(path) => {
                let work = move |_: &_| named::meant(&path).map(|meant| (path, meant));
                self.dropped.push(Job::start("look at what was dropped", &self.wake, work));
            }
            Wish::Pick(what, then) => {
                self.dialog = Some(dialog::Open::new(&self.dialogs, what, then, &self.wake));
            }
            Wish::Start => match self.obstacle() {
                Some(problem) => self.toasts.warn(&problem),
                None => {
                    if self.workspace.served.is_chosen {
                        self.remember_server();
                    }
                    self.ask.release();
                    self.run.start(&self.workspace, &self.wake);
                    self.screen = Screen::Run;
                }
            },
            Wish::Resume(folder) | Wish::AskFailedAgain(folder) | Wish::ResumeWith(folder, _)
                if self.run.is_active() =>
            {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.toasts.warn(&busy().at(name));
            }
            Wish::Resume(folder) => self.resume(folder, |opening| opening),
            Wish::AskFailedAgain(folder) => self.resume(folder, Opening::with_failed),
            Wish::ResumeWith(folder, key) => self.resume(folder, |opening| opening.with_key(key)),
            Wish::ShowSession(folder) => {
                self.results.open(folder, &self.wake);
                self.screen = Screen::Results;
            }
            Wish::CompareSessions(one, other) => {
                self.results.compare(one, other, &self.wake);
                self.screen = Screen::Results;
            }
            Wish::Present(place) => {
                self.present.begin(place);
                self.screen = Screen::Present;
            }
            Wish::Say(text) => self.toasts.say(text),
            Wish::Warn(problem) => self.toasts.warn(&problem),
            Wish::Offer(text, name, wish) => self.toasts.offer(text, name, *wish),
            Wish::TurnTheme => self.turn_theme(),
            Wish::ShowKeys => self.shows_keys = !self.shows_keys,
            Wish::Stay => self.closing = Closing::No,
            Wish::Close if !self.may_close() => {}
            Wish::Close | Wish::CloseAnyway => {
                self.closing = Closing::Yes;
                (self.wake)();
            }
            Wish::Setup(wish) => self.setup.apply(wish, &mut self.workspace, &self.wake),
            Wish::Board(wish) => self.board.apply(wish, &mut self.workspace, &self.wake),
            Wish::Run(wish) => self.run.apply(wish, &self.wake),
            Wish::Results(wish) => self.results.apply(wish, &self.wake),
            Wish::Sessions(wish) => self.sessions.apply(wish, &self.wake),
            Wish::Presentation(wish) => {
                if self.present.apply(wish, &self.results) {
                    self.screen = Screen::Results;
                }
            }
            // Both would hold the weights, on the same devices; a server is asked beside any run.
            Wish::Ask(ask::Wish::Ask) if self.run.is_active() && !self.workspace.served.is_chosen => {
                self.toasts.warn(&busy());
            }
            Wish::Ask(wish) => self.ask.apply(wish, &self.workspace, &self.wake),
        }
    }
    /// Goes on with a session, its server opened as is said.
    fn resume(&mut self, folder: PathBuf, opened: impl FnOnce(Opening) -> Opening) {
        self.ask.release();
        let opening = opened(Opening::of(&self.workspace.served, &self.habits.servers));
        self.run.resume(folder, opening, &self.wake);
        self.screen = Screen::Run;
    }

    /// What keeps a run from beginning.
    fn obstacle(&self) -> Option<Problem> {
        if self.run.is_active() {
            return Some(busy());
        }
        self.workspace.obstacle()
    }

    fn turn_theme(&mut self) {
        let is_dark = match self.habits.theme {
            Theme::System => self.is_dark,
            theme => theme == Theme::Dark,
        };
        self.habits.theme = if is_dark { Theme::Light } else { Theme::Dark };
    }
}

/// That one run is enough.
fn busy() -> Problem {
    Problem::new(tr("a run is in progress already"))
        .fix(tr("wait until it is over, or stop it on the run screen"))
}
