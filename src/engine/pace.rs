//! How long the rest of a run will take, from the work that remains: tiles and tokens, not only questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::checkpoint::Config;
use crate::dataset::{Dataset, Style, prompt};
use crate::engine::model::tiling;
use crate::picture;
use crate::session::journal::Answer;

/// Work of one question before it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Tiles of its images.
    pub tiles: f64,
    /// Bytes of its prompt's text.
    pub text: f64,
}

/// Work of the questions of a run, filled in by a background survey of image headers.
#[derive(Debug)]
pub struct Survey {
    /// Tiles in the upper half, bytes of text in the lower; `u64::MAX` where unknown.
    work: Vec<AtomicU64>,
    stopped: AtomicBool,
}

impl Survey {
    /// A survey of so many questions, nothing known yet.
    pub fn new(questions: usize) -> Arc<Self> {
        let work = (0..questions).map(|_| AtomicU64::new(u64::MAX)).collect();
        Arc::new(Self { work, stopped: AtomicBool::new(false) })
    }

    /// Reads prompt and image headers of every question in turn, until done or stopped.
    pub fn fill(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        config: &Config,
        style: Style,
        max_tiles: Option<u32>,
    ) {
        for (slot, row) in self.work.iter().zip(rows) {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            if let Some(work) = look(dataset, *row, config, style, max_tiles) {
                let packed = (work.tiles as u64) << 32 | (work.text as u64).min(u64::from(u32::MAX));
                slot.store(packed, Ordering::Relaxed);
            }
        }
    }

    /// Ends the survey early.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Work of the question at this place of the run, where it is known.
    pub fn work(&self, place: usize) -> Option<Work> {
        let packed = self.work.get(place)?.load(Ordering::Relaxed);
        (packed != u64::MAX)
            .then_some(Work { tiles: (packed >> 32) as f64, text: (packed & 0xffff_ffff) as f64 })
    }
}

fn look(
    dataset: &Dataset,
    row: usize,
    config: &Config,
    style: Style,
    max_tiles: Option<u32>,
) -> Option<Work> {
    let question = dataset.question(row).ok()?;
    let built = prompt::build(dataset, &question, style, max_tiles).ok()?;
    let tiling = tiling(config, built.max_tiles);
    let mut tiles = 0;
    for used in &built.images {
        let bytes = dataset.image_bytes(question.images.get(used.index)?).ok()?;
        let (width, height) = picture::dimensions(&bytes, "").ok()?;
        tiles += tiling.count_for(width, height, used.scale);
    }
    Some(Work { tiles: tiles as f64, text: built.text.len() as f64 })
}

/// Speed measured so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    answers: f64,
    tiles: f64,
    text: f64,
    prompt_tokens: f64,
    output_tokens: f64,
    image_seconds: f64,
    prefill_seconds: f64,
    decode_seconds: f64,
    other_seconds: f64,
}

impl Pace {
    /// Takes in one answer.
    pub fn add(&mut self, answer: &Answer) {
        let seconds = &answer.seconds;
        self.answers += 1.0;
        self.tiles += answer.tiles as f64;
        self.text += answer.prompt.len() as f64;
        self.prompt_tokens += answer.prompt_tokens as f64;
        self.output_tokens += answer.output_tokens as f64;
        self.image_seconds += seconds.images;
        self.prefill_seconds += seconds.prefill;
        self.decode_seconds += seconds.decode;
        self.other_seconds += (seconds.total - seconds.images - seconds.prefill - seconds.decode).max(0.0);
    }

    /// Tokens generated a second, over all answers so far.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.decode_seconds > 0.0).then(|| self.output_tokens / self.decode_seconds)
    }

    /// Seconds that questions with this work will take; `None` before the first answer. Work that is not known
    /// counts as the mean of what was answered.
    pub fn remaining(&self, work: impl Iterator<Item = Option<Work>>) -> Option<f64> {
        if self.answers == 0.0 {
            return None;
        }
        // Preparing and prefilling grow with the input; a tile weighs as many units as it has tokens, text by its
        // tokens; the mean answer is as long as those so far.
        let mean = Work { tiles: self.tiles / self.answers, text: self.text / self.answers };
        let per_tile = if self.tiles > 0.0 { self.prompt_tokens / self.tiles } else { 0.0 };
        let units = |w: Work| if self.tiles > 0.0 { w.tiles * per_tile } else { w.text };
        let (done, mut left, mut questions) = (units(mean) * self.answers, 0.0, 0.0);
        for work in work {
            left += units(work.unwrap_or(mean));
            questions += 1.0;
        }
        let input = self.image_seconds + self.prefill_seconds;
        let share = if done > 0.0 { left / done } else { questions / self.answers };
        Some(input * share + (self.decode_seconds + self.other_seconds) * questions / self.answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::journal::Seconds;

    fn answer(tiles: u64, prefill: f64) -> Answer {
        let mut answer = Answer::new("1", "");
        answer.tiles = tiles;
        answer.prompt_tokens = tiles * 16;
        answer.output_tokens = 4;
        answer.seconds = Seconds { images: 0.0, prefill, decode: 1.0, total: prefill + 1.0 };
        answer
    }

    #[test]
    fn heavy_questions_ahead_lengthen_the_estimate() {
        let mut pace = Pace::default();
        assert_eq!(pace.remaining(std::iter::empty()), None);
        pace.add(&answer(1, 2.0));
        pace.add(&answer(3, 6.0));
        let of = |tiles| Some(Work { tiles, text: 0.0 });
        // 2 s a tile and 1 s of decoding a question
        assert_eq!(pace.remaining([of(1.0), of(10.0)].into_iter()), Some(24.0));
        assert_eq!(pace.remaining([None, None].into_iter()), Some(10.0));
    }
}
