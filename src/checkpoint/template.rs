//! Prompt templates of every InternVL version.
