//! The list of answers: what is filtered, and a table in which only the rows in sight are laid out.

use egui::{RichText, Ui, vec2};

use super::view::{Bounds, Column, Filter};
use super::{Results, Wish};
use crate::app::language::{fill, tr};
use crate::app::parts::button::list;
use crate::app::parts::table::{self, Table, text};
use crate::app::parts::{Icon, figure, verdict};
use crate::app::theme::Tokens;
use crate::app::{self, Wishes, shortcut};
use crate::session::Outline;
use crate::words::size;

/// What is being typed into the filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    text: String,
    /// From and to of tiles, tokens, seconds, peak.
    bounds: [[String; 2]; 4],
    category: String,
}

/// Columns of the table, and what each is sorted by.
const COLUMNS: [(Column, f32, f32, bool); 9] = [
    (Column::Index, 76.0, 0.5, false),
    (Column::Verdict, 122.0, 0.0, false),
    (Column::Category, 84.0, 1.0, false),
    (Column::Read, 64.0, 1.0, false),
    (Column::Gold, 64.0, 1.0, false),
    (Column::Seconds, 66.0, 0.0, true),
    (Column::Tokens, 60.0, 0.0, true),
    (Column::Tiles, 52.0, 0.0, true),
    (Column::Peak, 80.0, 0.0, true),
];

/// How many of the columns there is room for; what the last ones say stands beside as well.
fn fitting(room: f32) -> usize {
    let mut taken = 8.0;
    let fits = |(_, width, ..): &&(Column, f32, f32, bool)| {
        taken += width;
        taken <= room
    };
    COLUMNS.iter().take_while(fits).count().max(5)
}

/// The heading of a column.
fn heading(column: Column) -> &'static str {
    match column {
        Column::Order => "",
        Column::Index => tr("Question"),
        Column::Category => tr("Category"),
        Column::Verdict => tr("Verdict"),
        Column::Read => tr("Read"),
        Column::Gold => tr("Gold"),
        Column::Tiles => tr("Tiles"),
        Column::Tokens => tr("Tokens"),
        Column::Seconds => tr("Time"),
        Column::Peak => tr("Peak"),
    }
}

/// Draws filter and table.
pub fn ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    filter_ui(results, ui, wishes);
    let Some(opened) = results.session.ready() else { return };
    let tokens = Tokens::of(ui);
    if results.listed.is_empty() {
        ui.add_space(24.0);
        ui.vertical_centered(|ui| {
            if opened.record.is_empty() {
                ui.label(RichText::new(tr("This session has no answer yet")).color(tokens.subdued));
            } else {
                ui.label(RichText::new(tr("No answer passes the filter")).color(tokens.subdued));
                if ui.button(tr("Show all")).clicked() {
                    wishes.push(app::Wish::Results(Wish::Filter(Box::default())));
                    results.draft = Draft::default();
                }
            }
        });
        return;
    }
    let columns = COLUMNS.map(|(column, width, grows, is_number)| table::Column {
        name: heading(column),
        width,
        grows,
        is_number,
    });
    let sorted = COLUMNS
        .iter()
        .position(|(column, ..)| *column == results.sort.0)
        .map(|place| (place, results.sort.1));
    let chosen = results.row();
    let outlines = opened.record.outlines();
    let listed = results.listed.places();
    let outline = |row: usize| &outlines[listed[row]];
    let table = Table {
        id: "answers",
        columns: &columns[..fitting(ui.available_width())],
        rows: listed.len(),
        row_height: 26.0,
        sorted,
        scroll_to: chosen.filter(|_| results.reveal),
    };
    let overrides = opened.record.overrides();
    let name = |row: usize| {
        let it = outline(row);
        fill(
            "Question {}, {}, read {}, gold {}",
            &[&it.index, &verdict::name(it.verdict), &it.read, &it.gold],
        )
    };
    let touched = table.show(
        ui,
        |row| chosen == Some(row),
        name,
        |ui, row, column| {
            let it = outline(row);
            cell(ui, it, overrides.contains_key(&*it.index), COLUMNS[column].0);
        },
    );
    if let Some(column) = touched.heading {
        wishes.push(app::Wish::Results(Wish::Sort(COLUMNS[column].0)));
    }
    if let Some(row) = touched.opened {
        wishes.push(app::Wish::Results(Wish::Choose(listed[row])));
        wishes.push(app::Wish::Present(listed[row]));
    } else if let Some(row) = touched.clicked {
        wishes.push(app::Wish::Results(Wish::Choose(listed[row])));
    }
}

fn cell(ui: &mut Ui, it: &Outline, overridden: bool, column: Column) {
    let tokens = Tokens::of(ui);
    match column {
        Column::Index => drop(text(ui, &*it.index, tokens.strong)),
        Column::Verdict => {
            let color = tokens.verdict(it.verdict);
            let (rect, _) = ui.allocate_exact_size(vec2(12.0, 14.0), egui::Sense::hover());
            verdict::mark(ui.painter(), rect.center(), 10.0, it.verdict, color);
            text(ui, verdict::name(it.verdict), color);
            if overridden {
                Icon::Pencil.ui(ui, 11.0, tokens.warning);
            }
        }
        Column::Category => drop(text(ui, it.category.as_deref().unwrap_or(""), tokens.subdued)),
        Column::Read => drop(text(ui, &*it.read, tokens.text)),
        Column::Gold => drop(text(ui, &*it.gold, tokens.text)),
        Column::Tiles => drop(text(ui, it.tiles.to_string(), tokens.subdued)),
        Column::Tokens => drop(text(ui, it.output_tokens.to_string(), tokens.subdued)),
        Column::Seconds => drop(text(ui, figure::seconds(it.seconds), tokens.subdued)),
        Column::Peak if it.peak > 0 => drop(text(ui, size(it.peak), tokens.subdued)),
        Column::Peak | Column::Order => {}
    }
}

fn filter_ui(results: &mut Results, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(opened) = results.session.ready().cloned() else { return };
    let tokens = Tokens::of(ui);
    let mut filter = results.filter.clone();
    let draft = &mut results.draft;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let search = egui::TextEdit::singleline(&mut draft.text)
            .hint_text(tr("Search questions and answers"))
            .desired_width(200.0)
            .background_color(tokens.card)
            .prefix(Icon::Search.atom());
        let search = ui.add(search);
        search.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::TextInput, true, tr("Search questions and answers"))
        });
        if shortcut::seeks(ui.ctx()) {
            search.request_focus();
        }
        let entered = search.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        // A large session is searched when the person has finished typing.
        if (search.changed() && opened.record.len() <= 5_000)
            || entered
            || (search.changed() && draft.text.is_empty())
        {
            filter.text = draft.text.clone();
        }
        for of in verdict::ALL {
            let count = count(&opened.tally, of);
            if count == 0 {
                continue;
            }
            let mut on = filter.verdicts.contains(&of);
            let color = tokens.verdict(of);
            let words = RichText::new(format!("{count} {}", verdict::name(of))).color(color);
            let toggle = ui.toggle_value(&mut on, words);
            if toggle.on_hover_text(verdict::meaning(of)).clicked() {
                if on {
                    filter.verdicts.insert(of)
                } else {
                    filter.verdicts.remove(&of)
                };
            }
        }
        if opened.categories.len() > 1 {
            category_ui(ui, &opened, &mut draft.category, &mut filter);
        }
        more_ui(ui, &opened, &mut draft.bounds, &mut filter);
        if filter.is_set() && ui.button(tr("Clear")).clicked() {
            filter = Filter::default();
            *draft = Draft::default();
        }
    });
    let shown = results.listed.len();
    let mut words = match shown == opened.record.len() {
        true => String::new(),
        false => fill("{} of {} answers", &[&shown, &opened.record.len()]),
    };
    if let Some(job) = &results.searching {
        let share = job.share().unwrap_or(0.0);
        words = fill("searching, {} %", &[&(100.0 * share).round()]);
    }
    if !words.is_empty() {
        ui.label(RichText::new(words).small().color(tokens.subdued));
    }
    if filter != results.filter {
        wishes.push(app::Wish::Results(Wish::Filter(Box::new(filter))));
    }
}

/// How many answers have a verdict.
pub(super) fn count(tally: &crate::scoring::Accuracy, of: crate::scoring::Verdict) -> u64 {
    use crate::scoring::Verdict::{Failed, OutOfMemory, Right, Unparsed, Unscored, Wrong};
    match of {
        Right => tally.right,
        Wrong => tally.wrong,
        Unparsed => tally.unparsed,
        Failed => tally.failed,
        OutOfMemory => tally.out_of_memory,
        Unscored => tally.unscored,
    }
}

fn category_ui(ui: &mut Ui, opened: &super::Opened, typed: &mut String, filter: &mut Filter) {
    let all = tr("All categories");
    let shown = filter.category.as_deref().unwrap_or(all);
    let shown = crate::words::excerpt(shown, 24);
    let response = list("category", shown, 130.0).show_ui(ui, |ui| {
        if opened.categories.len() > 12 {
            let edit = ui.add(egui::TextEdit::singleline(typed).hint_text(tr("Search")).desired_width(180.0));
            edit.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::TextInput, true, tr("Search categories"))
            });
        }
        ui.selectable_value(&mut filter.category, None, all);
        let wanted = typed.to_lowercase();
        for (name, accuracy) in
            opened.categories.iter().filter(|(name, _)| name.to_lowercase().contains(&wanted)).take(200)
        {
            let here = filter.category.as_deref() == Some(name);
            let words = format!("{name}  ({})", accuracy.questions());
            if ui.selectable_label(here, words).clicked() {
                // The outlines' own name, which is compared by what it says.
                filter.category = Some(name.into());
            }
        }
    });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, tr("Category")));
}

/// Ranges of tiles, tokens, time and memory, and what a person has set.
fn more_ui(ui: &mut Ui, opened: &super::Opened, bounds: &mut [[String; 2]; 4], filter: &mut Filter) {
    let set =
        [filter.tiles, filter.tokens, filter.seconds, filter.peak].iter().filter(|it| it.is_set()).count()
            + usize::from(filter.overridden);
    let name = if set == 0 { tr("More").to_owned() } else { fill("More ({})", &[&set]) };
    egui::containers::menu::MenuButton::new(name)
        .config(
            egui::containers::menu::MenuConfig::new()
                .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside),
        )
        .ui(ui, |ui| {
            let rows = [
                (tr("Tiles"), &mut filter.tiles),
                (tr("Tokens of the answer"), &mut filter.tokens),
                (tr("Seconds"), &mut filter.seconds),
                (tr("Peak memory in GiB"), &mut filter.peak),
            ];
            egui::Grid::new("bounds").num_columns(4).spacing([8.0, 6.0]).show(ui, |ui| {
                for ((name, bound), typed) in rows.into_iter().zip(bounds) {
                    ui.label(name);
                    let [from, to] = typed;
                    let ends = (
                        number(ui, &fill("{}, from", &[&name]), from),
                        number(ui, &fill("{}, to", &[&name]), to),
                    );
                    *bound = Bounds { from: ends.0, to: ends.1 };
                    ui.end_row();
                }
            });
            let said = opened.record.overrides().len();
            if said > 0 || filter.overridden {
                ui.checkbox(&mut filter.overridden, fill("Only the {} verdicts set by a person", &[&said]));
            }
        });
}

/// A field for a number; red where it is none.
fn number(ui: &mut Ui, name: &str, typed: &mut String) -> Option<f64> {
    let tokens = Tokens::of(ui);
    let number = typed.trim().replace(',', ".").parse::<f64>().ok().filter(|it| it.is_finite());
    let color = if number.is_none() && !typed.trim().is_empty() { tokens.bad } else { tokens.text };
    let edit = ui.add(egui::TextEdit::singleline(typed).desired_width(64.0).text_color(color));
    edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, name));
    number
}
