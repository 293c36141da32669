//! The threads of a network's places: each computes what lies there, and hands what is through to the next.
//!
//! Every place has one thread and one queue, so that several places work at once on different questions, and passes
//! that follow each other never overtake. On the CPU a place has threads of its own to share its products among.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::devices::Part;
use crate::model::{Network, Place, RowPass, TilePass};
use crate::{Problem, Result};

/// Lets work on, holds it, or ends it, between any two layers.
#[derive(Debug, Default)]
pub struct Gate {
    state: AtomicU8,
    lock: Mutex<()>,
    moved: Condvar,
}

const OPEN: u8 = 0;
const HELD: u8 = 1;
const SHUT: u8 = 2;

impl Gate {
    /// Holds whoever comes.
    pub fn hold(&self) {
        self.set(HELD);
    }

    /// Lets everyone go on.
    pub fn open(&self) {
        self.set(OPEN);
    }

    /// Ends all work; for good.
    pub fn shut(&self) {
        self.set(SHUT);
    }

    fn set(&self, state: u8) {
        let _moving = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load(Ordering::Relaxed) != SHUT {
            self.state.store(state, Ordering::Relaxed);
        }
        self.moved.notify_all();
    }

    /// Waits while it is held; whether work goes on.
    pub fn pass(&self) -> bool {
        if self.state.load(Ordering::Relaxed) == OPEN {
            return true;
        }
        let mut waiting = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.state.load(Ordering::Relaxed) == HELD {
            waiting = self.moved.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        self.state.load(Ordering::Relaxed) != SHUT
    }
}

/// A pass of either side.
#[derive(Debug)]
pub enum Pass {
    /// Tiles through the vision side.
    Tiles(TilePass),
    /// Rows through the decoder.
    Rows(RowPass),
}

impl Pass {
    /// Where it is to be taken next; `None` where it is through.
    pub fn next<'a>(&self, network: &'a Network) -> Option<&'a Place> {
        match self {
            Self::Tiles(pass) => pass.next(network),
            Self::Rows(pass) => pass.next(network),
        }
    }

    /// Goes through the next segment on this thread; `false` where it was abandoned.
    ///
    /// # Errors
    /// As [`TilePass::advance`] and [`RowPass::advance`].
    pub fn advance(
        &mut self,
        network: &Network,
        go_on: &mut dyn FnMut() -> bool,
    ) -> candle_core::Result<bool> {
        match self {
            Self::Tiles(pass) => pass.advance(network, go_on),
            Self::Rows(pass) => pass.advance(network, go_on),
        }
    }
}

/// A pass that has come back.
#[derive(Debug)]
pub struct Done {
    /// The number under which it was sent.
    pub ticket: u64,
    /// The pass, all the way through; `None` where it was abandoned.
    pub outcome: Result<Option<Pass>>,
}

struct Work {
    ticket: u64,
    pass: Pass,
    abandoned: Arc<AtomicBool>,
}

/// The threads of one network's places.
pub struct Stages {
    network: Arc<Network>,
    queues: Arc<[(Place, Sender<Option<Work>>)]>,
    threads: Vec<JoinHandle<()>>,
}

impl Stages {
    /// Starts a thread a place; `threads` of the CPU are shared out among all. What is through comes back to `done`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        network: Arc<Network>,
        threads: usize,
        gate: &Arc<Gate>,
        done: &Sender<Done>,
    ) -> Result<Self> {
        let places = network.route().places();
        let computing = places.iter().filter(|place| place.device().is_cpu()).count();
        let share = (threads / computing.max(1)).max(1);
        let (queues, inboxes): (Vec<_>, Vec<_>) = places
            .into_iter()
            .map(|place| {
                let (queue, inbox) = unbounded();
                ((place, queue), inbox)
            })
            .unzip();
        let mut stages = Self { network, queues: queues.into(), threads: Vec::new() };
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let stage = Stage {
                network: stages.network.clone(),
                queues: stages.queues.clone(),
                gate: gate.clone(),
                done: done.clone(),
            };
            let place = stages.queues[index].0.clone();
            let name = place.name().to_owned();
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                let _pool = own_threads(&place, share);
                stage.work(&inbox);
            });
            let thread = thread.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
            stages.threads.push(thread);
        }
        Ok(stages)
    }

    /// The network whose places these are.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// How many places work at once.
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    /// Sends a pass on its way. It comes back under its ticket, abandoned where that is asked for meanwhile.
    pub fn send(&self, ticket: u64, pass: Pass, abandoned: Arc<AtomicBool>) {
        if let Some(place) = pass.next(&self.network) {
            send(&self.queues, place, Work { ticket, pass, abandoned });
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        for (_, queue) in self.queues.iter() {
            // A thread that is gone needs no word.
            let _ = queue.send(None);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn send(queues: &[(Place, Sender<Option<Work>>)], place: &Place, work: Work) {
    if let Some((_, queue)) = queues.iter().find(|(known, _)| known.is(place)) {
        // The queues live as long as the threads.
        let _ = queue.send(Some(work));
    }
}

/// Threads that help the present one with the products of a place. Where the system gives none, those that all of the
/// program shares do.
fn own_threads(place: &Place, threads: usize) -> Option<rayon::ThreadPool> {
    if !place.device().is_cpu() {
        return None;
    }
    let owner = place.owner(Part::Activation);
    let name = place.name().to_owned();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .thread_name(move |index| format!("{name}/{index}"))
        // What they allocate belongs to the place as long as they live.
        .start_handler(move |_| {
            std::mem::forget(owner.enter());
        });
    pool.build().ok()
}

struct Stage {
    network: Arc<Network>,
    queues: Arc<[(Place, Sender<Option<Work>>)]>,
    gate: Arc<Gate>,
    done: Sender<Done>,
}

impl Stage {
    fn work(&self, inbox: &Receiver<Option<Work>>) {
        while let Ok(Some(mut work)) = inbox.recv() {
            let mut go_on = || self.gate.pass() && !work.abandoned.load(Ordering::Relaxed);
            let advanced = match go_on() {
                false => Ok(Ok(false)),
                true => catch_unwind(AssertUnwindSafe(|| work.pass.advance(&self.network, &mut go_on))),
            };
            let outcome = match advanced {
                Ok(Ok(true)) => match work.pass.next(&self.network) {
                    Some(place) => {
                        send(&self.queues, place, work);
                        continue;
                    }
                    None => Ok(Some(work.pass)),
                },
                // What it held is given back before that is said.
                Ok(Ok(false)) => {
                    drop(work.pass);
                    Ok(None)
                }
                Ok(Err(error)) => {
                    drop(work.pass);
                    Err(error.into())
                }
                Err(panic) => {
                    drop(work.pass);
                    Err(super::worker::panicked(&*panic))
                }
            };
            // Nobody may be waiting for it any more.
            let _ = self.done.send(Done { ticket: work.ticket, outcome });
        }
    }
}
