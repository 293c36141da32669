//! The engine's worker and the window: its events come in a queue of their own, and many of them wake the window once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, unbounded};

use super::prepare::Order;
use crate::app::job::Wake;
use crate::engine::{Command, Event, Run};
use crate::{Problem, Result};

/// Between two frames that the engine asks for: a stream of tokens is as smooth as the eye needs, and no smoother.
const BETWEEN: Duration = Duration::from_millis(40);

/// Why there is nothing to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// More may come.
    Yet,
    /// The worker has ended.
    Over,
}

/// A run in the engine. Dropping it lets the worker end after the present token.
pub struct Link {
    run: Run,
    events: Receiver<Event>,
    /// The window is not at rest while a run goes on.
    _wake: Wake,
}

impl Link {
    /// Starts the worker.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(order: Order, wake: &Wake) -> Result<Self> {
        let run = order.start()?;
        let events = forwarded(run.events.clone(), wake)?;
        Ok(Self { run, events, _wake: wake.clone() })
    }

    /// Tells the worker what to do; one that has ended hears nothing.
    pub fn tell(&self, command: Command) {
        let _ = self.run.commands.send(command);
    }

    /// The next that the worker has said, if there is something; whether it will say anything more, if not.
    pub fn next(&self) -> Result<Event, Silence> {
        self.events.try_recv().map_err(|silence| match silence {
            TryRecvError::Empty => Silence::Yet,
            TryRecvError::Disconnected => Silence::Over,
        })
    }

    /// Waits for the worker, which has said that it ends.
    pub fn join(self) {
        self.run.join();
    }
}

/// A queue that a thread fills with what comes from another one, and wakes the window for it.
///
/// # Errors
/// The system gives no thread.
pub fn forwarded<T: Send + 'static>(from: Receiver<T>, wake: &Wake) -> Result<Receiver<T>> {
    // Whoever waits here for the next word is no work that the window waits for.
    let wake = Arc::downgrade(wake);
    let (to, events) = unbounded();
    let body = move || {
        let wake = || {
            if let Some(wake) = wake.upgrade() {
                wake();
            }
        };
        forward(&from, |event| to.send(event).is_ok(), &wake);
    };
    std::thread::Builder::new()
        .name("engine's events".into())
        .spawn(body)
        .map_err(|error| Problem::new(format!("the system gives no thread: {error}")))?;
    Ok(events)
}

/// Hands events on as they come; wakes at once after a pause, and else at a steady pace.
fn forward<T>(from: &Receiver<T>, mut to: impl FnMut(T) -> bool, wake: &dyn Fn()) {
    let mut woken: Option<Instant> = None;
    let mut pending = false;
    loop {
        let since = woken.map_or(BETWEEN, |at| at.elapsed());
        let next = match pending {
            true => from.recv_timeout(BETWEEN.saturating_sub(since)),
            false => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(event) => {
                if !to(event) {
                    return;
                }
                pending = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break wake(),
        }
        if pending && woken.is_none_or(|at| at.elapsed() >= BETWEEN) {
            wake();
            (woken, pending) = (Some(Instant::now()), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_burst_is_handed_on_whole_and_wakes_seldom() {
        let (sender, receiver) = unbounded();
        for i in 0..10_000 {
            sender.send(i).unwrap();
        }
        drop(sender);
        let (heard, woken) = (Cell::new(0), Cell::new(0));
        let hear = |event| {
            assert_eq!(event, heard.get());
            heard.set(event + 1);
            true
        };
        let start = Instant::now();
        forward(&receiver, hear, &|| woken.set(woken.get() + 1));
        let allowed = 2 + start.elapsed().as_millis() / BETWEEN.as_millis();
        assert_eq!(heard.get(), 10_000);
        assert!((1..=allowed).contains(&woken.get()), "{} of {allowed}", woken.get());
    }
}
