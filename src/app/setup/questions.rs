//! What is known of a dataset's questions, and some of them to look at: made by jobs, off the window's thread.

use std::collections::HashMap;
use std::sync::Arc;

use egui::{ColorImage, TextureHandle};

use crate::app::job::Handle;
use crate::dataset::{Dataset, Question, QuestionKind};
use crate::evaluation::Questions;
use crate::picture::{decode, resize};
use crate::{Problem, Result};

/// Questions shown at a time.
pub const PAGE: usize = 3;

/// Longest side of a picture beside its question, in pixels.
const THUMBNAIL: u32 = 320;

/// What one pass over a dataset tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatasetFacts {
    /// Questions of each kind, the commonest first.
    pub kinds: Vec<(QuestionKind, usize)>,
    /// Categories and their questions, in order of name.
    pub categories: Vec<(Arc<str>, usize)>,
    /// Coarser categories.
    pub super_categories: Vec<(Arc<str>, usize)>,
    /// Splits.
    pub splits: Vec<(Arc<str>, usize)>,
    /// What is wrong with it, besides what would have refused it.
    pub problems: Vec<Problem>,
}

impl DatasetFacts {
    /// Goes through a dataset once; its pictures are not read.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let outlines = dataset.outlines()?;
        let mut kinds: HashMap<QuestionKind, usize> = HashMap::new();
        outlines.iter().for_each(|outline| *kinds.entry(outline.kind).or_default() += 1);
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), kind.name()));
        Ok(Self {
            kinds,
            categories: counted(outlines.iter().filter_map(|it| it.category.clone())),
            super_categories: counted(outlines.iter().filter_map(|it| it.super_category.clone())),
            splits: counted(outlines.iter().filter_map(|it| it.split.clone())),
            problems: dataset.problems(),
        })
    }
}

fn counted(names: impl Iterator<Item = Arc<str>>) -> Vec<(Arc<str>, usize)> {
    let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort();
    counts
}

/// Which questions a run of these choices asks.
///
/// # Errors
/// As [`Questions::rows`].
pub fn selected(dataset: &Dataset, questions: &Questions) -> Result<Vec<usize>> {
    questions.rows(dataset)
}

/// A question to look at.
pub struct Sample {
    /// The question, or why it cannot be read.
    pub question: Result<Question>,
    /// Its first picture, made small.
    pub picture: Picture,
}

/// A picture on its way to the screen.
pub enum Picture {
    /// The question has none.
    None,
    /// Decoded, not yet uploaded.
    Ready(ColorImage),
    /// On the screen's side.
    Shown(TextureHandle),
    /// It cannot be read.
    Refused(Problem),
}

/// Reads the questions of some rows, and makes their first pictures small.
pub fn samples(dataset: &Dataset, rows: &[usize], handle: &Handle) -> Vec<Sample> {
    let mut samples = Vec::new();
    for &row in rows {
        if !handle.goes_on() {
            break;
        }
        let question = dataset.question(row);
        let picture = match &question {
            Ok(question) => picture(dataset, question),
            Err(_) => Picture::None,
        };
        samples.push(Sample { question, picture });
    }
    samples
}

fn picture(dataset: &Dataset, question: &Question) -> Picture {
    let Some(image) = question.images.first() else { return Picture::None };
    let decoded = dataset.image_bytes(image).and_then(|bytes| decode(&bytes, &dataset.image_place(image)));
    match decoded {
        Err(problem) => Picture::Refused(problem),
        Ok(image) => {
            let (width, height) = image.dimensions();
            let scale = f64::from(THUMBNAIL) / f64::from(width.max(height));
            let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
            let small = match scale < 1.0 {
                true => resize(&image, side(width), side(height), crate::picture::Filter::Bicubic),
                false => image,
            };
            let size = [small.width() as usize, small.height() as usize];
            Picture::Ready(ColorImage::from_rgb(size, small.as_raw()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::job::Job;

    #[test]
    fn the_built_in_dataset_is_counted_and_looked_at() {
        let dataset = crate::demo::dataset().unwrap();
        let facts = DatasetFacts::of(&dataset).unwrap();
        assert_eq!(facts.kinds.iter().map(|(_, count)| count).sum::<usize>(), dataset.len());
        assert_eq!(facts.categories.iter().map(|(_, count)| count).sum::<usize>(), dataset.len());
        let wake: crate::app::job::Wake = Arc::new(|| {});
        let job = Job::start("look", &wake, move |handle| Ok(samples(&dataset, &[0, 5, 10_000], handle)));
        let samples = loop {
            if let Some(samples) = job.poll() {
                break samples.unwrap();
            }
            std::thread::yield_now();
        };
        assert!(matches!(&samples[0].picture, Picture::Ready(picture) if picture.size[0] > 8));
        assert_eq!(samples[1].question.as_ref().unwrap().row, 5);
        assert!(samples[2].question.is_err());
    }
}
