//! Questions, passes and commands as they come, from the first question to the last.

use std::collections::HashSet;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, never, select};
use serde_json::json;

use super::ahead::{Ready, Skipped};
use super::order::{Command, Event};
use super::scheduler::Scheduler;
use super::stages::{Done, Gate};
use crate::Problem;
use crate::devices::Alarm;
use crate::plan::bytes::human;

/// Questions, passes and commands as they come.
pub(super) struct Flow {
    pub(super) scheduler: Scheduler,
    /// Answers that may wait to be kept.
    pub(super) backlog: usize,
    /// Rows that have not entered yet.
    pub(super) rows: HashSet<usize>,
    /// Lines that are on the disk.
    pub(super) kept: usize,
    /// A question that has to wait for others to leave.
    pub(super) waiting: Option<Ready>,
    pub(super) skipped: Arc<Skipped>,
    pub(super) gate: Arc<Gate>,
    pub(super) outbox: Sender<Event>,
    pub(super) paused: bool,
    /// Devices on which other processes have grown: no question begins meanwhile.
    pub(super) crowded: HashSet<String>,
    pub(super) stopping: bool,
}

impl Flow {
    /// Goes on until every question has left, or the run is stopped.
    pub(super) fn go(
        &mut self,
        inbox: &Receiver<Command>,
        finished: &Receiver<Done>,
        ready: &Receiver<Ready>,
        kept: &Receiver<()>,
        alarms: &Receiver<Alarm>,
    ) {
        let silence = never();
        let (mut more, mut alarms) = (true, alarms);
        loop {
            while let Ok(done) = finished.try_recv() {
                self.scheduler.receive(done);
            }
            if self.scheduler.broken().is_some() {
                self.stop();
            }
            if !self.paused && !self.stopping {
                if self.crowded.is_empty()
                    && let Some(waiting) = self.waiting.take()
                {
                    self.enter(waiting);
                }
                while self.has_room() && more {
                    match ready.try_recv() {
                        Ok(ready) => self.enter(ready),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => more = false,
                    }
                }
                self.scheduler.pump();
            }
            match self.stopping {
                true if !self.scheduler.is_busy() => return,
                false if self.scheduler.is_idle() && self.waiting.is_none() && !more => return,
                _ => {}
            }
            let nothing = never();
            let ready =
                if more && self.has_room() && !self.paused && !self.stopping { ready } else { &nothing };
            select! {
                recv(inbox) -> command => self.heed(command.unwrap_or(Command::Stop)),
                recv(finished) -> done => done.into_iter().for_each(|done| self.scheduler.receive(done)),
                recv(ready) -> one => match one {
                    Ok(one) => self.enter(one),
                    Err(_) => more = false,
                },
                recv(alarms) -> alarm => match alarm {
                    Ok(alarm) => self.look_round(alarm),
                    // Nobody watches any more.
                    Err(_) => alarms = &silence,
                },
                recv(kept) -> word => match word {
                    Ok(()) => self.kept += 1,
                    // The keeper has ended, which it says itself.
                    Err(_) => self.stop(),
                },
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.is_none()
            && self.crowded.is_empty()
            && self.scheduler.has_room()
            && self.scheduler.settled() < self.kept + self.backlog
    }

    fn enter(&mut self, ready: Ready) {
        if self.skipped.has(ready.row) {
            return;
        }
        let row = ready.row;
        self.waiting = self.scheduler.admit(ready);
        if self.waiting.is_none() {
            self.rows.remove(&row);
        }
    }

    pub(super) fn heed(&mut self, command: Command) {
        match command {
            Command::Pause if !self.paused => {
                self.gate.hold();
                self.paused = true;
                if self.crowded.is_empty() {
                    self.say(Event::Paused);
                }
            }
            // Whoever says so has seen that it is crowded.
            Command::Resume if self.paused || !self.crowded.is_empty() => {
                self.gate.open();
                self.paused = false;
                self.crowded.clear();
                self.say(Event::Resumed);
            }
            Command::Pause | Command::Resume => {}
            Command::Stop => self.stop(),
            Command::Skip(row) => {
                if !self.scheduler.skip(row) && self.rows.remove(&row) {
                    self.skipped.add(row);
                    self.waiting.take_if(|waiting| waiting.row == row);
                    self.say(Event::Skipped { row });
                }
            }
        }
    }

    /// Follows what is heard of other processes on the devices.
    fn look_round(&mut self, alarm: Alarm) {
        let waited = self.paused || !self.crowded.is_empty();
        match alarm {
            Alarm::Neighbour { device, grown, who } => {
                let name = who.as_ref().and_then(|who| who.name.clone());
                let details = json!({
                    "device": device, "grown": grown, "process": who.as_ref().map(|who| who.pid), "name": name,
                });
                self.scheduler.tell("neighbour", details);
                let who = match (who, name) {
                    (Some(who), Some(name)) => format!("{name} (process {})", who.pid),
                    (Some(who), None) => format!("process {}", who.pid),
                    (None, _) => "another process".to_owned(),
                };
                let what = format!(
                    "{who} has taken {} more on {device}; no question begins meanwhile",
                    human(grown)
                );
                let fix = "the run goes on by itself when the memory is free again; or tell it to go on";
                self.say(Event::Note(Problem::new(what).fix(fix)));
                self.crowded.insert(device);
                if !waited {
                    self.say(Event::Paused);
                }
            }
            Alarm::Relieved { device } => {
                if self.crowded.remove(&device) && self.crowded.is_empty() && !self.paused {
                    self.scheduler.tell("neighbour_gone", json!({ "device": device }));
                    self.say(Event::Resumed);
                }
            }
            // What is computed there fails, and says so.
            Alarm::Lost { .. } => {}
        }
    }

    fn stop(&mut self) {
        self.gate.shut();
        self.stopping = true;
    }

    pub(super) fn say(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.outbox.send(event);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::demo;
    use crate::devices::Part;
    use crate::engine::asking::{RunSettings, blank, prepare};
    use crate::engine::keeping::Word;
    use crate::engine::ladder::Ladder;
    use crate::engine::memory::Books;
    use crate::engine::model::{Language, Model};
    use crate::engine::reuse::Pictures;
    use crate::engine::scheduler::Settings;
    use crate::engine::stages::Stages;
    use crate::model::{Place, Placement, WeightType};

    /// A scheduler of the built-in model on a simulated device, what it says, what it writes, and what comes back to it.
    struct Bench {
        scheduler: Scheduler,
        model: Arc<Model>,
        place: Place,
        events: (Sender<Event>, Receiver<Event>),
        lines: Receiver<Word>,
        finished: Receiver<Done>,
        gate: Arc<Gate>,
    }

    fn bench(settings: &RunSettings) -> Bench {
        let checkpoint = Arc::new(demo::checkpoint().unwrap());
        let language = Language::open(&checkpoint).unwrap();
        let place = Place::simulated("sim:0", 1 << 30).unwrap();
        let model =
            Model::load(checkpoint, language, WeightType::Stored, &|_| place.clone(), &mut |_| true).unwrap();
        let model = Arc::new(model);
        let (gate, events) = (Arc::<Gate>::default(), unbounded());
        let ((done, finished), (words, lines)) = (unbounded(), unbounded());
        let stages = Stages::start(model.network.clone(), 1, &gate, &done).unwrap();
        let ladder = Ladder::new(settings);
        let books = Books::new(&[Placement::single(place.clone())], Vec::new(), &ladder);
        let pictures = Arc::new(Pictures::new(0));
        let schedule = Settings { batch: 4, admission: Box::new(|_, _| true) };
        let scheduler = Scheduler::new(
            model.clone(),
            settings.clone(),
            schedule,
            (pictures, books, ladder),
            vec![stages],
            (events.0.clone(), words),
        );
        Bench { scheduler, model, place, events, lines, finished, gate }
    }

    fn flow(bench: Bench, rows: usize) -> Flow {
        Flow {
            scheduler: bench.scheduler,
            backlog: 64,
            rows: (0..rows).collect(),
            kept: 0,
            waiting: None,
            skipped: Arc::default(),
            gate: bench.gate,
            outbox: bench.events.0,
            paused: false,
            crowded: HashSet::new(),
            stopping: false,
        }
    }

    #[test]
    fn a_device_beyond_use_ends_the_run_and_leaves_its_questions_open() {
        let settings = RunSettings { max_new_tokens: 3, ..RunSettings::default() };
        let bench = bench(&settings);
        let dataset = demo::dataset().unwrap();
        let (next, ready) = unbounded();
        for row in 0..6 {
            let question = dataset.question(row).unwrap();
            let asked = prepare(&bench.model, &dataset, &question, &settings);
            let answer = blank(&question, &dataset);
            next.send(Ready { place: row, row, kind: Some(question.kind), answer, asked }).unwrap();
        }
        // The sixth pass meets the error, and every one after it.
        let (forward, spoilt) = unbounded();
        let finished = bench.finished.clone();
        std::thread::spawn(move || {
            for mut done in finished {
                if done.ticket >= 6 {
                    let error = "DriverError(CUDA_ERROR_LAUNCH_FAILED, \"unspecified launch failure\")";
                    done.outcome = Err(candle_core::Error::Cuda(error.into()).into());
                }
                if forward.send(done).is_err() {
                    return;
                }
            }
        });
        let (lines, events) = (bench.lines.clone(), bench.events.1.clone());
        let (_commands, inbox) = unbounded();
        let (_kept, kept) = unbounded();
        let mut flow = flow(bench, 6);
        flow.go(&inbox, &spoilt, &ready, &kept, &never());
        let problem = flow.scheduler.broken().unwrap();
        assert!(problem.what.contains("CUDA_ERROR_LAUNCH_FAILED"), "{problem}");
        let failed = lines.try_iter().any(|word| match word {
            Word::Line(line) => line.answer.error.is_some(),
            _ => false,
        });
        assert!(!failed, "a question is said to have failed");
        assert!(events.try_iter().any(|event| matches!(event, Event::Asking { .. })));
        drop(next);
    }

    #[test]
    fn what_is_held_with_nothing_in_flight_is_told_once_it_has_grown_three_times() {
        let Bench { mut scheduler, place, events, lines, .. } = bench(&RunSettings::default());
        let meter = place.meter().unwrap();
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(meter.charge(Part::Activation, 3 << 20));
            scheduler.pump();
        }
        let told: Vec<_> = lines
            .try_iter()
            .filter_map(|word| match word {
                Word::Event("leak", details) => Some(details),
                _ => None,
            })
            .collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["bytes"], 9 << 20);
        let notes = events.1.try_iter().filter(|event| matches!(event, Event::Note(_))).count();
        assert_eq!(notes, 1);
    }
}
