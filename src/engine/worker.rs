//! The worker thread of a run.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::json;

use super::ahead::{Ahead, Skipped};
use super::costs::Pricing;
use super::flow::Flow;
use super::keeping::Keeper;
use super::ladder::Ladder;
use super::memory::{Books, Sampling};
use super::model::{Model, tiling};
use super::order::{Command, Event, Neighbours, Order};
use super::pace::Survey;
use super::reuse::Pictures;
use super::scheduler::Scheduler;
use super::stages::{Gate, Stages};
use crate::checkpoint::Unit;
use crate::dataset::prompt;
use crate::devices::{Sampler, sampler};
use crate::model::{Loading, Network};
use crate::{Problem, Result};

/// A run in progress. Dropping it lets the worker end after the present token.
pub struct Run {
    /// Tells the worker what to do.
    pub commands: Sender<Command>,
    /// What the worker says; closed when it is over.
    pub events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Run {
    /// Starts a worker.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(order: Order) -> Result<Self> {
        Self::of(move |inbox, outbox| {
            let gate = Arc::default();
            Worker { order, inbox, outbox, gate, skips: Vec::new(), stopping: false }.run()
        })
    }

    /// A run whose work is done on a thread of its own: it follows commands, tells events, and gives whether every
    /// question was asked. How it ended is said last, whatever happens.
    pub(super) fn of(
        work: impl FnOnce(Receiver<Command>, Sender<Event>) -> Result<bool> + Send + 'static,
    ) -> Result<Self> {
        let (commands, inbox) = unbounded();
        let (outbox, events) = unbounded();
        let body = move || {
            let last = match catch_unwind(AssertUnwindSafe(|| work(inbox, outbox.clone()))) {
                Ok(Ok(complete)) => Event::Finished { complete },
                Ok(Err(problem)) => Event::Failed(problem),
                Err(panic) => Event::Failed(panicked(&*panic)),
            };
            // Nobody may be listening any more, which is no fault.
            let _ = outbox.send(last);
        };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(body);
        let thread = thread.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
        Ok(Self { commands, events, thread: Some(thread) })
    }

    /// Waits until the worker has ended.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic was turned into an event inside the thread.
            let _ = thread.join();
        }
    }
}

/// What is said of an error of the program's own.
pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let said = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::new(format!("the program made an error of its own: {}", said.unwrap_or_default()))
        .fix("what was answered is kept; please report this, with the session folder")
}

struct Worker {
    order: Order,
    inbox: Receiver<Command>,
    outbox: Sender<Event>,
    gate: Arc<Gate>,
    /// Rows that were to be skipped before the first question could be asked.
    skips: Vec<usize>,
    stopping: bool,
}

/// Answers that wait to be kept before no more questions enter.
const BACKLOG: usize = 64;

impl Worker {
    /// Runs all questions; whether every one was asked.
    fn run(mut self) -> Result<bool> {
        if self.order.rows.is_empty() {
            return Ok(true);
        }
        for note in std::mem::take(&mut self.order.notes) {
            self.say(Event::Note(note));
        }
        if let Some(departure) = prompt::departure(self.order.dataset.profile(), self.order.settings.style) {
            self.say(Event::Note(departure));
        }
        let Some((model, networks)) = self.load()? else { return Ok(false) };
        let survey = Survey::new(self.order.rows.len());
        let filling = self.start_survey(&survey);
        let result = self.ask_all(model, networks, &survey);
        survey.stop();
        drop(filling.map(JoinHandle::join));
        result
    }

    /// The model, and the network once for every replica.
    fn load(&mut self) -> Result<Option<(Model, Vec<Arc<Network>>)>> {
        let start = Instant::now();
        let checkpoint = self.order.checkpoint.clone();
        let (language, weight_type) = (self.order.language.clone(), self.order.weight_type);
        let replicas = self.order.replicas.clone();
        let each = checkpoint.bytes();
        let total = each * replicas.len() as u64;
        let mut networks = Vec::with_capacity(replicas.len());
        for placement in replicas {
            let before = each * networks.len() as u64;
            let mut progress = |bytes| {
                self.say(Event::Loading { bytes: before + bytes, total });
                self.heed();
                !self.stopping
            };
            let place = |unit: &Unit| placement.of(unit);
            let mut loading = Loading { place: &place, weight_type, progress: &mut progress };
            match Network::load(&checkpoint, &mut loading) {
                Err(_) if self.stopping => return Ok(None),
                network => networks.push(Arc::new(network?)),
            }
        }
        let Some(first) = networks.first().cloned() else {
            return Err(Problem::new("the run has no device").fix("name one with --devices"));
        };
        let seconds = start.elapsed().as_secs_f64();
        self.order.session.event("load", json!({ "seconds": seconds, "bytes": total }))?;
        self.say(Event::Loaded { seconds });
        Ok(Some((Model::new(checkpoint, language, first), networks)))
    }

    fn start_survey(&self, survey: &Arc<Survey>) -> Option<JoinHandle<()>> {
        let (survey, dataset, rows) = (survey.clone(), self.order.dataset.clone(), self.order.rows.clone());
        let (checkpoint, language) = (self.order.checkpoint.clone(), self.order.language.clone());
        let settings = self.order.settings.clone();
        let body = move || {
            let config = &checkpoint.config;
            let pricing = Pricing {
                dataset: &dataset,
                style: settings.style,
                system: settings.system.as_deref(),
                max_tiles: settings.max_tiles,
                tiling: &|max_tiles| tiling(config, max_tiles),
                tokens_per_tile: config.tokens_per_tile(),
                language: Some(&language),
            };
            survey.fill(&pricing, &rows);
        };
        // Without a survey the estimate is rougher, nothing else.
        std::thread::Builder::new().name("survey".into()).spawn(body).ok()
    }

    fn ask_all(self, model: Model, networks: Vec<Arc<Network>>, survey: &Arc<Survey>) -> Result<bool> {
        let Self { order, inbox, outbox, gate, skips, .. } = self;
        let (model, batch) = (Arc::new(model), order.schedule.batch.max(1));
        let pictures = Arc::new(Pictures::new(order.settings.picture_cache / networks.len().max(1) as u64));
        let skipped = Arc::new(Skipped::default());
        let (done, finished) = unbounded();
        let threads = (rayon::current_num_threads() / networks.len().max(1)).max(1);
        let stages = networks.into_iter().map(|network| Stages::start(network, threads, &gate, &done));
        let stages = stages.collect::<Result<Vec<_>>>()?;
        let questions = order.rows.len();
        let rows = order.rows.iter().copied().collect();
        let keeper = Keeper {
            dataset: order.dataset.clone(),
            style: order.settings.style,
            rule: order.rule,
            judge: order.judge,
            session: order.session,
            survey: survey.clone(),
            questions,
            events: outbox.clone(),
        };
        let keeping = keeper.start()?;
        let ahead = Ahead {
            model: model.clone(),
            dataset: order.dataset,
            settings: order.settings.clone(),
            pictures: pictures.clone(),
            skipped: skipped.clone(),
        };
        let (ready, preparing) = ahead.start(order.rows, batch.min(8))?;
        let out = (outbox.clone(), keeping.lines.clone());
        let ladder = Ladder::new(&order.settings);
        let books = Books::new(&order.replicas, order.forecasting, &ladder);
        let sampling = Sampling::start(books.meters().to_vec(), keeping.lines.clone());
        let scheduler =
            Scheduler::new(model, order.settings, order.schedule, (pictures, books, ladder), stages, out);
        let mut flow = Flow {
            scheduler,
            backlog: if keeping.judges { 4 } else { BACKLOG },
            rows,
            kept: 0,
            waiting: None,
            skipped,
            gate,
            outbox,
            paused: false,
            crowded: HashSet::new(),
            stopping: false,
        };
        let (heard, alarms) = unbounded();
        let watching = order.neighbours.map(|Neighbours { read, settings }| {
            Sampler::start(sampler::Settings { tell: Some(heard), ..settings }, read)
        });
        if let Some(Err(problem)) = &watching {
            flow.say(Event::Note(problem.clone()));
        }
        skips.into_iter().for_each(|row| flow.heed(Command::Skip(row)));
        flow.go(&inbox, &finished, &ready, &keeping.kept, &alarms);
        let kept = flow.kept;
        let broken = flow.scheduler.broken().cloned();
        let lessons = flow.scheduler.lessons();
        if let Some(Err(problem)) = order.learn.map(|learn| learn(&lessons)) {
            flow.say(Event::Note(problem));
        }
        drop((flow, ready, sampling, watching));
        drop(preparing.join());
        let words = keeping.kept.clone();
        let mut session = keeping.end()?;
        let complete = kept + words.try_iter().count() == questions;
        if let Some(problem) = broken {
            session.event("broken", json!({ "what": problem.what }))?;
            return Err(problem);
        }
        session.event(if complete { "finished" } else { "stopped" }, json!({}))?;
        Ok(complete)
    }

    fn say(&self, event: Event) {
        // Nobody may be listening any more; `heed` notices that the commands are gone too.
        let _ = self.outbox.send(event);
    }

    /// Follows the commands that have come in while the model is loaded.
    fn heed(&mut self) {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        while !self.stopping {
            match self.inbox.try_recv() {
                Ok(Command::Pause) => self.wait(),
                Ok(Command::Resume) => {}
                Ok(Command::Skip(row)) => self.skips.push(row),
                Ok(Command::Stop) | Err(Disconnected) => self.stopping = true,
                Err(Empty) => break,
            }
        }
    }

    fn wait(&mut self) {
        self.say(Event::Paused);
        loop {
            match self.inbox.recv() {
                Ok(Command::Pause) => {}
                Ok(Command::Skip(row)) => self.skips.push(row),
                Ok(Command::Resume) => break self.say(Event::Resumed),
                Ok(Command::Stop) | Err(_) => break self.stopping = true,
            }
        }
    }
}
