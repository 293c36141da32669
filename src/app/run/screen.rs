//! The run screen as it is drawn.

use egui::{Frame, Margin, Panel, RichText, Ui};

use super::live::Stage;
use super::question::question_ui;
use super::{Runs, Wish, before, flow_ui, head, key, memory};
use crate::app::language::{fill, tr};
use crate::app::parts::problem::problem;
use crate::app::pictures;
use crate::app::theme::Tokens;
use crate::app::{self, Screen, Wishes, Workspace};

/// Draws the screen.
pub fn ui(runs: &mut Runs, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    if runs.preparing.is_some() {
        return before::preparing_ui(runs, ui, wishes);
    }
    if runs.live.is_none() || runs.refused.is_some() {
        return before::empty_ui(runs, ui, workspace, wishes);
    }
    let tokens = Tokens::of(ui);
    keys(runs, ui, wishes);
    let bar = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 10));
    Panel::top("run head").frame(bar).show(ui, |ui| {
        head::head_ui(runs, ui, wishes);
        key::key_ui(runs, ui, wishes);
    });
    let height = ui.available_height();
    let is_served = runs.live.as_ref().is_some_and(|live| live.about.server.is_some());
    Panel::bottom(if is_served { "run server" } else { "run memory" })
        .resizable(true)
        .default_size((height * 0.32).clamp(110.0, 250.0))
        .size_range(70.0..=(height * 0.6).max(80.0))
        .frame(Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 8)))
        .show(ui, |ui| {
            // It stays as high as it was made, however little there is to show yet.
            ui.set_min_height(ui.available_height());
            match &runs.live {
                Some(live) if is_served => flow_ui::flow_ui(ui, live),
                Some(live) => memory::ui(ui, &live.trace, live.is_active()),
                None => {}
            }
        });
    let width = ui.available_width();
    Panel::left("run pictures")
        .resizable(true)
        .default_size(width * 0.44)
        .size_range(220.0..=(width * 0.7).max(230.0))
        .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin::same(12)))
        .show(ui, |ui| pictures_ui(runs, ui));
    egui::CentralPanel::default()
        .frame(Frame::new().fill(tokens.canvas).inner_margin(Margin {
            left: 4,
            right: 12,
            top: 12,
            bottom: 8,
        }))
        .show(ui, |ui| question_ui(runs, ui, wishes));
}

/// A word on the run in progress, for the top bar.
pub fn badge_ui(runs: &Runs, ui: &mut Ui, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let Some(live) = runs.live.as_ref().filter(|live| live.is_active()) else { return };
    let text = match &live.stage {
        Stage::Loading(..) => tr("Loading the model").to_owned(),
        Stage::Paused => fill("Paused at {} of {}", &[&live.done, &live.about.total]),
        _ => fill("Running {} of {}", &[&live.done, &live.about.total]),
    };
    let color = if live.stage == Stage::Paused { tokens.warning } else { tokens.accent };
    let button = ui.add(egui::Button::new(RichText::new(text).small().color(color)).small());
    if button.on_hover_text(tr("Go to the run")).clicked() {
        wishes.push(app::Wish::Go(Screen::Run));
    }
}

fn keys(runs: &Runs, ui: &Ui, wishes: &mut Wishes) {
    if ui.ctx().text_edit_focused() || ui.memory(|memory| memory.focused().is_some()) {
        return;
    }
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    let steps = [(egui::Key::ArrowLeft, -1), (egui::Key::ArrowRight, 1)];
    wishes
        .extend(steps.iter().filter(|(key, _)| pressed(*key)).map(|(_, by)| app::Wish::Run(Wish::Step(*by))));
    if pressed(egui::Key::End) {
        wishes.push(app::Wish::Run(Wish::Follow(None)));
    }
    if pressed(egui::Key::Space) {
        match runs.live.as_ref().map(|live| &live.stage) {
            Some(Stage::Paused) => wishes.push(app::Wish::Run(Wish::Resume)),
            Some(Stage::Running | Stage::Loading(..)) => wishes.push(app::Wish::Run(Wish::Pause)),
            _ => {}
        }
    }
}

fn pictures_ui(runs: &mut Runs, ui: &mut Ui) {
    let tokens = Tokens::of(ui);
    let room = ui.available_size();
    let Some(row) = runs.shown() else {
        ui.centered_and_justified(|ui| {
            ui.label(RichText::new(tr("The pictures of the question come here")).color(tokens.subdued))
        });
        return;
    };
    match runs.gallery.get(row) {
        Some(crate::app::job::Loadable::Ready(shown)) => {
            pictures::show(ui, &shown.pictures, &mut runs.look, room)
        }
        Some(crate::app::job::Loadable::Refused(why)) => problem(ui, why),
        // Decoding takes a moment; a word that comes and goes would only flicker.
        _ => {
            ui.allocate_space(room);
        }
    }
}
