//! What is sent next: tiles of several pictures, parts of prompts, tokens of answers, put together as late as possible.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{OnTheWay, Scheduler, Sent, Sight};
use crate::engine::flight::{Fate, Flight, Phase};
use crate::engine::ladder::Rung;
use crate::engine::reuse::{Picture, PictureKey};
use crate::engine::stages::Pass;
use crate::model::{RowPass, Span, TilePass, Wanted};
use crate::plan::cpu_run::Batch;

impl Scheduler {
    /// How much may go through a replica at once: the least of what its questions bear.
    fn at_once(&self, replica: usize) -> Rung {
        let here = self.flights.iter().filter(|f| f.replica == replica && f.phase != Phase::Waiting);
        self.ladder.rung(here.map(|flight| flight.rung).max().unwrap_or(0))
    }

    /// Lists the pictures that questions of a replica want to see.
    pub(super) fn look(&mut self, replica: usize) {
        // Parts of a picture that failed may still be on their way.
        let on_the_way: Vec<PictureKey> = self
            .sent
            .values()
            .filter_map(|on_the_way| match &on_the_way.sent {
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
    pub(super) fn send_one(&mut self, replica: usize) -> bool {
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
        let batch = Batch { wanted: rows.len() as u64, ..Batch::default() };
        let pass = Pass::Rows(RowPass::tokens(spans));
        self.send(OnTheWay { replica, sent: Sent::Tokens(rows), batch }, pass, Arc::default());
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
        let count = |count: usize| count as u64;
        let batch = Batch {
            rows: spans.iter().map(|span| count(span.count)).sum(),
            keys: spans.iter().map(|span| count(span.first + span.count)).max().unwrap_or(0),
            pictures: spans.iter().any(|span| !span.pictures.is_empty()),
            prompts: count(spans.len()),
            wanted: count(spans.iter().filter(|span| span.wanted == Wanted::Last).count()),
            ..Batch::default()
        };
        let pass = RowPass::prompts(spans, self.model.tokenizer.image_context_id());
        self.send(OnTheWay { replica, sent: Sent::Prompts(rows), batch }, Pass::Rows(pass), abandoned);
        self.foresee(replica);
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
        let batch = Batch { tiles: tiles as u64, ..Batch::default() };
        self.send(OnTheWay { replica, sent: Sent::Tiles(parts), batch }, Pass::Tiles(pass), Arc::default());
        self.foresee(replica);
        true
    }

    fn send(&mut self, on_the_way: OnTheWay, pass: Pass, abandoned: Arc<AtomicBool>) {
        let replica = on_the_way.replica;
        self.tickets += 1;
        self.sent.insert(self.tickets, on_the_way);
        self.replicas[replica].out += 1;
        self.replicas[replica].stages.send(self.tickets, pass, abandoned);
    }
}
