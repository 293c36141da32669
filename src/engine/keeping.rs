//! Answers judged and kept: on a thread of their own, so that neither a disk nor a judge holds up the model.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::{Value, json};

use super::order::Event;
use super::pace::{Pace, Survey};
use super::worker::panicked;
use crate::dataset::{Dataset, QuestionKind, Style, prompt};
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::scoring::{Rule, Verdict};
use crate::session::Session;
use crate::session::journal::{Answer, Finish, MemorySample};
use crate::{Problem, Result};

/// An estimate goes over all questions that remain, so it is not made for every answer of a fast model.
const ESTIMATE_EVERY: Duration = Duration::from_millis(500);

/// A line to be judged and kept.
pub struct Settled {
    /// The question's place in the run.
    pub place: usize,
    /// Its row in the dataset.
    pub row: usize,
    /// What sort of answer it asks for.
    pub kind: Option<QuestionKind>,
    /// Its line.
    pub answer: Answer,
}

/// What the keeper is told.
pub enum Word {
    /// A line, to be judged and kept.
    Line(Box<Settled>),
    /// Something that happened: its kind and its particulars.
    Event(&'static str, Value),
    /// What a place holds.
    Memory(MemorySample),
}

/// Judges and keeps answers.
pub struct Keeper {
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// Named way of building prompts.
    pub style: Style,
    /// How answers are judged.
    pub rule: Rule,
    /// Who is asked about answers that the rule cannot read.
    pub judge: Option<JudgeStep<AnyJudge>>,
    /// Where answers are kept.
    pub session: Session,
    /// What the questions of the run cost.
    pub survey: Arc<Survey>,
    /// Questions of the run.
    pub questions: usize,
    /// Who listens.
    pub events: Sender<Event>,
}

/// A keeper at work.
pub struct Keeping {
    /// Takes lines and what else is to be written; closed when there is no more.
    pub lines: Sender<Word>,
    /// A word for every line that is on the disk.
    pub kept: Receiver<()>,
    /// Whether a judge may be asked, which takes time.
    pub judges: bool,
    thread: JoinHandle<Result<Session>>,
}

impl Keeper {
    /// Starts its thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self) -> Result<Keeping> {
        let (lines, inbox) = unbounded();
        let (outbox, kept) = unbounded();
        let judges = self.judge.is_some();
        let body = move || {
            catch_unwind(AssertUnwindSafe(|| self.keep_all(&inbox, &outbox)))
                .unwrap_or_else(|panic| Err(panicked(&*panic)))
        };
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(body);
        let thread = thread.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
        Ok(Keeping { lines, kept, judges, thread })
    }

    fn keep_all(mut self, inbox: &Receiver<Word>, kept: &Sender<()>) -> Result<Session> {
        let mut pace = Pace::default();
        let start = Instant::now();
        let (mut remaining, mut estimated) = (None, None::<Instant>);
        let mut done = HashSet::new();
        for word in inbox {
            let Settled { place, row, kind, mut answer } = match word {
                Word::Line(line) => *line,
                Word::Event(kind, details) => {
                    self.session.event(kind, details)?;
                    continue;
                }
                Word::Memory(sample) => {
                    self.session.memory(&sample)?;
                    continue;
                }
            };
            if answer.verdict != Verdict::Failed && answer.verdict != Verdict::OutOfMemory {
                self.judge(&mut answer, kind);
                let rule = (&self.rule, self.dataset.name());
                consult(&mut answer, &mut self.judge, rule, &mut self.session, &self.events)?;
            }
            self.session.append(&answer)?;
            done.insert(place);
            if answer.verdict == Verdict::Failed {
                let what = answer.error.clone().unwrap_or_default();
                self.session.event("error", json!({ "index": answer.index, "what": what }))?;
            } else {
                pace.add(&answer, start.elapsed().as_secs_f64());
            }
            if estimated.is_none_or(|at| at.elapsed() > ESTIMATE_EVERY) {
                let left = (0..self.questions).filter(|place| !done.contains(place));
                remaining = pace.remaining(left.map(|place| self.survey.work(place)));
                estimated = Some(Instant::now());
            }
            let tokens_per_second = pace.tokens_per_second();
            let answer = Box::new(answer);
            // Nobody may be listening any more.
            let _ = self.events.send(Event::Answered { row, answer, remaining, tokens_per_second });
            let _ = kept.send(());
        }
        Ok(self.session)
    }

    fn judge(&self, answer: &mut Answer, kind: Option<QuestionKind>) {
        if let Some(kind) = kind {
            let part = prompt::answered(self.style, self.dataset.profile(), kind, &answer.response);
            answer.judged = part.map(|part| [part.start, part.end]);
        }
        match answer.row(self.dataset.name()) {
            Some(row) if !answer.answer.is_null() => {
                let reading = self.rule.read(&row);
                answer.judge(reading, &self.rule.name());
            }
            _ => answer.verdict = Verdict::Unscored,
        }
    }
}

impl Keeping {
    /// Waits until every line is kept; the session, for its last events.
    ///
    /// # Errors
    /// A line that could not be written.
    pub fn end(self) -> Result<Session> {
        drop(self.lines);
        self.thread.join().unwrap_or_else(|panic| Err(panicked(&*panic)))
    }
}

/// Asks the judge where the rule, on a dataset of this name, could not tell. A judge that dies ends nothing: the run
/// goes on without it.
///
/// # Errors
/// The session cannot be written.
pub fn consult(
    answer: &mut Answer,
    judge: &mut Option<JudgeStep<AnyJudge>>,
    (rule, dataset): (&Rule, &str),
    session: &mut Session,
    events: &Sender<Event>,
) -> Result<()> {
    let Some(step) = judge.as_mut().filter(|_| answer.verdict == Verdict::Unparsed) else {
        return Ok(());
    };
    let was_dead = step.stopped().is_some();
    answer.consult(step, rule, dataset);
    if let Some(problem) = step.stopped().filter(|_| !was_dead).cloned() {
        session.event("judge_stopped", json!({ "what": problem.what }))?;
        // Nobody may be listening any more.
        let _ = events.send(Event::Note(problem));
    }
    Ok(())
}

/// The line of a question that could not be answered.
pub fn fail(answer: &mut Answer, problem: &Problem) {
    answer.verdict = Verdict::Failed;
    answer.finish = Finish::Error;
    answer.error = Some(problem.to_string());
}
