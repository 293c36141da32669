//! What is chosen for the next run: checkpoint or served model, dataset, settings, layout. Screens read it; wishes change it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::engine::Language;
use crate::evaluation::{Choices, named};
use crate::plan::ModelShape;
use crate::{Problem, Result};

use super::job::{Job, Loadable, Wake};
use super::language::tr;
use super::served::Served;

/// A model that can be planned, and run where its weights are here.
#[derive(Clone)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What was asked for: a path, a name, `built-in`.
    pub source: String,
    /// Its shape, for planning.
    pub shape: Arc<ModelShape>,
    /// Its weights, tokenizer and template; `None` for a model that is known by its configuration alone.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// Its tokenizer and template, or why it has none.
    pub language: Option<Result<Language>>,
}

impl Subject {
    /// Why it cannot answer questions, where it cannot.
    pub fn obstacle(&self) -> Option<Problem> {
        match (&self.checkpoint, &self.language) {
            (None, _) => Some(
                Problem::new(tr("this model is known by its numbers alone: it can be planned, not run"))
                    .at(&self.name)
                    .fix(tr("download its weights, and choose their folder")),
            ),
            (_, Some(Err(problem))) => Some(problem.clone()),
            (Some(_), _) => None,
        }
    }
}

/// What is chosen.
pub struct Workspace {
    /// The model.
    pub subject: Loadable<Subject>,
    /// The served model that answers in the checkpoint's place, where that is chosen.
    pub served: Served,
    /// The dataset.
    pub dataset: Loadable<Arc<Dataset>>,
    /// Everything else.
    pub choices: Choices,
    /// The folder in which new sessions are begun, and listed.
    pub sessions: PathBuf,
    /// Counts how often model, dataset or choices have changed, so that what depends on them knows when to be made anew.
    pub version: u64,
}

impl Workspace {
    /// A checkpoint and a dataset, being opened; sessions are kept in this folder.
    pub fn opening(checkpoint: &str, dataset: &str, sessions: PathBuf, wake: &Wake) -> Self {
        let mut workspace = Self {
            subject: Loadable::Empty,
            served: Served::default(),
            dataset: Loadable::Empty,
            choices: Choices::default(),
            sessions,
            version: 0,
        };
        workspace.open_checkpoint(checkpoint.to_owned(), wake);
        workspace.open_dataset(dataset.to_owned(), wake);
        workspace
    }

    /// Opens a checkpoint in the background.
    pub fn open_checkpoint(&mut self, named: String, wake: &Wake) {
        self.version += 1;
        self.served.is_chosen = false;
        self.subject = Loadable::Loading(Job::start("open a checkpoint", wake, move |_| subject(named)));
    }

    /// Opens a dataset in the background.
    pub fn open_dataset(&mut self, named: String, wake: &Wake) {
        self.version += 1;
        let stated = self.choices.stated;
        self.dataset = Loadable::Loading(Job::start("open a dataset", wake, move |handle| {
            let total = std::fs::metadata(&named).map_or(0, |about| about.len());
            let mut watch = |_: &std::path::Path, bytes| handle.at(bytes, total);
            named::open_dataset(Some(&named), stated, &mut watch)
        }));
    }

    /// Takes other choices; a dataset of which other things are said is opened anew.
    pub fn choose(&mut self, choices: Choices, wake: &Wake) {
        let states_anew = choices.stated != self.choices.stated;
        self.choices = choices;
        self.version += 1;
        if let (true, Some(named)) = (states_anew, self.dataset_named()) {
            self.open_dataset(named, wake);
        }
    }

    /// Changes the served model, or whether it answers.
    pub fn change_server(&mut self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served);
        self.version += 1;
    }

    /// What the chosen dataset can be opened by again.
    pub fn dataset_named(&self) -> Option<String> {
        let path = self.dataset.ready()?.path().map(|path| path.display().to_string());
        Some(path.unwrap_or_else(|| crate::demo::BUILT_IN.to_owned()))
    }

    /// Who answers, by a name for people; none where nobody is chosen yet.
    pub fn answerer(&self) -> Option<String> {
        if self.served.is_chosen {
            return Some(self.served.name());
        }
        let subject = self.subject.ready()?;
        let is_built_in = subject.source == crate::demo::BUILT_IN;
        Some(if is_built_in { tr("Built-in demonstration").to_owned() } else { subject.name.clone() })
    }

    /// What keeps a run of what is chosen from beginning.
    pub fn obstacle(&self) -> Option<Problem> {
        let model = match self.served.is_chosen {
            true => self.served.obstacle(),
            false => self.checkpoint_obstacle(),
        };
        model.or_else(|| self.dataset_obstacle())
    }

    fn checkpoint_obstacle(&self) -> Option<Problem> {
        let missing = |what: &str, fix: &str| Some(Problem::new(what).fix(fix));
        match &self.subject {
            Loadable::Empty => missing(tr("no checkpoint is chosen"), tr("choose one on the setup screen")),
            Loadable::Loading(_) => missing(tr("the checkpoint is still being read"), tr("wait a moment")),
            Loadable::Refused(problem) => Some(problem.clone()),
            Loadable::Ready(subject) => subject.obstacle(),
        }
    }

    fn dataset_obstacle(&self) -> Option<Problem> {
        let missing = |what: &str, fix: &str| Some(Problem::new(what).fix(fix));
        match &self.dataset {
            Loadable::Empty => missing(tr("no dataset is chosen"), tr("choose one on the setup screen")),
            Loadable::Loading(_) => missing(tr("the dataset is still being read"), tr("wait a moment")),
            Loadable::Refused(problem) => Some(problem.clone()),
            Loadable::Ready(_) => None,
        }
    }

    /// Takes what jobs have brought; whether something came.
    pub fn poll(&mut self) -> bool {
        let came = self.subject.poll() | self.dataset.poll() | self.served.poll();
        self.version += u64::from(came);
        came
    }
}

/// A checkpoint with its weights, a configuration alone, or a model of the catalogue.
fn subject(named: String) -> Result<Subject> {
    let path = Path::new(&named);
    let is_path = path.is_absolute() || path.components().count() > 2 || named.starts_with('.');
    if is_path && !path.exists() {
        return Err(Problem::new(tr("there is no such folder"))
            .at(named)
            .fix(tr("choose a folder that holds config.json and safetensors, or a model of the catalogue")));
    }
    let facts = crate::evaluation::facts::of(&named)?;
    let checkpoint = crate::evaluation::facts::open(&named).and_then(Result::ok).map(Arc::new);
    let language = checkpoint.as_deref().map(Language::open);
    Ok(Subject {
        name: facts.shape.name.clone(),
        source: named,
        shape: Arc::new(facts.shape),
        checkpoint,
        language,
    })
}
