//! Maps in and out: a device_map that was pasted, and the plan in the forms that other tools read.

use egui::{RichText, ScrollArea, TextEdit, Ui};

use super::desk::Desk;
use super::toolbar::{list, name};
use super::words::{percent, verdict_name};
use super::{Fields, ReadMap, Wish, ask, findings_ui, paint};
use crate::app::dialog::{Then, What};
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::problem::problem;
use crate::app::theme::Tokens;
use crate::app::{self, Wishes};
use crate::plan::exchange::Form;

/// The name of a file that holds such a form.
fn file_name(form: Form) -> &'static str {
    match form {
        Form::DeviceMap => "device_map.json",
        Form::Topology => "topology.yml",
        Form::DeviceLayers | Form::TensorSplit => "layers.txt",
    }
}

/// The panel.
pub(super) fn ui(
    ui: &mut Ui,
    desk: &Desk,
    fields: &mut Fields,
    read: &Loadable<ReadMap>,
    wishes: &mut Wishes,
) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(tr("Take a map")).font(paint::bold(13.5)).color(tokens.strong));
    ui.label(RichText::new(tr("Paste a device_map (JSON, a Python dict, a line of a log), mistral.rs layers or topology, or a tensor split.")).small().color(tokens.subdued));
    ScrollArea::vertical().id_salt("pasted").max_height(140.0).show(ui, |ui| {
        let edit = TextEdit::multiline(&mut fields.pasted)
            .code_editor()
            .desired_rows(5)
            .desired_width(f32::INFINITY)
            .hint_text("{'vision_model': 0, 'language_model.model.layers.0': 0, …}");
        let edit = ui.add(edit);
        name(&edit, egui::Role::MultilineTextInput, tr("map to read"));
    });
    ui.horizontal(|ui| {
        let has_text = !fields.pasted.trim().is_empty();
        if ui.add_enabled(has_text && !read.is_loading(), egui::Button::new(tr("Check it"))).clicked() {
            ask(wishes, Wish::ReadMap(fields.pasted.clone()));
        }
        if ui.button(tr("Open a file…")).clicked() {
            let what = What::File { title: tr("Open a device map").into(), endings: None };
            wishes.push(app::Wish::Pick(what, Then::new(|path| app::Wish::Board(Wish::ReadFile(path)))));
        }
        if has_text && ui.button(tr("Clear")).clicked() {
            fields.pasted.clear();
        }
    });
    match read {
        Loadable::Ready(map) => read_ui(ui, map, wishes),
        Loadable::Refused(refused) => problem(ui, refused),
        Loadable::Loading(_) => {
            ui.label(RichText::new(tr("Reading the map…")).color(tokens.subdued));
        }
        Loadable::Empty => {}
    }
    ui.add_space(8.0);
    ui.separator();
    ui.add_space(4.0);
    write_ui(ui, desk, fields, wishes);
}

fn read_ui(ui: &mut Ui, map: &ReadMap, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    ui.add_space(4.0);
    ui.horizontal_wrapped(|ui| {
        paint::verdict_icon(ui, map.verdict);
        let said =
            fill("{}, {} of the fullest device", &[&verdict_name(map.verdict), &percent(map.worst_share)]);
        ui.label(RichText::new(said).color(paint::verdict_color(tokens, map.verdict)));
        if ui.button(tr("Put it on the board")).clicked() {
            ask(wishes, Wish::AdoptPlan(Box::new(map.plan.clone())));
        }
    });
    ui.push_id("read map", |ui| findings_ui::cards(ui, &map.findings, false, wishes));
}

fn write_ui(ui: &mut Ui, desk: &Desk, fields: &mut Fields, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    ui.label(RichText::new(tr("Give this plan")).font(paint::bold(13.5)).color(tokens.strong));
    list(ui, tr("Form of the map"), fields.format.title(), 240.0, |ui| {
        for format in Form::ALL {
            ui.selectable_value(&mut fields.format, format, format.title());
        }
    });
    let text = match fields.format.write(&desk.draft().plan, desk.case()) {
        Ok(text) => text,
        Err(refused) => return problem(ui, &refused),
    };
    ScrollArea::vertical().id_salt("written").max_height(150.0).show(ui, |ui| {
        let mut shown = text.as_str();
        let edit = TextEdit::multiline(&mut shown).code_editor().desired_rows(4).desired_width(f32::INFINITY);
        let edit = ui.add(edit);
        name(&edit, egui::Role::MultilineTextInput, tr("the plan as a map"));
    });
    ui.horizontal(|ui| {
        if ui.button(tr("Copy")).clicked() {
            ui.ctx().copy_text(text.clone());
        }
        if ui.button(tr("Save as…")).clicked() {
            let what =
                What::Save { title: tr("Save the plan").into(), name: file_name(fields.format).into() };
            let text = text.clone();
            let then = Then::new(move |path| app::Wish::Board(Wish::Write(path, text.clone())));
            wishes.push(app::Wish::Pick(what, then));
        }
        let width = (ui.available_width() - 60.0).max(60.0);
        let edit =
            TextEdit::singleline(&mut fields.file).desired_width(width).hint_text(file_name(fields.format));
        let edit = ui.add(edit);
        name(&edit, egui::Role::TextInput, tr("file to write"));
        let path = fields.file.trim();
        if ui.add_enabled(!path.is_empty(), egui::Button::new(tr("Save"))).clicked() {
            ask(wishes, Wish::Write(path.into(), text.clone()));
        }
    });
}
