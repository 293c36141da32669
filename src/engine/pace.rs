//! How long the rest of a run will take, from the work that remains: tiles and tokens, not only questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::costs::Pricing;
use crate::session::journal::Answer;

/// Work of one question before it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Tiles of its images.
    pub tiles: f64,
    /// Tokens of its prompt.
    pub tokens: f64,
}

/// Work of the questions of a run, filled in by a background survey of image headers.
#[derive(Debug)]
pub struct Survey {
    /// Tiles in the upper half, prompt tokens in the lower; `u64::MAX` where unknown.
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
    pub fn fill(&self, pricing: &Pricing<'_>, rows: &[usize]) {
        for (slot, row) in self.work.iter().zip(rows) {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            // A question that cannot be read takes no time.
            let Ok(cost) = pricing.one(*row) else { continue };
            let tokens = cost.prompt_tokens.min(u64::from(u32::MAX));
            slot.store(cost.tiles.min(u64::from(u32::MAX >> 1)) << 32 | tokens, Ordering::Relaxed);
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
            .then_some(Work { tiles: (packed >> 32) as f64, tokens: (packed & 0xffff_ffff) as f64 })
    }
}

/// Speed measured so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    answers: f64,
    tiles: f64,
    tokens: f64,
    output_tokens: f64,
    input_seconds: f64,
    decode_seconds: f64,
    other_seconds: f64,
    /// Seconds of the clock, which are fewer than those of all answers where several are in flight.
    elapsed: f64,
}

/// A tile goes through the vision tower before its tokens go through the decoder; measured on the 0.5B shape it
/// takes about three times as long as its 256 tokens.
const TOKENS_OF_A_TILE: f64 = 768.0;

impl Pace {
    /// Takes in one answer, so many seconds after the first question was asked.
    pub fn add(&mut self, answer: &Answer, elapsed: f64) {
        self.elapsed = elapsed;
        let seconds = &answer.seconds;
        self.answers += 1.0;
        self.tiles += answer.tiles as f64;
        self.tokens += answer.prompt_tokens as f64;
        self.output_tokens += answer.output_tokens as f64;
        self.input_seconds += seconds.images + seconds.prefill;
        self.decode_seconds += seconds.decode;
        self.other_seconds += (seconds.total - seconds.images - seconds.prefill - seconds.decode).max(0.0);
    }

    /// Seconds of the clock for a second of an answer: below 1 where several are in flight.
    fn share(&self) -> f64 {
        let all = self.input_seconds + self.decode_seconds + self.other_seconds;
        if self.elapsed > 0.0 && all > self.elapsed { self.elapsed / all } else { 1.0 }
    }

    /// Tokens generated a second, over all answers so far; where several are in flight, all of theirs.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.decode_seconds > 0.0).then(|| self.output_tokens / (self.decode_seconds * self.share()))
    }

    /// Seconds that questions with this work will take; `None` before the first answer. Input takes time by its
    /// tiles and tokens, output as much as the mean answer so far; work that is not known counts as the mean.
    pub fn remaining(&self, work: impl Iterator<Item = Option<Work>>) -> Option<f64> {
        if self.answers == 0.0 {
            return None;
        }
        let size = |w: Work| w.tiles * TOKENS_OF_A_TILE + w.tokens;
        let done = size(Work { tiles: self.tiles, tokens: self.tokens });
        let mean = Work { tiles: self.tiles / self.answers, tokens: self.tokens / self.answers };
        let (mut left, mut questions) = (0.0, 0.0);
        for work in work {
            left += size(work.unwrap_or(mean));
            questions += 1.0;
        }
        let share = if done > 0.0 { left / done } else { questions / self.answers };
        let per_question = (self.decode_seconds + self.other_seconds) / self.answers;
        Some((self.input_seconds * share + per_question * questions) * self.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::journal::Seconds;

    fn answer(tiles: u64, prefill: f64) -> Answer {
        let mut answer = Answer::new("1", "");
        answer.tiles = tiles;
        answer.prompt_tokens = tiles * 256;
        answer.output_tokens = 4;
        answer.seconds = Seconds { images: 0.0, prefill, decode: 1.0, total: prefill + 1.0 };
        answer
    }

    #[test]
    fn heavy_questions_ahead_lengthen_the_estimate() {
        let mut pace = Pace::default();
        assert_eq!(pace.remaining(std::iter::empty()), None);
        pace.add(&answer(1, 2.0), 3.0);
        pace.add(&answer(3, 6.0), 10.0);
        let of = |tiles| Some(Work { tiles, tokens: tiles * 256.0 });
        // 2 s a tile and 1 s of decoding a question
        assert_eq!(pace.remaining([of(1.0), of(10.0)].into_iter()), Some(24.0));
        assert_eq!(pace.remaining([None, None].into_iter()), Some(10.0));
        // Two in flight: the clock shows half.
        pace.add(&answer(2, 4.0), 7.5);
        assert_eq!(pace.remaining([None, None].into_iter()), Some(5.0));
    }
}
