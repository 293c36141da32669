//! The window: screens that draw snapshots, wishes that they send, and one place that applies them.
//!
//! ```text
//! screens ── read ──> App (workspace, run, sessions …) <── events ── jobs, engine
//!    └────── wishes ──> App::apply
//! ```
//!
//! A frame draws and nothing else: no file, no waiting, no decoding. Whatever takes time is a [`job::Job`], or the
//! engine's worker, and wakes the window when it has something new. Each screen is parted into what it shows (plain
//! data), where things stand, and how they are drawn.

pub mod ask;
mod bar;
pub mod board;
pub mod chosen;
pub mod dialog;
pub mod habits;
pub mod job;
pub mod language;
pub mod offscreen;
mod overlay;
pub mod parts;
pub mod pictures;
pub mod present;
pub mod render;
pub mod results;
pub mod run;
pub mod served;
pub mod sessions;
pub mod setup;
pub mod shell;
pub mod shortcut;
pub mod text;
pub mod theme;
mod window;
pub mod wish;
pub mod workspace;

pub use habits::Habits;
pub use shell::{App, Screen};
pub use window::{open, remembered};
pub use wish::{Wish, Wishes};
pub use workspace::Workspace;
