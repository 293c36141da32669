//! Questions enter, and begin as soon as nobody computes for them what they need.

use serde_json::json;

use super::{Need, Scheduler};
use crate::Problem;
use crate::engine::ahead::Ready;
use crate::engine::flight::{Flight, Phase};
use crate::engine::keeping::{Settled, fail};
use crate::engine::order::Event;

impl Scheduler {
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
        self.give_way(replica);
        self.foresee(replica);
        None
    }

    /// Lets questions of a replica begin whose turn it is.
    pub(super) fn begin(&mut self, replica: usize) {
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
                flight.forecast.clear();
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
}
