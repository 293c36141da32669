//! Which pass goes next: questions enter, their pictures and prompts are taken in, their answers made together.
//!
//! Up to [`Settings::batch`] questions are in flight; one that is done leaves, and the next enters. Tokens of all answers
//! in the making go through the decoder in one pass, or in as many as places can work on at once. Passes are put
//! together as late as possible: only a few are on their way at a time, so that each takes along what is ready by then.
//! Whatever is put together, every question's numbers come out the same (`model::host::Kernel`), so no answer depends on
//! what else is in flight.

mod entering;
mod leaving;
mod returning;
mod sending;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use crossbeam_channel::Sender;

use super::asking::RunSettings;
use super::flight::{Fate, Flight};
use super::keeping::Word;
use super::ladder::Ladder;
use super::memory::{Afoot, Books, raise};
use super::model::Model;
use super::order::Event;
use super::reuse::{Picture, PictureKey, Pictures, Prompts};
use super::stages::Stages;
use crate::Problem;
use crate::model::Place;
use crate::plan::calibration::Lesson;
use crate::plan::cpu_run::Batch;

/// What a question in flight needs, as far as memory goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Tiles of its pictures.
    pub tiles: usize,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Tokens that its answer may have.
    pub new_tokens: usize,
    /// Which replica it is on.
    pub replica: usize,
}

/// Says whether a question may enter beside those that are in flight. One that would be alone always may.
pub type Admission = Box<dyn FnMut(&[Need], Need) -> bool + Send>;

/// How a run is scheduled; nothing here changes an answer.
pub struct Settings {
    /// Questions in flight.
    pub batch: usize,
    /// Says whether a question may enter.
    pub admission: Admission,
}

/// One copy of the network on places of its own.
struct Replica {
    stages: Stages,
    prompts: Prompts,
    /// Places that the decoder lies on.
    decoder_places: usize,
    /// Passes on their way, and those of them that carry tokens of answers.
    out: usize,
    writing_out: usize,
    /// Whether the last pass carried tokens of answers.
    wrote: bool,
}

/// A picture on its way through the vision side.
struct Sight {
    picture: Arc<Picture>,
    replica: usize,
    /// Tiles that no pass has been sent with, in parts.
    unsent: VecDeque<Range<usize>>,
    /// Features by first tile.
    parts: Vec<(usize, Tensor)>,
    /// Tiles that have none yet.
    left: usize,
    /// Whether it shares no pass with others, since one that it shared has failed.
    alone: bool,
}

/// A pass on its way through a replica.
struct OnTheWay {
    replica: usize,
    sent: Sent,
    /// How much it is.
    batch: Batch,
}

/// What is in a pass.
enum Sent {
    Tiles(Vec<(PictureKey, Range<usize>)>),
    /// Rows of the dataset, each with the position of its first row in the pass.
    Prompts(Vec<(usize, usize)>),
    Tokens(Vec<usize>),
}

/// The questions in flight.
pub struct Scheduler {
    model: Arc<Model>,
    asking: RunSettings,
    settings: Settings,
    pictures: Arc<Pictures>,
    books: Books,
    replicas: Vec<Replica>,
    /// In order of entry.
    flights: Vec<Flight>,
    sights: HashMap<PictureKey, Sight>,
    sent: HashMap<u64, OnTheWay>,
    tickets: u64,
    /// Questions that have left with a line.
    settled: usize,
    events: Sender<Event>,
    lines: Sender<Word>,
    ladder: Ladder,
    /// What has happened after which nothing more can be computed.
    broken: Option<Problem>,
}

impl Scheduler {
    /// A scheduler of the copies of a model, nothing in flight.
    pub fn new(
        model: Arc<Model>,
        asking: RunSettings,
        settings: Settings,
        (pictures, books, ladder): (Arc<Pictures>, Books, Ladder),
        stages: Vec<Stages>,
        (events, lines): (Sender<Event>, Sender<Word>),
    ) -> Self {
        let copies = stages.len().max(1) as u64;
        let replica = |stages: Stages| {
            let network = stages.network();
            let mut places: Vec<&Place> = Vec::new();
            for segment in &network.route().decoder {
                if !places.iter().any(|place| place.is(&segment.place)) {
                    places.push(&segment.place);
                }
            }
            Replica {
                decoder_places: places.len(),
                prompts: Prompts::new(asking.prompt_cache / copies, network.cache_bytes_per_position()),
                stages,
                out: 0,
                writing_out: 0,
                wrote: false,
            }
        };
        Self {
            replicas: stages.into_iter().map(replica).collect(),
            model,
            settings,
            pictures,
            books,
            flights: Vec::new(),
            sights: HashMap::new(),
            sent: HashMap::new(),
            tickets: 0,
            settled: 0,
            events,
            lines,
            ladder,
            broken: None,
            asking,
        }
    }

    /// What the run has measured, for forecasts to come.
    pub fn lessons(&self) -> Vec<Lesson> {
        self.books.lessons()
    }

    /// What has happened after which nothing more can be computed; the questions in flight are left open.
    pub fn broken(&self) -> Option<&Problem> {
        self.broken.as_ref()
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.sent.is_empty()
    }

    /// Whether passes are on their way.
    pub fn is_busy(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Questions that have left with a line so far.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// Whether a question more may be in flight.
    pub fn has_room(&self) -> bool {
        self.flights.len() < self.settings.batch.max(1) && self.flights.iter().all(|flight| flight.rung == 0)
    }

    /// Abandons a question for now; whether it was in flight.
    pub fn skip(&mut self, row: usize) -> bool {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.row == row) else { return false };
        flight.doom(Fate::Skipped);
        self.settle();
        true
    }

    /// Sends what can be sent.
    pub fn pump(&mut self) {
        // What leaves may be what others wait for.
        for _ in 0..2 {
            self.send_all();
            self.settle();
            if !self.sent.is_empty() || self.flights.is_empty() {
                return;
            }
        }
        // Nothing is on its way and nothing can be sent, which must not hold up the run.
        let stuck = Problem::new("the question came to a standstill").fix("please report this");
        self.flights[0].doom(Fate::Failed(stuck));
        self.settle();
    }

    fn send_all(&mut self) {
        for replica in 0..self.replicas.len() {
            self.begin(replica);
            self.look(replica);
            self.flights.iter_mut().for_each(Flight::read_on);
            while self.replicas[replica].out <= self.replicas[replica].stages.count() {
                if !self.send_one(replica) {
                    break;
                }
            }
        }
    }

    /// Leaves to what is kept for later questions what those in flight do not need, and no more.
    fn give_way(&mut self, replica: usize) {
        let here = self.flights.iter().filter(|flight| flight.replica == replica);
        let needs: Vec<Need> = here.map(Flight::need).collect();
        let Some(room) = self.books.room(replica, &needs) else { return };
        let home = &mut self.replicas[replica];
        self.pictures.give_way(home.stages.network().projector_place(), room.pictures);
        home.prompts.give_way(room.prompts);
    }

    /// Lets go of what is kept for later questions.
    fn let_go(&mut self) {
        self.pictures.clear();
        self.replicas.iter_mut().for_each(|replica| replica.prompts.clear());
        self.books.trim();
    }

    /// Whatever was held since the last time was held while all these questions were in flight.
    fn take_peaks(&mut self) {
        let activation = self.books.activation_peaks();
        let peaks = self.books.take_peaks();
        for flight in &mut self.flights {
            raise(&mut flight.peaks, &peaks);
            raise(&mut flight.activation, &activation);
        }
    }

    /// Forecasts what the places of a replica will hold from now on, for all questions that are in flight there.
    fn foresee(&mut self, replica: usize) {
        let here = || self.flights.iter().filter(|flight| flight.replica == replica);
        let home = &self.replicas[replica];
        let reads = |row: usize| here().any(|flight| flight.row == row && flight.has_read());
        let place = home.stages.network().projector_place();
        let whole = self.pictures.tiles_on(place, here().flat_map(Flight::pictures));
        let parts = self.sights.values().filter(|sight| sight.replica == replica);
        let parts: usize = parts.map(|sight| sight.picture.tiles - sight.left).sum();
        let cached = here().filter(|flight| flight.has_read()).map(|flight| {
            let Need { prompt_tokens, new_tokens, .. } = flight.need();
            (prompt_tokens as u64, new_tokens as u64)
        });
        let mut passes: Vec<(&u64, Batch)> = self
            .sent
            .iter()
            .filter(|(_, on)| on.replica == replica)
            .map(|(ticket, on)| (ticket, on.batch))
            .collect();
        passes.sort_unstable_by_key(|(ticket, _)| **ticket);
        let afoot = Afoot {
            cached: cached.collect(),
            kept: home.prompts.positions(reads) as u64,
            tiles: (whole + parts) as u64,
            passes: passes.into_iter().map(|(_, batch)| batch).collect(),
        };
        let forecast = self.books.foresee(replica, &afoot);
        for flight in self.flights.iter_mut().filter(|flight| flight.replica == replica) {
            raise(&mut flight.forecast, &forecast);
        }
    }

    fn flight(&mut self, row: usize, change: impl FnOnce(&mut Flight)) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.row == row) {
            change(flight);
        }
    }
}
