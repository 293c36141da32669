//! The worker thread of a run.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, never, select, unbounded};
use serde_json::json;

use super::ahead::{Ahead, Ready, Skipped};
use super::asking::RunSettings;
use super::costs::Pricing;
use super::keeping::Keeper;
use super::ladder::Ladder;
use super::memory::{Books, Forecasting, Sampling};
use super::model::{Language, Model, tiling};
use super::pace::Survey;
use super::reuse::Pictures;
use super::scheduler::{Scheduler, Settings};
use super::served::Traffic;
use super::stages::{Done, Gate, Stages};
use crate::checkpoint::{Checkpoint, Unit};
use crate::dataset::{Dataset, prompt};
use crate::model::{Loading, Network, Placement, WeightType};
use crate::plan::calibration::Lesson;
use crate::scoring::Rule;
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::session::Session;
use crate::session::journal::Answer;
use crate::{Problem, Result};

/// What a run is to do.
pub struct Order {
    /// The model that answers.
    pub checkpoint: Arc<Checkpoint>,
    /// Its tokenizer and template.
    pub language: Language,
    /// In which type its weights are held.
    pub weight_type: WeightType,
    /// Where the units of each copy of it lie; one copy or more, on places of their own.
    pub replicas: Vec<Placement>,
    /// How questions are scheduled.
    pub schedule: Settings,
    /// What each device will hold at a question, where that can be told.
    pub forecasting: Option<Forecasting>,
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// Rows of the dataset, in the order in which they are asked.
    pub rows: Vec<usize>,
    /// How they are asked.
    pub settings: RunSettings,
    /// How answers are judged.
    pub rule: Rule,
    /// Who is asked about answers that the rule cannot read.
    pub judge: Option<JudgeStep<AnyJudge>>,
    /// Where answers are kept.
    pub session: Session,
    /// Takes in what the run has measured about memory.
    pub learn: Option<Learn>,
    /// What there is to know before it begins.
    pub notes: Vec<Problem>,
}

/// Takes in what a run has measured about memory.
pub type Learn = Box<dyn FnOnce(&[Lesson]) -> Result<()> + Send>;

/// What a running worker can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Wait where everything stands.
    Pause,
    /// Go on.
    Resume,
    /// End now; questions in flight are asked again when the session is resumed.
    Stop,
    /// Leave the question of this row out for now; it stays unanswered until the session is resumed.
    Skip(usize),
}

/// What a worker says.
#[derive(Debug)]
pub enum Event {
    /// Weights are being loaded.
    Loading {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The model is ready.
    Loaded {
        /// Seconds that loading took.
        seconds: f64,
    },
    /// A question goes to the model.
    Asking {
        /// Its row in the dataset.
        row: usize,
        /// Tiles of its images.
        tiles: usize,
        /// Tokens of its prompt.
        prompt_tokens: usize,
    },
    /// More of the answer's text.
    Text {
        /// Row of the question.
        row: usize,
        /// The new text.
        text: String,
    },
    /// A question is done: judged, and on the disk.
    Answered {
        /// Its row in the dataset.
        row: usize,
        /// The answer.
        answer: Box<Answer>,
        /// Seconds that the rest will take, as far as can be told.
        remaining: Option<f64>,
        /// Tokens generated a second so far.
        tokens_per_second: Option<f64>,
    },
    /// A question was left out, as asked for.
    Skipped {
        /// Its row in the dataset.
        row: usize,
    },
    /// How a run at a server stands; only a served model says it.
    Traffic(Box<Traffic>),
    /// Something to know that does not end the run.
    Note(Problem),
    /// The worker waits.
    Paused,
    /// The worker goes on.
    Resumed,
    /// The run is over.
    Finished {
        /// Whether every question was asked.
        complete: bool,
    },
    /// The run could not go on.
    Failed(Problem),
}

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
        let (commands, inbox) = unbounded();
        let (outbox, events) = unbounded();
        let body = move || {
            let worker = Worker {
                order,
                inbox,
                outbox: outbox.clone(),
                gate: Arc::default(),
                skips: Vec::new(),
                stopping: false,
            };
            let ended = catch_unwind(AssertUnwindSafe(|| worker.run()));
            let last = match ended {
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

    /// A run whose worker was started elsewhere.
    pub(super) fn of(commands: Sender<Command>, events: Receiver<Event>, thread: JoinHandle<()>) -> Self {
        Self { commands, events, thread: Some(thread) }
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
        let pictures = Arc::new(Pictures::new(order.settings.picture_cache));
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
            stopping: false,
        };
        skips.into_iter().for_each(|row| flow.heed(Command::Skip(row)));
        flow.go(&inbox, &finished, &ready, &keeping.kept);
        let kept = flow.kept;
        let lessons = flow.scheduler.lessons();
        if let Some(Err(problem)) = order.learn.map(|learn| learn(&lessons)) {
            flow.say(Event::Note(problem));
        }
        drop((flow, ready, sampling));
        drop(preparing.join());
        let words = keeping.kept.clone();
        let mut session = keeping.end()?;
        let complete = kept + words.try_iter().count() == questions;
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

/// Questions, passes and commands as they come.
struct Flow {
    scheduler: Scheduler,
    /// Answers that may wait to be kept.
    backlog: usize,
    /// Rows that have not entered yet.
    rows: HashSet<usize>,
    /// Lines that are on the disk.
    kept: usize,
    /// A question that has to wait for others to leave.
    waiting: Option<Ready>,
    skipped: Arc<Skipped>,
    gate: Arc<Gate>,
    outbox: Sender<Event>,
    paused: bool,
    stopping: bool,
}

impl Flow {
    /// Goes on until every question has left, or the run is stopped.
    fn go(
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

    fn heed(&mut self, command: Command) {
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

    fn say(&self, event: Event) {
        // Nobody may be listening any more.
        let _ = self.outbox.send(event);
    }
}
