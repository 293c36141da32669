//! What a check says: a finding, and what would mend it.

use crate::plan::assumptions::Assumptions;
use crate::plan::forecast::Verdict;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It may go wrong, or is slower than it need be.
    Warning,
    /// It goes wrong.
    Error,
}

/// What a fix would lead to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Worst share of usable memory afterwards.
    pub worst_share: f64,
    /// The verdict afterwards.
    pub verdict: Verdict,
}

/// What a fix changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The assumptions.
    Assumptions(Box<Assumptions>),
    /// Where units lie.
    Assignment(Vec<usize>),
    /// Something outside the plan that the user does.
    Outside,
}

/// A way to mend a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// What to do, as a sentence.
    pub what: String,
    /// What it changes.
    pub change: Change,
    /// What it leads to, planned anew.
    pub outcome: Option<Outcome>,
    /// Whether it changes what is measured (answers or images), not only how.
    pub changes_results: bool,
}

/// Something to know about a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// A stable word for it.
    pub code: &'static str,
    /// What it is and what it would lead to.
    pub message: String,
    /// What would mend it, the least harmful first.
    pub fixes: Vec<Fix>,
}

impl Finding {
    pub(super) fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), fixes: Vec::new() }
    }

    pub(super) fn fix(mut self, what: impl Into<String>, change: Change) -> Self {
        self.fixes.push(Fix { what: what.into(), change, outcome: None, changes_results: false });
        self
    }
}
