//! A run without a window: progress, score, summary.
