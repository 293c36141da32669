//! Where a served model is and what opens it: an address, those that were asked before, and the key.

use egui::{Button, Key, TextEdit, Ui};

use crate::app::habits::Habits;
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{button, list};
use crate::app::parts::card::{note, section};
use crate::app::parts::field::field;
use crate::app::parts::progress::progress;
use crate::app::served::{self, Hidden, KeyFrom, Served, Server};
use crate::app::setup::others::{Row, rows_ui};
use crate::app::setup::{Setup, Wish};
use crate::app::{self, Wishes};
use crate::endpoint::key::SERVED_KEYS;

/// Draws the form.
pub fn form_ui(setup: &Setup, ui: &mut Ui, served: &Served, habits: &Habits, wishes: &mut Wishes) {
    let mut server = served.server.clone();
    let entered = address_ui(ui, served, &mut server, wishes);
    if server.needs_leave() || server.allow_http {
        let box_ = ui.checkbox(&mut server.allow_http, tr("Allow plain http beyond private addresses"));
        box_.on_hover_text(tr("Questions and key can then be read by all on the way to the server"));
    }
    let entered = key_ui(ui, served, &mut server, wishes) || entered;
    if server != served.server {
        wishes.push(app::Wish::Setup(Wish::Serve(Box::new(server))));
    }
    if entered && !served.server.address.trim().is_empty() {
        wishes.push(app::Wish::Setup(Wish::Connect));
    }
    note(
        ui,
        tr(
            "Any server that speaks the OpenAI API: vLLM, SGLang, LMDeploy, llama.cpp, Ollama, hosted models. It is sent nothing before it is asked.",
        ),
    );
    ui.separator();
    known_ui(setup, ui, served, habits, wishes);
}

/// The address and the button; whether it is to be asked.
fn address_ui(ui: &mut Ui, served: &Served, server: &mut Server, wishes: &mut Wishes) -> bool {
    let mut entered = false;
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let is_loading = served.health.is_loading();
            let may_ask = !server.address.trim().is_empty();
            if is_loading && served.is_chosen {
                if ui.button(tr("Cancel")).clicked() {
                    wishes.push(app::Wish::Setup(Wish::Disconnect));
                }
            } else {
                let why = tr("Asks what the server offers; it answers the questions from now on");
                let asked = ui.add_enabled(may_ask, Button::new(tr("Connect")));
                entered |= asked.on_hover_text(why).clicked();
            }
            let edit = TextEdit::singleline(&mut server.address)
                .hint_text(tr("Address, such as http://localhost:8000"))
                .desired_width(ui.available_width());
            let field = field(ui, tr("Address of the server"), edit);
            entered |= field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        });
    });
    entered
}

/// Where the key comes from; whether the server is to be asked.
fn key_ui(ui: &mut Ui, served: &Served, server: &mut Server, wishes: &mut Wishes) -> bool {
    let name = |from: KeyFrom| match from {
        KeyFrom::Usual => tr("from the environment"),
        KeyFrom::Variable => tr("from a variable"),
        KeyFrom::Stored => tr("from the key store"),
        KeyFrom::Typed => tr("typed"),
        KeyFrom::Nowhere => tr("none"),
    };
    let mut entered = false;
    ui.horizontal(|ui| {
        ui.label(tr("Key")).on_hover_text(tr("What opens the server; it is written to no file"));
        ui.name_inputs(tr("Where the key comes from"), |ui| {
            list("key from", name(server.key_from), 150.0).show_ui(ui, |ui| {
                use KeyFrom::{Nowhere, Stored, Typed, Usual, Variable};
                for from in [Usual, Variable, Stored, Typed, Nowhere] {
                    ui.selectable_value(&mut server.key_from, from, name(from));
                }
            });
        });
        let width = ui.available_width();
        match server.key_from {
            KeyFrom::Variable => {
                let edit = TextEdit::singleline(&mut server.variable).hint_text(tr("Name of the variable"));
                field(ui, tr("Name of the variable"), edit.desired_width(width));
            }
            KeyFrom::Stored => {
                let edit = TextEdit::singleline(&mut server.stored).hint_text(tr("Name of the key"));
                field(ui, tr("Name of the key"), edit.desired_width(width));
            }
            KeyFrom::Typed => {
                let mut key = served.key.clone();
                let edit = TextEdit::singleline(&mut key.0).password(true).hint_text(tr("The key itself"));
                let field = field(ui, tr("The key itself"), edit.desired_width(width));
                entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                if key != served.key {
                    wishes.push(app::Wish::Setup(Wish::Key(Hidden(key.0))));
                }
            }
            KeyFrom::Usual | KeyFrom::Nowhere => {}
        }
    });
    note(ui, told(served, server));
    entered
}

/// What becomes of the key, in a sentence.
fn told(served: &Served, server: &Server) -> String {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match server.key_from {
        KeyFrom::Usual => {
            let place = server.place().ok();
            let open = place.is_none_or(|place| place.is_https() || place.is_loopback());
            let [own, others] = SERVED_KEYS;
            match (is_set(own), is_set(others)) {
                (true, _) => fill("The key of {} is sent", &[&own]),
                (false, true) if open => fill("The key of {} is sent", &[&others]),
                (false, true) => {
                    fill("{} is sent only over https or to this machine; no key is sent", &[&others])
                }
                (false, false) => fill("Neither {} nor {} is set: no key is sent", &[&own, &others]),
            }
        }
        KeyFrom::Variable if server.variable.trim().is_empty() => {
            tr("Name the variable that holds the key").into()
        }
        KeyFrom::Variable if is_set(server.variable.trim()) => {
            tr("The variable is set; its value is sent").into()
        }
        KeyFrom::Variable => tr("There is no such variable here").into(),
        KeyFrom::Stored => {
            tr("The platform's key store is asked for it when you connect; it may ask you to unlock it")
                .into()
        }
        KeyFrom::Typed if served.key.0.is_empty() => {
            tr("Held in memory alone until the window is closed").into()
        }
        KeyFrom::Typed => tr("Held in memory alone until the window is closed; written to no file").into(),
        KeyFrom::Nowhere => tr("No key is sent").into(),
    }
}

/// Servers that answered before, and those on this machine.
fn known_ui(setup: &Setup, ui: &mut Ui, served: &Served, habits: &Habits, wishes: &mut Wishes) {
    let now = if served.is_chosen { &served.server } else { &Server::default() };
    let key = |server: &Server| format!("{}\n{}", server.address, server.model);
    if !habits.servers.is_empty() {
        section(ui, tr("Asked before"));
        let rows: Vec<Row> = habits
            .servers
            .iter()
            .map(|it| Row {
                name: if it.model.is_empty() { it.address.clone() } else { it.model.clone() },
                detail: if it.model.is_empty() { tr("recent").to_owned() } else { it.address.clone() },
                size: String::new(),
                named: key(it),
            })
            .collect();
        if let Some(clicked) = rows_ui(ui, "servers", &rows, &key(now))
            && let Some(server) = habits.servers.iter().find(|it| key(it) == clicked)
        {
            wishes.push(app::Wish::Setup(Wish::Open(Box::new(server.clone()))));
        }
    }
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        let ports = setup.ports.0.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let why =
            fill("Asks on the usual ports of this machine which models are served there: {}", &[&ports]);
        ui.add_enabled_ui(!setup.nearby.is_loading(), |ui| {
            if button(ui, Icon::Search, tr("Look on this machine")).on_hover_text(why).clicked() {
                wishes.push(app::Wish::Setup(Wish::LookNearby));
            }
        });
    });
    match &setup.nearby {
        Loadable::Loading(job) => drop(progress(ui, tr("Asking on the usual ports"), job.share(), false)),
        Loadable::Ready(found) if found.is_empty() => {
            note(ui, tr("Nobody answers on the usual ports of this machine"));
        }
        Loadable::Ready(found) => {
            let rows: Vec<Row> = found
                .iter()
                .map(|it| {
                    let models = &it.health.models;
                    let first = models.first().map_or(String::new(), |model| model.id.clone());
                    let name = if models.len() == 1 { first } else { fill("{} models", &[&models.len()]) };
                    let size = served::latency(it.health.seconds);
                    Row { name, detail: it.address.clone(), size, named: it.address.clone() }
                })
                .collect();
            if let Some(address) = rows_ui(ui, "nearby", &rows, &now.address) {
                wishes.push(app::Wish::Setup(Wish::Open(Box::new(Server::at(address)))));
            }
        }
        Loadable::Empty | Loadable::Refused(_) => {}
    }
}
