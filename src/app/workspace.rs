//! What is chosen for the next run: checkpoint, dataset, settings, layout. Screens read it; wishes change it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::engine::Language;
use crate::evaluation::{Choices, named};
use crate::plan::ModelShape;

use super::job::{Job, Loadable, Wake};

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

/// What is chosen.
pub struct Workspace {
    /// The model.
    pub subject: Loadable<Subject>,
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
    /// The built-in pair, being opened.
    pub fn built_in(wake: &Wake) -> Self {
        let mut workspace = Self {
            subject: Loadable::Empty,
            dataset: Loadable::Empty,
            choices: Choices::default(),
            sessions: crate::session::sessions_root(),
            version: 0,
        };
        workspace.open_checkpoint(crate::demo::BUILT_IN.to_owned(), wake);
        workspace.open_dataset(crate::demo::BUILT_IN.to_owned(), wake);
        workspace
    }

    /// Opens a checkpoint in the background.
    pub fn open_checkpoint(&mut self, named: String, wake: &Wake) {
        self.version += 1;
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

    /// Takes what jobs have brought; whether something came.
    pub fn poll(&mut self) -> bool {
        let came = self.subject.poll() | self.dataset.poll();
        self.version += u64::from(came);
        came
    }
}

/// A checkpoint with its weights, a configuration alone, or a model of the catalogue.
fn subject(named: String) -> Result<Subject> {
    let facts = crate::terminal::plan_sources::facts(&named)?;
    let checkpoint = crate::terminal::plan_sources::open(&named).and_then(Result::ok).map(Arc::new);
    let language = checkpoint.as_deref().map(Language::open);
    Ok(Subject {
        name: facts.shape.name.clone(),
        source: named,
        shape: Arc::new(facts.shape),
        checkpoint,
        language,
    })
}
