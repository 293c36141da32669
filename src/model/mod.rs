//! The networks in candle: vision tower, projector, decoder, cache, generation.

pub mod attention;
pub mod host;
pub mod linear;
