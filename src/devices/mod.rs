//! GPUs seen through NVML, simulated devices, memory sampling.
//!
//! The driver's library is loaded at run time: a machine without one is a machine without GPUs, not an error.

pub mod driver;
pub mod find;
pub mod host;
pub mod sampler;

pub use driver::{Driver, Gpu, Pair, Process};
pub use sampler::{Alarm, Reading, Sampler, Settings};
