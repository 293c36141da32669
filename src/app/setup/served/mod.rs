//! A served model in the setup: its address and key, what it said of itself, and how it is asked.

mod card;
mod form;
mod settings;

pub use card::served_ui;
pub use form::form_ui;
pub use settings::{asked_ui, more_ui};
