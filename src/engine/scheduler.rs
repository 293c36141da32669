//! Which pass goes next: questions enter, their pictures and prompts are taken in, their answers made together.
//!
//! Up to [`Settings::batch`] questions are in flight; one that is done leaves, and the next enters. Tokens of all answers
//! in the making go through the decoder in one pass, or in as many as places can work on at once. Passes are put
//! together as late as possible: only a few are on their way at a time, so that each takes along what is ready by then.
//! Whatever is put together, every question's numbers come out the same (`model::host::Kernel`), so no answer depends on
//! what else is in flight.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use crossbeam_channel::Sender;
use serde_json::{Value, json};

use super::ahead::Ready;
use super::asking::RunSettings;
use super::flight::{Fate, Flight, Phase};
use super::keeping::{Settled, Word, fail};
use super::ladder::{Ladder, Rung};
use super::memory::{Books, raise};
use super::model::Model;
use super::reuse::{Features, Picture, PictureKey, Pictures, Prompts};
use super::stages::{Done, Pass, Stages};
use super::worker::Event;
use crate::Problem;
use crate::model::{Place, RowPass, Span, TilePass, Wanted};
use crate::plan::bytes::human;
use crate::plan::calibration::Lesson;

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

/// A pass on its way.
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
    sent: HashMap<u64, (usize, Sent)>,
    tickets: u64,
    /// Questions that have left with a line.
    settled: usize,
    events: Sender<Event>,
    lines: Sender<Word>,
    ladder: Ladder,
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
            asking,
        }
    }

    /// What the run has measured, for forecasts to come.
    pub fn lessons(&self) -> Vec<Lesson> {
        self.books.lessons()
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

    /// Lets a question enter; gives it back where it has to wait for others to leave.
    pub fn admit(&mut self, ready: Ready) -> Option<Ready> {
        let asked = match ready.asked {
            Ok(asked) => asked,
            Err(problem) => {
                let Ready { place, row, kind, mut answer, .. } = ready;
                fail(&mut answer, &problem);
                self.keep(Settled { place, row, kind, answer });
                return None;
            }
        };
        let in_flight = |replica: &usize| self.flights.iter().filter(|f| f.replica == *replica).count();
        let replica = (0..self.replicas.len()).min_by_key(in_flight).unwrap_or(0);
        let (tiles, prompt_tokens) = (asked.tiles, asked.ids.len());
        let need = Need { tiles, prompt_tokens, new_tokens: self.asking.max_new_tokens, replica };
        let others: Vec<Need> = self.flights.iter().map(Flight::need).collect();
        if !others.is_empty() && !(self.settings.admission)(&others, need) {
            return Some(Ready { asked: Ok(asked), ..ready });
        }
        let limit = self.model.checkpoint.config.decoder.max_positions;
        if prompt_tokens > limit {
            self.say(Event::Note(
                Problem::new(format!(
                    "the prompt has {prompt_tokens} tokens, but the model was made for {limit}; the answer may be poor"
                ))
                .at(format!("question {}", ready.answer.index))
                .fix("allow fewer tiles with --max-tiles"),
            ));
        }
        self.say(Event::Asking { row: ready.row, tiles, prompt_tokens });
        // What was held before is not its doing.
        self.take_peaks();
        let network = self.replicas[replica].stages.network();
        let Ready { place, row, kind, answer, .. } = ready;
        let line = Settled { place, row, kind, answer };
        let mut flight = Flight::new(line, asked, need, &self.model, network, &self.asking);
        flight.begins_beside(self.books.above_floor());
        flight.rung = self.books.starting_rung(need);
        flight.had_company = !self.flights.is_empty();
        self.flights.iter_mut().for_each(|flight| flight.had_company = true);
        if flight.rung > 0 {
            let how = self.ladder.rung(flight.rung).words();
            self.tell("small_steps", json!({ "index": flight.index(), "how": how }));
        }
        self.flights.push(flight);
        None
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

    /// Lets questions of a replica begin whose turn it is.
    fn begin(&mut self, replica: usize) {
        for at in 0..self.flights.len() {
            let flight = &self.flights[at];
            if flight.replica != replica {
                continue;
            }
            if flight.again && flight.out == 0 {
                self.begin_again(at);
            }
            if !self.ladder.rung(self.flights[at].rung).alone {
                self.flights[at].look_up(&mut self.replicas[replica].prompts);
                continue;
            }
            // One that needs all memory for itself waits until all others have left or wait behind it.
            let behind = |other: &Flight| other.rung > 0 && other.phase == Phase::Waiting && other.out == 0;
            let mut others =
                self.flights.iter().enumerate().filter(|(i, f)| *i != at && f.replica == replica);
            if self.flights[at].phase == Phase::Waiting
                && self.flights[at].is_well()
                && others.all(|(i, other)| i > at && behind(other))
            {
                self.let_go();
                self.take_peaks();
                let before = self.books.above_floor();
                let flight = &mut self.flights[at];
                flight.peaks.clear();
                flight.begins_beside(before);
                flight.begin_alone();
            }
        }
    }

    /// Frees what a question holds and has it wait for its turn.
    fn begin_again(&mut self, at: usize) {
        let flight = &mut self.flights[at];
        let home = &mut self.replicas[flight.replica];
        home.prompts.end(flight.row);
        flight.begin_again(&self.model, home.stages.network(), &self.asking);
        let Need { tiles, prompt_tokens, .. } = flight.need();
        let row = flight.row;
        self.say(Event::Asking { row, tiles, prompt_tokens });
    }

    /// Lets go of what is kept for later questions.
    fn let_go(&mut self) {
        self.pictures.clear();
        self.replicas.iter_mut().for_each(|replica| replica.prompts.clear());
    }

    /// How much may go through a replica at once: the least of what its questions bear.
    fn at_once(&self, replica: usize) -> Rung {
        let here = self.flights.iter().filter(|f| f.replica == replica && f.phase != Phase::Waiting);
        self.ladder.rung(here.map(|flight| flight.rung).max().unwrap_or(0))
    }

    /// What went wrong with a question alone: with too little memory it is tried again on the rung below.
    fn stumble(&mut self, row: usize, problem: &Problem) {
        let Some(at) = self.flights.iter().position(|flight| flight.row == row) else { return };
        let company = self.flights.len() - 1;
        let flight = &mut self.flights[at];
        if !flight.is_well() || flight.again {
            return;
        }
        let Some(short) = &problem.out_of_memory else { return flight.doom(Fate::Failed(problem.clone())) };
        let below = self.ladder.below(flight.rung);
        let next = match below {
            Some(rung) => {
                flight.rung = rung;
                flight.again = true;
                flight.abandoned.store(true, Ordering::Relaxed);
                self.ladder.rung(rung).words()
            }
            None => {
                flight.doom(Fate::OutOfMemory(problem.clone()));
                "given up".to_owned()
            }
        };
        let details = json!({
            "index": flight.index(), "device": short.device, "needed": short.needed, "capacity": short.capacity,
            "in_flight": company + 1, "next": next,
        });
        self.tell("out_of_memory", details);
        if company > 0 {
            // So many were too many.
            self.settings.batch = self.settings.batch.min(company).max(1);
        }
        self.let_go();
    }

    /// Lists the pictures that questions of a replica want to see.
    fn look(&mut self, replica: usize) {
        // Parts of a picture that failed may still be on their way.
        let on_the_way: Vec<PictureKey> = self
            .sent
            .values()
            .filter_map(|(_, sent)| match sent {
                Sent::Tiles(parts) => Some(parts.iter().map(|(key, _)| *key)),
                _ => None,
            })
            .flatten()
            .collect();
        for flight in &mut self.flights {
            if flight.replica != replica || flight.phase != Phase::Seeing {
                continue;
            }
            let unseen: Vec<Arc<Picture>> = flight.unseen().cloned().collect();
            for picture in unseen {
                if !self.sights.contains_key(&picture.key) && !on_the_way.contains(&picture.key) {
                    flight.tiles_seen += picture.tiles;
                    let micro_batch = self.ladder.rung(flight.rung).micro_batch;
                    let firsts = (0..picture.tiles).step_by(micro_batch);
                    let unsent =
                        firsts.map(|first| first..(first + micro_batch).min(picture.tiles)).collect();
                    let (key, left) = (picture.key, picture.tiles);
                    let sight = Sight { picture, replica, unsent, parts: Vec::new(), left, alone: false };
                    self.sights.insert(key, sight);
                }
            }
        }
    }

    /// Puts a pass together and sends it; whether there was anything to send.
    fn send_one(&mut self, replica: usize) -> bool {
        let home = &self.replicas[replica];
        let here = self.flights.iter().filter(|flight| flight.replica == replica);
        let (writing, all) = here.fold((0, 0), |(writing, all), flight| {
            (writing + usize::from(flight.phase == Phase::Writing), all + 1)
        });
        // Answers wait until enough of them can be made together, and take turns with new questions then.
        let first = writing * 2 >= all && !home.wrote;
        if first {
            self.send_tokens(replica, writing) || self.send_prompts(replica) || self.send_tiles(replica)
        } else {
            self.send_prompts(replica) || self.send_tiles(replica) || self.send_tokens(replica, writing)
        }
    }

    /// Sends the next tokens of answers in the making.
    fn send_tokens(&mut self, replica: usize, writing: usize) -> bool {
        let home = &self.replicas[replica];
        if home.writing_out >= home.decoder_places {
            return false;
        }
        // As many as leave every place some to work on.
        let most = writing.div_ceil(home.decoder_places.max(1)).max(1);
        let (mut rows, mut spans) = (Vec::new(), Vec::new());
        for flight in self.flights.iter_mut().filter(|f| f.replica == replica && f.out == 0 && f.is_well()) {
            if rows.len() >= most || (flight.alone && !rows.is_empty()) {
                break;
            }
            let Some(span) = flight.write() else { continue };
            flight.out += 1;
            rows.push(flight.row);
            spans.push(span);
            if flight.alone {
                break;
            }
        }
        if rows.is_empty() {
            return false;
        }
        self.replicas[replica].writing_out += 1;
        self.replicas[replica].wrote = true;
        self.send(replica, Sent::Tokens(rows), Pass::Rows(RowPass::tokens(spans)), Arc::default());
        true
    }

    /// Sends parts of prompts: one of a long prompt, or several short prompts together.
    fn send_prompts(&mut self, replica: usize) -> bool {
        let chunk = self.at_once(replica).prefill_chunk;
        let stages = self.replicas[replica].stages.count();
        let (mut rows, mut spans, mut room) = (Vec::new(), Vec::<Span>::new(), chunk);
        let mut abandoned = Arc::default();
        let reading = self.flights.iter_mut().filter(|f| f.replica == replica && f.phase == Phase::Reading);
        for flight in reading.filter(|flight| flight.is_well() && flight.unread() > 0) {
            // Parts of one prompt follow each other through the places.
            let whole = flight.out == 0 && flight.unread() <= chunk && !flight.alone;
            if !whole && (!spans.is_empty() || flight.out > stages) {
                continue;
            }
            if whole && flight.unread() > room {
                break;
            }
            match flight.read(chunk) {
                Ok(span) => {
                    flight.out += 1;
                    room -= span.count.min(room);
                    rows.push((flight.row, span.first));
                    spans.push(span);
                    abandoned = flight.abandoned.clone();
                }
                Err(problem) => flight.doom(Fate::Failed(problem)),
            }
            if !whole {
                break;
            }
        }
        if rows.is_empty() {
            return false;
        }
        if rows.len() > 1 {
            // What one gives up, the others still want.
            abandoned = Arc::default();
        }
        self.replicas[replica].wrote = false;
        let pass = RowPass::prompts(spans, self.model.tokenizer.image_context_id());
        self.send(replica, Sent::Prompts(rows), Pass::Rows(pass), abandoned);
        true
    }

    /// Sends tiles, of several pictures together where each has few.
    fn send_tiles(&mut self, replica: usize) -> bool {
        let micro_batch = self.at_once(replica).micro_batch;
        let (mut parts, mut pixels, mut tiles) = (Vec::new(), Vec::new(), 0);
        // In the order of the questions.
        let wanted = self.flights.iter().filter(|f| f.replica == replica && f.is_well());
        let wanted: Vec<PictureKey> =
            wanted.filter(|f| f.phase == Phase::Seeing).flat_map(Flight::unseen).map(|p| p.key).collect();
        'pictures: for key in wanted {
            let Some(sight) = self.sights.get_mut(&key).filter(|sight| sight.replica == replica) else {
                continue;
            };
            let Some(all) = sight.picture.pixels() else { continue };
            while let Some(range) = sight.unsent.front().cloned() {
                if tiles + range.len() > micro_batch || (sight.alone && !parts.is_empty()) {
                    break 'pictures;
                }
                sight.unsent.pop_front();
                tiles += range.len();
                pixels.push(all.narrow(0, range.start, range.len()));
                parts.push((key, range));
                if sight.alone {
                    break 'pictures;
                }
            }
        }
        if parts.is_empty() {
            return false;
        }
        let pixels = pixels.into_iter().collect::<candle_core::Result<Vec<_>>>();
        let pass = match pixels.and_then(|pixels| TilePass::new(&pixels)) {
            Ok(pass) => pass,
            Err(error) => {
                self.unseen(parts, &error.into());
                return true;
            }
        };
        self.replicas[replica].wrote = false;
        self.send(replica, Sent::Tiles(parts), Pass::Tiles(pass), Arc::default());
        true
    }

    fn send(&mut self, replica: usize, sent: Sent, pass: Pass, abandoned: Arc<AtomicBool>) {
        self.tickets += 1;
        self.sent.insert(self.tickets, (replica, sent));
        self.replicas[replica].out += 1;
        self.replicas[replica].stages.send(self.tickets, pass, abandoned);
    }

    /// Takes a pass back.
    pub fn receive(&mut self, done: Done) {
        let Some((replica, sent)) = self.sent.remove(&done.ticket) else { return };
        self.replicas[replica].out -= 1;
        match (sent, done.outcome) {
            (Sent::Tiles(parts), Ok(Some(Pass::Tiles(pass)))) => self.seen(replica, &parts, pass.features()),
            (Sent::Tiles(parts), Err(problem)) => self.unseen(parts, &problem),
            (Sent::Prompts(rows), outcome) => {
                for (row, _) in &rows {
                    self.flight(*row, |flight| flight.out -= 1);
                }
                match outcome {
                    Ok(Some(Pass::Rows(pass))) => self.read(replica, &rows, pass),
                    Err(problem) => self.unread(&rows, &problem),
                    _ => {}
                }
            }
            (Sent::Tokens(rows), outcome) => {
                self.replicas[replica].writing_out -= 1;
                for row in &rows {
                    self.flight(*row, |flight| flight.out -= 1);
                }
                match outcome {
                    Ok(Some(Pass::Rows(pass))) => {
                        for (row, logits) in rows.iter().zip(pass.logits()) {
                            self.flight(*row, Flight::wrote);
                            self.take(*row, &logits);
                        }
                    }
                    Err(problem) => self.unwritten(&rows, &problem),
                    _ => {}
                }
            }
            // Abandoned.
            _ => {}
        }
        self.settle();
    }

    fn flight(&mut self, row: usize, change: impl FnOnce(&mut Flight)) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.row == row) {
            change(flight);
        }
    }

    /// Tiles have become features.
    fn seen(&mut self, replica: usize, parts: &[(PictureKey, Range<usize>)], features: Vec<Tensor>) {
        let place = self.replicas[replica].stages.network().projector_place();
        for ((key, range), part) in parts.iter().zip(features) {
            let Some(sight) = self.sights.get_mut(key) else { continue };
            sight.parts.push((range.start, part));
            sight.left -= range.len();
            if sight.left > 0 {
                continue;
            }
            sight.parts.sort_by_key(|(first, _)| *first);
            let parts = sight.parts.drain(..).map(|(_, part)| part).collect();
            sight.picture.set_features(Features { parts, place: place.clone() });
            if self.flights.iter().all(|flight| flight.rung == 0) {
                self.pictures.keep(&sight.picture);
            }
            self.sights.remove(key);
        }
    }

    /// Tiles could not be seen: pictures that shared the pass try alone, a picture alone fails.
    fn unseen(&mut self, parts: Vec<(PictureKey, Range<usize>)>, problem: &Problem) {
        let shared = parts.iter().any(|(key, _)| *key != parts[0].0);
        for (key, range) in parts {
            let Some(sight) = self.sights.get_mut(&key) else { continue };
            if shared {
                sight.alone = true;
                sight.unsent.push_front(range);
                continue;
            }
            self.sights.remove(&key);
            self.pictures.forget(&key);
            let wants = |flight: &&Flight| flight.unseen().any(|picture| picture.key == key);
            let rows: Vec<usize> = self.flights.iter().filter(wants).map(|flight| flight.row).collect();
            for row in rows {
                self.stumble(row, problem);
            }
        }
    }

    /// Parts of prompts have been through.
    fn read(&mut self, replica: usize, rows: &[(usize, usize)], pass: RowPass) {
        let wanted: Vec<bool> = pass.spans().iter().map(|span| span.wanted == Wanted::Last).collect();
        let mut logits = pass.logits().into_iter();
        for ((row, _), wanted) in rows.iter().zip(wanted) {
            if !wanted {
                continue;
            }
            self.replicas[replica].prompts.end(*row);
            if let Some(logits) = logits.next() {
                self.take(*row, &logits);
            }
        }
    }

    fn unread(&mut self, rows: &[(usize, usize)], problem: &Problem) {
        if let [(row, _)] = rows {
            return self.stumble(*row, problem);
        }
        for (row, first) in rows {
            self.flight(*row, |flight| {
                flight.alone = true;
                flight.unread_from(*first);
            });
        }
    }

    /// Tokens could not be taken in: questions that shared the pass try alone, a question alone fails.
    fn unwritten(&mut self, rows: &[usize], problem: &Problem) {
        if let [row] = rows {
            return self.stumble(*row, problem);
        }
        for row in rows {
            self.flight(*row, |flight| flight.alone = true);
        }
    }

    /// Chooses the next token of an answer.
    fn take(&mut self, row: usize, logits: &[f32]) {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.row == row) else { return };
        if !flight.is_well() || flight.again {
            return;
        }
        match flight.take(&self.model, logits) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.say(Event::Text { row, text }),
            Err(problem) => flight.doom(Fate::Failed(problem)),
        }
    }

    /// Lets questions leave that are done, have failed or are not asked any more.
    fn settle(&mut self) {
        let gone = |flight: &Flight| flight.out == 0 && (flight.is_done() || !flight.is_well());
        if self.flights.iter().any(gone) {
            self.take_peaks();
        }
        while let Some(at) = self.flights.iter().position(gone) {
            let flight = self.flights.remove(at);
            self.replicas[flight.replica].prompts.end(flight.row);
            let (place, row, kind) = (flight.place, flight.row, flight.kind);
            let (course, repetition) = (flight.course(), flight.repetition());
            if !flight.had_company && flight.is_well() {
                self.books.learn(&course, &flight.activation);
            }
            match flight.settle(&self.model) {
                Some(mut answer) => {
                    answer.forecast_bytes = self.books.forecast(&course);
                    if let Some((tokens, times)) = repetition {
                        self.tell_repetition(&answer.index, tokens, times);
                    }
                    self.keep(Settled { place, row, kind, answer });
                }
                None => self.say(Event::Skipped { row }),
            }
        }
        if self.is_idle() {
            self.look_for_leaks();
        }
        // Pictures that nobody wants any more.
        let wanted: Vec<PictureKey> = self.flights.iter().flat_map(Flight::unseen).map(|p| p.key).collect();
        self.sights.retain(|key, _| wanted.contains(key));
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

    fn tell_repetition(&self, index: &str, tokens: usize, times: usize) {
        self.tell("repetition", json!({ "index": index, "tokens": tokens, "times": times }));
        let what = format!("its answer ends with the same {tokens} tokens, {times} times over");
        self.say(Event::Note(Problem::new(what).at(format!("question {index}"))));
    }

    /// With nothing in flight, places hold weights and what is kept for later questions, and no more each time.
    fn look_for_leaks(&mut self) {
        let kept = self.pictures.bytes() + self.replicas.iter().map(|r| r.prompts.bytes()).sum::<u64>();
        if let Some(bytes) = self.books.leak(kept) {
            self.tell("leak", json!({ "bytes": bytes }));
            let what = format!("{} are held although no question is in flight, and it grows", human(bytes));
            let note = Problem::new(what).fix("the run goes on; please report this, with the session folder");
            self.say(Event::Note(note));
        }
    }

    fn say(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.events.send(event);
    }

    /// Notes something in the session.
    fn tell(&self, kind: &'static str, details: Value) {
        // A keeper that is gone has said why.
        let _ = self.lines.send(Word::Event(kind, details));
    }

    fn keep(&mut self, settled: Settled) {
        self.settled += 1;
        // A keeper that is gone has said why.
        let _ = self.lines.send(Word::Line(Box::new(settled)));
    }
}
