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
mod beside;
mod boundaries;
mod chips;
mod columns;
mod curves;
pub mod desk;
mod devices_ui;
mod findings_ui;
mod forecast_ui;
pub mod ground;
mod head;
pub mod layout;
mod maps_ui;
pub mod model;
mod needs_ui;
mod paint;
mod plans_ui;
mod toolbar;
pub mod view;
mod wishes;
mod words;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use egui::{Frame, Key, KeyboardShortcut, Margin, Modifiers, RichText, ScrollArea, Ui};

use super::job::{Job, Loadable};
use super::language::tr;
use super::parts::Icon;
use super::parts::empty::empty;
use super::parts::problem::problem as problem_ui;
use super::theme::Tokens;
use super::{Wishes, Workspace};
use crate::Problem;
use crate::plan::edits::Draft;
use crate::plan::exchange::Form;
use crate::plan::needs::Needs;
use crate::plan::{Case, ModelShape};

use alternatives::Alternative;
use assumed::Elsewhere;
use desk::{Desk, Outlook, Turn};
use ground::{Asked, Files, Found, Ground, Laid, Priced, Start};
use view::{Kept, Tab, View};

pub use wishes::{ReadMap, Wish};

fn ask(wishes: &mut Wishes, wish: Wish) {
    wishes.push(super::Wish::Board(wish));
}

/// The screen's own state.
#[derive(Default)]
pub struct Board {
    /// How a person looks at it.
    pub view: View,
    desk: Option<Desk>,
    /// Whether the screen was ever shown.
    is_seen: bool,
    pulling: Option<boundaries::Pulling>,
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
    was_running: bool,
    /// Whether undo or redo has led to these devices: what is laid on them anew is no step.
    returned: bool,
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
    format: Form,
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
        self.turn(Desk::undo)
    }

    /// A step back or forth, to other devices where those were the step; whether there was one.
    fn turn(&mut self, to: impl FnOnce(&mut Desk) -> Turn) -> bool {
        let Some(desk) = &mut self.desk else { return false };
        let turn = to(desk);
        if turn == Turn::Devices {
            let ground = desk.ground().clone();
            (self.spec, self.fields.spec) = (ground.found.spec.clone(), ground.found.spec.clone());
            self.found = Loadable::Ready(Arc::clone(&ground.found));
            // Nothing that is on its way to other devices comes in between.
            (self.start, self.laying, self.returned) = (None, Loadable::Empty, true);
            self.laid_for = Some((ground, self.strategy()));
            self.view.begin_anew();
        }
        turn != Turn::Nowhere
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
}

/// What could not be had.
fn refusal<T>(loadable: &Loadable<T>) -> Option<&Problem> {
    match loadable {
        Loadable::Refused(problem) => Some(problem),
        _ => None,
    }
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
