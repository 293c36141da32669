//! The served model that is chosen: whether it is there, what it offers, and what is wrong with it.

use egui::{RichText, TextEdit, Ui, Vec2};

use crate::Problem;
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::button;
use crate::app::parts::card::{Explained, explained, note, pill, section};
use crate::app::parts::field::field;
use crate::app::parts::icon::named;
use crate::app::parts::problem::{problem, remark};
use crate::app::parts::progress::progress;
use crate::app::served::{self, Served, Server};
use crate::app::setup::Wish;
use crate::app::theme::Tokens;
use crate::app::{self, Wishes};
use crate::endpoint::{Health, ServedModel};

/// Draws the content of the card.
pub fn served_ui(ui: &mut Ui, served: &Served, wishes: &mut Wishes) {
    section(ui, tr("Served model"));
    head_ui(ui, served);
    let mut wish = |wish| wishes.push(app::Wish::Setup(wish));
    let fault = served.fault();
    match &served.health {
        Loadable::Loading(job) => {
            if progress(ui, tr("Asking the server"), job.share(), true) {
                wish(Wish::Disconnect);
            }
        }
        Loadable::Refused(refusal) => problem(ui, refusal),
        Loadable::Ready(health) => health_ui(ui, served, health),
        Loadable::Empty => match &fault {
            Some(fault) => problem(ui, fault),
            None => drop(note(ui, tr("It has not been asked yet what it offers"))),
        },
    }
    if served.server.is_overheard() && fault.is_none() {
        remark(ui, &overheard());
    }
    if let Some(server) = model_ui(ui, served) {
        wish(Wish::Serve(Box::new(server)));
    }
    ui.horizontal_wrapped(|ui| {
        let again = match served.health {
            Loadable::Empty => tr("Ask the server"),
            _ => tr("Ask it again"),
        };
        ui.add_enabled_ui(!served.health.is_loading() && fault.is_none(), |ui| {
            let why = tr("Asks for the list of models and the time that takes; no question is sent");
            if button(ui, Icon::Refresh, again).on_hover_text(why).clicked() {
                wish(Wish::Connect);
            }
        });
        if ui.button(tr("Back to the checkpoint")).clicked() {
            wish(Wish::Local);
        }
    });
}

/// Its name, and how it stands.
fn head_ui(ui: &mut Ui, served: &Served) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.scope(|ui| {
            ui.set_max_width(ui.available_width() - 130.0);
            let name = served.name();
            let label = egui::Label::new(RichText::new(&name).heading().color(tokens.strong)).truncate();
            ui.add(label).on_hover_text(name);
        });
        match &served.health {
            Loadable::Ready(_) => pill(ui, tr("reachable"), tokens.good),
            Loadable::Refused(_) => pill(ui, tr("not reachable"), tokens.bad),
            Loadable::Loading(_) => pill(ui, tr("being asked"), tokens.accent),
            Loadable::Empty => pill(ui, tr("not asked"), tokens.subdued),
        };
    });
}

/// What the server said of itself.
fn health_ui(ui: &mut Ui, served: &Served, health: &Health) {
    let model = health.model(served.server.model.trim());
    explained(ui, 128.0, &pairs(served, health, model));
    if let Some(why) = &health.problem {
        let what = fill("the server has no list of its models: {}", &[why]);
        remark(ui, &Problem::new(what).fix(tr("type the model's name as the server knows it")));
    } else if health.models.is_empty() {
        let what = tr("the server lists no model");
        remark(ui, &Problem::new(what).fix(tr("load one there, or type a name that it knows")));
    } else if model.is_none() && !served.server.model.trim().is_empty() {
        let what = tr("the server does not list this model");
        let fix = tr("choose one of its list; some servers know further names");
        remark(ui, &Problem::new(what).at(served.server.model.trim()).fix(fix));
    }
}

fn pairs(served: &Served, health: &Health, model: Option<&ServedModel>) -> Vec<Explained<'static>> {
    let mut pairs = Vec::new();
    if let Ok(place) = served.server.place() {
        pairs.push((
            tr("Address"),
            place.base().to_owned(),
            tr("What is asked, with the version of its interface"),
        ));
    }
    let server = [health.server.as_deref(), health.version.as_deref()];
    let server: Vec<&str> = server.into_iter().flatten().collect();
    if !server.is_empty() {
        pairs.push((tr("Server"), server.join(" "), tr("What the server calls itself")));
    }
    let why = tr("From the question for its models to the first sign of a reply");
    pairs.push((tr("Answered in"), served::latency(health.seconds), why));
    let models = health.models.len().to_string();
    pairs.push((tr("Models offered"), models, tr("Models in the server's list")));
    let Some(model) = model else { return pairs };
    if let Some(owner) = &model.owner {
        pairs.push((tr("Served by"), owner.clone(), tr("What serves the model, or to whom it belongs")));
    }
    if let Some(root) = model.root.as_ref().filter(|root| **root != model.id) {
        pairs.push((tr("Made from"), root.clone(), tr("The checkpoint behind the name")));
    }
    if let Some(context) = model.context {
        let why = tr("Tokens of prompt and answer together that the server allows");
        pairs.push((tr("Context"), fill("{} tokens", &[&context]), why));
    }
    pairs
}

/// Which model: of the server's list, or by a name; the server with another one, where that was chosen.
fn model_ui(ui: &mut Ui, served: &Served) -> Option<Server> {
    let tokens = Tokens::of(ui);
    let mut server = served.server.clone();
    let none = Vec::new();
    let models = served.health.ready().map_or(&none, |health| &health.models);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 8.0;
        ui.label(RichText::new(tr("Model")).color(tokens.text));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if !models.is_empty() {
                let more = egui::Button::new(Icon::Down.atom()).min_size(Vec2::splat(28.0));
                let more = named(ui, more, tr("Models of the server"));
                egui::Popup::menu(&more).accessible_name(tr("Models of the server")).show(|ui| {
                    egui::ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
                        for model in models {
                            ui.selectable_value(&mut server.model, model.id.clone(), &model.id);
                        }
                    });
                });
            }
            let hint =
                if models.is_empty() { tr("Name of the model") } else { tr("Choose one, or type its name") };
            let edit = TextEdit::singleline(&mut server.model).hint_text(hint);
            let typed = field(ui, tr("Name of the model"), edit.desired_width(ui.available_width()));
            typed.on_hover_text(tr("As the server names it"));
        });
    });
    ui.spacing_mut().item_spacing = Vec2::new(12.0, 8.0);
    (server != served.server).then_some(server)
}

/// That others can read along.
fn overheard() -> Problem {
    Problem::new(tr("what is sent can be read on its way, the key too"))
        .fix(tr("plain http is for networks that are your own; https is for all others"))
}
