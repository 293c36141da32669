//! The worker thread of a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::json;

use super::asking::{RunSettings, Step, ask, blank};
use super::costs::Pricing;
use super::memory::{self, Forecasting};
use super::model::{Language, Model, tiling};
use super::pace::{Pace, Survey};
use super::served::Traffic;
use crate::checkpoint::Checkpoint;
use crate::dataset::{Dataset, prompt};
use crate::model::{Placement, WeightType};
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::scoring::{Rule, Verdict};
use crate::session::Session;
use crate::session::journal::{Answer, Finish};
use crate::{Problem, Result};

/// What a run is to do.
pub struct Order {
    /// The model that answers.
    pub checkpoint: Arc<Checkpoint>,
    /// Its tokenizer and template.
    pub language: Language,
    /// In which type its weights are held.
    pub weight_type: WeightType,
    /// Where its units lie.
    pub placement: Placement,
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
}

/// What a running worker can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Wait after the present token.
    Pause,
    /// Go on.
    Resume,
    /// End now; the question at hand is asked again when the session is resumed.
    Stop,
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

/// An estimate goes over all questions that remain, so it is not made for every answer of a fast model.
const ESTIMATE_EVERY: Duration = Duration::from_millis(500);

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
            let worker = Worker { order, inbox, outbox: outbox.clone(), stopping: false };
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
    stopping: bool,
}

impl Worker {
    /// Runs all questions; whether every one was asked.
    fn run(mut self) -> Result<bool> {
        let rows = std::mem::take(&mut self.order.rows);
        if rows.is_empty() {
            return Ok(true);
        }
        if let Some(departure) = prompt::departure(self.order.dataset.profile(), self.order.settings.style) {
            self.say(Event::Note(departure));
        }
        let Some(model) = self.load()? else { return Ok(false) };
        let survey = Survey::new(rows.len());
        let filling = self.start_survey(&survey, &rows);
        let result = self.ask_all(&model, &rows, &survey);
        survey.stop();
        drop(filling.map(JoinHandle::join));
        let complete = result?;
        let kind = if complete { "finished" } else { "stopped" };
        self.order.session.event(kind, json!({}))?;
        Ok(complete)
    }

    fn load(&mut self) -> Result<Option<Model>> {
        let start = Instant::now();
        let checkpoint = self.order.checkpoint.clone();
        let (total, placement) = (checkpoint.bytes(), self.order.placement.clone());
        let (language, weight_type) = (self.order.language.clone(), self.order.weight_type);
        let mut progress = |bytes| {
            self.say(Event::Loading { bytes, total });
            self.heed()
        };
        let model =
            match Model::load(checkpoint, language, weight_type, &|unit| placement.of(unit), &mut progress) {
                Err(_) if self.stopping => return Ok(None),
                model => model?,
            };
        let seconds = start.elapsed().as_secs_f64();
        self.order.session.event("load", json!({ "seconds": seconds, "bytes": total }))?;
        self.say(Event::Loaded { seconds });
        Ok(Some(model))
    }

    fn start_survey(&self, survey: &Arc<Survey>, rows: &[usize]) -> Option<JoinHandle<()>> {
        let (survey, dataset, rows) = (survey.clone(), self.order.dataset.clone(), rows.to_vec());
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

    fn ask_all(&mut self, model: &Model, rows: &[usize], survey: &Survey) -> Result<bool> {
        let mut pace = Pace::default();
        let (mut remaining, mut estimated) = (None, None::<Instant>);
        for (place, row) in rows.iter().copied().enumerate() {
            if !self.heed() {
                return Ok(false);
            }
            memory::reset_peaks(&self.order.placement);
            let Some(mut answer) = self.ask_one(model, row) else { return Ok(false) };
            answer.peak_bytes = memory::peaks(&self.order.placement);
            if let Some(forecasting) = &self.order.forecasting {
                let Answer { tiles, prompt_tokens, output_tokens, .. } = answer;
                answer.forecast_bytes = forecasting.bytes(tiles, prompt_tokens, output_tokens);
            }
            self.consult(&mut answer)?;
            self.order.session.append(&answer)?;
            if answer.verdict == Verdict::Failed {
                let what = answer.error.clone().unwrap_or_default();
                self.order.session.event("error", json!({ "index": answer.index, "what": what }))?;
            } else {
                pace.add(&answer);
            }
            if estimated.is_none_or(|at| at.elapsed() > ESTIMATE_EVERY) {
                remaining = pace.remaining((place + 1..rows.len()).map(|place| survey.work(place)));
                estimated = Some(Instant::now());
            }
            let tokens_per_second = pace.tokens_per_second();
            self.say(Event::Answered { row, answer: Box::new(answer), remaining, tokens_per_second });
        }
        Ok(true)
    }

    /// Asks and judges one question; `None` where the run was stopped meanwhile. What goes wrong with a question is
    /// its answer's verdict and never ends the run.
    fn ask_one(&mut self, model: &Model, row: usize) -> Option<Answer> {
        let question = match self.order.dataset.question(row) {
            Ok(question) => question,
            Err(problem) => {
                let outlines = self.order.dataset.outlines().unwrap_or_default();
                let index = outlines.get(row).map_or_else(|| format!("row {row}"), |o| o.index.clone());
                return Some(failed(Answer::new(index, String::new()), &problem));
            }
        };
        let (dataset, settings) = (self.order.dataset.clone(), self.order.settings.clone());
        let limit = model.checkpoint.config.decoder.max_positions;
        let mut watch = |step: Step<'_>| {
            match step {
                Step::Prepared { tiles, prompt_tokens } => {
                    if prompt_tokens > limit {
                        self.say(Event::Note(
                            Problem::new(format!(
                                "the prompt has {prompt_tokens} tokens, but the model was made for {limit}; the answer may be poor"
                            ))
                            .at(format!("question {}", question.index))
                            .fix("allow fewer tiles with --max-tiles"),
                        ));
                    }
                    self.say(Event::Asking { row, tiles, prompt_tokens });
                }
                Step::Working | Step::Text("") => {}
                Step::Text(text) => self.say(Event::Text { row, text: text.to_owned() }),
            }
            self.heed()
        };
        let asked = catch_unwind(AssertUnwindSafe(|| ask(model, &dataset, &question, &settings, &mut watch)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)));
        match asked {
            Ok(None) => None,
            Ok(Some(mut answer)) => {
                let (style, profile) = (settings.style, dataset.profile());
                let part = prompt::answered(style, profile, question.kind, &answer.response);
                answer.judged = part.map(|part| [part.start, part.end]);
                Some(self.judged(answer))
            }
            Err(problem) => Some(failed(blank(&question, &dataset), &problem)),
        }
    }

    fn judged(&self, mut answer: Answer) -> Answer {
        match answer.row(self.order.dataset.name()) {
            Some(row) if !answer.answer.is_null() => {
                let reading = self.order.rule.read(&row);
                answer.judge(reading, &self.order.rule.name());
            }
            _ => answer.verdict = Verdict::Unscored,
        }
        answer
    }

    /// Asks the judge where the rule could not tell. A judge that dies ends nothing: the run goes on without it.
    fn consult(&mut self, answer: &mut Answer) -> Result<()> {
        let Some(step) = self.order.judge.as_mut().filter(|_| answer.verdict == Verdict::Unparsed) else {
            return Ok(());
        };
        let was_dead = step.stopped().is_some();
        answer.consult(step, &self.order.rule, self.order.dataset.name());
        if let Some(problem) = step.stopped().filter(|_| !was_dead).cloned() {
            self.order.session.event("judge_stopped", json!({ "what": problem.what }))?;
            self.say(Event::Note(problem));
        }
        Ok(())
    }

    fn say(&self, event: Event) {
        // Nobody may be listening any more; `heed` notices that the commands are gone too.
        let _ = self.outbox.send(event);
    }

    /// Follows the commands that have come in; `false` where the run is to end.
    fn heed(&mut self) -> bool {
        use crossbeam_channel::TryRecvError::{Disconnected, Empty};
        while !self.stopping {
            match self.inbox.try_recv() {
                Ok(Command::Pause) => self.wait(),
                Ok(Command::Resume) => {}
                Ok(Command::Stop) | Err(Disconnected) => self.stopping = true,
                Err(Empty) => break,
            }
        }
        !self.stopping
    }

    fn wait(&mut self) {
        self.say(Event::Paused);
        loop {
            match self.inbox.recv() {
                Ok(Command::Pause) => {}
                Ok(Command::Resume) => break self.say(Event::Resumed),
                Ok(Command::Stop) | Err(_) => break self.stopping = true,
            }
        }
    }
}

fn failed(mut answer: Answer, problem: &Problem) -> Answer {
    answer.verdict = Verdict::Failed;
    answer.finish = Finish::Error;
    answer.error = Some(problem.to_string());
    answer
}
