//! The pictures of a session's questions, for whoever shows or exports it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::dataset::{Dataset, ImageRef, Question};
use crate::engine::asking::image_name;
use crate::session::{Answer, ImageRecord, Record};
use crate::{Problem, demo};

/// The pictures of a session's questions, from the dataset that its manifest names.
pub struct Pictures {
    dataset: Option<Arc<Dataset>>,
    problem: Option<Problem>,
    /// Pictures asked for.
    asked: AtomicUsize,
    /// Pictures that the dataset could not give.
    missing: AtomicUsize,
    /// Pictures of questions that are not, or no longer, in the dataset.
    strange: AtomicUsize,
}

impl Pictures {
    /// Opens the dataset; where that fails, [`Pictures::warnings`] tells why.
    pub fn of(record: &Record) -> Self {
        let path = record.manifest().dataset.path.as_str();
        let opened = match path {
            "" => Err(Problem::new("the session does not say where its dataset lies")),
            demo::BUILT_IN => demo::dataset(),
            _ => Dataset::open(Path::new(path)).map(Arc::new),
        };
        let (dataset, problem) = match opened {
            Ok(dataset) => (Some(dataset), None),
            Err(problem) => (None, Some(problem)),
        };
        let [asked, missing, strange] = std::array::from_fn(|_| AtomicUsize::new(0));
        Self { dataset, problem, asked, missing, strange }
    }

    /// The bytes of an answer's picture, where the dataset still has that question and that picture.
    pub fn picture(&self, answer: &Answer, nth: usize) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let dataset = self.dataset.as_ref()?;
        let question = dataset.find(&answer.index).and_then(|row| dataset.question(row).ok());
        let Some(question) = question.filter(|question| question.text.trim() == answer.question.trim())
        else {
            self.strange.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let image = which(&question, answer.images.get(nth)?, nth, answer.images.len());
        let bytes = image.and_then(|image| dataset.image_bytes(image).ok());
        if bytes.is_none() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
        bytes.map(|bytes| bytes.to_vec())
    }

    /// Why pictures that were asked for are not there.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        if let Some(problem) = self.problem.as_ref().filter(|_| self.asked.load(Ordering::Relaxed) > 0) {
            let mut problem = problem.clone();
            problem.what =
                format!("the report has no pictures, since the dataset cannot be opened: {}", problem.what);
            problem.fix = Some("put the dataset back where it was, and export again with --force".into());
            warnings.push(problem);
        }
        let place = self.dataset.as_ref().map(|dataset| dataset.name().to_owned()).unwrap_or_default();
        for (count, what) in [
            (
                &self.strange,
                "pictures are left out: the dataset has no such questions, or other ones, by now",
            ),
            (&self.missing, "pictures are left out: the dataset cannot give them any more"),
        ] {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                warnings.push(Problem::new(format!("{count} {what}")).at(place.clone()));
            }
        }
        warnings
    }
}

/// Which of a question's pictures was sent as `sent`, the `nth` of `of`: the one of that name; else the one at its
/// place in the order, if there are as many.
pub fn which<'a>(question: &'a Question, sent: &ImageRecord, nth: usize, of: usize) -> Option<&'a ImageRef> {
    let named = question.images.iter().enumerate().find(|(i, image)| image_name(image, *i) == sent.name);
    let place = named.map(|(i, _)| i).or((of == question.images.len()).then_some(nth))?;
    question.images.get(place)
}
