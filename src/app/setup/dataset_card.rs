//! The chosen dataset: its numbers, which of its questions are asked, and some of them to look at.

use std::sync::Arc;

use egui::{DragValue, RichText, Sense, Ui, Vec2};

use super::questions::{DatasetFacts, PAGE, Picture, Sample};
use super::{Setup, Wish};
use crate::app::job::Loadable;
use crate::app::language::{fill, tr};
use crate::app::parts::Icon;
use crate::app::parts::button::{choice, list};
use crate::app::parts::card::{card, explained, heading, legend, note, pill, section};
use crate::app::parts::problem::{problem, remark};
use crate::app::parts::progress::{bar, progress};
use crate::app::text::Prose;
use crate::app::theme::Tokens;
use crate::app::{Wishes, Workspace};
use crate::dataset::{Dataset, Question, QuestionKind};
use crate::demo::BUILT_IN;
use crate::evaluation::Questions;

/// Size of a question's text in points.
const TEXT: f32 = 13.5;

/// Problems of a dataset told on its card; the rest are counted.
const PROBLEMS: usize = 3;

/// Draws the card.
pub fn dataset_ui(setup: &Setup, ui: &mut Ui, workspace: &Workspace, wishes: &mut Wishes) {
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(12.0, 8.0);
        section(ui, tr("Dataset"));
        match &workspace.dataset {
            Loadable::Ready(dataset) => {
                known_ui(setup, ui, dataset);
                ui.separator();
                which_ui(setup, ui, workspace, dataset, wishes);
            }
            Loadable::Refused(refusal) => {
                heading(ui, tr("This dataset cannot be used"));
                problem(ui, refusal);
                if ui.button(tr("Back to the built-in dataset")).clicked() {
                    wishes.push(crate::app::Wish::OpenDataset(BUILT_IN.into()));
                }
            }
            Loadable::Loading(job) => {
                if progress(ui, tr("Finding the rows of the file"), job.share(), true) {
                    wishes.push(crate::app::Wish::OpenDataset(BUILT_IN.into()));
                }
            }
            Loadable::Empty => {
                note(ui, tr("None is chosen yet"));
            }
        }
    });
}

fn known_ui(setup: &Setup, ui: &mut Ui, dataset: &Dataset) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.scope(|ui| {
            ui.set_max_width(ui.available_width() - 110.0);
            let name = RichText::new(dataset.name()).heading().color(tokens.strong);
            ui.add(egui::Label::new(name).truncate());
        });
        if dataset.path().is_none() {
            pill(ui, tr("built in"), tokens.accent);
        }
    });
    let profile = dataset.profile();
    let mut pairs = vec![(tr("Questions"), dataset.len().to_string(), tr("Questions in the file"))];
    let categories = setup.facts.ready().map_or(0, |known| known.categories.len());
    if categories > 0 {
        pairs.push((tr("Categories"), categories.to_string(), tr("Groups by which scores are told apart")));
    }
    let why = tr("Most tiles that a picture is cut into, as this dataset is usually evaluated");
    pairs.push((tr("Tiles an image"), fill("up to {}", &[&profile.max_tiles]), why));
    if let Some(entry) = profile.entry {
        let why = tr("The published dataset that this is taken for; its rules of asking and scoring hold");
        pairs.push((tr("Known as"), entry.name.to_owned(), why));
    }
    explained(ui, 128.0, &pairs);
    match &setup.facts {
        Loadable::Loading(job) => {
            progress(ui, tr("Counting its questions"), job.share(), false);
        }
        Loadable::Refused(refusal) => problem(ui, refusal),
        Loadable::Ready(known) => {
            ui.add_space(2.0);
            ui.scope(|ui| kinds_ui(ui, known));
            for found in known.problems.iter().take(PROBLEMS) {
                remark(ui, found);
            }
            let more = known.problems.len().saturating_sub(PROBLEMS);
            if more > 0 {
                note(ui, fill("and {} more", &[&more]));
            }
        }
        Loadable::Empty => {}
    }
}

/// What the questions ask for, as parts of a bar.
fn kinds_ui(ui: &mut Ui, known: &DatasetFacts) {
    let tokens = Tokens::of(ui);
    let look = |kind: QuestionKind| match kind {
        QuestionKind::Option => (tr("choice"), tokens.kinds[3]),
        QuestionKind::YesNo => (tr("yes or no"), tokens.kinds[2]),
        QuestionKind::Short => (tr("short text"), tokens.kinds[0]),
        QuestionKind::Free => (tr("free text"), tokens.kinds[4]),
    };
    let whole = known.kinds.iter().map(|(_, count)| count).sum::<usize>().max(1) as f32;
    let shares: Vec<_> =
        known.kinds.iter().map(|(kind, count)| (*count as f32 / whole, look(*kind).1)).collect();
    bar(ui, 8.0, &shares, tr("What the questions ask for"));
    // Lines as low as their text.
    ui.spacing_mut().interact_size.y = 14.0;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(14.0, 4.0);
        for (kind, count) in &known.kinds {
            let (name, color) = look(*kind);
            legend(ui, name, &count.to_string(), color);
        }
    });
}

/// How many are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    All,
    First,
    Random,
}

/// Which questions are asked: how many, of what category.
fn which_ui(setup: &Setup, ui: &mut Ui, workspace: &Workspace, dataset: &Dataset, wishes: &mut Wishes) {
    let before = &workspace.choices.questions;
    let mut questions = before.clone();
    let usual = dataset.len().min(50);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(8.0, 6.0);
        let mut many = match (questions.sample, questions.limit) {
            (Some(_), _) => Many::Random,
            (None, Some(_)) => Many::First,
            (None, None) => Many::All,
        };
        let names = [(Many::All, tr("All")), (Many::First, tr("The first")), (Many::Random, tr("Random"))];
        if choice(ui, &mut many, &names) {
            questions.limit = (many == Many::First).then_some(usual);
            questions.sample = (many == Many::Random).then_some(usual);
            questions.seed = (many == Many::Random).then_some(0);
        }
        let most = dataset.len().max(1);
        let count = questions.limit.as_mut().or(questions.sample.as_mut());
        if let Some(count) = count {
            ui.name_inputs(tr("How many questions"), |ui| ui.add(DragValue::new(count).range(1..=most)));
        }
        if let Some(seed) = questions.seed.as_mut() {
            ui.label(tr("seed")).on_hover_text(tr("The same seed chooses the same questions"));
            ui.name_inputs(tr("seed"), |ui| ui.add(DragValue::new(seed)));
        }
    });
    if let Some(known) = setup.facts.ready() {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = Vec2::new(8.0, 6.0);
            let groups = [&known.categories[..], &known.super_categories[..]].concat();
            group_ui(ui, tr("Category"), tr("All categories"), &groups, &mut questions.category);
            group_ui(ui, tr("Split"), tr("All splits"), &known.splits, &mut questions.split);
        });
    }
    match &setup.selected {
        Loadable::Ready(rows) => {
            note(ui, fill("{} of {} questions are asked", &[&rows.len(), &dataset.len()]));
        }
        Loadable::Refused(refusal) => {
            problem(ui, refusal);
            if *before != Questions::default() && ui.button(tr("Ask all questions")).clicked() {
                questions = Questions::default();
            }
        }
        Loadable::Loading(_) | Loadable::Empty => {
            note(ui, tr("Selecting questions"));
        }
    }
    if questions != *before {
        let choices = crate::evaluation::Choices { questions, ..workspace.choices.clone() };
        wishes.push(crate::app::Wish::Setup(Wish::Choose(Box::new(choices))));
    }
}

/// A choice of one group among several.
fn group_ui(ui: &mut Ui, name: &str, all: &str, groups: &[(Arc<str>, usize)], chosen: &mut Option<String>) {
    if groups.len() < 2 && chosen.is_none() {
        return;
    }
    ui.name_inputs(name, |ui| {
        list(name, chosen.as_deref().unwrap_or(all), 180.0).show_ui(ui, |ui| {
            ui.selectable_value(chosen, None, all);
            for (group, count) in groups {
                let here = chosen.as_deref() == Some(group.as_ref());
                if ui.selectable_label(here, format!("{group}  ({count})")).clicked() {
                    *chosen = Some(group.to_string());
                }
            }
        });
    });
}

/// Draws some of the questions that are asked.
pub fn samples_ui(setup: &mut Setup, ui: &mut Ui, wishes: &mut Wishes) {
    let Some(rows) = setup.selected.ready().map(Vec::len) else { return };
    let first = setup.first;
    let width = ui.available_width();
    card(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::new(12.0, 10.0);
        ui.horizontal(|ui| {
            section(ui, tr("Questions that are asked"));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = 2.0;
                let mut show = |at| wishes.push(crate::app::Wish::Setup(Wish::ShowQuestions(at)));
                let next = first + PAGE;
                let more = ui.add_enabled_ui(next < rows, |ui| Icon::Right.button(ui, tr("Next questions")));
                if more.inner.clicked() {
                    show(next);
                }
                let last = next.min(rows);
                note(ui, fill("{} to {} of {}", &[&(first + 1), &last, &rows]));
                let back = ui.add_enabled_ui(first > 0, |ui| Icon::Left.button(ui, tr("Questions before")));
                if back.inner.clicked() {
                    show(first.saturating_sub(PAGE));
                }
            });
        });
        let Setup { samples, prose, .. } = setup;
        match samples {
            Loadable::Ready(samples) => {
                for (place, sample) in samples.iter_mut().enumerate() {
                    if place > 0 {
                        ui.separator();
                    }
                    sample_ui(ui, prose, sample, width);
                }
            }
            Loadable::Refused(refusal) => problem(ui, refusal),
            Loadable::Loading(_) | Loadable::Empty => {
                note(ui, tr("Reading questions"));
            }
        }
    });
}

fn sample_ui(ui: &mut Ui, prose: &mut Prose, sample: &mut Sample, width: f32) {
    let tokens = Tokens::of(ui);
    let question = match &sample.question {
        Ok(question) => question,
        Err(refusal) => return problem(ui, refusal),
    };
    let side = if width > 420.0 { 112.0 } else { 80.0 };
    ui.horizontal_top(|ui| {
        picture_ui(ui, &mut sample.picture, side, question.images.len());
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 3.0;
            let mut about = fill("Question {}", &[&question.index]);
            if let Some(category) = &question.category {
                about = format!("{about} · {category}");
            }
            ui.add(egui::Label::new(RichText::new(about).small().color(tokens.subdued)).truncate());
            ui.scope(|ui| {
                ui.visuals_mut().override_text_color = Some(tokens.strong);
                prose.show(ui, &question.index, &shortened(&question.text, 360), TEXT);
            });
            options_ui(ui, prose, question);
        });
    });
}

fn options_ui(ui: &mut Ui, prose: &mut Prose, question: &Question) {
    let tokens = Tokens::of(ui);
    let gold = question.gold.first().map(String::as_str).unwrap_or_default();
    for (letter, text) in question.options.iter().take(6) {
        let right = gold.len() == 1 && gold.starts_with(*letter);
        let color = if right { tokens.good } else { tokens.text };
        ui.horizontal_top(|ui| {
            ui.spacing_mut().interact_size.y = TEXT * 1.3;
            ui.visuals_mut().override_text_color = Some(color);
            ui.label(letter.to_string());
            ui.vertical(|ui| {
                prose.show(ui, &format!("{} {letter}", question.index), &shortened(text, 160), TEXT);
            });
        });
    }
    if question.options.is_empty() && !question.gold.is_empty() {
        ui.label(RichText::new(shortened(&question.gold.join(" / "), 120)).color(tokens.good));
    }
}

fn picture_ui(ui: &mut Ui, picture: &mut Picture, side: f32, pictures: usize) {
    let tokens = Tokens::of(ui);
    if let Picture::Ready(image) = picture {
        let image = std::mem::take(image);
        *picture = Picture::Shown(ui.ctx().load_texture("question", image, egui::TextureOptions::LINEAR));
    }
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::hover());
    ui.painter().rect_filled(rect, 6.0, tokens.canvas);
    match picture {
        Picture::Shown(texture) => {
            let size = texture.size_vec2();
            let fitted = size * (side / size.max_elem());
            let place = egui::Rect::from_center_size(rect.center(), fitted);
            egui::Image::new(&*texture).corner_radius(6.0).paint_at(ui, place);
            if pictures > 1 {
                let font = egui::TextStyle::Small.resolve(ui.style());
                let text = format!("+{}", pictures - 1);
                let galley = ui.painter().layout_no_wrap(text, font, tokens.strong);
                let corner = rect.right_bottom() - galley.size() - Vec2::new(9.0, 6.0);
                let back = egui::Rect::from_min_size(corner, galley.size()).expand2(Vec2::new(5.0, 2.0));
                ui.painter().rect_filled(back, 4.0, tokens.card.gamma_multiply(0.9));
                ui.painter().galley(corner, galley, tokens.strong);
            }
            response.on_hover_ui(|ui| {
                ui.image(&*texture);
            });
        }
        Picture::Refused(refusal) => {
            let icon = egui::Rect::from_center_size(rect.center(), Vec2::splat(20.0));
            Icon::Warning.paint(ui.painter(), icon, tokens.bad);
            response.on_hover_text(refusal.to_string());
        }
        Picture::None | Picture::Ready(_) => {
            let icon = egui::Rect::from_center_size(rect.center(), Vec2::splat(20.0));
            Icon::Picture.paint(ui.painter(), icon, tokens.line);
            response.on_hover_text(tr("This question has no picture"));
        }
    }
}

/// The beginning of a text, on one line.
fn shortened(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}
