//! Questions leave, and what there is to say is said.

use serde_json::{Value, json};

use super::Scheduler;
use crate::Problem;
use crate::engine::flight::Flight;
use crate::engine::keeping::{Settled, Word};
use crate::engine::order::Event;
use crate::engine::reuse::PictureKey;
use crate::plan::bytes::human;

impl Scheduler {
    /// Lets questions leave that are done, have failed or are not asked any more.
    pub(super) fn settle(&mut self) {
        let gone = |flight: &Flight| flight.out == 0 && (flight.is_done() || !flight.is_well());
        if self.flights.iter().any(gone) {
            self.take_peaks();
        }
        while let Some(at) = self.flights.iter().position(gone) {
            let mut flight = self.flights.remove(at);
            self.give_way(flight.replica);
            self.books.of_replica(flight.replica, &mut flight.peaks);
            self.replicas[flight.replica].prompts.end(flight.row);
            let (place, row, kind) = (flight.place, flight.row, flight.kind);
            let (course, repetition) = (flight.course(), flight.repetition());
            if !flight.had_company && flight.is_well() {
                self.books.learn(flight.replica, &course, &flight.activation);
            }
            match flight.settle(&self.model) {
                Some(answer) => {
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

    pub(super) fn say(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.events.send(event);
    }

    /// Notes something in the session.
    pub fn tell(&self, kind: &'static str, details: Value) {
        // A keeper that is gone has said why.
        let _ = self.lines.send(Word::Event(kind, details));
    }

    pub(super) fn keep(&mut self, settled: Settled) {
        self.settled += 1;
        // A keeper that is gone has said why.
        let _ = self.lines.send(Word::Line(Box::new(settled)));
    }
}
