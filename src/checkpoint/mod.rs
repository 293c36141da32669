//! What a model folder holds, read without loading it.

pub mod folder;
pub mod template;
pub mod tokenizer;

pub use folder::{Bytes, Folder};
