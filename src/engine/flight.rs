//! One question in flight: from its pictures over its prompt to the last token of its answer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;

use super::asking::{Asked, Draft, RunSettings};
use super::keeping::{Settled, fail};
use super::memory::{Course, Peaks};
use super::model::Model;
use super::reuse::{Beginning, Picture, PromptKey, Prompts};
use super::scheduler::Need;
use crate::dataset::QuestionKind;
use crate::model::{Cache, Kept, Network, Place, Span, Wanted};
use crate::scoring::Verdict;
use crate::session::journal::{Answer, Reused, Seconds};
use crate::{Problem, Result};

/// How far a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another question is about to compute most of its prompt.
    Waiting,
    /// Its pictures go through the vision side.
    Seeing,
    /// Its prompt goes through the decoder.
    Reading,
    /// Its answer is made token by token.
    Writing,
}

/// What becomes of a question in flight that is not simply answered.
#[derive(Debug)]
pub enum Fate {
    /// Nothing went wrong.
    Well,
    /// It could not be answered.
    Failed(Problem),
    /// No rung of the ladder was low enough for a device's memory.
    OutOfMemory(Problem),
    /// It is not asked any more.
    Skipped,
}

/// A question in flight.
pub struct Flight {
    /// Its place in the run.
    pub place: usize,
    /// Its row in the dataset.
    pub row: usize,
    /// How far it is.
    pub phase: Phase,
    /// What sort of answer it asks for.
    pub kind: Option<QuestionKind>,
    /// Which replica answers it.
    pub replica: usize,
    /// Passes with rows of it on their way.
    pub out: usize,
    /// Whether it shares no pass with others, since one that it shared has failed.
    pub alone: bool,
    /// Ends passes of its own early.
    pub abandoned: Arc<AtomicBool>,
    /// Whether something went wrong.
    fate: Fate,
    /// The most that each place has held since it entered.
    pub peaks: Peaks,
    /// The most that was forecast for each place meanwhile.
    pub forecast: Peaks,
    /// The most of temporary memory alone.
    pub activation: Peaks,
    /// Whether another question was in flight meanwhile.
    pub had_company: bool,
    /// Its rung of the ladder.
    pub rung: usize,
    /// Whether it begins again as soon as none of its passes are on their way.
    pub again: bool,
    /// What the places held above their floors when it began.
    before: Peaks,
    need: Need,
    answer: Answer,
    asked: Asked,
    prompt: Arc<PromptKey>,
    cache: Cache,
    draft: Draft,
    keep: Option<Arc<Kept>>,
    /// Positions taken over from another prompt.
    begun_with: usize,
    /// Tiles that go through the vision side for it.
    pub tiles_seen: usize,
    started: Instant,
    written_from: Option<Instant>,
}

impl Flight {
    /// A question that takes off.
    pub fn new(
        line: Settled,
        asked: Asked,
        need: Need,
        model: &Model,
        network: &Network,
        settings: &RunSettings,
    ) -> Self {
        let Settled { place, row, kind, answer } = line;
        let decoder = &network.config().decoder;
        let mut prompt = PromptKey {
            ids: asked.ids.clone(),
            pictures: Vec::new(),
            rotary: decoder.rope.frequencies(asked.ids.len()),
        };
        let image_token = model.tokenizer.image_context_id();
        let tokens_per_tile = network.config().tokens_per_tile();
        let mut places = asked.ids.iter().enumerate().filter(|(_, id)| **id == image_token).map(|(at, _)| at);
        for picture in &asked.pictures {
            let count = picture.tiles * tokens_per_tile;
            // The prompt has been checked: there is a token for every row of features.
            if let (Some(first), true) = (places.next(), count > 0) {
                let last = if count > 1 { places.nth(count - 2).unwrap_or(first) } else { first };
                prompt.pictures.push((first..last + 1, picture.key));
            }
        }
        Self {
            place,
            row,
            phase: Phase::Waiting,
            kind,
            replica: need.replica,
            need,
            peaks: Peaks::new(),
            forecast: Peaks::new(),
            activation: Peaks::new(),
            had_company: false,
            rung: 0,
            again: false,
            before: Peaks::new(),
            out: 0,
            alone: false,
            abandoned: Arc::default(),
            fate: Fate::Well,
            cache: network.cache(asked.ids.len() + settings.max_new_tokens),
            draft: Draft::new(model, settings, row),
            prompt: Arc::new(prompt),
            answer,
            asked,
            keep: None,
            begun_with: 0,
            tiles_seen: 0,
            started: Instant::now(),
            written_from: None,
        }
    }

    /// Whether nothing went wrong with it so far.
    pub fn is_well(&self) -> bool {
        matches!(self.fate, Fate::Well)
    }

    /// Its index in the dataset.
    pub fn index(&self) -> &str {
        &self.answer.index
    }

    /// Gives it another fate, unless it has one.
    pub fn doom(&mut self, fate: Fate) {
        if self.is_well() {
            self.fate = fate;
            self.abandoned.store(true, Ordering::Relaxed);
        }
    }

    /// Gives up what it has and waits for its turn to begin again. None of its passes may be on their way.
    pub fn begin_again(&mut self, model: &Model, network: &Network, settings: &RunSettings) {
        self.cache = network.cache(self.asked.ids.len() + settings.max_new_tokens);
        self.draft = Draft::new(model, settings, self.row);
        self.abandoned = Arc::default();
        (self.peaks, self.forecast) = (Peaks::new(), Peaks::new());
        (self.keep, self.begun_with, self.tiles_seen) = (None, 0, 0);
        (self.phase, self.written_from, self.again) = (Phase::Waiting, None, false);
    }

    /// Notes what the places hold before it begins.
    pub fn begins_beside(&mut self, before: Peaks) {
        self.before = before;
    }

    /// Goes to its pictures without regard to other prompts.
    pub fn begin_alone(&mut self) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Seeing;
        }
    }

    /// What is learnt from it goes by this.
    pub fn course(&self) -> Course {
        Course {
            tiles: self.need.tiles as u64,
            tiles_known: self.need.tiles.saturating_sub(self.tiles_seen) as u64,
            prompt: self.need.prompt_tokens as u64,
            begun_with: self.begun_with as u64,
            rung: self.rung,
            before: self.before.clone(),
        }
    }

    /// A run of tokens that its answer ends with again and again: how many, and how often.
    pub fn repetition(&self) -> Option<(usize, usize)> {
        self.draft.repetition()
    }

    /// Looks whether its prompt's beginning is known, and goes on unless it is about to be.
    pub fn look_up(&mut self, prompts: &mut Prompts) {
        if self.phase != Phase::Waiting {
            return;
        }
        match prompts.find(&self.prompt) {
            Beginning::Coming(_) => return,
            Beginning::Kept(kept, positions) => {
                self.cache.begin_with(&kept, positions);
                self.begun_with = positions;
            }
            Beginning::Unknown => {}
        }
        let shared = self.prompt.pictures.last().map_or(self.prompt.ids.len(), |(place, _)| place.end);
        // What was taken over is kept already.
        if shared > self.begun_with + 1 {
            self.keep = prompts.begin(&self.prompt, shared, self.row, self.cache.layers.len());
        }
        self.phase = Phase::Seeing;
    }

    /// Pictures whose features are still wanted.
    pub fn unseen(&self) -> impl Iterator<Item = &Arc<Picture>> {
        let wanted = self.prompt.pictures.iter().zip(&self.asked.pictures);
        wanted
            .filter(|((place, _), picture)| place.end > self.begun_with && picture.features().is_none())
            .map(|(_, picture)| picture)
    }

    /// Its pictures.
    pub fn pictures(&self) -> &[Arc<Picture>] {
        &self.asked.pictures
    }

    /// Whether it has rows of its own in the cache, or on their way there: all of its room is taken with the first.
    pub fn has_read(&self) -> bool {
        self.cache.length > self.begun_with
    }

    /// Goes on to its prompt once all pictures have been seen.
    pub fn read_on(&mut self) {
        if self.phase == Phase::Seeing && self.unseen().next().is_none() {
            self.phase = Phase::Reading;
        }
    }

    /// Positions of its prompt that no pass has been sent with.
    pub fn unread(&self) -> usize {
        self.prompt.ids.len() - self.cache.length
    }

    /// The next positions of its prompt, at most so many, as rows of a pass.
    ///
    /// # Errors
    /// Features that do not have the shape of the prompt.
    pub fn read(&mut self, most: usize) -> Result<Span> {
        let first = self.cache.length;
        let rows = first..self.prompt.ids.len().min(first + most.max(1));
        let is_last = rows.end == self.prompt.ids.len();
        let span = Span {
            length: self.prompt.ids.len(),
            ids: self.prompt.ids[rows.clone()].to_vec(),
            pictures: self.features(&rows)?,
            wanted: if is_last { Wanted::Last } else { Wanted::Nothing },
            keep: self.keep.clone().filter(|_| is_last),
            ..Span::of(&self.cache, rows.len())
        };
        self.cache.length = rows.end;
        Ok(span)
    }

    /// Takes back positions that a pass has failed with.
    pub fn unread_from(&mut self, first: usize) {
        self.cache.length = self.cache.length.min(first);
    }

    fn features(&self, rows: &Range<usize>) -> Result<Vec<(Tensor, Place)>> {
        let mut parts = Vec::new();
        for ((place, _), picture) in self.prompt.pictures.iter().zip(&self.asked.pictures) {
            let (from, to) = (place.start.max(rows.start), place.end.min(rows.end));
            if from >= to {
                continue;
            }
            let Some(features) = picture.features() else {
                return Err(Problem::new("a picture's features are gone"));
            };
            let mut start = place.start;
            for part in &features.parts {
                let all = part.flatten(0, 1)?;
                let end = start + all.dim(0)?;
                let (first, last) = (from.max(start), to.min(end));
                if first < last {
                    parts.push((all.narrow(0, first - start, last - first)?, features.place.clone()));
                }
                start = end;
            }
        }
        Ok(parts)
    }

    /// The next token as a row of a pass, where it is writing.
    pub fn write(&self) -> Option<Span> {
        let token = self.draft.next().filter(|_| self.phase == Phase::Writing)?;
        Some(Span { ids: vec![token], wanted: Wanted::Last, ..Span::of(&self.cache, 1) })
    }

    /// The token that was sent has been stored.
    pub fn wrote(&mut self) {
        self.cache.length += 1;
    }

    /// Chooses the next token; the text that it adds.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn take(&mut self, model: &Model, logits: &[f32]) -> Result<String> {
        self.phase = Phase::Writing;
        if self.written_from.is_none() {
            self.written_from = Some(Instant::now());
        }
        self.draft.take(model, logits)
    }

    /// Whether its answer is at its end.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Writing && self.draft.is_done()
    }

    /// What it needs.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Its line, answered, failed, or nothing where it was skipped.
    pub fn settle(self, model: &Model) -> Option<Answer> {
        let Self { mut answer, asked, draft, .. } = self;
        let problem = match self.fate {
            Fate::Skipped => return None,
            Fate::Failed(problem) => Some(problem),
            Fate::OutOfMemory(problem) => {
                (answer.peak_bytes, answer.forecast_bytes) = (self.peaks, self.forecast);
                fail(&mut answer, &problem);
                answer.verdict = Verdict::OutOfMemory;
                return Some(answer);
            }
            Fate::Well => {
                let now = Instant::now();
                let written_from = self.written_from.unwrap_or(now);
                answer.seconds = Seconds {
                    images: asked.seconds,
                    prefill: (written_from - self.started).as_secs_f64(),
                    decode: (now - written_from).as_secs_f64(),
                    total: asked.seconds + (now - self.started).as_secs_f64(),
                };
                answer.reused = Reused {
                    tiles: asked.tiles.saturating_sub(self.tiles_seen) as u64,
                    prompt_tokens: self.begun_with as u64,
                };
                (answer.peak_bytes, answer.forecast_bytes) = (self.peaks, self.forecast);
                draft.finish(model, &asked, &mut answer).err()
            }
        };
        if let Some(problem) = problem {
            fail(&mut answer, &problem);
        }
        Some(answer)
    }
}
