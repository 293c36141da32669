//! A thread that puts one question after the other to the server, patiently.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde_json::{Map, Value, json};

use super::gate::{Gate, Ticket};
use super::letter::{Letter, letter};
use super::{Service, cost};
use crate::dataset::{Dataset, Question, prompt};
use crate::endpoint::{Cause, Endpoint, Fault, Reply, Usage};
use crate::engine::Event;
use crate::engine::RunSettings;
use crate::engine::asking::blank;
use crate::scoring::{Rule, Verdict};
use crate::session::{Answer, Finish, Seconds};

/// Text is told in pieces no more often than this.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// A server that says nothing for long is tried again so often at most.
const SLOW: u32 = 2;

/// Questions whose pictures are read and encoded at once, a CPU core.
const PREPARED_A_CORE: usize = 2;

/// What all askers of a run share.
pub(super) struct Shared {
    pub endpoint: Endpoint,
    pub service: Service,
    pub dataset: Arc<Dataset>,
    pub settings: RunSettings,
    pub rule: Rule,
    pub rows: Vec<usize>,
    pub next: AtomicUsize,
    pub gate: Arc<Gate>,
    pub events: Sender<Event>,
    /// Tries that failed and are followed by another.
    pub retries: AtomicU64,
    /// The latest fault.
    pub trouble: Mutex<Option<String>>,
    /// Rows that are left out.
    skipped: Mutex<HashSet<usize>>,
    /// Leave to read and encode pictures.
    desk: Desk,
}

/// A question that is done, one way or the other.
pub(super) struct Done {
    pub row: usize,
    /// Judged by the rule, or failed.
    pub answer: Answer,
    /// Why it failed, where it did.
    pub cause: Option<Cause>,
    pub usage: Usage,
}

impl Shared {
    /// Nobody has asked yet.
    pub fn new(
        endpoint: Endpoint,
        service: Service,
        dataset: Arc<Dataset>,
        settings: RunSettings,
        rule: Rule,
        rows: Vec<usize>,
        events: Sender<Event>,
    ) -> Self {
        let gate = Gate::new(service.concurrency);
        Self {
            endpoint,
            service,
            dataset,
            settings,
            rule,
            rows,
            next: AtomicUsize::new(0),
            gate,
            events,
            retries: AtomicU64::new(0),
            trouble: Mutex::new(None),
            skipped: Mutex::default(),
            desk: Desk::new(PREPARED_A_CORE * num_cpus::get()),
        }
    }

    /// Asks until no question is left or the run is over.
    pub fn ask_all(&self, done: &Sender<Done>) {
        while let Some(ticket) = self.gate.enter() {
            let Some(row) = self.rows.get(self.next.fetch_add(1, Ordering::Relaxed)).copied() else { return };
            let asked = catch_unwind(AssertUnwindSafe(|| self.ask(row, ticket)));
            let asked = asked.unwrap_or_else(|panic| {
                let problem = crate::engine::worker::panicked(&*panic);
                Some(self.failed(row, None, 1, &Fault::new(Cause::Question, problem)))
            });
            match asked {
                // Nobody listens after a stop.
                Some(asked) => match done.send(asked) {
                    Ok(()) => {}
                    Err(_) => return,
                },
                None if self.is_skipped(row) => drop(self.events.send(Event::Skipped { row })),
                None => return,
            }
        }
    }

    /// Leaves a question out for now.
    pub fn skip(&self, row: usize) {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).insert(row);
    }

    /// Whether a question is left out.
    pub fn is_skipped(&self, row: usize) -> bool {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).contains(&row)
    }

    /// Asks one question until it is answered or has failed for good; none where the run is over or it is left out.
    fn ask(&self, row: usize, ticket: Ticket) -> Option<Done> {
        let question = match self.dataset.question(row) {
            Ok(question) => question,
            Err(problem) => return Some(self.failed(row, None, 1, &Fault::new(Cause::Question, problem))),
        };
        let mut ticket = Some(ticket);
        let limits = self.endpoint.limits();
        let mut pause = limits.pause;
        for tries in 1.. {
            let mut place = ticket.take().or_else(|| self.gate.enter())?;
            if self.is_skipped(row) {
                return None;
            }
            let seat = self.desk.sit();
            let model = self.endpoint.model();
            let letter = match letter(model, &self.dataset, &question, &self.settings, &self.service) {
                Ok(letter) => letter,
                Err(problem) => {
                    let fault = Fault::new(Cause::Question, problem);
                    return Some(self.failed(row, Some(&question), tries, &fault));
                }
            };
            if !place.load(letter.body.len() as u64) {
                return None;
            }
            drop(seat);
            let fault = match self.try_once(row, &letter) {
                Ok(reply) => {
                    place.answered(reply.first_token.as_secs_f64());
                    return Some(self.answered(row, &question, &letter, reply, tries));
                }
                Err(fault) if fault.cause == Cause::Stopped || self.gate.is_stopped() => return None,
                Err(fault) => fault,
            };
            if matches!(fault.cause, Cause::Busy | Cause::Slow | Cause::Broken | Cause::Late) {
                place.strained();
            }
            let wait = fault.after.unwrap_or_else(|| pause.mul_f64(jitter()));
            let retries = if fault.cause == Cause::Slow { limits.retries.min(SLOW) } else { limits.retries };
            let gives_up = !fault.cause.may_pass() || tries > retries || wait > limits.longest_pause;
            self.note(&fault);
            if gives_up {
                let mut fault = fault;
                if wait > limits.longest_pause && fault.after.is_some() {
                    let what = format!("{}; it asks to wait {} s", fault.problem.what, wait.as_secs());
                    fault.problem.what = what;
                }
                return Some(self.failed(row, Some(&question), tries, &fault));
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            if fault.after.is_some() {
                self.gate.keep_quiet(wait);
            }
            pause = (pause * 2).min(limits.longest_pause);
            // Whoever waits holds neither a place nor the memory of the pictures.
            drop((letter, place));
            if !self.gate.rest(wait) {
                return None;
            }
        }
        None
    }

    /// Sends a letter once.
    fn try_once(&self, row: usize, letter: &Letter) -> Result<Reply, Fault> {
        let say = |event| {
            // Nobody may be listening any more; the keeper notices.
            let _ = self.events.send(event);
        };
        say(Event::Asking { row, tiles: 0, prompt_tokens: 0 });
        let (mut unsaid, mut told) = (String::new(), Instant::now());
        self.endpoint.ask(&letter.body, self.settings.max_new_tokens, &mut |more| {
            unsaid.push_str(more);
            if !unsaid.is_empty() && told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                say(Event::Text { row, text: std::mem::take(&mut unsaid) });
            }
            !self.gate.is_stopped() && !self.is_skipped(row)
        })
    }

    fn answered(&self, row: usize, question: &Question, letter: &Letter, reply: Reply, tries: u32) -> Done {
        let mut answer = heard(blank(question, &self.dataset), letter, &reply);
        let mut served = Map::new();
        let mut note = |name: &str, value: Value| served.insert(name.to_owned(), value);
        if tries > 1 {
            note("tries", tries.into());
        }
        if let Some(model) = reply.model.filter(|model| model != self.endpoint.model()) {
            note("model", model.into());
        }
        if let Some(fingerprint) = reply.fingerprint {
            note("fingerprint", fingerprint.into());
        }
        if reply.usage.prompt_tokens.is_none() || reply.usage.completion_tokens.is_none() {
            note("usage", "not told".into());
        }
        if let Some(cost) = cost(reply.usage, self.service.price) {
            note("cost", json!(cost));
        }
        if !served.is_empty() {
            answer.other.insert("served".into(), served.into());
        }
        let profile = self.dataset.profile();
        let part = prompt::answered(self.settings.style, profile, question.kind, &answer.response);
        answer.judged = part.map(|part| [part.start, part.end]);
        match answer.row(self.dataset.name()) {
            Some(asked) if !answer.answer.is_null() => {
                answer.judge(self.rule.read(&asked), &self.rule.name());
            }
            _ => answer.verdict = Verdict::Unscored,
        }
        Done { row, answer, cause: None, usage: reply.usage }
    }

    fn failed(&self, row: usize, question: Option<&Question>, tries: u32, fault: &Fault) -> Done {
        let mut answer = match question {
            Some(question) => blank(question, &self.dataset),
            None => {
                let outlines = self.dataset.outlines().unwrap_or_default();
                let index = outlines.get(row).map_or_else(|| format!("row {row}"), |o| o.index.clone());
                Answer::new(index, String::new())
            }
        };
        answer.verdict = Verdict::Failed;
        answer.finish = Finish::Error;
        answer.error = Some(fault.problem.to_string());
        answer.other.insert("served".into(), json!({ "tries": tries, "cause": fault.cause.word() }));
        Done { row, answer, cause: Some(fault.cause), usage: Usage::default() }
    }

    fn note(&self, fault: &Fault) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.problem.what.clone());
    }
}

/// An answer as the server gave it, not yet judged.
pub(super) fn heard(mut answer: Answer, letter: &Letter, reply: &Reply) -> Answer {
    answer.prompt.clone_from(&letter.prompt);
    answer.images.clone_from(&letter.images);
    answer.prompt_tokens = reply.usage.prompt_tokens.unwrap_or(0);
    answer.output_tokens = reply.usage.completion_tokens.unwrap_or(0);
    answer.finish = match reply.finish.as_deref() {
        Some("length" | "max_tokens") => Finish::Length,
        _ => Finish::Stop,
    };
    let first = reply.first_token.as_secs_f64();
    answer.seconds = Seconds {
        images: letter.seconds,
        prefill: first,
        decode: reply.total.as_secs_f64() - first,
        total: letter.seconds + reply.total.as_secs_f64(),
    };
    let text = reply.text.trim();
    answer.thinking = reply.thinking.as_ref().map(|thought| thought.trim().to_owned()).or_else(|| {
        let rest = text.strip_prefix("<think>")?;
        Some(rest.split_once("</think>").map_or(rest, |(inside, _)| inside).trim().to_owned())
    });
    answer.response = text.to_owned();
    answer
}

/// A share from a half to one, so that those who were refused together do not come back together.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8);
    0.5 + (random >> 11) as f64 / (1u64 << 54) as f64
}

/// So many seats; whoever prepares a question takes one.
struct Desk {
    seats: (crossbeam_channel::Sender<()>, crossbeam_channel::Receiver<()>),
}

struct Seat<'a>(&'a Desk);

impl Desk {
    fn new(seats: usize) -> Self {
        Self { seats: crossbeam_channel::bounded(seats.max(1)) }
    }

    fn sit(&self) -> Seat<'_> {
        // The desk holds the other end, so it is never closed.
        let _ = self.seats.0.send(());
        Seat(self)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let _ = self.0.seats.1.try_recv();
    }
}
