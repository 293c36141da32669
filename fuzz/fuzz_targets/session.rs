//! The answers of a session, in whatever state a crash or a stranger left them.
#![no_main]

#[path = "read.rs"]
mod read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(folder) = tempfile::tempdir() else { return };
    if read::begin(folder.path()) && std::fs::write(folder.path().join("answers.jsonl"), bytes).is_ok() {
        read::everything(folder.path());
    }
});
