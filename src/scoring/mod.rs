//! Reading answers and judging them: versioned rules, accuracy with intervals.
//!
//! A [`Row`] holds what was asked and answered, a [`Rule`] makes a [`Reading`] of it: what it read, the verdict, the
//! step that decided and the bytes it read. Rules are pure functions with a name and a version; [`shardscope`] is our
//! own, [`vlmevalkit`] and [`mmmu`] reproduce the originals row by row. [`Report`] and [`aggregate`] turn judged rows
//! into figures, [`compare`] sets two runs or two rules against each other, [`judge`] is the boundary of a judge model
//! behind a rule, [`read_answers`] does it all for JSON lines.
//!
//! [`python`], [`literal`] and [`mersenne`] hold what the originals take from their language, [`vqa`] the metrics of
//! short answers.

pub mod accuracy;
pub mod aggregate;
pub mod answers;
pub mod benchmark;
pub mod compare;
mod gold;
pub mod judge;
pub mod mersenne;
pub mod mmmu;
pub mod python;
pub mod reading;
pub mod rule;
pub mod shardscope;
pub mod vlmevalkit;
pub mod vqa;

pub use accuracy::{Accuracy, Groups, Judged, Report};
pub use answers::{ReadSummary, read_answers};
pub use compare::{Comparison, Disagreement, disagreements, mcnemar};
pub use reading::{AnswerType, Reading, Row, Verdict};
pub use rule::Rule;
