//! Pieces that several screens are made of.

pub mod button;
pub mod card;
pub mod empty;
pub mod icon;
pub mod problem;
pub mod progress;
pub mod table;
pub mod toast;

pub use icon::Icon;
