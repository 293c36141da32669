//! The thread of a run at a server: it follows commands, keeps answers, and tells how the run stands.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde_json::json;

use super::asker::{Done, Shared};
use super::{Order, Traffic, cost};
use crate::dataset::prompt;
use crate::endpoint::{Cause, Price};
use crate::engine::keeping::consult;
use crate::engine::{Command, Event, Run};
use crate::scoring::Rule;
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::session::{Answer, Session};
use crate::{Problem, Result};

/// Answers that wait for the keeper.
const WAITING: usize = 256;

/// How often it is told how the run stands.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Rates are of so much time.
const RATE: Duration = Duration::from_secs(30);

/// After a stop, askers get so long to hand over what was just answered.
const FAREWELL: Duration = Duration::from_millis(500);

/// Questions that fail one after the other, none answered between them, through no fault of theirs: the run ends, and they
/// are asked again when it is resumed.
const FAILURES: usize = 16;

/// The same where the server refuses whatever it is asked.
const REFUSALS: usize = 3;

/// Room for an asker's stack.
const STACK: usize = 1 << 20;

/// Starts a run at a server.
///
/// # Errors
/// The system gives no thread.
pub fn start(order: Order) -> Result<Run> {
    Run::of(move |inbox, outbox| Keeper::run(order, inbox, outbox))
}

struct Keeper {
    shared: Arc<Shared>,
    dataset_name: String,
    rule: Rule,
    price: Option<Price>,
    judge: Option<JudgeStep<AnyJudge>>,
    session: Session,
    outbox: Sender<Event>,
    total: usize,
    start: Instant,
    told: Option<Instant>,
    traffic: Traffic,
    /// When answers came, and how many tokens they had.
    recent: VecDeque<(Instant, u64)>,
    /// Failures that may be the server's: they count when another question is answered.
    doubtful: Vec<Done>,
    stopping: bool,
    paused: bool,
}

impl Keeper {
    /// Asks all questions; whether every one was asked.
    fn run(order: Order, inbox: Receiver<Command>, outbox: Sender<Event>) -> Result<bool> {
        let Order { endpoint, service, dataset, rows, settings, rule, judge, about, mut session } = order;
        let total = rows.len();
        if total == 0 {
            return Ok(true);
        }
        if let Some(departure) = prompt::departure(dataset.profile(), settings.style) {
            let _ = outbox.send(Event::Note(departure));
        }
        let endpoint = endpoint.for_many(service.concurrency);
        session.event("load", json!({ "endpoint": about }))?;
        let _ = outbox.send(Event::Loaded { seconds: 0.0 });
        let askers = service.concurrency.clamp(1, total);
        let (price, dataset_name) = (service.price, dataset.name().to_owned());
        let shared = Shared::new(endpoint, service, dataset, settings, rule, rows, outbox.clone());
        let mut keeper = Self {
            shared: Arc::new(shared),
            dataset_name,
            rule,
            price,
            judge,
            session,
            outbox,
            total,
            start: Instant::now(),
            told: None,
            traffic: Traffic::default(),
            recent: VecDeque::new(),
            doubtful: Vec::new(),
            stopping: false,
            paused: false,
        };
        let kept = keeper.start_askers(askers).and_then(|done| keeper.keep(&inbox, &done));
        // Whatever ended it, no request goes on behind its back.
        keeper.shared.gate.stop();
        keeper.shared.endpoint.shut();
        let complete = kept?;
        keeper.tell();
        let kind = if complete { "finished" } else { "stopped" };
        keeper.session.event(kind, json!({ "served": keeper.traffic.json() }))?;
        Ok(complete)
    }

    fn start_askers(&self, count: usize) -> Result<Receiver<Done>> {
        let (done, answers) = bounded(WAITING);
        for number in 0..count {
            let (shared, done) = (self.shared.clone(), done.clone());
            let builder = std::thread::Builder::new().name(format!("asker {number}")).stack_size(STACK);
            let started = builder.spawn(move || shared.ask_all(&done));
            match started {
                Ok(_) => {}
                // Fewer are slower, nothing else.
                Err(_) if number > 0 => break,
                Err(e) => return Err(Problem::new(format!("the system gives no thread: {e}"))),
            }
        }
        Ok(answers)
    }

    /// Keeps answers until all are there or the run is stopped.
    fn keep(&mut self, inbox: &Receiver<Command>, done: &Receiver<Done>) -> Result<bool> {
        loop {
            let first = select! {
                recv(inbox) -> command => {
                    self.follow(command.unwrap_or(Command::Stop));
                    None
                }
                recv(done) -> first => match first {
                    Ok(first) => Some(first),
                    Err(_) => break,
                },
                default(TELL_EVERY) => None,
            };
            if let Some(first) = first {
                let others: Vec<Done> = done.try_iter().take(WAITING).collect();
                self.take(std::iter::once(first).chain(others))?;
            }
            let given_up = self.given_up();
            if self.stopping || given_up.is_some() {
                self.say_farewell(done)?;
                return given_up.map_or(Ok(false), Err);
            }
            self.tell_now_and_then();
        }
        self.settle()?;
        Ok(self.traffic.answered + self.traffic.failed == self.total as u64)
    }

    fn follow(&mut self, command: Command) {
        match command {
            Command::Pause if !self.paused => {
                self.paused = true;
                self.shared.gate.pause();
                self.say(Event::Paused);
            }
            Command::Resume if self.paused => {
                self.paused = false;
                self.shared.gate.resume();
                self.say(Event::Resumed);
            }
            Command::Stop => self.stopping = true,
            Command::Skip(row) => self.shared.skip(row),
            Command::Pause | Command::Resume => {}
        }
    }

    /// Breaks off what is under way, and keeps what was answered at that moment.
    fn say_farewell(&mut self, done: &Receiver<Done>) -> Result<()> {
        self.shared.gate.stop();
        self.shared.endpoint.shut();
        let until = Instant::now() + FAREWELL;
        let mut last = Vec::new();
        while let Ok(one) = done.recv_deadline(until) {
            last.push(one);
        }
        // What failed in this moment failed because of the stop, or can be asked again as well.
        last.retain(|done| done.cause.is_none());
        self.doubtful.clear();
        self.take(last.into_iter())
    }

    /// Judges and keeps answers: one flush for all of them, and only then are they said to be answered.
    fn take(&mut self, done: impl Iterator<Item = Done>) -> Result<()> {
        let mut kept = Vec::new();
        for mut one in done {
            match one.cause {
                Some(cause) if cause.is_the_servers() || self.traffic.answered == 0 => {
                    self.doubtful.push(one)
                }
                Some(_) => kept.push(one),
                None => {
                    let rule = (&self.rule, self.dataset_name.as_str());
                    consult(&mut one.answer, &mut self.judge, rule, &mut self.session, &self.outbox)?;
                    self.traffic.answered += 1;
                    // It was not the server, then.
                    kept.append(&mut self.doubtful);
                    kept.push(one);
                }
            }
        }
        self.write(kept)
    }

    /// At the end, whatever failed has failed for good; unless nothing was ever answered.
    fn settle(&mut self) -> Result<()> {
        let doubtful = std::mem::take(&mut self.doubtful);
        match doubtful.last() {
            Some(last) if self.traffic.answered == 0 && doubtful.iter().all(is_the_servers) => {
                Err(self.ended(last, doubtful.len()))
            }
            _ => self.write(doubtful),
        }
    }

    /// Why the run ends, where too many questions in a row were not answered.
    fn given_up(&self) -> Option<Problem> {
        let last = self.doubtful.last()?;
        let most = if last.cause == Some(Cause::Refused) { REFUSALS } else { FAILURES };
        (self.doubtful.len() >= most).then(|| self.ended(last, self.doubtful.len()))
    }

    fn ended(&self, last: &Done, failures: usize) -> Problem {
        let words = last.answer.error.clone().unwrap_or_default();
        let words = words.split("\n  what to do:").next().unwrap_or_default();
        Problem::new(format!("{failures} questions in a row were not answered; the last of them: {words}"))
            .fix("what was answered is kept; when the server answers again, go on with --resume")
    }

    fn write(&mut self, kept: Vec<Done>) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        self.session.append_all(kept.iter().map(|done| &done.answer))?;
        for Done { row, answer, cause, usage } in kept {
            if cause.is_some() {
                self.traffic.failed += 1;
                let what = answer.error.clone().unwrap_or_default();
                self.session.event("error", json!({ "index": answer.index, "what": what }))?;
            } else {
                self.count(&answer, cost(usage, self.price), usage.completion_tokens.is_some());
            }
            let (remaining, tokens_per_second) = (self.remaining(), self.traffic.tokens_per_second);
            self.say(Event::Answered { row, answer: Box::new(answer), remaining, tokens_per_second });
        }
        Ok(())
    }

    fn count(&mut self, answer: &Answer, cost: Option<f64>, counted: bool) {
        let traffic = &mut self.traffic;
        traffic.prompt_tokens += answer.prompt_tokens;
        traffic.output_tokens += answer.output_tokens;
        traffic.uncounted += u64::from(!counted);
        if let Some(cost) = cost {
            traffic.cost = Some(traffic.cost.unwrap_or(0.0) + cost);
        }
        self.recent.push_back((Instant::now(), answer.output_tokens));
    }

    /// Rates over the last while; they fall where nothing comes.
    fn reckon(&mut self) {
        let now = Instant::now();
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE) {
            self.recent.pop_front();
        }
        let span = self.start.elapsed().min(RATE).as_secs_f64();
        if span > 0.0 && self.traffic.answered > 0 {
            self.traffic.answers_per_second = Some(self.recent.len() as f64 / span);
            let tokens: u64 = self.recent.iter().map(|(_, tokens)| tokens).sum();
            self.traffic.tokens_per_second = (tokens > 0).then(|| tokens as f64 / span);
        }
    }

    /// Seconds that the rest will take at the present pace.
    fn remaining(&self) -> Option<f64> {
        let left = self.total as f64 - (self.traffic.answered + self.traffic.failed) as f64;
        self.traffic.answers_per_second.filter(|pace| *pace > 0.0).map(|pace| left.max(0.0) / pace)
    }

    fn tell_now_and_then(&mut self) {
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.told = Some(Instant::now());
        self.reckon();
        let view = self.shared.gate.view();
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.traffic = Traffic {
            seconds: self.start.elapsed().as_secs_f64(),
            in_flight: view.in_flight,
            window: view.window,
            resting: view.resting,
            quiet: view.quiet,
            first_token: view.first_token,
            retries: self.shared.retries.load(Ordering::Relaxed),
            trouble,
            ..self.traffic.clone()
        };
        self.say(Event::Traffic(Box::new(self.traffic.clone())));
    }

    fn say(&self, event: Event) {
        // Nobody may be listening any more; the closed inbox says so.
        let _ = self.outbox.send(event);
    }
}

fn is_the_servers(done: &Done) -> bool {
    done.cause.is_some_and(Cause::is_the_servers)
}
