//! Passes come back: features are kept, tokens chosen, and what went wrong is tried again or becomes a question's fate.

use std::ops::Range;
use std::sync::atomic::Ordering;

use candle_core::Tensor;
use serde_json::json;

use super::{OnTheWay, Scheduler, Sent};
use crate::Problem;
use crate::engine::flight::{Fate, Flight};
use crate::engine::order::Event;
use crate::engine::reuse::{Features, PictureKey};
use crate::engine::stages::{Done, Pass};
use crate::model::{RowPass, Wanted};

impl Scheduler {
    /// Takes a pass back.
    pub fn receive(&mut self, done: Done) {
        let Some(OnTheWay { replica, sent, .. }) = self.sent.remove(&done.ticket) else { return };
        self.replicas[replica].out -= 1;
        if let Err(problem) = &done.outcome
            && problem.is_final
        {
            self.broken.get_or_insert_with(|| problem.clone());
        }
        if self.broken.is_some() {
            // No question has failed: all of them are asked again.
            return;
        }
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
    pub(super) fn unseen(&mut self, parts: Vec<(PictureKey, Range<usize>)>, problem: &Problem) {
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
}
