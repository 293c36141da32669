//! A run as the screen shows it: plain data, made of what the engine says.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::flow::Flow;
use super::memory::Trace;
use crate::Problem;
use crate::app::language::tr;
use crate::app::served::wants_key;
use crate::engine::Event;
use crate::scoring::{Report, Verdict};
use crate::session::Answer;

/// Answers that can be looked at again without opening the session.
const ANSWERS_KEPT: usize = 400;

/// Notes that are kept.
const NOTES_KEPT: usize = 20;

/// What a run is about.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Where its answers are kept.
    pub folder: PathBuf,
    /// The model.
    pub checkpoint: String,
    /// The questions.
    pub dataset: String,
    /// How answers are read.
    pub rule: String,
    /// Questions selected.
    pub total: usize,
    /// The server that answers, where it is not this machine.
    pub server: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Weights are being loaded: bytes so far, and in all.
    Loading(u64, u64),
    /// Questions are being answered.
    Running,
    /// It waits after the present token.
    Pausing,
    /// It waits.
    Paused,
    /// It ends after the present token.
    Stopping,
    /// It is over; whether every question was asked.
    Over(bool),
    /// It could not go on.
    Broken(Problem),
}

/// A question that the model is answering.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Its row in the dataset.
    pub row: usize,
    /// Tiles of its images.
    pub tiles: usize,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// The answer so far.
    pub text: String,
    /// When it went to the model.
    pub since: Instant,
}

/// A question that is answered.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its row in the dataset.
    pub row: usize,
    /// The answer.
    pub answer: Arc<Answer>,
}

/// A run in progress, or the last one.
pub struct Live {
    /// What it is about.
    pub about: About,
    /// How far it is.
    pub stage: Stage,
    /// Questions answered, those of earlier runs of the session counted.
    pub done: usize,
    /// The score so far.
    pub report: Report,
    /// Questions in flight, in the order in which they were asked.
    pub flights: Vec<Flight>,
    /// The latest answers, the latest last.
    pub answers: VecDeque<Done>,
    /// What the engine wants known.
    pub notes: Vec<Problem>,
    /// Seconds that the rest will take, and when that was said.
    pub remaining: Option<(f64, Instant)>,
    /// Tokens generated a second.
    pub tokens_per_second: Option<f64>,
    /// How the server stands, in the run of a served model.
    pub flow: Flow,
    /// Seconds that loading took.
    pub loaded: Option<f64>,
    /// Memory of the devices.
    pub trace: Trace,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
}

impl Live {
    /// A run that begins now, or goes on with answers that are there.
    pub fn new(about: About, earlier: &[Answer], trace: Trace) -> Self {
        let mut report = Report::default();
        earlier.iter().for_each(|answer| report.add(answer.judged()));
        Self {
            about,
            stage: Stage::Loading(0, 0),
            done: earlier.len(),
            report,
            flights: Vec::new(),
            answers: VecDeque::new(),
            notes: Vec::new(),
            remaining: None,
            tokens_per_second: None,
            flow: Flow::default(),
            loaded: None,
            trace,
            begun: Instant::now(),
            ended: None,
        }
    }

    /// Takes in what the engine says.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Loading { bytes, total } if matches!(self.stage, Stage::Loading(..)) => {
                self.stage = Stage::Loading(bytes, total);
            }
            Event::Loading { .. } => {}
            Event::Loaded { seconds } => {
                self.loaded = Some(seconds);
                if matches!(self.stage, Stage::Loading(..)) {
                    self.stage = Stage::Running;
                }
            }
            Event::Asking { row, tiles, prompt_tokens } => {
                self.flights.retain(|flight| flight.row != row);
                self.trace.mark(row);
                let (text, since) = (String::new(), Instant::now());
                self.flights.push(Flight { row, tiles, prompt_tokens, text, since });
            }
            Event::Text { row, text } => {
                if let Some(flight) = self.flights.iter_mut().find(|flight| flight.row == row) {
                    flight.text.push_str(&text);
                }
            }
            Event::Answered { row, answer, remaining, tokens_per_second } => {
                self.flights.retain(|flight| flight.row != row);
                self.report.add(answer.judged());
                self.done += 1;
                self.trace.answered(row, &answer);
                self.answers.push_back(Done { row, answer: answer.into() });
                if self.answers.len() > ANSWERS_KEPT {
                    self.answers.pop_front();
                }
                self.remaining = remaining.map(|seconds| (seconds, Instant::now()));
                self.tokens_per_second = tokens_per_second.or(self.tokens_per_second);
            }
            Event::Traffic(traffic) => self.flow.take(*traffic),
            Event::Skipped { row } => self.flights.retain(|flight| flight.row != row),
            Event::Note(problem) => {
                if !self.notes.contains(&problem) && self.notes.len() < NOTES_KEPT {
                    self.notes.push(problem);
                }
            }
            Event::Paused => self.stage = Stage::Paused,
            Event::Resumed => self.stage = Stage::Running,
            Event::Finished { complete } => self.end(Stage::Over(complete)),
            Event::Failed(problem) => self.end(Stage::Broken(self.told(problem))),
        }
    }

    fn end(&mut self, stage: Stage) {
        self.stage = stage;
        self.flights.clear();
        self.remaining = None;
        self.ended = Some(Instant::now());
    }

    /// What ended the run, with what can be done here.
    fn told(&self, problem: Problem) -> Problem {
        match self.about.server {
            Some(_) if wants_key(&problem) => {
                problem.fix(tr("what was answered is kept; give the right key, and go on"))
            }
            Some(_) => problem.fix(tr("what was answered is kept; go on when the server answers again")),
            None => problem,
        }
    }

    /// The worker went without a word.
    pub fn lost(&mut self) {
        if self.is_active() {
            self.end(Stage::Broken(
                Problem::new("the worker ended without a word")
                    .fix("resume the session: every answer is kept"),
            ));
        }
    }

    /// Whether questions are being answered, or will be.
    pub fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::Over(_) | Stage::Broken(_))
    }

    /// The answer to the question of a row, if it is among the latest.
    pub fn answer(&self, row: usize) -> Option<&Done> {
        self.answers.iter().rev().find(|done| done.row == row)
    }

    /// The question in flight of a row.
    pub fn flight(&self, row: usize) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.row == row)
    }

    /// The question to show where none is chosen: the one asked last, else the one answered last.
    pub fn latest(&self) -> Option<usize> {
        let flight = self.flights.last().map(|flight| flight.row);
        flight.or_else(|| self.answers.back().map(|done| done.row))
    }

    /// Verdicts of the latest answers that are kept.
    pub fn verdicts(&self) -> impl DoubleEndedIterator<Item = (usize, Verdict)> + '_ {
        self.answers.iter().map(|done| (done.row, done.answer.verdict))
    }

    /// Seconds that the rest will take, counted down since it was said.
    pub fn seconds_left(&self) -> Option<f64> {
        let (seconds, said) = self.remaining?;
        let passed = if self.stage == Stage::Paused { 0.0 } else { said.elapsed().as_secs_f64() };
        Some((seconds - passed).max(0.0))
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.ended.unwrap_or_else(Instant::now).duration_since(self.begun).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(index: &str, verdict: Verdict) -> Box<Answer> {
        let mut answer = Answer::new(index, "B");
        answer.verdict = verdict;
        answer.score = f64::from(u8::from(verdict == Verdict::Right));
        Box::new(answer)
    }

    #[test]
    fn several_questions_in_flight_keep_their_texts_apart() {
        let mut live = Live::new(About { total: 3, ..About::default() }, &[], Trace::default());
        live.take(Event::Loading { bytes: 5, total: 10 });
        assert_eq!(live.stage, Stage::Loading(5, 10));
        live.take(Event::Loaded { seconds: 1.0 });
        for row in [4, 7] {
            live.take(Event::Asking { row, tiles: 1, prompt_tokens: 300 });
        }
        for (row, text) in [(4, "a "), (7, "one "), (4, "cat"), (7, "dog")] {
            live.take(Event::Text { row, text: text.into() });
        }
        assert_eq!(live.flights.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["a cat", "one dog"]);
        assert_eq!(live.latest(), Some(7));
        let (remaining, tokens_per_second) = (Some(9.0), Some(30.0));
        live.take(Event::Answered {
            row: 7,
            answer: answer("8", Verdict::Right),
            remaining,
            tokens_per_second,
        });
        assert_eq!((live.latest(), live.done, live.report.overall.right), (Some(4), 1, 1));
        assert!(live.answer(7).is_some() && live.seconds_left().is_some_and(|left| left <= 9.0));
        live.take(Event::Finished { complete: false });
        assert!(!live.is_active() && live.flights.is_empty() && live.seconds_left().is_none());
        assert_eq!(live.latest(), Some(7));
    }

    #[test]
    fn memory_of_a_long_run_is_bounded() {
        let mut live = Live::new(About::default(), &[*answer("0", Verdict::Wrong)], Trace::default());
        for row in 0..5_000 {
            live.take(Event::Asking { row, tiles: 1, prompt_tokens: 1 });
            let answer = answer(&row.to_string(), Verdict::Right);
            live.take(Event::Answered { row, answer, remaining: None, tokens_per_second: None });
            live.take(Event::Note(Problem::new(format!("note {row}"))));
        }
        assert_eq!((live.done, live.answers.len(), live.notes.len()), (5_001, ANSWERS_KEPT, NOTES_KEPT));
        assert!(live.trace.marks.len() <= super::super::memory::MARKS_KEPT);
    }
}
