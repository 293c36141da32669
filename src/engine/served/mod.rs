//! Questions to a served model: many in flight, behind the same commands and events as a local run.
//!
//! ```text
//! rows ─> askers (a thread each) ── gate ──> server
//!            │ letter, tries, judged answer
//!            └─> keeper (this run's thread): judge, disk, events
//! ```
//!
//! An asker takes a row, waits at the [`gate`] until the server may be asked, sends the question's [`letter`] and reads
//! the answer as it streams in. The [`keeper`] alone writes the session: an answer is on the disk before it counts, and
//! a stop leaves nothing half written. The server sees the images as files; how they are cut and resized is its own
//! matter, which the manifest says.

mod asker;
pub mod gate;
mod keeper;
pub mod letter;
pub mod talk;
pub mod window;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use keeper::start;

use crate::dataset::Dataset;
use crate::endpoint::{Endpoint, Price, Usage};
use crate::engine::RunSettings;
use crate::picture::SentAs;
use crate::scoring::Rule;
use crate::scoring::judge::{AnyJudge, JudgeStep};
use crate::session::{Manifest, Session};
use crate::{Problem, Result};

/// How a served model is asked, besides what holds for any model.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Most questions in flight; fewer are where the server is strained.
    pub concurrency: usize,
    /// How pictures are encoded where they cannot go as they are.
    pub images: SentAs,
    /// Whether the text keeps its `<image>` marks, behind the images; for servers that put each image where its mark
    /// stands (vLLM with InternVL checkpoints of the GitHub layout).
    pub image_marks: bool,
    /// Further fields of each request; null takes one away.
    pub extra: Map<String, Value>,
    /// What tokens cost.
    pub price: Option<Price>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            concurrency: 16,
            images: SentAs::default(),
            image_marks: false,
            extra: Map::new(),
            price: None,
        }
    }
}

impl Service {
    /// The settings that a session was begun with.
    ///
    /// # Errors
    /// The manifest does not record them so that they can be used again.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let refuse = |what: &str| {
            Problem::new(what.to_owned())
                .fix("resume it in the terminal: eval --endpoint URL --session DIR --resume …")
        };
        let record = manifest
            .settings
            .other
            .get("served")
            .ok_or_else(|| refuse("the session was not begun with a served model"))?;
        if record["header_names"].as_array().is_some_and(|names| !names.is_empty()) {
            return Err(refuse("the session was begun with headers of which only the names are recorded"));
        }
        let images = record["images"].as_str().unwrap_or_default().parse()?;
        let price = manifest.checkpoint.other.get("endpoint").map(|about| about["price_per_million"].clone());
        Ok(Self {
            concurrency: manifest.settings.batch.max(1),
            images,
            image_marks: record["image_marks"] == true,
            extra: record["extra_body"].as_object().cloned().unwrap_or_default(),
            price: price.and_then(|price| serde_json::from_value(price).ok()).flatten(),
        })
    }

    /// What of it can change an answer, for the manifest.
    pub fn record(&self) -> Value {
        json!({
            "images": self.images.to_string(),
            "image_marks": self.image_marks,
            "extra_body": self.extra,
            "preprocessing": "on the server",
        })
    }
}

/// What a run is to do.
pub struct Order {
    /// The model that answers.
    pub endpoint: Endpoint,
    /// How it is asked, besides what holds for any model.
    pub service: Service,
    /// The questions.
    pub dataset: Arc<Dataset>,
    /// Rows of the dataset, in the order in which they are sent.
    pub rows: Vec<usize>,
    /// How they are asked.
    pub settings: RunSettings,
    /// How answers are judged.
    pub rule: Rule,
    /// Who is asked about answers that the rule cannot read.
    pub judge: Option<JudgeStep<AnyJudge>>,
    /// What is noted about the server when the run begins.
    pub about: Value,
    /// Where answers are kept.
    pub session: Session,
}

/// How a run at a server stands; sums are of this run alone, without what was answered before a resume.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traffic {
    /// Seconds since the run began.
    pub seconds: f64,
    /// Questions that are with the server.
    pub in_flight: usize,
    /// How many may be at present.
    pub window: usize,
    /// Questions that wait before they are tried again.
    pub resting: usize,
    /// Seconds for which the server asked to be left alone.
    pub quiet: Option<f64>,
    /// Questions answered.
    pub answered: u64,
    /// Questions that failed for good.
    pub failed: u64,
    /// Tries that failed and were, or will be, followed by another.
    pub retries: u64,
    /// Prompt tokens, as the server counts them.
    pub prompt_tokens: u64,
    /// Answer tokens, as the server counts them.
    pub output_tokens: u64,
    /// Answers whose tokens the server did not count; they are in no sum.
    pub uncounted: u64,
    /// What the counted tokens cost, where a price is known.
    pub cost: Option<f64>,
    /// Answers a second over the last half minute.
    pub answers_per_second: Option<f64>,
    /// Answer tokens a second over the last half minute.
    pub tokens_per_second: Option<f64>,
    /// Median of the last times to the first words, in seconds.
    pub first_token: Option<f64>,
    /// The latest fault, in the server's words.
    pub trouble: Option<String>,
}

impl Traffic {
    /// The sums for scripts.
    pub fn json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "answered": self.answered,
            "failed": self.failed,
            "retries": self.retries,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "uncounted": self.uncounted,
            "cost": self.cost,
        })
    }
}

/// What so many tokens cost; nothing where the server did not count both or no price is known.
pub fn cost(usage: Usage, price: Option<Price>) -> Option<f64> {
    let price = price?;
    let (input, output) = (usage.prompt_tokens?, usage.completion_tokens?);
    Some((input as f64 * price.input + output as f64 * price.output) / 1e6)
}
