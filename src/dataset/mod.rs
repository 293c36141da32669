//! Datasets: questions with their images, read lazily.

pub mod question;

pub use question::{ImageRef, Question, QuestionKind};
