//! Predictions of other programs, made a session: what a person says of the file, and the job that reads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{RichText, TextEdit, Ui, Vec2};

use super::Wish;
use crate::app::job::{Job, Wake};
use crate::app::language::{fill, tr};
use crate::app::parts::button::{list, primary};
use crate::app::parts::card::{heading, note};
use crate::app::parts::field::field;
use crate::app::parts::modal::modal;
use crate::app::parts::problem::problem;
use crate::app::parts::progress::progress;
use crate::app::{self, Wishes, Workspace};
use crate::dataset::Dataset;
use crate::evaluation::imported::{Said, import};
use crate::scoring::{AnswerType, Rule};
use crate::session::import::guess_names;
use crate::session::unused_folder;
use crate::{Problem, Result};

/// Endings of files that can be imported.
pub const ENDINGS: [&str; 4] = ["xlsx", "tsv", "json", "jsonl"];

/// An import that is asked about, or under way.
pub struct Importing {
    file: PathBuf,
    model: String,
    /// Whether the dataset chosen for the next run is the one that was asked.
    completes: bool,
    dataset: Option<Arc<Dataset>>,
    rule: Option<Rule>,
    answer_type: Option<AnswerType>,
    job: Option<Job<Imported>>,
    refused: Option<Problem>,
}

/// A session that was made of predictions.
pub struct Imported {
    /// Its folder.
    pub dir: PathBuf,
    /// What to say of it.
    pub text: String,
}

impl Importing {
    /// Asks about a file.
    pub fn of(file: PathBuf) -> Self {
        let (completes, dataset, rule, answer_type, job, refused) = (false, None, None, None, None, None);
        Self { model: guess_names(&file).0, file, completes, dataset, rule, answer_type, job, refused }
    }

    /// Takes what the job has brought, and the dataset that is chosen now.
    pub fn receive(&mut self, workspace: &Workspace) -> Option<Imported> {
        if self.job.is_none() {
            self.dataset = workspace.dataset.ready().cloned();
        }
        let result = self.job.as_ref().and_then(Job::poll)?;
        self.job = None;
        result.map_err(|problem| self.refused = Some(problem)).ok()
    }

    /// Reads the file and writes a session under `root`.
    pub fn begin(&mut self, root: &Path, wake: &Wake) {
        let model = Some(self.model.trim().to_owned()).filter(|name| !name.is_empty());
        let said = Said {
            dataset: self.dataset.clone().filter(|_| self.completes),
            rule: self.rule,
            answer_type: self.answer_type,
            model,
        };
        let (file, root) = (self.file.clone(), root.to_owned());
        self.refused = None;
        self.job = Some(Job::start("import predictions", wake, move |_| imported(&file, &root, &said)));
    }

    /// Draws the questions about the file.
    pub fn ui(&mut self, ui: &Ui, wishes: &mut Wishes) {
        let mut wish = |wish| wishes.push(app::Wish::Sessions(wish));
        let left = modal(ui, "import predictions", 520.0, |ui| {
            heading(ui, tr("Import predictions"));
            let name = self.file.file_name().unwrap_or_default().to_string_lossy();
            ui.label(RichText::new(name)).on_hover_text(self.file.display().to_string());
            note(
                ui,
                tr(
                    "Answers written by VLMEvalKit, lmms-eval or Shardscope become a session that can be looked at, compared and scored again. The file stays as it is.",
                ),
            );
            ui.add_space(4.0);
            ui.add_enabled_ui(self.job.is_none(), |ui| self.fields(ui));
            if let Some(refused) = &self.refused {
                problem(ui, refused);
            }
            ui.add_space(10.0);
            if self.job.is_some() {
                progress(ui, tr("Reading the predictions"), None, false);
                return;
            }
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing = Vec2::new(8.0, 0.0);
                if primary(ui, None, tr("Import")).clicked() {
                    wish(Wish::BeginImport);
                }
                if ui.button(tr("Cancel")).clicked() {
                    wish(Wish::EndImport);
                }
            });
        });
        if left && self.job.is_none() {
            wish(Wish::EndImport);
        }
    }

    fn fields(&mut self, ui: &mut Ui) {
        egui::Grid::new("import").num_columns(2).spacing([16.0, 10.0]).show(ui, |ui| {
            ui.label(tr("Model"));
            field(ui, tr("Model"), TextEdit::singleline(&mut self.model).desired_width(280.0));
            ui.end_row();
            ui.label(tr("Dataset"));
            match &self.dataset {
                Some(dataset) => {
                    let text = fill("complete from {}", &[&dataset.name()]);
                    ui.checkbox(&mut self.completes, text).on_hover_text(tr("Pictures, categories, types and gold answers come from the dataset that is chosen in Setup."));
                }
                None => drop(note(ui, tr("Choose it in Setup first, if the file lacks gold answers."))),
            }
            ui.end_row();
            ui.label(tr("Rule"));
            let shown = |rule: Option<Rule>| rule.map_or(tr("as recorded").to_owned(), |rule| rule.name());
            ui.name_inputs(tr("Rule"), |ui| {
                list("rule of the import", shown(self.rule), 280.0).show_ui(ui, |ui| {
                    for rule in std::iter::once(None).chain(Rule::all().map(Some)) {
                        ui.selectable_value(&mut self.rule, rule, shown(rule));
                    }
                });
            });
            ui.end_row();
            ui.label(tr("Answer type"));
            let shown =
                |kind: Option<AnswerType>| kind.map_or(tr("as file and dataset say"), AnswerType::name);
            ui.name_inputs(tr("Answer type"), |ui| {
                list("type of the import", shown(self.answer_type), 280.0).show_ui(ui, |ui| {
                    for kind in std::iter::once(None).chain(AnswerType::ALL.map(Some)) {
                        ui.selectable_value(&mut self.answer_type, kind, shown(kind));
                    }
                });
            });
            ui.end_row();
        });
    }
}

/// Makes the session; nothing of it stays where that fails.
fn imported(file: &Path, root: &Path, said: &Said) -> Result<Imported> {
    let guessed = guess_names(file);
    let model = said.model.clone().unwrap_or(guessed.0);
    let dataset = said.dataset.as_ref().map_or(guessed.1, |dataset| dataset.name().to_owned());
    std::fs::create_dir_all(root)
        .map_err(|error| Problem::io("make the folder of sessions", root, &error))?;
    let dir = unused_folder(root, &model, &dataset, &jiff::Zoned::now());
    let (count, warnings) = import(file, &dir, said)?;
    let mut text = fill("{} answers imported", &[&count]);
    for warning in warnings.iter().take(3) {
        text.push('\n');
        text.push_str(&warning.to_string());
    }
    if warnings.len() > 3 {
        text.push('\n');
        text.push_str(&fill("and {} more warnings", &[&(warnings.len() - 3)]));
    }
    Ok(Imported { dir, text })
}
