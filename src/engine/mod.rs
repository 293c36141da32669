//! The worker that answers questions: load, prepare, generate; commands in, events out.
//!
//! One thread ([`worker`]) owns the run. Others make questions ready ahead of their turn ([`ahead`]), compute what lies on
//! a place ([`stages`]), and judge and keep answers ([`keeping`]); what goes where next is the [`scheduler`]'s. An answer is
//! on the disk before it is said to be done; whoever started the run (terminal or window) only listens.

pub mod ahead;
pub mod asking;
pub mod costs;
mod flight;
mod flow;
pub mod generation;
pub mod keeping;
pub mod ladder;
pub mod memory;
pub mod model;
pub mod order;
pub mod pace;
pub mod reuse;
pub mod scheduler;
pub mod served;
pub mod stages;
pub mod talk;
pub mod worker;

pub use asking::{Asked, RunSettings};
pub use generation::Sampling;
pub use memory::Forecasting;
pub use model::{Language, Model};
pub use order::{Command, Event, Learn, Neighbours, Order};
pub use scheduler::{Admission, Need, Settings as Schedule};
pub use worker::Run;
