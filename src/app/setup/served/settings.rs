//! How a served model is asked: every setting with its value and where that comes from.

use egui::{DragValue, TextEdit, Ui};

use crate::app::language::tr;
use crate::app::parts::button::list;
use crate::app::parts::problem::problem;
use crate::app::served::{Hidden, MOST_IN_FLIGHT, Served, Server};
use crate::app::setup::settings::{From, LIST, from, row};
use crate::picture::SentAs;

/// Dearest price of a million tokens that can be chosen.
const DEAREST: f64 = 1e6;

/// Draws the settings that a person looks at first.
pub fn asked_ui(ui: &mut Ui, served: &Served, now: &mut Server) {
    let usual = Server::default();
    let many = from(&now.in_flight, &usual.in_flight, From::Default);
    let why = tr("Most questions that are with the server at once; fewer are where it is strained");
    if row(ui, tr("In flight"), why, many, |ui| {
        ui.add(DragValue::new(&mut now.in_flight).range(1..=MOST_IN_FLIGHT).speed(0.2));
    }) {
        now.in_flight = usual.in_flight;
    }
    let sent = from(&now.jpeg, &usual.jpeg, From::Default);
    let why = tr(
        "How pictures are encoded that cannot go as they are; files that every reader sees alike go untouched",
    );
    if row(ui, tr("Pictures as"), why, sent, |ui| {
        let shown = if now.jpeg.is_some() { "JPEG" } else { "PNG" };
        list("pictures as", shown, 72.0).show_ui(ui, |ui| {
            ui.selectable_value(&mut now.jpeg, None, "PNG");
            ui.selectable_value(&mut now.jpeg, Some(SentAs::USUAL_QUALITY), "JPEG");
        });
        if let Some(quality) = &mut now.jpeg {
            let field = ui.add(DragValue::new(quality).range(1..=100).speed(0.2));
            field.on_hover_text(tr("Quality of the JPEG, from 1 to 100"));
        }
    }) {
        now.jpeg = usual.jpeg;
    }
    let prices = [
        (tr("Prompt price"), tr("What a million tokens of prompts cost, in any currency; 0 is no price")),
        (tr("Answer price"), tr("What a million tokens of answers cost, in any currency; 0 is no price")),
    ];
    for ((name, why), price) in prices.into_iter().zip(&mut now.price) {
        let of = from(price, &0.0, From::Default);
        if row(ui, name, why, of, |ui| {
            let field = DragValue::new(price).range(0.0..=DEAREST).speed(0.01).max_decimals(4);
            ui.add(field.suffix(format!(" {}", tr("a million"))));
        }) {
            *price = 0.0;
        }
    }
    if let Some(fault) = served.server.service().err() {
        problem(ui, &fault);
    }
}

/// Draws the others.
pub fn more_ui(ui: &mut Ui, now: &mut Server) {
    let usual = Server::default();
    let first = from(&now.first_token, &usual.first_token, From::Default);
    let why = tr("Longest silence before the first words of an answer, and between any two");
    if row(ui, tr("First words"), why, first, |ui| seconds_ui(ui, &mut now.first_token)) {
        now.first_token = usual.first_token;
    }
    let whole = from(&now.answer, &usual.answer, From::Default);
    let why = tr("Longest time for a whole answer");
    if row(ui, tr("Whole answer"), why, whole, |ui| seconds_ui(ui, &mut now.answer)) {
        now.answer = usual.answer;
    }
    let tries = from(&now.retries, &usual.retries, From::Default);
    let why = tr("How often a question is tried again where the server is busy or the connection breaks");
    if row(ui, tr("Further tries"), why, tries, |ui| {
        ui.add(DragValue::new(&mut now.retries).range(0..=1000).speed(0.1));
    }) {
        now.retries = usual.retries;
    }
    let marks = from(&now.image_marks, &usual.image_marks, From::Default);
    let why =
        tr("Pictures first, and <image> left in the text where each belongs: for servers that look for it");
    if row(ui, tr("Image marks"), why, marks, |ui| {
        ui.checkbox(&mut now.image_marks, tr("in the text"));
    }) {
        now.image_marks = usual.image_marks;
    }
    let header = from(&now.key_header, &usual.key_header, From::Default);
    let why =
        tr("The header that carries the key alone, as some gateways want it; else it is a bearer token");
    if row(ui, tr("Key's header"), why, header, |ui| {
        ui.add(TextEdit::singleline(&mut now.key_header).hint_text("Authorization").desired_width(LIST));
    }) {
        now.key_header.clear();
    }
    let extra = from(&now.extra, &usual.extra, From::Default);
    let why = tr("Further fields of each request, as a JSON object; null takes a field away");
    if row(ui, tr("Further fields"), why, extra, |_| {}) {
        now.extra.clear();
    }
    field_ui(ui, tr("Further fields"), &mut now.extra, "{\"top_k\": 1}");
    let headers = from(&now.headers, &usual.headers, From::Default);
    let why = tr("Headers of each request, NAME: VALUE on a line each; their values are not recorded");
    if row(ui, tr("Headers"), why, headers, |_| {}) {
        now.headers = Hidden::default();
    }
    field_ui(ui, tr("Headers"), &mut now.headers.0, "X-Team: vision");
}

fn seconds_ui(ui: &mut Ui, seconds: &mut f64) {
    let field = DragValue::new(seconds).range(1.0..=86_400.0).speed(1.0).max_decimals(1);
    ui.add(field.suffix(" s"));
}

fn field_ui(ui: &mut Ui, name: &str, text: &mut String, hint: &str) {
    let field = TextEdit::multiline(text).code_editor().desired_rows(2).desired_width(f32::INFINITY);
    ui.name_inputs(name, |ui| ui.add(field.hint_text(hint)));
}
