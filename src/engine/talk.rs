//! A worker that loads a model once and answers free questions one after another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::asking::{RunSettings, Step, ask};
use super::model::{Language, Model};
use super::worker::panicked;
use crate::checkpoint::Checkpoint;
use crate::dataset::{Dataset, Question};
use crate::model::{Placement, WeightType};
use crate::session::Answer;
use crate::{Problem, Result};

/// What is needed to answer.
pub struct Ordered {
    /// The model.
    pub checkpoint: Arc<Checkpoint>,
    /// Its tokenizer and template.
    pub language: Language,
    /// In which type its weights are held.
    pub weight_type: WeightType,
    /// Where its units lie.
    pub placement: Placement,
    /// Under whose profile questions are asked.
    pub dataset: Dataset,
    /// How they are asked.
    pub settings: RunSettings,
}

/// What the worker says; questions are told by the numbers that [`Talk::ask`] gave them.
#[derive(Debug)]
pub enum Said {
    /// Weights are being loaded: bytes so far, and in all.
    Loading(u64, u64),
    /// The model is ready.
    Loaded,
    /// A question goes to the model.
    Asking {
        /// Its number.
        number: u64,
        /// Tiles of its images.
        tiles: usize,
        /// Tokens of its prompt.
        prompt_tokens: usize,
    },
    /// More of an answer's text.
    Text {
        /// Number of the question.
        number: u64,
        /// The new text.
        text: String,
    },
    /// A question is answered.
    Answered {
        /// Its number.
        number: u64,
        /// The answer.
        answer: Box<Answer>,
    },
    /// A question was stopped.
    Stopped {
        /// Its number.
        number: u64,
    },
    /// A question could not be answered.
    Failed {
        /// Its number.
        number: u64,
        /// Why.
        problem: Problem,
    },
    /// The model cannot be used; nothing more is answered.
    Broken(Problem),
}

/// Questions with the numbers that [`Talk::ask`] gave them.
pub(super) type Inbox = Receiver<(u64, Question)>;

/// A conversation. Dropping it lets the worker end after the present token.
pub struct Talk {
    /// What the worker says; closed when it is over.
    pub events: Receiver<Said>,
    questions: Sender<(u64, Question)>,
    /// Questions below this number are given up.
    given_up: Arc<AtomicU64>,
    next: u64,
}

impl Talk {
    /// Starts to load the model.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(ordered: Ordered) -> Result<Self> {
        Self::working(move |inbox, say, goes_on| work(ordered, inbox, say, goes_on))
    }

    /// A conversation with whoever does this work: it takes questions from the inbox, says what comes of them, and asks
    /// whether the question of a number is still wanted.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn working(
        work: impl FnOnce(&Inbox, &dyn Fn(Said) -> bool, &dyn Fn(u64) -> bool) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (questions, inbox) = unbounded::<(u64, Question)>();
        let (outbox, events) = unbounded();
        let given_up = Arc::new(AtomicU64::new(0));
        let limit = given_up.clone();
        let body = move || {
            let say = |said| outbox.send(said).is_ok();
            let goes_on = |number: u64| number >= limit.load(Ordering::Relaxed);
            let worked = catch_unwind(AssertUnwindSafe(|| work(&inbox, &say, &goes_on)));
            let ended = worked.unwrap_or_else(|panic| Err(panicked(&*panic)));
            if let Err(problem) = ended {
                say(Said::Broken(problem));
            }
        };
        let thread = std::thread::Builder::new().name("free questions".into()).spawn(body);
        thread.map_err(|e| Problem::new(format!("the system gives no thread: {e}")))?;
        Ok(Self { events, questions, given_up, next: 1 })
    }

    /// Asks a question and gives its number.
    pub fn ask(&mut self, question: Question) -> u64 {
        let number = self.next;
        self.next += 1;
        // A worker that is over has said so.
        let _ = self.questions.send((number, question));
        number
    }

    /// Gives up the questions asked so far.
    pub fn stop(&self) {
        self.given_up.store(self.next, Ordering::Relaxed);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.given_up.store(u64::MAX, Ordering::Relaxed);
    }
}

fn work(
    ordered: Ordered,
    inbox: &Inbox,
    say: &dyn Fn(Said) -> bool,
    goes_on: &dyn Fn(u64) -> bool,
) -> Result<()> {
    let Ordered { checkpoint, language, weight_type, placement, dataset, settings } = ordered;
    let total = checkpoint.bytes();
    // Loading ends where nobody waits for it any more.
    let mut progress = |bytes| say(Said::Loading(bytes, total)) && goes_on(u64::MAX - 1);
    let model = Model::load(checkpoint, language, weight_type, &|unit| placement.of(unit), &mut progress)?;
    say(Said::Loaded);
    for (number, question) in inbox {
        if !goes_on(number) {
            say(Said::Stopped { number });
            continue;
        }
        let mut watch = |step: Step<'_>| {
            let heard = match step {
                Step::Prepared { tiles, prompt_tokens } => say(Said::Asking { number, tiles, prompt_tokens }),
                Step::Working | Step::Text("") => true,
                Step::Text(text) => say(Said::Text { number, text: text.to_owned() }),
            };
            heard && goes_on(number)
        };
        let asked =
            catch_unwind(AssertUnwindSafe(|| ask(&model, &dataset, &question, &settings, &mut watch)));
        say(match asked.unwrap_or_else(|panic| Err(panicked(&*panic))) {
            Ok(Some(answer)) => Said::Answered { number, answer: Box::new(answer) },
            Ok(None) => Said::Stopped { number },
            Err(problem) if problem.is_final => return Err(problem),
            Err(problem) => Said::Failed { number, problem },
        });
    }
    Ok(())
}
