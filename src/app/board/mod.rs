//! The board: one column a device, units as chips, and what each device will hold.
//!
//! ```text
//! workspace ─> ground (devices, costs) ─> desk (case, draft, outlook) ─> model ─> layout ─> paint
//!                                           ^                                        │
//!                                           └────────────── wishes ──────────────────┘
//! ```

pub mod alternatives;
pub mod assumed;
mod assumptions_ui;
pub mod columns;
pub mod desk;
mod devices_ui;
mod findings_ui;
mod forecast_ui;
pub mod ground;
pub mod layout;
mod maps_ui;
pub mod model;
mod needs_ui;
mod paint;
mod plans_ui;
mod toolbar;
pub mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{Frame, Key, KeyboardShortcut, Margin, Modifiers, RichText, ScrollArea, Ui};

use super::job::{Job, Loadable, Wake};
use super::language::{fill, tr};
use super::parts::Icon;
use super::parts::empty::empty;
use super::parts::problem::problem as problem_ui;
use super::theme::Tokens;
use super::workspace::Subject;
use super::{Wishes, Workspace};
use crate::plan::checks::{self, Finding};
use crate::plan::device_map::{DeviceMap, Resolved};
use crate::plan::edits::Draft;
use crate::plan::needs::{self, Needs};
use crate::plan::{Assumptions, Case, DeviceKind, Layout, ModelShape, Plan, planner};
use crate::{Problem, Result};

use alternatives::Alternative;
use assumed::{Assume, Elsewhere};
use desk::{Desk, Habits, Outlook, Pull};
use ground::{Asked, Files, Found, Ground, Laid, Priced, Start};
use view::{Kept, Tab, View};

/// What a person asks for on this screen.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A drag has ended, or a key did the same.
    Pull(Pull),
    /// Exchange what two devices hold.
    Exchange(usize, usize),
    /// Pin units where they lie.
    Pin(Vec<usize>),
    /// Take pins off.
    Unpin(Vec<usize>),
    /// Take the last step back.
    Undo,
    /// Make it again.
    Redo,
    /// Plan everything that is not pinned anew.
    Replan,
    /// A layout by name.
    Strategy(Layout),
    /// Units where a fix or a map puts them.
    Adopt(Vec<usize>),
    /// A plan as it was read from a map.
    AdoptPlan(Box<Plan>),
    /// Judge by these habits.
    JudgeBy(Habits),
    /// Other devices, as a SPEC.
    Devices(String),
    /// Look for the devices again.
    LookAgain,
    /// Change an assumption.
    Assume(Assume),
    /// Take a fix's assumptions.
    AdoptAssumptions(Box<Assumptions>),
    /// Read a map that was pasted.
    ReadMap(String),
    /// Read a map from a file.
    ReadFile(PathBuf),
    /// Read the questions no further; one picture is assumed.
    StopReading,
    /// Write a text to a file.
    Write(PathBuf, String),
    /// Make this the layout of the next run.
    Use,
}

fn ask(wishes: &mut Wishes, wish: Wish) {
    wishes.push(super::Wish::Board(wish));
}

/// A map that was read, and what it would lead to.
pub struct ReadMap {
    /// The plan that it makes.
    pub plan: Plan,
    /// What there is to say about it.
    pub findings: Vec<Finding>,
    /// How full the fullest device would be.
    pub worst_share: f64,
    /// Whether it fits.
    pub verdict: crate::plan::forecast::Verdict,
}

/// The screen's own state.
#[derive(Default)]
pub struct Board {
    /// How a person looks at it.
    pub view: View,
    desk: Option<Desk>,
    /// Whether the screen was ever shown.
    is_seen: bool,
    pulling: Option<columns::Pulling>,
    elsewhere: Elsewhere,
    fields: Fields,
    /// What the workspace's choices were when they were last followed.
    followed: Option<(String, String)>,
    spec: String,
    /// A plan that was asked for by name or file and is not made yet.
    start: Option<Start>,
    found: Loadable<Arc<Found>>,
    asked: Option<Asked>,
    priced: Loadable<Arc<Priced>>,
    laid_for: Option<(Ground, Start)>,
    laying: Loadable<Laid>,
    read: Option<Read>,
    planning: Option<Job<(u64, Draft)>>,
    fixing: Option<Fixing>,
    compared_for: Option<Arc<Case>>,
    compared: Loadable<Vec<Alternative>>,
    needed_for: Option<Arc<Case>>,
    needed: Loadable<Needs>,
    read_map: Loadable<ReadMap>,
    writing: Loadable<PathBuf>,
    refused: Option<Problem>,
    /// Words for a moment that no frame has told yet.
    sayings: Vec<String>,
}

/// The whole outlook of a draft being worked out, by the count of edits that led to it.
struct Fixing {
    edits: u64,
    job: Job<Outlook>,
}

/// What was read of a checkpoint's files.
struct Read {
    shape: Arc<ModelShape>,
    dtype: String,
    files: Option<Arc<Files>>,
}

/// Text fields that are being written in.
#[derive(Default)]
struct Fields {
    spec: String,
    pasted: String,
    file: String,
    format: maps_ui::Format,
}

impl Board {
    /// The screen as it was left.
    pub fn new(kept: Kept) -> Self {
        Self { view: View::of(kept), ..Self::default() }
    }

    /// The plan being worked on.
    pub fn desk(&self) -> Option<&Desk> {
        self.desk.as_ref()
    }

    /// The layouts side by side, where they are worked out.
    pub fn alternatives(&self) -> Option<&[Alternative]> {
        self.compared.ready().map(Vec::as_slice)
    }

    /// Takes the last step back; whether there was one.
    pub fn undo(&mut self) -> bool {
        self.desk.as_mut().is_some_and(Desk::undo)
    }

    /// Whether anything is still being worked out.
    pub fn is_working(&self) -> bool {
        !matches!(self.found, Loadable::Ready(_) | Loadable::Refused(_))
            || self.priced.is_loading()
            || self.laying.is_loading()
            || self.compared.is_loading()
            || self.needed.is_loading()
            || self.read_map.is_loading()
            || self.writing.is_loading()
            || self.planning.is_some()
            || self.fixing.is_some()
    }

    /// Takes what jobs have brought, and plans anew where the workspace has changed.
    pub fn receive(&mut self, workspace: &Workspace, wake: &Wake, wishes: &mut Wishes) {
        wishes.extend(self.sayings.drain(..).map(super::Wish::Say));
        if !self.is_seen {
            // Reading all questions is work that nobody has asked for yet.
            return;
        }
        self.follow(workspace);
        self.found.poll();
        self.priced.poll();
        self.compared.poll();
        self.needed.poll();
        self.read_map.poll();
        if self.writing.poll()
            && let Loadable::Ready(path) = &self.writing
        {
            wishes.push(super::Wish::Say(fill("Written to {}", &[&path.display()])));
        }
        self.look_for_devices(wake);
        let Some(subject) = workspace.subject.ready() else { return };
        self.price(subject, workspace, wake);
        self.lay(subject, workspace, wake);
        self.take_plans();
        self.find_fixes(wake);
        self.compare(wake);
    }

    /// Takes devices and layout from the workspace where somebody else has changed them there.
    fn follow(&mut self, workspace: &Workspace) {
        let choices = (workspace.choices.devices.clone(), workspace.choices.layout.clone());
        if self.followed.as_ref() == Some(&choices) {
            return;
        }
        if self.followed.as_ref().is_none_or(|before| before.0 != choices.0) {
            self.spec = choices.0.clone();
            self.fields.spec = choices.0.clone();
        }
        if self.followed.as_ref().is_none_or(|before| before.1 != choices.1) {
            self.start = Some(Start::named(&choices.1));
        }
        self.followed = Some(choices);
    }

    fn look_for_devices(&mut self, wake: &Wake) {
        let is_for_spec = match &self.found {
            Loadable::Empty => false,
            Loadable::Ready(found) => found.spec == self.spec,
            Loadable::Loading(_) | Loadable::Refused(_) => true,
        };
        if !is_for_spec {
            let spec = self.spec.clone();
            let look = move |_: &super::job::Handle| Found::look(&spec).map(Arc::new);
            self.found = Loadable::Loading(Job::start("look for devices", wake, look));
        }
    }

    fn price(&mut self, subject: &Subject, workspace: &Workspace, wake: &Wake) {
        let Some(dataset) = workspace.dataset.ready() else {
            (self.asked, self.priced) = (None, Loadable::Empty);
            return;
        };
        if self.asked.as_ref().is_some_and(|asked| asked.is_of(subject, dataset, &workspace.choices)) {
            return;
        }
        let asked = Asked::new(subject, dataset, &workspace.choices);
        self.asked = Some(asked.clone());
        let work = move |handle: &super::job::Handle| asked.price(handle).map(Arc::new);
        self.priced = Loadable::Loading(Job::start("read the questions", wake, work));
    }

    fn lay(&mut self, subject: &Subject, workspace: &Workspace, wake: &Wake) {
        let Some(found) = self.found.ready() else { return };
        let dtype = &workspace.choices.dtype;
        let is_known = |read: &&Read| Arc::ptr_eq(&read.shape, &subject.shape) && read.dtype == *dtype;
        let files = match self.read.as_ref().filter(is_known) {
            Some(read) => read.files.clone(),
            None => {
                let files = Files::of(subject, dtype).map(Arc::new);
                let shape = Arc::clone(&subject.shape);
                self.read = Some(Read { shape, dtype: dtype.clone(), files: files.clone() });
                files
            }
        };
        let is_on_cpu = found.devices.iter().all(|device| device.kind == DeviceKind::Cpu);
        let stored = subject.shape.stored;
        let ground = Ground {
            shape: Arc::clone(&subject.shape),
            files,
            found: Arc::clone(found),
            priced: self.priced.ready().cloned(),
            assumptions: assumed::assumptions(&workspace.choices, &self.elsewhere, stored, is_on_cpu),
            max_tiles: workspace.choices.settings.max_tiles,
        };
        let is_asked = |laid: &(Ground, Start)| self.start.as_ref().is_none_or(|start| *start == laid.1);
        if self.laid_for.as_ref().is_some_and(|laid| laid.0 == ground && is_asked(laid)) {
            return;
        }
        let start = self.start.clone().unwrap_or_else(|| self.strategy());
        let pins = self.pins(&ground);
        self.laid_for = Some((ground.clone(), start.clone()));
        self.laying = Loadable::Loading(Job::start("make a plan", wake, move |_| ground.lay(&start, pins)));
    }

    /// Pins that still mean something on another ground.
    fn pins(&self, ground: &Ground) -> Vec<(usize, usize)> {
        let same = |desk: &&Desk| {
            Arc::ptr_eq(&desk.ground.shape, &ground.shape) && Arc::ptr_eq(&desk.ground.found, &ground.found)
        };
        let desk = self.desk.as_ref().filter(same);
        desk.map_or_else(Vec::new, |desk| desk.draft().pins.iter().map(|(u, d)| (*u, *d)).collect())
    }

    fn take_plans(&mut self) {
        if self.laying.poll() {
            match std::mem::take(&mut self.laying) {
                Loadable::Ready(laid) => self.take_laid(laid),
                Loadable::Refused(problem) => self.refused = Some(problem),
                _ => {}
            }
        }
        if let Some(result) = self.planning.as_ref().and_then(Job::poll) {
            self.planning = None;
            match (result, &mut self.desk) {
                (Ok((edits, draft)), Some(desk)) if edits == desk.edits() => desk.step(draft),
                (Err(problem), _) => self.refused = Some(problem),
                _ => {}
            }
        }
    }

    fn take_laid(&mut self, laid: Laid) {
        self.refused = None;
        let is_asked = self.start.take().is_some();
        let pins = self.pins(&laid.ground);
        let keeps = self.desk.as_ref().is_some_and(|desk| {
            Arc::ptr_eq(&desk.ground.shape, &laid.ground.shape)
                && Arc::ptr_eq(&desk.ground.found, &laid.ground.found)
        });
        if !keeps {
            self.view.begin_anew();
        }
        match &mut self.desk {
            Some(desk) => desk.relay(laid, &pins, is_asked),
            None => self.desk = Some(Desk::new(laid)),
        }
    }

    /// Looks at every question and plans the fixes of the findings, which takes milliseconds.
    fn find_fixes(&mut self, wake: &Wake) {
        let done = self.fixing.as_ref().and_then(|fixing| Some((fixing.edits, fixing.job.poll()?)));
        let Some(desk) = &mut self.desk else { return };
        if let Some((edits, result)) = done {
            self.fixing = None;
            if let Ok(outlook) = result {
                desk.learn(edits, outlook);
            }
        }
        let edits = desk.edits();
        if desk.outlook().has_fixes || self.fixing.as_ref().is_some_and(|fixing| fixing.edits == edits) {
            return;
        }
        let (case, plan) = (Arc::clone(desk.case()), desk.draft().plan.clone());
        let look = move |_: &super::job::Handle| Ok(Outlook::whole(&case, &plan));
        self.fixing = Some(Fixing { edits, job: Job::start("find what would help", wake, look) });
    }

    /// Works out the other layouts, and the cards that would do where somebody looks at them.
    fn compare(&mut self, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let own = Arc::clone(desk.case_of(Habits::Own));
        let is_new = |done: &Option<Arc<Case>>| !done.as_ref().is_some_and(|done| Arc::ptr_eq(done, &own));
        if is_new(&self.compared_for) {
            self.compared_for = Some(Arc::clone(&own));
            let (own, released) = (Arc::clone(&own), Arc::clone(desk.case_of(Habits::Released)));
            let job = Job::start("compare layouts", wake, move |_| Ok(alternatives::all(&own, &released)));
            self.compared = Loadable::Loading(job);
        }
        if self.view.tab == Tab::Needs && self.view.is_side_open && is_new(&self.needed_for) {
            self.needed_for = Some(Arc::clone(&own));
            self.needed = Loadable::Loading(Job::start("find cards", wake, move |_| Ok(needs::needs(&own))));
        }
    }

    /// Draws the screen.
    pub fn ui(&mut self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
        if !self.is_seen {
            self.is_seen = true;
            ui.ctx().request_repaint();
        }
        let is_refused = refusal(&workspace.subject).is_some();
        let Some(desk) = self.desk.as_mut().filter(|_| !is_refused) else {
            return self.waiting_ui(ui, workspace, wishes);
        };
        let tokens = Tokens::of(ui);
        let is_lower_open = self.view.is_lower_open.unwrap_or(ui.available_height() > 600.0);
        let is_small = ui.available_width() < 1100.0;
        let bar = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(14, 7));
        let beside = self.view.beside;
        let compared = self.compared.ready().map(Vec::as_slice);
        egui::Panel::top("board bar").frame(bar).show(ui, |ui| {
            let state = (self.planning.is_some(), is_lower_open);
            toolbar::ui(ui, desk, &mut self.view, compared, state, wishes);
        });
        let strip =
            Frame::new().fill(tokens.canvas).inner_margin(Margin { left: 14, right: 14, top: 7, bottom: 7 });
        egui::Panel::top("board summary").frame(strip).show_separator_line(false).show(ui, |ui| {
            toolbar::summary_ui(ui, desk, &self.priced, wishes);
            let problems =
                [self.refused.as_ref(), refusal(&self.found), refusal(&self.priced), refusal(&self.writing)];
            for problem in problems.into_iter().flatten() {
                problem_ui(ui, problem);
            }
        });
        if self.view.is_side_open {
            let side = Frame::new().fill(tokens.panel);
            egui::Panel::right("board side")
                .default_size(if is_small { 300.0 } else { 384.0 })
                .size_range(260.0..=560.0)
                .frame(side)
                .show(ui, |ui| {
                    let tabs = Frame::new().inner_margin(Margin { left: 10, right: 10, top: 8, bottom: 2 });
                    tabs.show(ui, |ui| tabs_ui(ui, desk, &mut self.view));
                    ui.separator();
                    ScrollArea::vertical()
                        .id_salt(("board side", self.view.tab as usize))
                        .auto_shrink(false)
                        .show(ui, |ui| {
                            Frame::new().inner_margin(Margin::symmetric(12, 4)).show(ui, |ui| {
                                match self.view.tab {
                                    Tab::Findings => findings_ui::ui(ui, desk, wishes),
                                    Tab::Plans => {
                                        plans_ui::ui(ui, desk, &self.compared, &mut self.view, wishes)
                                    }
                                    Tab::Devices => {
                                        devices_ui::ui(ui, desk, &self.spec, &mut self.fields.spec, wishes)
                                    }
                                    Tab::Assumptions => {
                                        assumptions_ui::ui(ui, desk, workspace, &self.elsewhere, wishes)
                                    }
                                    Tab::Needs => needs_ui::ui(ui, &self.needed, wishes),
                                    Tab::Maps => {
                                        maps_ui::ui(ui, desk, &mut self.fields, &self.read_map, wishes)
                                    }
                                }
                            });
                        });
                });
        }
        if is_lower_open {
            let lower = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(14, 8));
            egui::Panel::bottom("board forecast")
                .default_size(210.0)
                .size_range(150.0..=480.0)
                .resizable(true)
                .frame(lower)
                .show(ui, |ui| forecast_ui::ui(ui, desk, &mut self.view));
        }
        let alternative = beside.and_then(|layout| compared?.iter().find(|a| a.layout == layout));
        let board =
            Frame::new().fill(tokens.canvas).inner_margin(Margin { left: 14, right: 14, top: 4, bottom: 10 });
        egui::CentralPanel::default().frame(board).show(ui, |ui| {
            toolbar::shown_ui(ui, &mut self.view);
            ui.add_space(4.0);
            columns::ui(ui, desk, &mut self.view, &mut self.pulling, alternative, wishes);
        });
        keys(ui, desk, &mut self.view, wishes);
    }

    /// What stands here while there is no plan: why, and what to do.
    fn waiting_ui(&self, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
        let refused = [refusal(&workspace.subject), refusal(&self.found), self.refused.as_ref()];
        if let Some(problem) = refused.into_iter().flatten().next() {
            Frame::new().inner_margin(Margin::same(20)).show(ui, |ui| {
                problem_ui(ui, problem);
                if refusal(&self.found).is_some() {
                    ui.add_space(6.0);
                    devices_ui::presets_ui(ui, wishes);
                }
            });
            return;
        }
        match &workspace.subject {
            Loadable::Empty => empty(
                ui,
                Icon::Layout,
                tr("No model is chosen yet"),
                tr("Choose a checkpoint, or a model of the catalogue: planning needs no weights."),
                |ui| {
                    if ui.button(tr("Go to Setup")).clicked() {
                        wishes.push(super::Wish::Go(super::Screen::Setup));
                    }
                },
            ),
            _ => empty(ui, Icon::Layout, tr("Making a plan…"), "", |_| {}),
        }
    }

    /// Carries out a wish.
    pub fn apply(&mut self, wish: Wish, workspace: &mut Workspace, wake: &Wake) {
        match wish {
            Wish::Devices(spec) => {
                self.spec.clone_from(&spec);
                self.fields.spec = spec;
                self.found = Loadable::Empty;
                self.start = Some(self.strategy());
            }
            Wish::LookAgain => self.found = Loadable::Empty,
            Wish::StopReading => self.priced = Loadable::Empty,
            Wish::Assume(change) => {
                change.apply(&mut workspace.choices, &mut self.elsewhere);
                workspace.version += 1;
            }
            Wish::AdoptAssumptions(fix) => {
                assumed::adopt(&fix, &mut workspace.choices, &mut self.elsewhere);
                workspace.version += 1;
            }
            Wish::ReadMap(text) => self.read(move || Ok(text), wake),
            Wish::ReadFile(path) => self.read(move || text_of(&path), wake),
            Wish::Write(path, text) => {
                let write = move |_: &super::job::Handle| write(path, &text);
                self.writing = Loadable::Loading(Job::start("write a file", wake, write));
            }
            Wish::Use => self.use_plan(workspace, wake),
            wish => {
                self.refused = None;
                if let Err(problem) = self.edit(wish, wake) {
                    self.refused = Some(problem);
                }
            }
        }
    }

    /// The layout that the plan came from, for other devices.
    fn strategy(&self) -> Start {
        let layout = self.desk.as_ref().map_or(Layout::Auto, |desk| desk.draft().plan.layout);
        Start::Layout(if layout == Layout::Custom { Layout::Auto } else { layout })
    }

    /// A wish that changes the plan.
    fn edit(&mut self, wish: Wish, wake: &Wake) -> Result<()> {
        let Some(desk) = &mut self.desk else { return Ok(()) };
        match wish {
            Wish::Pull(pull) => {
                let draft = pull.apply(desk.draft())?;
                desk.step(draft);
            }
            Wish::Exchange(a, b) => {
                let draft = desk.draft().swap_devices(a, b)?;
                desk.step(draft);
            }
            Wish::Pin(units) => {
                let draft = desk.draft().pin(&units);
                desk.step(draft);
            }
            Wish::Unpin(units) => {
                let draft = desk.draft().unpin(&units);
                desk.step(draft);
            }
            Wish::Undo => _ = desk.undo(),
            Wish::Redo => _ = desk.redo(),
            Wish::Adopt(assignment) => {
                let plan = desk.draft().plan.clone();
                if assignment.len() != plan.assignment.len() {
                    return Err(Problem::new("this was worked out for another model"));
                }
                let plan = Plan::new(Layout::Custom, plan.devices, assignment);
                desk.step(Draft { plan, pins: desk.draft().pins.clone() });
            }
            Wish::AdoptPlan(plan) => desk.step(Draft::new(*plan)),
            Wish::JudgeBy(habits) => desk.judge_by(habits),
            Wish::Replan => {
                let (edits, draft, case) = (desk.edits(), desk.draft().clone(), Arc::clone(desk.case()));
                let replan = move |_: &super::job::Handle| Ok((edits, draft.replan(&case)?));
                self.planning = Some(Job::start("plan the rest", wake, replan));
            }
            Wish::Strategy(layout) => {
                let edits = desk.edits();
                let habits = Habits::of(layout, Habits::Own);
                let case = Arc::clone(desk.case_of(habits));
                let plan =
                    move |_: &super::job::Handle| Ok((edits, Draft::new(planner::plan(&case, layout)?)));
                self.planning = Some(Job::start("plan by a layout", wake, plan));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a map, whatever its form.
    fn read(&mut self, text: impl FnOnce() -> Result<String> + Send + 'static, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let case = Arc::clone(desk.case());
        let job = Job::start("read a map", wake, move |_| read_map(&text()?, &case));
        self.read_map = Loadable::Loading(job);
    }

    /// Makes the plan the layout of the next run: by its name where it has one, else as a file.
    fn use_plan(&mut self, workspace: &mut Workspace, wake: &Wake) {
        let Some(desk) = &self.desk else { return };
        let draft = desk.draft();
        let has_name = draft.plan.layout != Layout::Custom && draft.pins.is_empty();
        let layout = if has_name {
            draft.plan.layout.name().to_owned()
        } else {
            let map = DeviceMap::of(&draft.plan, &desk.case().model).to_json();
            let text = serde_json::to_string_pretty(&map).unwrap_or_default();
            let Some(path) = kept(&desk.case().model.shape.name, &text) else {
                self.refused = Some(
                    Problem::new("the system names no folder for a program's data")
                        .fix("write the map to a file of your own, and give that with --layout"),
                );
                return;
            };
            let named = path.display().to_string();
            let write = move |_: &super::job::Handle| write(path, &text);
            self.writing = Loadable::Loading(Job::start("keep the layout", wake, write));
            named
        };
        workspace.choices.layout = layout;
        workspace.choices.devices.clone_from(&self.spec);
        workspace.version += 1;
        self.followed = Some((workspace.choices.devices.clone(), workspace.choices.layout.clone()));
        self.sayings.push(tr("The next run uses this layout").into());
    }
}

/// What could not be had.
fn refusal<T>(loadable: &Loadable<T>) -> Option<&Problem> {
    match loadable {
        Loadable::Refused(problem) => Some(problem),
        _ => None,
    }
}

/// Where the platform keeps a layout; the same layout has the same place.
fn kept(model: &str, text: &str) -> Option<PathBuf> {
    use sha2::{Digest, Sha256};
    let plain: String = model
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' })
        .take(60)
        .collect();
    let digest = Sha256::digest(text.as_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let folder = dirs::data_dir()?.join("shardscope").join("layouts");
    Some(folder.join(format!("{plain}-{short}.json")))
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Problem::io("make the folder", folder, &e))?;
    }
    std::fs::write(&path, text).map_err(|e| Problem::io("write the file", &path, &e))?;
    Ok(path)
}

/// A text that is no larger than any map.
fn text_of(path: &Path) -> Result<String> {
    let doing = "read the map";
    let size = std::fs::metadata(path).map_err(|e| Problem::io(doing, path, &e))?.len();
    if size > 16 << 20 {
        return Err(Problem::new("this file is larger than any device map").in_file(path));
    }
    std::fs::read_to_string(path).map_err(|e| Problem::io(doing, path, &e))
}

/// Reads a map in any form that is known, and judges it.
fn read_map(text: &str, case: &Case) -> Result<ReadMap> {
    let (plan, findings, forecast) = maps_ui::Format::read(text, case, |map| {
        let (Resolved { plan, .. }, forecast, findings) = checks::check_map(case, map);
        (plan, findings, forecast)
    })?;
    Ok(ReadMap { plan, findings, worst_share: forecast.worst_share, verdict: forecast.verdict })
}

/// The tabs of the side panel.
fn tabs_ui(ui: &mut Ui, desk: &Desk, view: &mut View) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.spacing_mut().button_padding.x = 7.0;
        for tab in Tab::ALL {
            let is_here = view.tab == tab;
            let count = desk.shown().1.findings.len();
            let name = match tab {
                Tab::Findings if count > 0 => format!("{} {count}", tab.name()),
                _ => tab.name().to_owned(),
            };
            let color = if is_here { tokens.strong } else { tokens.subdued };
            if ui
                .add(egui::Button::selectable(is_here, RichText::new(name).color(color).size(12.0)))
                .clicked()
            {
                view.tab = tab;
            }
        }
    });
}

const UNDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Z);
const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);
const SELECT_ALL: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::A);

/// Keys that work wherever the focus is, after chips have taken theirs. The longer shortcut is asked first.
fn keys(ui: &Ui, desk: &Desk, view: &mut View, wishes: &mut Wishes) {
    if ui.ctx().text_edit_focused() {
        return;
    }
    for (shortcut, wish) in [(REDO, Wish::Redo), (UNDO, Wish::Undo)] {
        if ui.input_mut(|input| input.consume_shortcut(&shortcut)) {
            ask(wishes, wish);
        }
    }
    if ui.input_mut(|input| input.consume_shortcut(&SELECT_ALL)) {
        let units = &desk.case().model.units;
        let passes =
            |unit: &usize| view.filter.passes(model::Kind::of(units[*unit].kind), &units[*unit].name);
        let all: Vec<usize> = (0..units.len()).filter(passes).collect();
        view.selection.only(all);
    }
    let is_dragging = egui::DragAndDrop::has_any_payload(ui);
    if !is_dragging && !view.selection.is_empty() {
        if ui.input(|input| input.key_pressed(Key::Escape)) {
            view.selection.clear();
        } else if ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::P)) {
            let units = view.selection.units();
            let all = units.iter().all(|unit| desk.draft().pins.contains_key(unit));
            ask(wishes, if all { Wish::Unpin(units) } else { Wish::Pin(units) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_layout_is_kept_in_the_same_place() {
        let (Some(one), Some(same), Some(other)) =
            (kept("a/../b c", "{}"), kept("a/../b c", "{}"), kept("a/../b c", "{\"x\": 0}"))
        else {
            return;
        };
        assert_eq!(one, same);
        assert_ne!(one, other);
        let name = one.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("a_.._b_c-") && name.ends_with(".json"), "{name}");
        assert_eq!(one.parent(), other.parent());
    }
}
