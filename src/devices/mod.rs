//! GPUs seen through NVML, what devices hold, memory sampling.
//!
//! The driver's library is loaded at run time: a machine without one is a machine without GPUs, not an error.

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod driver;
pub mod find;
pub mod host;
pub mod meter;
pub mod sampler;

pub use driver::{Driver, Gpu, Pair, Process};
pub use meter::{Meter, Part, Parts};
pub use sampler::{Alarm, Reading, Sampler, Settings};
