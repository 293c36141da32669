//! Free questions to a served model, one after another, each sent once.

use super::Service;
use super::asker::heard;
use super::letter::letter;
use crate::Result;
use crate::dataset::{Dataset, Question};
use crate::endpoint::{Cause, Endpoint};
use crate::engine::RunSettings;
use crate::engine::asking::blank;
use crate::engine::talk::{Said, Talk};

/// What is needed to answer.
pub struct Ordered {
    /// The model.
    pub endpoint: Endpoint,
    /// How it is asked.
    pub service: Service,
    /// Under whose profile questions are asked.
    pub dataset: Dataset,
    /// How they are asked.
    pub settings: RunSettings,
}

/// Starts a conversation. Nothing is sent before the first question. What is under way is broken off by
/// [`Endpoint::shut`].
///
/// # Errors
/// The system gives no thread.
pub fn start(ordered: Ordered) -> Result<Talk> {
    Talk::working(move |inbox, say, goes_on| {
        say(Said::Loaded);
        for (number, question) in inbox {
            let said = match goes_on(number) {
                true => answer(&ordered, number, &question, say, goes_on),
                false => Said::Stopped { number },
            };
            say(said);
        }
        Ok(())
    })
}

fn answer(
    ordered: &Ordered,
    number: u64,
    question: &Question,
    say: &dyn Fn(Said) -> bool,
    goes_on: &dyn Fn(u64) -> bool,
) -> Said {
    let Ordered { endpoint, service, dataset, settings } = ordered;
    let letter = match letter(endpoint.model(), dataset, question, settings, service) {
        Ok(letter) => letter,
        Err(problem) => return Said::Failed { number, problem },
    };
    let reply = endpoint.ask(&letter.body, settings.max_new_tokens, &mut |more| {
        let heard = more.is_empty() || say(Said::Text { number, text: more.to_owned() });
        heard && goes_on(number)
    });
    match reply {
        Ok(reply) => {
            Said::Answered { number, answer: Box::new(heard(blank(question, dataset), &letter, &reply)) }
        }
        Err(fault) if fault.cause == Cause::Stopped || !goes_on(number) => Said::Stopped { number },
        Err(fault) => Said::Failed { number, problem: fault.problem },
    }
}
