//! Shardscope: evaluate vision-language models on your own workstation.
//!
//! A **checkpoint**, a **dataset** and the **devices** give a **plan**; the **engine** runs the plan on a
//! background thread and sends **events**; a **session** on disk keeps every answer. `ARCHITECTURE.md` is the map.

// Tests may; a program that people trust with a night's run may not.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod app;
pub mod checkpoint;
pub mod cli;
pub mod dataset;
pub mod demo;
pub mod devices;
pub mod endpoint;
pub mod engine;
pub mod evaluation;
pub mod literal;
pub mod model;
pub mod picture;
pub mod plan;
pub mod problem;
pub mod scoring;
pub mod session;
pub mod soft_render;
pub mod terminal;
pub mod words;

pub use problem::{Problem, Result};
