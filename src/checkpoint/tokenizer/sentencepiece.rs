//! The sentencepiece algorithm.
