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
