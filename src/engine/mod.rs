//! The worker that answers questions: load, prepare, generate; commands in, events out.
//!
//! One thread owns the model and the session. It asks the questions in order, judges every answer, and keeps it on
//! disk before it says that it is done; whoever started it (terminal or window) only listens.

pub mod asking;
pub mod costs;
pub mod generation;
pub mod memory;
pub mod model;
pub mod pace;
pub mod served;
pub mod worker;

pub use asking::{Asked, RunSettings};
pub use generation::Sampling;
pub use memory::Forecasting;
pub use model::{Language, Model};
pub use worker::{Command, Event, Order, Run};
