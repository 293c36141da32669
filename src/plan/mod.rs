//! Where every unit goes and what each device will hold; pure functions on plain data.
//!
//! ```text
//! ModelShape ─> Model (units) ─┐
//! devices ─────────────────────┼─> planner ─> Plan ─> forecast, checks, edits, report
//! assumptions, workload ───────┘
//! ```
//!
//! Nothing here touches a file, a driver or a tensor, and nothing panics on any input: sizes are `u64` bytes added
//! with saturation, and a refusal is a value.

pub mod accelerate;
pub mod assumptions;
pub mod bytes;
pub mod calibration;
pub mod cards;
pub mod catalogue;
pub mod checks;
pub mod cost;
pub mod cpu_run;
pub mod device;
pub mod device_map;
pub mod edits;
pub mod exchange;
pub mod forecast;
pub mod launch;
pub mod layout;
pub mod mistralrs;
pub mod naming;
pub mod needs;
pub mod planner;
pub mod presets;
pub mod replicas;
pub mod report;
pub mod shape;
pub mod shape_config;
pub mod spec;
pub mod stages;
pub mod unit;
pub mod visible;
pub mod workload;

pub use assumptions::{Assumptions, AttentionKind, Dtype, Engine, Kept, Logits, Source, Sourced};
pub use calibration::Calibration;
pub use cost::{CostTable, Holding};
pub use device::{Device, DeviceKind};
pub use forecast::{Forecast, Forecaster, Verdict};
pub use layout::{Layout, Plan, Split};
pub use planner::Case;
pub use shape::ModelShape;
pub use unit::{Model, Unit, UnitKind};
pub use workload::{QuestionCost, Shared, Shares, Workload};
