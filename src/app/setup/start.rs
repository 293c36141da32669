//! The bar at the foot of the setup: what will happen, and the button that begins it.

use egui::{Align, Layout, RichText, Ui};

use super::Setup;
use crate::app::language::{fill, told, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{button, primary};
use crate::app::parts::problem::{in_window, sentence};
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
                    let place = problem.place.as_deref().and_then(|it| it.rsplit(['/', '\\']).next());
                    let what = match place.filter(|place| !place.is_empty()) {
                        Some(place) => format!("{} ({})", sentence(&problem.what), in_window(&told(place))),
                        None => sentence(&problem.what),
                    };
                    let text = RichText::new(&what).color(tokens.text);
                    ui.add(egui::Label::new(text).truncate()).on_hover_text(what);
                }
                None => {
                    let unknown = || "…".to_owned();
                    let model = workspace.answerer().unwrap_or_else(unknown);
                    let dataset = workspace.dataset.ready().map_or_else(unknown, |it| it.name().to_owned());
                    let served = &workspace.served;
                    let text = match (served.is_chosen, served.server.place()) {
                        (true, Ok(place)) => {
                            fill("{} answers {}, served at {}", &[&model, &dataset, &place.host()])
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
