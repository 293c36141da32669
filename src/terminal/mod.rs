//! A run without a window: progress, score, summary.

pub mod devices;
pub mod plan;
pub mod plan_text;
