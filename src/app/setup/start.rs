//! The bar at the foot of the setup: what will happen, and the button that begins it.

use egui::{Align, Layout, RichText, Ui};

use super::Setup;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{button, primary};
use crate::app::parts::problem::sentence;
use crate::app::theme::Tokens;
use crate::app::{Screen, Wish, Wishes, Workspace, shortcut};

/// Draws the bar.
pub fn start_ui(setup: &Setup, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let refused = match &setup.selected {
        crate::app::job::Loadable::Refused(problem) => Some(problem.clone()),
        _ => None,
    };
    let obstacle = workspace.obstacle().or(refused);
    let asked = setup.selected.ready().map(Vec::len);
    ui.horizontal(|ui| {
        ui.set_min_height(38.0);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let text = match asked {
                Some(1) => tr("Run 1 question").to_owned(),
                Some(asked) => fill("Run {} questions", &[&asked]),
                None => tr("Run").to_owned(),
            };
            let ready = obstacle.is_none() && asked.is_some();
            let run = ui.add_enabled_ui(ready, |ui| primary(ui, Some(Icon::Play), &text)).inner;
            if shortcut::tip(run, "Start the run", &shortcut::START).clicked() {
                wishes.push(Wish::Start);
            }
            if !workspace.served.is_chosen {
                let plan = button(ui, Icon::Layout, tr("See the layout"));
                let why = tr("Which unit sits on which device, and whether the memory holds");
                if plan.on_hover_text(why).clicked() {
                    wishes.push(Wish::Go(Screen::Board));
                }
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| match &obstacle {
                Some(problem) => {
                    Icon::Warning.ui(ui, 16.0, tokens.warning);
                    let text = RichText::new(sentence(&problem.what)).color(tokens.text);
                    ui.add(egui::Label::new(text).truncate());
                }
                None => {
                    let name = |name: Option<&str>| name.unwrap_or("…").to_owned();
                    let model =
                        name(workspace.subject.ready().map(|subject| match subject.source.as_str() {
                            crate::demo::BUILT_IN => tr("Built-in demonstration"),
                            _ => subject.name.as_str(),
                        }));
                    let dataset = name(workspace.dataset.ready().map(|dataset| dataset.name()));
                    let served = &workspace.served;
                    let text = match (served.is_chosen, served.server.place()) {
                        (true, Ok(place)) => {
                            fill("{} answers {}, served at {}", &[&served.name(), &dataset, &place.host()])
                        }
                        _ => {
                            let devices = &workspace.choices.devices;
                            fill("{} answers {}, on devices: {}", &[&model, &dataset, devices])
                        }
                    };
                    ui.add(egui::Label::new(RichText::new(text).color(tokens.subdued)).truncate());
                }
            });
        });
    });
}
