//! Setup: pick a checkpoint and a dataset, see what they are, and run.

mod copies;
mod dataset_card;
mod model_card;
mod model_facts;
mod others;
mod questions;
mod served;
mod settings;
mod sources;
mod start;

use std::sync::Arc;

use egui::{Margin, ScrollArea, Ui, Vec2};

use super::dialog::{Then, What};
use super::habits::Habits;
use super::job::{Job, Loadable, Wake};
use super::language::tr;
use super::served::nearby::{self, Nearby};
use super::served::{Hidden, Served, Server};
use super::text::Prose;
use super::theme::Tokens;
use super::{Wishes, Workspace};
use crate::dataset::Dataset;
use crate::evaluation::{Choices, Questions};
use crate::plan::ModelShape;

use copies::Copies;
use model_facts::ModelFacts;
use questions::{DatasetFacts, PAGE, Sample};
use sources::Found;

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// These choices instead of the present ones.
    Choose(Box<Choices>),
    /// Look around on this machine again.
    Look,
    /// Other questions to look at: the first of them, as a place among those selected.
    ShowQuestions(usize),
    /// These settings of the served model instead of the present ones.
    Serve(Box<Server>),
    /// This key, as it is typed.
    Key(Hidden),
    /// Ask the server what it offers; it answers from now on.
    Connect,
    /// The same with another server.
    Open(Box<Server>),
    /// Stop asking it.
    Disconnect,
    /// The checkpoint answers, and no served model.
    Local,
    /// See which servers there are on this machine.
    LookNearby,
}

/// Which list of checkpoints is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum List {
    #[default]
    Machine,
    Catalogue,
    Served,
}

/// The screen's own state. At first only the catalogue is known; [`Setup::look`] finds the rest.
#[derive(Default)]
pub struct Setup {
    /// What is typed into the fields for paths.
    checkpoint_path: String,
    dataset_path: String,
    list: List,
    search: String,
    found: Loadable<Found>,
    model: Option<(Arc<ModelShape>, ModelFacts)>,
    dataset: Option<Arc<Dataset>>,
    facts: Loadable<DatasetFacts>,
    asked: Option<Questions>,
    selected: Loadable<Vec<usize>>,
    /// The first of the questions shown, as a place among those selected.
    first: usize,
    samples: Loadable<Vec<Sample>>,
    prose: Prose,
    /// How many copies of the model the devices could hold.
    copies: Copies,
    /// Ports of this machine on which servers are looked for.
    pub ports: Ports,
    nearby: Loadable<Vec<Nearby>>,
}

/// Ports on which servers are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<u16>);

impl Default for Ports {
    fn default() -> Self {
        Self(nearby::PORTS.to_vec())
    }
}

impl Setup {
    /// Looks for models and datasets on this machine.
    pub fn look(&mut self, wake: &Wake) {
        self.found =
            Loadable::Loading(Job::start("look for models and datasets", wake, |_| Ok(sources::look())));
    }

    /// Takes what jobs have brought, and begins those that follow from what is chosen.
    pub fn receive(&mut self, workspace: &Workspace, wake: &Wake, _wishes: &mut Wishes) {
        self.found.poll();
        self.nearby.poll();
        self.facts.poll();
        self.copies.receive(workspace, wake);
        let subject = workspace.subject.ready();
        match subject {
            Some(subject) if self.model.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &subject.shape)) => {
                self.model = Some((subject.shape.clone(), ModelFacts::of(subject)));
            }
            Some(_) => {}
            None => self.model = None,
        }
        let dataset = workspace.dataset.ready();
        let same = match (dataset, &self.dataset) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.dataset = dataset.cloned();
            self.asked = None;
            (self.facts, self.selected, self.samples) = Default::default();
            if let Some(dataset) = dataset.cloned() {
                let work = move |_: &_| DatasetFacts::of(&dataset);
                self.facts = Loadable::Loading(Job::start("go through the dataset", wake, work));
            }
        }
        let Some(dataset) = dataset else { return };
        if self.asked.as_ref() != Some(&workspace.choices.questions) {
            self.asked = Some(workspace.choices.questions.clone());
            self.first = 0;
            let (dataset, questions) = (dataset.clone(), workspace.choices.questions.clone());
            let work = move |_: &_| questions::selected(&dataset, &questions);
            self.selected = Loadable::Loading(Job::start("select the questions", wake, work));
        }
        if self.selected.poll() {
            self.show_questions(wake);
        }
        self.samples.poll();
    }

    /// Reads the questions of the present page.
    fn show_questions(&mut self, wake: &Wake) {
        let (Some(dataset), Some(rows)) = (self.dataset.clone(), self.selected.ready()) else {
            self.samples = Loadable::Empty;
            return;
        };
        self.first = self.first.min(rows.len().saturating_sub(1) / PAGE * PAGE);
        let rows: Vec<usize> = rows.iter().skip(self.first).take(PAGE).copied().collect();
        let work = move |handle: &_| Ok(questions::samples(&dataset, &rows, handle));
        self.samples = Loadable::Loading(Job::start("read some questions", wake, work));
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut Ui, workspace: &Workspace, habits: &Habits, wishes: &mut Wishes) {
        let tokens = Tokens::of(ui);
        let bar = egui::Frame::new().fill(tokens.bar).inner_margin(Margin::symmetric(20, 10));
        egui::Panel::bottom("start").frame(bar).show(ui, |ui| start::start_ui(self, ui, workspace, wishes));
        let page = egui::Frame::new().fill(tokens.canvas);
        egui::CentralPanel::default().frame(page).show(ui, |ui| {
            ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                let inside = egui::Frame::new().inner_margin(Margin::symmetric(20, 16));
                inside.show(ui, |ui| self.columns_ui(ui, workspace, habits, wishes));
            });
        });
    }

    fn columns_ui(&mut self, ui: &mut Ui, workspace: &Workspace, habits: &Habits, wishes: &mut Wishes) {
        const GAP: f32 = 16.0;
        const SETTINGS: f32 = 380.0;
        let room = ui.available_width();
        let beside = room >= 1120.0;
        let columns = if beside { room - SETTINGS - GAP } else { room };
        let half = (columns - GAP) / 2.0;
        let top = egui::Layout::top_down(egui::Align::Min);
        ui.spacing_mut().item_spacing = Vec2::new(GAP, GAP);
        ui.horizontal_top(|ui| {
            ui.allocate_ui_with_layout(Vec2::new(half, 0.0), top, |ui| {
                ui.set_width(half);
                model_card::model_ui(self, ui, workspace, wishes);
                others::checkpoints_ui(self, ui, workspace, habits, wishes);
                if !beside {
                    settings::settings_ui(self, ui, workspace, wishes);
                }
            });
            ui.allocate_ui_with_layout(Vec2::new(half, 0.0), top, |ui| {
                ui.set_width(half);
                dataset_card::dataset_ui(self, ui, workspace, wishes);
                others::datasets_ui(self, ui, workspace, habits, wishes);
                dataset_card::samples_ui(self, ui, wishes);
            });
            if beside {
                ui.allocate_ui_with_layout(Vec2::new(SETTINGS, 0.0), top, |ui| {
                    ui.set_width(SETTINGS);
                    settings::settings_ui(self, ui, workspace, wishes);
                });
            }
        });
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, workspace: &mut Workspace, wake: &Wake) {
        match wish {
            Wish::Choose(choices) => workspace.choose(*choices, wake),
            Wish::Look => self.look(wake),
            Wish::ShowQuestions(first) => {
                self.first = first;
                self.show_questions(wake);
            }
            Wish::Serve(server) => workspace.change_server(|served| served.change(*server)),
            Wish::Key(key) => workspace.change_server(|served| served.type_key(key)),
            Wish::Connect => workspace.change_server(|served| served.connect(wake)),
            Wish::Open(server) => workspace.change_server(|served| {
                served.change(*server);
                served.connect(wake);
            }),
            Wish::Disconnect => workspace.change_server(Served::forget),
            Wish::Local => {
                workspace.change_server(|served| served.is_chosen = false);
                self.list = List::Machine;
            }
            Wish::LookNearby => {
                let ports = self.ports.0.clone();
                let work = move |_: &_| Ok(nearby::look(&ports));
                self.nearby = Loadable::Loading(Job::start("look for servers", wake, work));
            }
        }
    }
}

/// Asks for a checkpoint's folder.
pub fn pick_checkpoint() -> super::Wish {
    let title = tr("Choose a checkpoint folder").to_owned();
    let then = Then::new(|path| super::Wish::OpenCheckpoint(path.display().to_string()));
    super::Wish::Pick(What::Folder { title }, then)
}

/// Asks for a dataset's file.
pub fn pick_dataset() -> super::Wish {
    let title = tr("Choose a file of questions").to_owned();
    let endings = vec!["tsv", "csv", "parquet", "jsonl", "ndjson"];
    let what = What::File { title, endings: Some((tr("Questions").to_owned(), endings)) };
    super::Wish::Pick(what, Then::new(|path| super::Wish::OpenDataset(path.display().to_string())))
}
