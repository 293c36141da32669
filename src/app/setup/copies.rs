//! Copies of the model side by side, where it fits on a part of the devices.

use std::sync::Arc;

use egui::{RichText, Ui};

use super::settings::{From, LIST, row};
use crate::app::Workspace;
use crate::app::job::{Job, Loadable, Wake};
use crate::app::language::{fill, tr};
use crate::app::parts::button::list;
use crate::app::parts::card::note;
use crate::app::theme::Tokens;
use crate::evaluation::Choices;
use crate::evaluation::copies::copies;
use crate::plan::ModelShape;
use crate::plan::forecast::Verdict;
use crate::plan::replicas::Choice;

/// How many copies the devices could hold, worked out by a job where something has changed on which that depends.
#[derive(Default)]
pub struct Copies {
    of: Option<(Arc<ModelShape>, Choices, u32)>,
    found: Loadable<Vec<Choice>>,
}

impl Copies {
    /// Takes what the job has brought, and begins it anew where other things are chosen.
    pub fn receive(&mut self, workspace: &Workspace, wake: &Wake) {
        self.found.poll();
        let subject = workspace.subject.ready().filter(|_| !workspace.served.is_chosen);
        let checkpoint = subject.and_then(|subject| Some((subject, subject.checkpoint.clone()?)));
        let Some((subject, checkpoint)) = checkpoint else { return };
        let own = workspace.dataset.ready().map_or(12, |dataset| dataset.profile().max_tiles);
        let max_tiles = workspace.choices.settings.max_tiles.unwrap_or(own);
        // The number of copies itself changes nothing, and neither does which questions are asked.
        let choices = Choices { replicas: 1, questions: Default::default(), ..workspace.choices.clone() };
        let same = |(shape, before, tiles): &(Arc<ModelShape>, Choices, u32)| {
            Arc::ptr_eq(shape, &subject.shape) && *before == choices && *tiles == max_tiles
        };
        if self.of.as_ref().is_some_and(same) {
            return;
        }
        self.of = Some((subject.shape.clone(), choices.clone(), max_tiles));
        let work = move |_: &_| copies(&checkpoint, &choices, max_tiles);
        self.found = Loadable::Loading(Job::start("count the copies that fit", wake, work));
    }
}

/// Draws the setting, where there is more than one device to share.
pub fn copies_ui(copies: &Copies, ui: &mut Ui, now: &mut Choices) {
    let none = Vec::new();
    let found = copies.found.ready().unwrap_or(&none);
    if found.len() < 2 && now.replicas <= 1 {
        return;
    }
    let from = if now.replicas > 1 { From::Chosen } else { From::Default };
    let why = tr(
        "Copies of the model side by side, each on a part of the devices: each answers questions of its own",
    );
    if row(ui, tr("Copies"), why, from, |ui| {
        list("copies", now.replicas.to_string(), LIST).show_ui(ui, |ui| {
            for choice in found {
                let fits = choice.verdict != Verdict::DoesNotFit;
                ui.add_enabled_ui(fits, |ui| {
                    let here = now.replicas == choice.copies;
                    if ui.selectable_label(here, words(choice)).clicked() {
                        now.replicas = choice.copies;
                        // A copy without a question would rest.
                        now.batch = now.batch.max(choice.copies);
                    }
                });
            }
        });
    }) {
        now.replicas = 1;
    }
    match found.iter().find(|choice| choice.copies == now.replicas) {
        Some(choice) if choice.copies > 1 && choice.verdict != Verdict::DoesNotFit => {
            note(ui, words(choice)).on_hover_text(tr("Reckoned for one picture at its most tiles"));
        }
        Some(choice) if choice.copies == 1 => {}
        found_here if copies.found.ready().is_some() => {
            let text = match found_here {
                Some(_) => fill("{} copies do not fit on these devices", &[&now.replicas]),
                None => fill("{} copies do not share these devices evenly", &[&now.replicas]),
            };
            ui.label(RichText::new(text).small().color(Tokens::of(ui).warning));
        }
        _ => {}
    }
    if now.batch < now.replicas {
        let text = fill("with {} in flight some copies rest", &[&now.batch]);
        ui.label(RichText::new(text).small().color(Tokens::of(ui).warning));
    }
}

/// A way to share the devices, in a line.
fn words(choice: &Choice) -> String {
    let each = match (choice.copies, choice.devices_each) {
        (1, 1) => tr("1 copy on 1 device").to_owned(),
        (1, devices) => fill("1 copy on {} devices", &[&devices]),
        (copies, 1) => fill("{} copies on 1 device each", &[&copies]),
        (copies, devices) => fill("{} copies on {} devices each", &[&copies, &devices]),
    };
    match choice.verdict {
        Verdict::DoesNotFit => format!("{each}: {}", tr("does not fit")),
        Verdict::Tight => format!("{each}: {}", tr("tight")),
        Verdict::Fits if choice.copies == 1 => each,
        Verdict::Fits => {
            let times = format!("{:.1}", choice.relative_throughput);
            format!("{each}: {}", fill("{} times as many questions", &[&times]))
        }
    }
}
