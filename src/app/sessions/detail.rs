//! What is marked in the list: one session and what can be done with it, or several to compare.

use egui::{Key, RichText, TextEdit, Ui, Vec2};

use super::listing::Entry;
use super::{Sessions, Wish, screen};
use crate::app::dialog::{Then, What};
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{button, primary};
use crate::app::parts::card::{facts, heading, note, section};
use crate::app::parts::progress::bar;
use crate::app::results::format_name;
use crate::app::theme::{self, Tokens};
use crate::app::{self, Wishes};
use crate::session::State;
use crate::session::export::Format;

/// Draws what is marked.
pub fn ui(sessions: &mut Sessions, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(listing) = sessions.listing.ready() else { return };
    let entries: Vec<Entry> = sessions.marked.iter().filter_map(|dir| listing.find(dir)).cloned().collect();
    ui.spacing_mut().item_spacing = Vec2::new(8.0, 8.0);
    match entries.as_slice() {
        [] => {}
        [one] => one_ui(sessions, ui, one, wishes),
        several => several_ui(ui, several, wishes),
    }
}

fn one_ui(sessions: &mut Sessions, ui: &mut Ui, entry: &Entry, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let dir = &entry.summary.dir;
    name_ui(sessions, ui, entry, wishes);
    ui.horizontal(|ui| screen::state_ui(ui, entry));
    ui.scope(|ui| score_ui(ui, entry));
    if let State::Damaged(why) = &entry.summary.state {
        ui.label(RichText::new(why).color(tokens.bad));
    }
    ui.add_space(4.0);
    ui.horizontal_wrapped(|ui| {
        let opened = match entry.can_go_on() {
            true => {
                if primary(ui, Some(Icon::Play), tr("Resume")).clicked() {
                    wishes.push(app::Wish::Resume(dir.clone()));
                }
                ui.button(tr("Open the results"))
            }
            false => primary(ui, None, tr("Open the results")),
        };
        if opened.clicked() {
            wishes.push(app::Wish::ShowSession(dir.clone()));
        }
    });
    ui.horizontal_wrapped(|ui| {
        export_ui(sessions, ui, entry, wishes);
        if Icon::Trash.button(ui, tr("Move to the trash")).clicked() {
            wishes.push(app::Wish::Sessions(Wish::Discard(vec![dir.clone()])));
        }
    });
    note(ui, tr("Mark another one with Ctrl to compare the two."));
    ui.separator();
    facts_ui(ui, entry);
}

/// The name, and the field in which it is changed.
fn name_ui(sessions: &mut Sessions, ui: &mut Ui, entry: &Entry, wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    let dir = &entry.summary.dir;
    if let Some((_, name)) = sessions.naming.as_mut().filter(|(named, _)| named == dir) {
        let field =
            TextEdit::singleline(name).hint_text(tr("A name of your own")).desired_width(f32::INFINITY);
        let field = ui.add(field.margin(egui::Margin::symmetric(8, 6)));
        if !field.has_focus() && !field.lost_focus() {
            field.request_focus();
        }
        if field.lost_focus() {
            let wish = match ui.input(|input| input.key_pressed(Key::Escape)) {
                true => Wish::EndNaming,
                false => Wish::Name(dir.clone(), name.clone()),
            };
            wishes.push(app::Wish::Sessions(wish));
        }
        return;
    }
    ui.horizontal(|ui| {
        ui.scope(|ui| {
            ui.set_max_width(ui.available_width() - 40.0);
            let name = RichText::new(entry.name()).heading().color(tokens.strong);
            ui.add(egui::Label::new(name).truncate());
        });
        if Icon::Pencil.button(ui, tr("Give it a name")).clicked() {
            wishes.push(app::Wish::Sessions(Wish::BeginNaming(dir.clone())));
        }
    });
}

/// The score, large, its interval, and the verdicts as a bar.
fn score_ui(ui: &mut Ui, entry: &Entry) {
    let tokens = Tokens::of(ui);
    let tally = &entry.summary.tally;
    let Some(accuracy) = tally.accuracy() else {
        note(ui, tr("No answer has been scored"));
        return;
    };
    let (low, high) = tally.interval();
    ui.label(
        RichText::new(format!("{:.1} %", 100.0 * accuracy)).text_style(theme::figure()).color(tokens.strong),
    );
    let low = format!("{:.1}", 100.0 * low);
    let high = format!("{:.1}", 100.0 * high);
    note(ui, fill("95 % interval {} to {} %, {} questions", &[&low, &high, &tally.total]));
    let total = tally.total.max(1) as f32;
    let failed = tally.failed + tally.out_of_memory;
    let parts = [
        (tally.right, tokens.good, tr("right")),
        (tally.wrong, tokens.bad, tr("wrong")),
        (tally.unparsed, tokens.warning, tr("unparsed")),
        (failed, tokens.subdued, tr("failed")),
    ];
    let shares = parts.map(|(count, color, _)| (count as f32 / total, color));
    bar(ui, 8.0, &shares, tr("Verdicts"));
    ui.spacing_mut().interact_size.y = 14.0;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (count, color, name) in parts {
            if count > 0 {
                ui.label(RichText::new(count.to_string()).small().color(color));
                ui.label(RichText::new(name).small().color(tokens.subdued));
                ui.add_space(6.0);
            }
        }
    });
}

fn facts_ui(ui: &mut Ui, entry: &Entry) {
    let summary = &entry.summary;
    let mut pairs = vec![(tr("Folder"), summary.name())];
    if let Some(manifest) = entry.manifest() {
        let settings = &manifest.settings;
        pairs.extend([
            (tr("Model"), manifest.checkpoint.name.clone()),
            (tr("Dataset"), manifest.dataset.name.clone()),
            (tr("Devices"), entry.devices()),
            (tr("Layout"), manifest.layout.name.clone()),
            (tr("Number format"), settings.dtype.clone()),
            (tr("Prompts"), settings.prompt_style.clone()),
            (tr("Rule"), settings.rule.clone()),
            (tr("Longest answer"), fill("{} tokens", &[&settings.max_new_tokens])),
            (tr("Tokens are"), settings.sampling.to_string()),
            (tr("Begun"), entry.date()),
            (tr("Program"), manifest.program.clone()),
        ]);
    }
    pairs.retain(|(_, value)| !value.is_empty());
    facts(ui, 132.0, &pairs);
}

/// The menu of formats; each asks where to write.
fn export_ui(sessions: &Sessions, ui: &mut Ui, entry: &Entry, wishes: &mut Wishes) {
    let Some(manifest) = entry.manifest() else { return };
    ui.add_enabled_ui(sessions.exporting.is_none(), |ui| {
        ui.menu_button((Icon::Export.atom(), tr("Export")), |ui| {
            for format in Format::ALL {
                if ui.button(format_name(format)).clicked() {
                    let what = What::Save {
                        title: tr("Export the session").into(),
                        name: format.file_name_of(manifest),
                    };
                    let dir = entry.summary.dir.clone();
                    let then =
                        Then::new(move |to| app::Wish::Sessions(Wish::Export(dir.clone(), format, to)));
                    wishes.push(app::Wish::Pick(what, then));
                }
            }
        });
    });
}

fn several_ui(ui: &mut Ui, entries: &[Entry], wishes: &mut Wishes) {
    let tokens = Tokens::of(ui);
    heading(ui, &fill("{} sessions are marked", &[&entries.len()]));
    for entry in entries {
        section(ui, &entry.name());
        let score = entry.summary.tally.accuracy();
        let score = score.map_or_else(|| tr("not scored").to_owned(), |it| format!("{:.1} %", 100.0 * it));
        ui.label(
            RichText::new(format!("{score} · {} · {}", entry.dataset(), entry.date())).color(tokens.text),
        );
    }
    ui.add_space(4.0);
    if let [one, other] = entries {
        if primary(ui, Some(Icon::Compare), tr("Compare the two")).clicked() {
            // The older one is what the newer one is compared with.
            let started = |entry: &Entry| entry.manifest().map(|manifest| manifest.started.clone());
            let (first, second) = if started(one) <= started(other) { (one, other) } else { (other, one) };
            wishes.push(app::Wish::CompareSessions(first.summary.dir.clone(), second.summary.dir.clone()));
        }
    } else {
        note(ui, tr("Two at a time can be compared."));
    }
    if button(ui, Icon::Trash, tr("Move to the trash")).clicked() {
        let dirs = entries.iter().map(|entry| entry.summary.dir.clone()).collect();
        wishes.push(app::Wish::Sessions(Wish::Discard(dirs)));
    }
}
