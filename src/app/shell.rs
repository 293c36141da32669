//! The window itself: navigation, the screens, what the engine and jobs bring, and what wishes change.

use std::sync::Arc;

use egui::{Align, Layout, Margin, RichText, Sense};
use serde::{Deserialize, Serialize};

use super::job::Wake;
use super::language::{self, Language, tr};
use super::theme::{self, Tokens};
use super::{Wish, Wishes, Workspace, ask, board, present, results, run, sessions, setup};
use crate::{Problem, Result};

/// Name under which the platform keeps the window's state.
const APP_ID: &str = "shardscope";

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

/// What a person has made of the window; survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habits {
    /// Language of menus and messages.
    pub language: Language,
    /// Dark, light, or as the system.
    pub theme: Theme,
    /// Checkpoints opened, the latest first.
    pub checkpoints: Vec<String>,
    /// Datasets opened, the latest first.
    pub datasets: Vec<String>,
}

/// The choice of a theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Theme {
    /// As the system.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// How many recent files are kept.
const RECENT: usize = 12;

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
    wake: Wake,
}

impl App {
    /// The window at its first start: the built-in pair, ready to run.
    pub fn new(ctx: &egui::Context, habits: Habits) -> Self {
        theme::install(ctx);
        let waking = ctx.clone();
        let wake: Wake = Arc::new(move || waking.request_repaint());
        Self {
            screen: Screen::default(),
            workspace: Workspace::built_in(&wake),
            habits,
            setup: setup::Setup::new(&wake),
            board: board::Board::default(),
            run: run::Runs::default(),
            results: results::Results::default(),
            sessions: sessions::Sessions::default(),
            present: present::Presentation::default(),
            ask: ask::Ask::default(),
            wake,
        }
    }

    /// Takes what jobs and the engine have brought. Called before each frame, and while the window is hidden.
    pub fn receive(&mut self) {
        let mut wishes = Wishes::new();
        self.workspace.poll();
        self.setup.receive(&self.workspace, &self.wake, &mut wishes);
        self.board.receive(&self.workspace, &self.wake, &mut wishes);
        self.run.receive(&self.wake, &mut wishes);
        self.results.receive(&self.wake, &mut wishes);
        self.sessions.receive(&self.wake, &mut wishes);
        self.ask.receive(&self.wake, &mut wishes);
        for wish in wishes {
            self.apply(wish);
        }
    }

    /// Draws one frame and carries out what it asked for.
    pub fn frame(&mut self, ui: &mut egui::Ui) {
        language::choose(self.habits.language);
        ui.ctx().set_theme(match self.habits.theme {
            Theme::System => egui::ThemePreference::System,
            Theme::Dark => egui::ThemePreference::Dark,
            Theme::Light => egui::ThemePreference::Light,
        });
        let mut wishes = Wishes::new();
        if self.screen == Screen::Present {
            self.present.ui(ui, &self.results, &mut wishes);
        } else {
            let tokens = Tokens::of(ui);
            let bar = egui::Frame::new().fill(tokens.bar).inner_margin(Margin::symmetric(14, 6));
            egui::Panel::top("bar").frame(bar).show(ui, |ui| self.bar_ui(ui, &mut wishes));
            let canvas = egui::Frame::new().fill(tokens.canvas);
            egui::CentralPanel::default().frame(canvas).show(ui, |ui| self.screen_ui(ui, &mut wishes));
        }
        for wish in wishes {
            self.apply(wish);
        }
    }

    fn bar_ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        ui.horizontal(|ui| {
            ui.label(RichText::new("Shardscope").family(egui::FontFamily::Name(theme::SEMIBOLD.into())));
            ui.add_space(16.0);
            for screen in Screen::NAVIGATION {
                let here = self.screen == screen;
                let color = if here { tokens.strong } else { tokens.subdued };
                let text = RichText::new(screen.name()).color(color);
                let tab = ui.add(egui::Button::selectable(here, text).sense(Sense::click()));
                if tab.clicked() {
                    wishes.push(Wish::Go(screen));
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                self.habits_ui(ui);
                self.run.badge_ui(ui, wishes);
            });
        });
    }

    fn habits_ui(&mut self, ui: &mut egui::Ui) {
        ui.menu_button(self.habits.language.name(), |ui| {
            for language in Language::ALL {
                ui.radio_value(&mut self.habits.language, language, language.name());
            }
        });
        ui.menu_button(tr("Theme"), |ui| {
            let choices = [
                (Theme::System, tr("As the system")),
                (Theme::Dark, tr("Dark")),
                (Theme::Light, tr("Light")),
            ];
            for (theme, name) in choices {
                ui.radio_value(&mut self.habits.theme, theme, name);
            }
        });
    }

    fn screen_ui(&mut self, ui: &mut egui::Ui, wishes: &mut Wishes) {
        match self.screen {
            Screen::Setup => self.setup.ui(ui, &self.workspace, &self.habits, wishes),
            Screen::Board => self.board.ui(ui, &self.workspace, wishes),
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
            Wish::Go(screen) => self.screen = screen,
            Wish::OpenCheckpoint(named) => {
                remember(&mut self.habits.checkpoints, &named);
                self.workspace.open_checkpoint(named, &self.wake);
            }
            Wish::OpenDataset(named) => {
                remember(&mut self.habits.datasets, &named);
                self.workspace.open_dataset(named, &self.wake);
            }
            Wish::Start => {
                self.run.start(&self.workspace, &self.wake);
                self.screen = Screen::Run;
            }
            Wish::Resume(folder) => {
                self.run.resume(folder, &self.wake);
                self.screen = Screen::Run;
            }
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
            Wish::Say(_text) => {}
            Wish::Warn(_problem) => {}
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
            Wish::Ask(wish) => self.ask.apply(wish, &self.workspace, &self.wake),
        }
    }
}

/// Puts a name first in a list of recent ones.
fn remember(recent: &mut Vec<String>, named: &str) {
    recent.retain(|it| it != named);
    recent.insert(0, named.to_owned());
    recent.truncate(RECENT);
}

impl eframe::App for App {
    fn logic(&mut self, _ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.receive();
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, "habits", &self.habits);
    }
}

/// Opens the window and stays until it is closed.
///
/// # Errors
/// No display can be opened.
pub fn open() -> Result<()> {
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Shardscope")
            .with_app_id(APP_ID)
            .with_inner_size([1360.0, 860.0])
            .with_min_inner_size([880.0, 560.0]),
        ..Default::default()
    };
    let create: eframe::AppCreator<'_> = Box::new(|cc| {
        let habits = cc.storage.and_then(|storage| eframe::get_value(storage, "habits")).unwrap_or_default();
        Ok(Box::new(App::new(&cc.egui_ctx, habits)))
    });
    eframe::run_native(APP_ID, options, create)
        .map_err(|error| Problem::new(format!("no window can be opened: {error}")))
}
