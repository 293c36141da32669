//! A session on disk: manifest, append-only journal of answers, resume, comparison, exports and imports.
//!
//! A session is a folder. `manifest.json` says what was asked of which checkpoint under which settings and is
//! written once; `answers.jsonl` gets one line for each finished question, on the disk before the question counts
//! as done; `memory.jsonl` and `events.jsonl` tell what happened meanwhile, and `judge.jsonl` what a judge said later.

pub mod compare;
pub mod disagree;
pub mod export;
pub mod figures;
pub mod folder;
pub mod import;
pub mod journal;
pub mod judgements;
pub mod keeping;
mod lines;
pub mod list;
pub mod manifest;
pub mod overrides;
pub mod record;
pub mod report;

pub use compare::{Comparison, Flip, Paired, Side, compare};
pub use disagree::{Disagreement, Disputed, disagreement};
pub use figures::figures;
pub use folder::Session;
pub use journal::{Alternative, Answer, Event, Finish, ImageRecord, MemorySample, Seconds, TokenLogprob};
pub use judgements::{JUDGEMENTS, Judgement, Judgements, judgements};
pub use lines::LONGEST_LINE;
pub use list::{State, Summary, default_folder, list, sessions_root, unused_folder};
pub use manifest::{
    CheckpointRecord, DatasetRecord, DeviceRecord, Difference, LayoutRecord, Manifest, SCHEMA, Sampling,
    Selection, Settings,
};
pub use overrides::{Override, overrides};
pub use record::{Outline, Record};
