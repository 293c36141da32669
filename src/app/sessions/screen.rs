//! The list of sessions, and what is marked in it beside.

use egui::{Key, Margin, RichText, TextEdit, Ui, Vec2};

use super::importing::ENDINGS;
use super::listing::{By, Entry, Listing, arranged};
use super::{Sessions, Wish, detail};
use crate::app::dialog::{Then, What};
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{button, primary};
use crate::app::parts::card::{heading, note, pill, title};
use crate::app::parts::empty::empty;
use crate::app::parts::modal::modal;
use crate::app::parts::problem::problem;
use crate::app::parts::progress::progress;
use crate::app::parts::table::{Column, Table, text};
use crate::app::theme::Tokens;
use crate::app::{Screen, Wishes, shortcut};
use crate::session::State;

/// Draws the screen.
pub fn ui(sessions: &mut Sessions, ui: &mut Ui, wishes: &mut Wishes) {
    if ui.input(|input| input.raw.events.contains(&egui::Event::WindowFocused(true))) {
        wishes.push(crate::app::Wish::Sessions(Wish::Look));
    }
    let tokens = Tokens::of(ui);
    if !sessions.marked.is_empty() {
        let frame = egui::Frame::new().fill(tokens.panel).inner_margin(Margin::same(18));
        egui::Panel::right("session").frame(frame).default_size(340.0).size_range(300.0..=520.0).show(
            ui,
            |ui| {
                egui::ScrollArea::vertical()
                    .auto_shrink([false, false])
                    .show(ui, |ui| detail::ui(sessions, ui, wishes));
            },
        );
    }
    let frame = egui::Frame::new().fill(tokens.canvas).inner_margin(Margin {
        left: 20,
        right: 20,
        top: 16,
        bottom: 10,
    });
    egui::CentralPanel::default().frame(frame).show(ui, |ui| {
        head_ui(sessions, ui, wishes);
        ui.add_space(8.0);
        match &sessions.listing {
            Loadable::Ready(listing) if listing.entries.is_empty() => {
                let why = tr("Every run is kept in a folder of its own, answer by answer, and can be opened, resumed and compared here.");
                empty(ui, Icon::Folder, tr("No sessions yet"), why, |ui| {
                    if primary(ui, None, tr("Set up a run")).clicked() {
                        wishes.push(crate::app::Wish::Go(Screen::Setup));
                    }
                });
            }
            Loadable::Ready(_) => list_ui(sessions, ui, wishes),
            Loadable::Refused(refusal) => problem(ui, refusal),
            Loadable::Loading(job) => {
                progress(ui, tr("Reading the sessions"), job.share(), false);
            }
            Loadable::Empty => {}
        }
    });
    if let Some(importing) = &mut sessions.importing {
        importing.ui(ui, wishes);
    }
    if sessions.asks_to_empty {
        ask_to_empty(sessions, ui, wishes);
    }
}

fn head_ui(sessions: &mut Sessions, ui: &mut Ui, wishes: &mut Wishes) {
    ui.horizontal(|ui| {
        let title = title(ui, tr("Sessions"));
        if let Some(listing) = sessions.listing.ready() {
            title.on_hover_text(listing.root.display().to_string());
            if !listing.entries.is_empty() {
                note(ui, listing.entries.len().to_string());
            }
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if Icon::Refresh.button(ui, tr("Read the folder again")).clicked() {
                wishes.push(crate::app::Wish::Sessions(Wish::Look));
            }
            if button(ui, Icon::Plus, tr("Import…"))
                .on_hover_text(tr("Predictions of VLMEvalKit or lmms-eval as a session"))
                .clicked()
            {
                let title = tr("Import predictions").to_owned();
                let endings = Some((tr("Predictions").to_owned(), ENDINGS.to_vec()));
                let then = Then::new(|file| crate::app::Wish::Sessions(Wish::Import(file)));
                wishes.push(crate::app::Wish::Pick(What::File { title, endings }, then));
            }
            let discarded = sessions.listing.ready().map_or(0, |listing| listing.discarded.len());
            if discarded > 0 {
                let text = fill("Trash ({})", &[&discarded]);
                if button(ui, Icon::Trash, &text).clicked() {
                    wishes.push(crate::app::Wish::Sessions(Wish::AskToEmpty(true)));
                }
            }
            let field = TextEdit::singleline(&mut sessions.search)
                .hint_text(tr("Search sessions"))
                .margin(Margin::symmetric(8, 6));
            let field = ui.add(field.desired_width(220.0));
            if shortcut::seeks(ui.ctx()) {
                field.request_focus();
            }
        });
    });
    if let Some(share) = sessions.exporting.as_ref().map(|job| job.share())
        && progress(ui, tr("Exporting"), share, true)
    {
        wishes.push(crate::app::Wish::Sessions(Wish::StopExport));
    }
}

fn list_ui(sessions: &Sessions, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(listing) = sessions.listing.ready() else { return };
    let places = arranged(&listing.entries, &sessions.search, sessions.by, !sessions.upwards);
    if places.is_empty() {
        let why = tr("No name, model, dataset, device or date holds every word of the search.");
        empty(ui, Icon::Search, tr("Nothing found"), why, |_| {});
        return;
    }
    let all = [
        column(tr("Model"), 150.0, 2.0, false),
        column(tr("Dataset"), 110.0, 1.4, false),
        column(tr("Score"), 126.0, 0.0, true),
        column(tr("State"), 124.0, 0.0, false),
        column(tr("Begun"), 142.0, 0.0, false),
        column(tr("Devices"), 90.0, 0.8, false),
    ];
    // Where there is no room for all, the last ones stand in the panel beside alone.
    let mut room = ui.available_width() - 8.0;
    let fitting = all.iter().take_while(|column| {
        room -= column.width;
        room >= 0.0
    });
    let columns = &all[..fitting.count().max(3)];
    let entry = |row: usize| -> &Entry { &listing.entries[places[row]] };
    let table = Table {
        id: "sessions",
        columns,
        rows: places.len(),
        row_height: 44.0,
        sorted: By::ALL.iter().position(|by| *by == sessions.by).map(|place| (place, !sessions.upwards)),
        scroll_to: None,
    };
    let besides = ui.input(|input| input.modifiers.command);
    let touched = table.show(
        ui,
        |row| sessions.marked.contains(&entry(row).summary.dir),
        |row| [entry(row).name(), entry(row).dataset(), entry(row).date()].join(", "),
        |ui, row, column| cell_ui(ui, entry(row), By::ALL[column]),
    );
    let mut wish = |wish| wishes.push(crate::app::Wish::Sessions(wish));
    if let Some(by) = touched.heading.and_then(|place| By::ALL.get(place)) {
        wish(Wish::Sort(*by, if *by == sessions.by { !sessions.upwards } else { false }));
    }
    if let Some(row) = touched.clicked {
        wish(Wish::Mark(entry(row).summary.dir.clone(), besides));
    }
    if let Some(row) = touched.opened {
        wishes.push(crate::app::Wish::ShowSession(entry(row).summary.dir.clone()));
    }
    keys(sessions, ui, listing, &places, wishes);
}

fn column(name: &'static str, width: f32, grows: f32, is_number: bool) -> Column {
    Column { name, width, grows, is_number }
}

/// Up and down move the mark, Enter opens, F2 names, Delete discards.
fn keys(sessions: &Sessions, ui: &Ui, listing: &Listing, places: &[usize], wishes: &mut Wishes) {
    if ui.text_edit_focused() || sessions.asks_to_empty || sessions.importing.is_some() {
        return;
    }
    let dir = |row: usize| listing.entries[places[row]].summary.dir.clone();
    let marked =
        places.iter().position(|place| sessions.marked.contains(&listing.entries[*place].summary.dir));
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    let mut wish = |wish| wishes.push(crate::app::Wish::Sessions(wish));
    if pressed(Key::ArrowDown) {
        wish(Wish::Mark(dir(marked.map_or(0, |row| (row + 1).min(places.len() - 1))), false));
    } else if pressed(Key::ArrowUp) {
        wish(Wish::Mark(dir(marked.map_or(0, |row| row.saturating_sub(1))), false));
    }
    let Some(row) = marked else { return };
    if pressed(Key::Delete) {
        wish(Wish::Discard(sessions.marked.iter().cloned().collect()));
    } else if pressed(Key::F2) {
        wish(Wish::BeginNaming(dir(row)));
    } else if pressed(Key::Enter) && sessions.naming.is_none() && ui.input(|input| input.modifiers.is_none())
    {
        wishes.push(crate::app::Wish::ShowSession(dir(row)));
    }
}

fn cell_ui(ui: &mut Ui, entry: &Entry, by: By) {
    let tokens = Tokens::of(ui);
    match by {
        By::Name => match &entry.label {
            Some(label) => two_lines(ui, label, &entry.model()),
            None => drop(text(ui, entry.model(), tokens.strong)),
        },
        By::Dataset => drop(text(ui, entry.dataset(), tokens.text)),
        By::Score => score_ui(ui, entry),
        By::State => state_ui(ui, entry),
        By::Device => drop(text(ui, entry.devices(), tokens.subdued)),
        By::Date => drop(text(ui, entry.date(), tokens.subdued)),
    }
}

fn two_lines(ui: &mut Ui, above: &str, below: &str) {
    let tokens = Tokens::of(ui);
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.add_space(5.0);
        text(ui, above, tokens.strong);
        let below = RichText::new(below).small().color(tokens.subdued);
        ui.add(egui::Label::new(below).truncate().selectable(false));
    });
}

/// The score and its interval.
fn score_ui(ui: &mut Ui, entry: &Entry) {
    let tokens = Tokens::of(ui);
    let tally = &entry.summary.tally;
    match tally.accuracy() {
        None => drop(text(ui, tr("not scored"), tokens.subdued)),
        Some(accuracy) => {
            let (low, high) = tally.interval();
            ui.spacing_mut().item_spacing.x = 8.0;
            let score = RichText::new(format!("{:.1} %", 100.0 * accuracy)).color(tokens.strong);
            ui.add(egui::Label::new(score).selectable(false));
            let interval = RichText::new(format!("{:.0}–{:.0}", 100.0 * low, 100.0 * high))
                .small()
                .color(tokens.subdued);
            ui.add(egui::Label::new(interval).selectable(false)).on_hover_text(tr("95 % interval"));
        }
    }
}

/// How far a session is, in a pill.
pub fn state_ui(ui: &mut Ui, entry: &Entry) {
    let tokens = Tokens::of(ui);
    let summary = &entry.summary;
    match &summary.state {
        State::Partial { done, of } if summary.running => {
            pill(ui, &fill("{} of {}, running", &[done, of]), tokens.accent);
        }
        _ if summary.running => drop(pill(ui, tr("running"), tokens.accent)),
        State::Complete => drop(pill(ui, tr("complete"), tokens.good)),
        State::Partial { done, of } => drop(pill(ui, &fill("{} of {}", &[done, of]), tokens.warning)),
        State::Damaged(why) => drop(pill(ui, tr("damaged"), tokens.bad).on_hover_text(why)),
    }
}

fn ask_to_empty(sessions: &Sessions, ui: &Ui, wishes: &mut Wishes) {
    let mut wish = |wish| wishes.push(crate::app::Wish::Sessions(wish));
    let left = modal(ui, "empty the trash", 440.0, |ui| {
        heading(ui, tr("Empty the trash?"));
        let count = sessions.listing.ready().map_or(0, |listing| listing.discarded.len());
        ui.label(match count {
            1 => tr("One session is deleted for good. Its answers cannot be brought back.").to_owned(),
            _ => fill("{} sessions are deleted for good. Their answers cannot be brought back.", &[&count]),
        });
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing = Vec2::new(8.0, 0.0);
            if primary(ui, None, tr("Keep")).clicked() {
                wish(Wish::AskToEmpty(false));
            }
            if ui.button(tr("Delete for good")).clicked() {
                wish(Wish::Empty);
            }
            if ui.button(tr("Put all back")).clicked() {
                wish(Wish::AskToEmpty(false));
                let discarded = sessions.listing.ready().map(|listing| listing.discarded.clone());
                wish(Wish::Restore(discarded.unwrap_or_default()));
            }
        });
    });
    if left {
        wishes.push(crate::app::Wish::Sessions(Wish::AskToEmpty(false)));
    }
}
