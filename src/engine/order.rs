//! What a run is to do, what it can be told meanwhile, and what it says.

use std::sync::Arc;

use super::asking::RunSettings;
use super::memory::Forecasting;
use super::model::Language;
use super::scheduler::Settings;
use super::served::Traffic;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::devices::{Reading, sampler};
use crate::model::{Placement, WeightType};
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
    /// What each device will hold, for each of these copies; nothing where that cannot be told.
    pub forecasting: Vec<Forecasting>,
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
    /// Reads what other processes hold of the devices, where a driver can tell.
    pub neighbours: Option<Neighbours>,
    /// What there is to know before it begins.
    pub notes: Vec<Problem>,
}

/// How other processes on the devices are watched: where one grows, no question begins until it has gone back.
pub struct Neighbours {
    /// Gives one reading a device, under the device's name.
    pub read: Box<dyn FnMut() -> Vec<Reading> + Send>,
    /// How often it is read, and how much growth matters.
    pub settings: sampler::Settings,
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
