//! Pieces that several screens are made of.

pub mod button;
pub mod card;
pub mod empty;
pub mod field;
pub mod figure;
pub mod icon;
pub mod modal;
pub mod plot;
pub mod problem;
pub mod progress;
pub mod table;
pub mod toast;
pub mod verdict;

pub use icon::Icon;
