//! Pieces that several screens are made of.

pub mod card;
pub mod figure;
pub mod problem;
pub mod verdict;
