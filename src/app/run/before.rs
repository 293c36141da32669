//! The run screen before there is a run: what is being prepared, why it did not begin, or what would be run.

use std::path::Path;

use egui::{Rect, Ui, pos2, vec2};

use super::{Runs, Wish, key};
use crate::Problem;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::primary;
use crate::app::parts::card::{card, fact, facts, heading};
use crate::app::parts::problem::problem;
use crate::app::parts::progress::progress;
use crate::app::{self, Screen, Wishes, Workspace};

/// A run is being prepared: what takes its time, and a way out.
pub fn preparing_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    centered(ui, 460.0, |ui| {
        card(ui, |ui| {
            heading(ui, tr("Preparing the run"));
            ui.label(tr("Checking the choices and reading the dataset through once for its fingerprint"));
            ui.add_space(6.0);
            let share = runs.preparing.as_ref().and_then(crate::app::job::Job::share);
            progress(ui, tr("Reading"), share, false);
            ui.add_space(6.0);
            if ui.button(tr("Cancel")).clicked() {
                wishes.push(app::Wish::Run(Wish::Cancel));
            }
        });
    });
}

/// No run: why it did not begin or go on, what would be run, and the button.
pub fn empty_ui(runs: &mut Runs, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    centered(ui, 520.0, |ui| match (runs.refused.clone(), runs.resuming.clone()) {
        (Some(refused), Some(folder)) => stuck_ui(runs, ui, &refused, &folder, wishes),
        (refused, _) => {
            if let Some(refused) = &refused {
                problem(ui, refused);
                ui.add_space(8.0);
            }
            let title = if refused.is_some() { tr("The run did not begin") } else { tr("No run yet") };
            card(ui, |ui| chosen_ui(ui, title, workspace, wishes));
        }
    });
}

/// A session that did not go on.
fn stuck_ui(runs: &mut Runs, ui: &mut Ui, refused: &Problem, folder: &Path, wishes: &mut Wishes) {
    problem(ui, refused);
    ui.add_space(8.0);
    card(ui, |ui| {
        heading(ui, tr("The session did not go on"));
        ui.add_space(4.0);
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        fact(ui, tr("Session"), name);
        key::key_ui(runs, ui, wishes);
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            if ui.button(tr("Try again")).clicked() {
                wishes.push(app::Wish::Resume(folder.to_owned()));
            }
            if ui.button(tr("Back to the sessions")).clicked() {
                wishes.extend([app::Wish::Run(Wish::Forget), app::Wish::Go(Screen::Sessions)]);
            }
        });
    });
}

/// What would be run, and the button.
fn chosen_ui(ui: &mut Ui, title: &str, workspace: &Workspace, wishes: &mut Wishes) {
    heading(ui, title);
    ui.add_space(4.0);
    let waiting = tr("being opened").to_owned();
    let none = tr("not chosen").to_owned();
    let served = &workspace.served;
    let model = match &workspace.subject {
        subject if subject.is_loading() && !served.is_chosen => waiting.clone(),
        _ => workspace.answerer().unwrap_or_else(|| none.clone()),
    };
    let (name, place) = match served.is_chosen {
        true => (tr("Served model"), (tr("Address"), served.server.address.trim().to_owned())),
        false => (tr("Checkpoint"), (tr("Devices"), workspace.choices.devices.clone())),
    };
    let dataset = match &workspace.dataset {
        it if it.is_loading() => waiting,
        it => it.ready().map_or(none, |it| fill("{}, {} questions", &[&it.name(), &it.len()])),
    };
    let rule = (tr("Rule"), workspace.choices.rule.clone());
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing = vec2(12.0, 8.0);
        facts(ui, 200.0, &[(name, model), (tr("Dataset"), dataset), place, rule]);
    });
    ui.add_space(8.0);
    ui.horizontal(|ui| {
        let ready = workspace.obstacle().is_none();
        ui.add_enabled_ui(ready, |ui| {
            if primary(ui, Some(Icon::Play), tr("Start")).clicked() {
                wishes.push(app::Wish::Start);
            }
        });
        if ui.button(tr("Change…")).clicked() {
            wishes.push(app::Wish::Go(Screen::Setup));
        }
    });
}

fn centered(ui: &mut Ui, width: f32, content: impl FnOnce(&mut Ui)) {
    let room = ui.available_rect_before_wrap();
    let width = width.min(room.width() - 32.0);
    let place = Rect::from_min_size(
        pos2(room.center().x - width / 2.0, room.top() + (room.height() * 0.18).min(140.0)),
        vec2(width, room.height() * 0.8),
    );
    ui.scope_builder(egui::UiBuilder::new().max_rect(place), content);
}
