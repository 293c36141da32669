//! Reading answers and judging them: versioned rules, accuracy with intervals.

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
