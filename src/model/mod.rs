//! The networks in candle: vision tower, projector, decoder, cache, generation.
//!
//! A unit lies on a place and is given what it computes with there, so that every unit can sit on a device of its own.

pub mod activation;
pub mod attention;
pub mod cache;
mod copies;
pub mod decoder;
pub mod experts;
pub mod host;
pub mod linear;
pub mod network;
pub mod norm;
pub mod passes;
pub mod place;
pub mod rotary;
pub mod vision;
pub mod weights;

pub use cache::{Cache, Kept};
pub use network::{Loading, Network};
pub use passes::{Route, RowPass, Segment, Span, TilePass, Wanted};
pub use place::{Place, Placement};
pub use weights::WeightType;
