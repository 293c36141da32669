//! The judge of `eval` and `score`: from the options to a step, and from the records to a summary.

use std::time::Duration;

use serde_json::{Value, json};

use super::say;
use crate::Result;
use crate::cli::JudgeArgs;
use crate::endpoint::{Address, Endpoint, EndpointJudge, Key, Limits, key};
use crate::scoring::judge::{AnyJudge, JudgeRecord, JudgeStep, Outcome};

/// The judge that the options ask for, and how a manifest records it; `None` where none is asked for. Nothing is sent.
///
/// # Errors
/// An address that is none or would be plain http to elsewhere, or a key that cannot be sent.
pub fn judge(args: &JudgeArgs) -> Result<Option<(JudgeStep<AnyJudge>, Value)>> {
    let (Some(url), Some(model)) = (&args.judge, &args.judge_model) else { return Ok(None) };
    let address = Address::new(url, args.allow_http)?;
    let record = json!({ "host": address.host(), "model": model, "price_per_million": args.judge_price });
    let key = match &args.judge_stored_key {
        Some(name) => Some(key::stored(name)?),
        None => Key::from_environment(&key::JUDGE_KEYS)?,
    };
    let mut limits = Limits::default();
    if let Some(seconds) = args.judge_timeout {
        limits.answer = Duration::from_secs_f64(seconds);
    }
    let endpoint = Endpoint::new(address, model, key, limits);
    let judge: AnyJudge = Box::new(EndpointJudge::new(endpoint, args.judge_price));
    Ok(Some((JudgeStep::new(judge), record)))
}

/// What a judge did, added up.
#[derive(Debug, Default)]
pub struct Tally {
    asked: u64,
    read: u64,
    cannot_tell: u64,
    failed: u64,
    not_asked: u64,
    reused: u64,
    tokens: u64,
    cost: Option<f64>,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, record: &JudgeRecord) {
        self.asked += u64::from(record.outcome != Outcome::NotAsked && !record.reused);
        self.reused += u64::from(record.reused);
        *match record.outcome {
            Outcome::Read => &mut self.read,
            Outcome::CannotTell => &mut self.cannot_tell,
            Outcome::Failed => &mut self.failed,
            Outcome::NotAsked => &mut self.not_asked,
        } += 1;
        if let Some(reply) = record.reply.as_ref().filter(|_| !record.reused) {
            self.tokens += reply.prompt_tokens.unwrap_or(0) + reply.reply_tokens.unwrap_or(0);
            if let Some(cost) = reply.cost {
                self.cost = Some(self.cost.unwrap_or(0.0) + cost);
            }
        }
    }

    /// The sums for scripts.
    pub fn json(&self) -> Value {
        json!({
            "asked": self.asked,
            "read": self.read,
            "cannot_tell": self.cannot_tell,
            "failed": self.failed,
            "not_asked": self.not_asked,
            "reused": self.reused,
            "tokens": self.tokens,
            "cost": self.cost,
        })
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.asked + self.reused + self.not_asked == 0
    }

    /// The sums in words.
    pub fn text(&self) -> String {
        let cost = self.cost.map(|cost| format!(", cost {cost:.4}")).unwrap_or_default();
        let reused = match self.reused {
            0 => String::new(),
            count => format!("; {count} replies known from before"),
        };
        format!(
            "judge: asked {} times{reused}; read {}, could not tell {}, failed {}; {} answers went without it; {} tokens{cost}",
            self.asked, self.read, self.cannot_tell, self.failed, self.not_asked, self.tokens
        )
    }

    /// Says them.
    pub fn say(&self) {
        say(self.text());
    }
}
