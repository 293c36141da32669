//! A served model as a judge.

use serde::{Deserialize, Serialize};

use super::{Endpoint, Message};
use crate::scoring::judge::{Judge, Reply};
use crate::{Problem, Result};

/// Longest reply of a judge, in tokens: a letter or a few words, with room for a model that thinks first.
const LONGEST_REPLY: u32 = 1024;

/// What a million tokens cost, in the endpoint's currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Of prompts.
    pub input: f64,
    /// Of replies.
    pub output: f64,
}

/// An endpoint that is asked what answers mean.
#[derive(Debug, Clone)]
pub struct EndpointJudge {
    endpoint: Endpoint,
    price: Option<Price>,
}

impl EndpointJudge {
    /// A judge at an endpoint; without a price no cost is reckoned.
    pub fn new(endpoint: Endpoint, price: Option<Price>) -> Self {
        Self { endpoint, price }
    }
}

impl Judge for EndpointJudge {
    fn name(&self) -> String {
        format!("{} at {}", self.endpoint.model(), self.endpoint.address().host())
    }

    fn ask(&mut self, prompt: &str) -> Result<Reply> {
        let completion = self.endpoint.complete(&[Message::user(prompt)], LONGEST_REPLY)?;
        if completion.is_cut {
            return Err(Problem::new(format!("the judge's reply was cut after {LONGEST_REPLY} tokens"))
                .fix("choose a judge that answers briefly"));
        }
        let usage = completion.usage;
        let cost = self.price.and_then(|price| {
            let millions = |tokens: Option<u64>| Some(tokens? as f64 / 1e6);
            Some(
                millions(usage.prompt_tokens)? * price.input
                    + millions(usage.completion_tokens)? * price.output,
            )
        });
        Ok(Reply {
            text: completion.text,
            prompt_tokens: usage.prompt_tokens,
            reply_tokens: usage.completion_tokens,
            cost,
        })
    }
}
