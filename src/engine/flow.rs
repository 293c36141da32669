//! Questions, passes and commands as they come, from the first question to the last.

use std::collections::HashSet;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, never, select};

use super::ahead::{Ready, Skipped};
use super::order::{Command, Event};
use super::scheduler::Scheduler;
use super::stages::{Done, Gate};

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
    ) {
        let mut more = true;
        loop {
            while let Ok(done) = finished.try_recv() {
                self.scheduler.receive(done);
            }
            if !self.paused && !self.stopping {
                if let Some(waiting) = self.waiting.take() {
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
                self.say(Event::Paused);
            }
            Command::Resume if self.paused => {
                self.gate.open();
                self.paused = false;
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

    fn stop(&mut self) {
        self.gate.shut();
        self.stopping = true;
    }

    pub(super) fn say(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.outbox.send(event);
    }
}
