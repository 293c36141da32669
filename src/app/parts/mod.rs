//! Pieces that several screens are made of.

pub mod card;
pub mod problem;
