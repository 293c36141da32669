//! A file of parquet.
#![no_main]

#[path = "asked.rs"]
mod asked;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asked::everything("fuzzed.parquet", bytes));
