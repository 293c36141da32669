//! Reading answers and judging them: versioned rules, accuracy with intervals.

pub mod literal;
pub mod python;
pub mod reading;

pub use reading::{AnswerType, Reading, Row, Verdict};
