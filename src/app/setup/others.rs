//! Everything else that could be chosen: a path, recent ones, what lies on this machine, the catalogue.

use std::path::Path;

use egui::{Button, Key, RichText, ScrollArea, Sense, TextEdit, Ui, Vec2, WidgetInfo};

use super::sources::{self, Source};
use super::{List, Setup, served};
use crate::app::habits::Habits;
use crate::app::job::Loadable;
use crate::app::language::tr;
use crate::app::parts::Icon;
use crate::app::parts::button::{button, choice};
use crate::app::parts::card::{card, note, section};
use crate::app::theme::Tokens;
use crate::app::{Wish, Wishes, Workspace, shortcut};
use crate::demo::BUILT_IN;
use crate::words::{count, size};

/// Height of a row.
const ROW: f32 = 40.0;

/// Draws the other checkpoints.
pub fn checkpoints_ui(
    setup: &mut Setup,
    ui: &mut Ui,
    workspace: &Workspace,
    habits: &Habits,
    wishes: &mut Wishes,
) {
    let subject = workspace.subject.ready().filter(|_| !workspace.served.is_chosen);
    let now = subject.map(|subject| subject.source.as_str()).unwrap_or_default();
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(8.0, 8.0);
        ui.horizontal(|ui| {
            section(ui, tr("Another model"));
            if setup.list == List::Machine {
                again_ui(ui, wishes);
            }
        });
        choice(
            ui,
            &mut setup.list,
            &[
                (List::Machine, tr("On this machine")),
                (List::Catalogue, tr("Catalogue")),
                (List::Served, tr("Served")),
            ],
        );
        if setup.list == List::Served {
            return served::form_ui(setup, ui, &workspace.served, habits, wishes);
        }
        let (asked, typed) =
            path_ui(ui, &mut setup.checkpoint_path, tr("Folder, org/name or model of the catalogue"), || {
                (super::pick_checkpoint(), &shortcut::OPEN_CHECKPOINT)
            });
        wishes.extend(asked);
        wishes.extend(typed.map(Wish::OpenCheckpoint));
        let none = Vec::new();
        let found = setup.found.ready();
        let rows: Vec<Row> = match setup.list {
            List::Machine => {
                let cached = found.map_or(&none, |found| &found.checkpoints);
                machine(&habits.checkpoints, cached, tr("Built-in demonstration"))
            }
            List::Catalogue => {
                note(
                    ui,
                    tr(
                        "Known by their numbers: they can be planned on any devices, and run once their weights are here.",
                    ),
                );
                ui.add(
                    TextEdit::singleline(&mut setup.search)
                        .hint_text(tr("Search"))
                        .desired_width(f32::INFINITY),
                );
                let wanted = setup.search.to_lowercase();
                let known = sources::catalogue().iter().filter(|it| it.name.to_lowercase().contains(&wanted));
                known
                    .map(|it| Row {
                        name: it.name.clone(),
                        detail: it.place.clone(),
                        size: count(it.size),
                        named: it.named.clone(),
                    })
                    .collect()
            }
            List::Served => Vec::new(),
        };
        if let Some(named) = rows_ui(ui, "checkpoints", &rows, now) {
            wishes.push(Wish::OpenCheckpoint(named));
        }
        if setup.list == List::Machine
            && matches!(&setup.found, Loadable::Ready(found) if found.checkpoints.is_empty())
        {
            note(
                ui,
                tr(
                    "The Hugging Face cache has no InternVL checkpoint. A folder can also be dropped onto the window.",
                ),
            );
        }
    });
}

/// Draws the other datasets.
pub fn datasets_ui(
    setup: &mut Setup,
    ui: &mut Ui,
    workspace: &Workspace,
    habits: &Habits,
    wishes: &mut Wishes,
) {
    let now = workspace.dataset.ready().map(|dataset| match dataset.path() {
        Some(path) => path.display().to_string(),
        None => BUILT_IN.to_owned(),
    });
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(8.0, 8.0);
        ui.horizontal(|ui| {
            section(ui, tr("Another dataset"));
            again_ui(ui, wishes);
        });
        let (asked, typed) =
            path_ui(ui, &mut setup.dataset_path, tr("File, folder, org/name or a known name"), || {
                (super::pick_dataset(), &shortcut::OPEN_DATASET)
            });
        wishes.extend(asked);
        wishes.extend(typed.map(Wish::OpenDataset));
        let none = Vec::new();
        let found = setup.found.ready().map_or(&none, |found| &found.datasets);
        let rows = machine(&habits.datasets, found, tr("Built-in questions"));
        if let Some(named) = rows_ui(ui, "datasets", &rows, now.as_deref().unwrap_or_default()) {
            wishes.push(Wish::OpenDataset(named));
        }
        if matches!(&setup.found, Loadable::Ready(found) if found.datasets.is_empty()) {
            note(
                ui,
                tr(
                    "Neither LMUData nor the Hugging Face cache has a dataset. TSV, parquet, JSON lines and folders can also be dropped onto the window.",
                ),
            );
        }
    });
}

/// A button that looks around again.
fn again_ui(ui: &mut Ui, wishes: &mut Wishes) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
        if Icon::Refresh.button(ui, tr("Look again")).clicked() {
            wishes.push(Wish::Setup(super::Wish::Look));
        }
    });
}

/// A field for a path and a dialog beside it: what the dialog asks, or what was typed.
fn path_ui(
    ui: &mut Ui,
    path: &mut String,
    hint: &'static str,
    pick: impl Fn() -> (Wish, &'static egui::KeyboardShortcut),
) -> (Option<Wish>, Option<String>) {
    let (mut asked, mut typed) = (None, None);
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let (wish, keys) = pick();
            let browse = button(ui, Icon::Folder, tr("Browse…"));
            if shortcut::tip(browse, "Choose with the system's dialog", keys).clicked() {
                asked = Some(wish);
            }
            let open = ui.add_enabled(!path.trim().is_empty(), Button::new(tr("Open")));
            let field = TextEdit::singleline(path)
                .hint_text(hint)
                .margin(egui::Margin::symmetric(8, 6))
                .desired_width(ui.available_width());
            let field = ui.add(field);
            let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            if (open.clicked() || entered) && !path.trim().is_empty() {
                typed = Some(expanded(path.trim()));
            }
        });
    });
    (asked, typed)
}

/// A path as shells mean it: `~` is the home folder.
fn expanded(path: &str) -> String {
    match (path.strip_prefix("~/"), dirs::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => path.to_owned(),
    }
}

/// A row of a list of things to open.
pub(super) struct Row {
    /// Its name.
    pub name: String,
    /// What tells it from others, in small letters.
    pub detail: String,
    /// How large it is, or how fast.
    pub size: String,
    /// What it is opened by.
    pub named: String,
}

/// What lies on this machine: the built-in one, recent ones, what was found; none twice.
fn machine(recent: &[String], found: &[Source], built_in: &str) -> Vec<Row> {
    let own = Row {
        name: built_in.to_owned(),
        detail: tr("comes with the program").to_owned(),
        size: String::new(),
        named: BUILT_IN.to_owned(),
    };
    let recent_row = |named: &String| {
        let path = Path::new(named);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let place = parent.map(|parent| parent.display().to_string()).unwrap_or_default();
        let detail =
            if place.is_empty() { tr("recent").to_owned() } else { format!("{} · {place}", tr("recent")) };
        Row { name: name.unwrap_or_else(|| named.clone()), detail, size: String::new(), named: named.clone() }
    };
    let found_row = |it: &Source| Row {
        name: it.name.clone(),
        detail: it.place.clone(),
        size: size(it.size),
        named: it.named.clone(),
    };
    let others = found.iter().filter(|it| !recent.contains(&it.named)).map(found_row);
    std::iter::once(own).chain(recent.iter().map(recent_row)).chain(others).collect()
}

/// Draws a list of things to open; what was clicked.
pub(super) fn rows_ui(ui: &mut Ui, id: &str, rows: &[Row], now: &str) -> Option<String> {
    let tokens = Tokens::of(ui);
    let mut clicked = None;
    let height = (ROW * rows.len() as f32).min(ROW * 5.5);
    let spacing = std::mem::replace(&mut ui.spacing_mut().item_spacing.y, 0.0);
    ScrollArea::vertical()
        .id_salt(id)
        .max_height(height)
        .min_scrolled_height(height)
        .auto_shrink([false, true])
        .show_rows(ui, ROW, rows.len(), |ui, range| {
            for row in rows.get(range).unwrap_or_default() {
                let here = row.named == now;
                let size = Vec2::new(ui.available_width(), ROW);
                let (rect, response) = ui.allocate_exact_size(size, Sense::click());
                response.widget_info(|| {
                    WidgetInfo::selected(
                        egui::Role::Button,
                        true,
                        here,
                        format!("{}, {}", row.name, row.detail),
                    )
                });
                let back = rect.shrink2(Vec2::new(0.0, 1.0));
                if here {
                    ui.painter().rect_filled(back, 6.0, tokens.accent.gamma_multiply(0.16));
                } else if response.hovered() || response.has_focus() {
                    ui.painter().rect_filled(back, 6.0, tokens.raised);
                }
                let mut inside =
                    ui.new_child(egui::UiBuilder::new().max_rect(rect.shrink2(Vec2::new(10.0, 4.0))));
                inside.horizontal(|ui| {
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        if here {
                            Icon::Check.ui(ui, 14.0, tokens.accent);
                        }
                        ui.add(
                            egui::Label::new(RichText::new(&row.size).small().color(tokens.subdued))
                                .selectable(false),
                        );
                        ui.with_layout(egui::Layout::top_down(egui::Align::Min), |ui| {
                            ui.spacing_mut().item_spacing.y = 0.0;
                            let label = |text: RichText| egui::Label::new(text).truncate().selectable(false);
                            ui.add(label(RichText::new(&row.name).color(tokens.strong)));
                            ui.add(label(RichText::new(&row.detail).small().color(tokens.subdued)));
                        });
                    });
                });
                if response.on_hover_text(&row.named).clicked() {
                    clicked = Some(row.named.clone());
                }
            }
        });
    ui.spacing_mut().item_spacing.y = spacing;
    clicked
}
