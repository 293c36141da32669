//! Questions made ready ahead of their turn: read, their pictures decoded and cut, their prompts put into tokens.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};

use super::asking::{Asked, RunSettings, blank, prepare_beside};
use super::model::Model;
use super::reuse::Pictures;
use super::worker::panicked;
use crate::dataset::{Dataset, QuestionKind};
use crate::session::journal::Answer;
use crate::{Problem, Result};

/// A question whose turn may come.
pub struct Ready {
    /// Its place in the run.
    pub place: usize,
    /// Its row in the dataset.
    pub row: usize,
    /// What sort of answer it asks for, where it can be read.
    pub kind: Option<QuestionKind>,
    /// Its line, nothing answered yet.
    pub answer: Answer,
    /// What goes to the model, or why it cannot.
    pub asked: Result<Asked>,
}

/// Rows that are not to be asked any more.
#[derive(Debug, Default)]
pub struct Skipped(Mutex<HashSet<usize>>);

impl Skipped {
    /// Leaves a row out.
    pub fn add(&self, row: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(row);
    }

    /// Whether a row is left out.
    pub fn has(&self, row: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&row)
    }
}

/// What making questions ready goes by.
pub struct Ahead {
    /// The model that they go to.
    pub model: Arc<Model>,
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// How they are asked.
    pub settings: RunSettings,
    /// Pictures that questions share.
    pub pictures: Arc<Pictures>,
    /// Rows that are left out.
    pub skipped: Arc<Skipped>,
}

impl Ahead {
    /// Starts a thread that makes these rows ready in order, at most `most` ahead of who takes them. It ends when
    /// nobody takes them any more.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, rows: Vec<usize>, most: usize) -> Result<(Receiver<Ready>, JoinHandle<()>)> {
        let (outbox, inbox) = bounded(most.max(1));
        let body = move || {
            for (place, row) in rows.into_iter().enumerate().filter(|(_, row)| !self.skipped.has(*row)) {
                if outbox.send(self.one(place, row)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("ahead".into()).spawn(body);
        let thread = thread.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
        Ok((inbox, thread))
    }

    fn one(&self, place: usize, row: usize) -> Ready {
        let question = match self.dataset.question(row) {
            Ok(question) => question,
            Err(problem) => {
                let outlines = self.dataset.outlines().unwrap_or_default();
                let index = outlines.get(row).map_or_else(|| format!("row {row}"), |o| o.index.clone());
                let answer = Answer::new(index, String::new());
                return Ready { place, row, kind: None, answer, asked: Err(problem) };
            }
        };
        let make = || prepare_beside(&self.model, &self.dataset, &question, &self.settings, &self.pictures);
        let asked = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| Err(panicked(&*panic)));
        Ready { place, row, kind: Some(question.kind), answer: blank(&question, &self.dataset), asked }
    }
}
