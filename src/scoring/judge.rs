//! A judge model as an optional last step, behind a rule: asked only about answers that the rule could not read.
//!
//! The rule's own reading never changes in silence: what the judge said, what it cost and how it failed is recorded
//! beside it, and a judge that stops answering is not asked again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::{Reading, Row, Verdict};
use crate::problem::{Problem, Result};

/// Someone who can be asked what an answer means: an endpoint, or a stand-in for tests.
pub trait Judge {
    /// The judge's name as sessions record it, with the model behind it.
    fn name(&self) -> String;

    /// Asks what the row's response chooses.
    ///
    /// # Errors
    /// Where no reply came: an endpoint that cannot be reached, a refusal, a timeout.
    fn ask(&mut self, row: &Row) -> Result<Reply>;
}

/// What a judge replied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reply {
    /// The reply word for word.
    pub text: String,
    /// What the judge takes the response to mean: a letter, yes or no, a text; nothing where it cannot tell.
    pub read: Option<String>,
    /// Tokens of the prompt, where the endpoint says so.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the reply, where the endpoint says so.
    pub reply_tokens: Option<u64>,
    /// Seconds from asking to the reply.
    pub seconds: f64,
    /// Price in the endpoint's currency, where it is known.
    pub cost: Option<f64>,
}

/// What became of asking a judge about one answer, as it stands beside the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum JudgeRecord {
    /// The judge read the answer.
    Read {
        /// The judge's name.
        judge: String,
        /// Its reply.
        reply: Reply,
    },
    /// The judge replied that it cannot tell, or named no option of the question.
    CannotTell {
        /// The judge's name.
        judge: String,
        /// Its reply.
        reply: Reply,
    },
    /// No reply came.
    Failed {
        /// The judge's name.
        judge: String,
        /// What went wrong.
        problem: String,
    },
    /// The judge was not asked, because it had stopped answering.
    NotAsked {
        /// The judge's name.
        judge: String,
        /// Why it is no longer asked.
        problem: String,
    },
}

/// After so many failures in a row a judge counts as dead.
const FAILURES_UNTIL_DEAD: u32 = 5;

/// Asks a judge about the answers that a rule could not read, until it dies.
#[derive(Debug)]
pub struct JudgeStep<J> {
    judge: J,
    failures: u32,
    dead: Option<Problem>,
}

impl<J: Judge> JudgeStep<J> {
    /// A step that asks this judge.
    pub fn new(judge: J) -> Self {
        Self { judge, failures: 0, dead: None }
    }

    /// Why the judge is no longer asked; `None` while it is.
    pub fn stopped(&self) -> Option<&Problem> {
        self.dead.as_ref()
    }

    /// Asks about a reading that is `unparsed`; every other comes back as it is, without a record. What the judge
    /// reads is judged against the row's answer; where it fails or cannot tell, the rule's reading stands.
    pub fn consider(&mut self, row: &Row, reading: Reading) -> (Reading, Option<JudgeRecord>) {
        if reading.verdict != Verdict::Unparsed {
            return (reading, None);
        }
        let judge = self.judge.name();
        if let Some(problem) = &self.dead {
            return (reading, Some(JudgeRecord::NotAsked { judge, problem: problem.to_string() }));
        }
        match self.judge.ask(row) {
            Ok(reply) => {
                self.failures = 0;
                match self.judged(row, &reply, &judge) {
                    Some(judged) => (judged, Some(JudgeRecord::Read { judge, reply })),
                    None => (reading, Some(JudgeRecord::CannotTell { judge, reply })),
                }
            }
            Err(problem) => {
                self.failures += 1;
                if self.failures >= FAILURES_UNTIL_DEAD {
                    self.dead = Some(
                        Problem::new(format!("the judge {judge} failed {} times in a row: {}", self.failures, problem.what))
                            .fix("the answers keep the rule's own reading; mend the endpoint and score the session again"),
                    );
                }
                (reading, Some(JudgeRecord::Failed { judge, problem: problem.to_string() }))
            }
        }
    }

    fn judged(&self, row: &Row, reply: &Reply, judge: &str) -> Option<Reading> {
        let read = reply.read.as_deref().map(str::trim).filter(|read| !read.is_empty())?;
        if !row.choices.is_empty() && !row.choices.contains_key(read) {
            return None;
        }
        let golds = super::gold::texts(&row.answer);
        let right = golds.iter().any(|gold| gold.trim().eq_ignore_ascii_case(read));
        let verdict = match (super::gold::is_withheld(&row.answer), right) {
            (true, _) => Verdict::Unscored,
            (false, true) => Verdict::Right,
            (false, false) => Verdict::Wrong,
        };
        Some(row.judged(Value::from(read), verdict, &format!("judge {judge}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::{AnswerType, Rule};

    /// Replies in turn; no reply is a failure.
    struct Script(Vec<Option<&'static str>>);

    impl Judge for Script {
        fn name(&self) -> String {
            "script".into()
        }

        fn ask(&mut self, _row: &Row) -> Result<Reply> {
            match self.0.pop().flatten() {
                Some(read) => Ok(Reply { text: read.into(), read: Some(read.into()), ..Reply::default() }),
                None => Err(Problem::new("no connection")),
            }
        }
    }

    fn row(response: &str) -> Row {
        Row {
            id: Value::Null,
            answer_type: AnswerType::Option,
            choices: [("A", "cat"), ("B", "dog")]
                .map(|(k, v)| (k.to_owned(), v.into()))
                .into_iter()
                .collect(),
            response: response.to_owned(),
            answer: "B".into(),
            dataset: None,
        }
    }

    #[test]
    fn a_judge_is_asked_only_about_what_no_rule_could_read() {
        let mut step = JudgeStep::new(Script(vec![Some("Q"), Some("B")]));
        let clear = row("A");
        let reading = Rule::Shardscope.read(&clear);
        assert_eq!(step.consider(&clear, reading.clone()), (reading, None));
        let unclear = row("The one that barks");
        let (reading, record) = step.consider(&unclear, Rule::Shardscope.read(&unclear));
        assert_eq!((reading.verdict, reading.by.as_str()), (Verdict::Right, "judge script"));
        assert!(matches!(record, Some(JudgeRecord::Read { .. })));
        let (reading, record) = step.consider(&unclear, Rule::Shardscope.read(&unclear));
        assert_eq!(reading.verdict, Verdict::Unparsed);
        assert!(matches!(record, Some(JudgeRecord::CannotTell { .. })));
    }

    #[test]
    fn a_dead_judge_is_not_asked_again_and_changes_nothing() {
        let mut step = JudgeStep::new(Script(vec![Some("B")]));
        let unclear = row("?");
        let rule = Rule::Shardscope.read(&unclear);
        step.consider(&unclear, rule.clone());
        for _ in 0..FAILURES_UNTIL_DEAD {
            assert!(step.stopped().is_none());
            let (reading, record) = step.consider(&unclear, rule.clone());
            assert_eq!(reading, rule);
            assert!(matches!(record, Some(JudgeRecord::Failed { .. })));
        }
        assert!(step.stopped().is_some_and(|problem| problem.what.contains("no connection")));
        let (reading, record) = step.consider(&unclear, rule.clone());
        assert_eq!(reading, rule);
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains("\"outcome\":\"not_asked\""), "{line}");
    }
}
