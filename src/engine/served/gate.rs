//! Who may ask now: the questions in flight, held within the window, the memory for their pictures, and a server's wish
//! to be left alone for a while; pause and stop.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::window::Window;

/// Bytes of all requests in flight together.
const BYTES: u64 = 64 << 20;

/// The gate through which every request goes.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    window: Window,
    in_flight: usize,
    /// Questions that wait before they are tried again.
    resting: usize,
    next: u64,
    paused: bool,
    stopped: bool,
    /// The server asked to be left alone until then.
    quiet_until: Option<Instant>,
    bytes: u64,
}

/// What the gate looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Questions that are with the server.
    pub in_flight: usize,
    /// How many may be.
    pub window: usize,
    /// Questions that wait before they are tried again.
    pub resting: usize,
    /// Seconds for which the server asked to be left alone.
    pub quiet: Option<f64>,
    /// Median of the last times to the first words, in seconds.
    pub first_token: Option<f64>,
}

/// Leave to ask one question; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    bytes: u64,
}

impl Gate {
    /// A gate for at most so many at once.
    pub fn new(most: usize) -> Arc<Self> {
        let state = State {
            window: Window::new(most),
            in_flight: 0,
            resting: 0,
            next: 0,
            paused: false,
            stopped: false,
            quiet_until: None,
            bytes: 0,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Waits for leave to ask; none where the run is over.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let quiet = state.quiet_until.and_then(|until| until.checked_duration_since(Instant::now()));
            if state.paused || state.in_flight >= state.window.size() {
                state = self.wait(state, None);
            } else if let Some(quiet) = quiet.filter(|quiet| !quiet.is_zero()) {
                state = self.wait(state, Some(quiet));
            } else {
                break;
            }
        }
        state.in_flight += 1;
        state.next += 1;
        Some(Ticket { gate: self.clone(), number: state.next - 1, bytes: 0 })
    }

    /// Waits before a question is tried again; `false` where the run is over.
    pub fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        state.resting += 1;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if state.stopped {
                break;
            }
            state = self.wait(state, Some(left));
        }
        state.resting -= 1;
        !state.stopped
    }

    /// Lets nobody in for so long.
    pub fn keep_quiet(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.lock();
        state.quiet_until = Some(state.quiet_until.map_or(until, |earlier| earlier.max(until)));
    }

    /// Lets nobody in until [`Gate::resume`]; those inside go on.
    pub fn pause(&self) {
        self.lock().paused = true;
    }

    /// Lets askers in again.
    pub fn resume(&self) {
        self.lock().paused = false;
        self.changed.notify_all();
    }

    /// Lets nobody in any more.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Whether the run is over.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// How it stands.
    pub fn view(&self) -> View {
        let state = self.lock();
        let quiet = state.quiet_until.and_then(|until| until.checked_duration_since(Instant::now()));
        View {
            in_flight: state.in_flight,
            window: state.window.size(),
            resting: state.resting,
            quiet: quiet.filter(|quiet| !quiet.is_zero()).map(|quiet| quiet.as_secs_f64()),
            first_token: state.window.typical_first_token(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Option<Duration>) -> MutexGuard<'a, State> {
        match time {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}

impl Ticket {
    /// Waits for room for a request of so many bytes; `false` where the run is over. One request alone always has room.
    pub fn load(&mut self, bytes: u64) -> bool {
        let gate = self.gate.clone();
        let mut state = gate.lock();
        while !state.stopped && state.bytes > 0 && state.bytes.saturating_add(bytes) > BYTES {
            state = gate.wait(state, None);
        }
        if state.stopped {
            return false;
        }
        state.bytes = state.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// The question was answered, beginning after so many seconds.
    pub fn answered(&self, first_token: f64) {
        let mut state = self.gate.lock();
        let next = state.next;
        state.window.answered(self.number, first_token, next);
        drop(state);
        self.gate.changed.notify_all();
    }

    /// The server is strained.
    pub fn strained(&self) {
        let mut state = self.gate.lock();
        let next = state.next;
        state.window.strained(self.number, next);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.in_flight -= 1;
        state.bytes = state.bytes.saturating_sub(self.bytes);
        drop(state);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_let_in_than_the_window_holds() {
        let gate = Gate::new(2);
        let (one, two) = (gate.enter().unwrap(), gate.enter().unwrap());
        let third = std::thread::spawn({
            let gate = gate.clone();
            move || gate.enter().map(|ticket| ticket.number)
        });
        assert_eq!(gate.view().in_flight, 2);
        drop(one);
        assert_eq!(third.join().unwrap(), Some(2));
        drop(two);
        assert_eq!(gate.view().in_flight, 0);
    }

    #[test]
    fn a_stop_reaches_everyone_who_waits() {
        let gate = Gate::new(1);
        let mut inside = gate.enter().unwrap();
        assert!(inside.load(BYTES * 2), "one request alone has room");
        gate.pause();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                std::thread::spawn(move || gate.enter().is_none())
            })
            .collect();
        let resting = std::thread::spawn({
            let gate = gate.clone();
            move || gate.rest(Duration::from_secs(3600))
        });
        gate.keep_quiet(Duration::from_secs(3600));
        gate.stop();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()) && !resting.join().unwrap());
        assert!(!inside.load(1) && gate.is_stopped());
    }
}
