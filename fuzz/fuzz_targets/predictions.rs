//! Files of predictions made elsewhere: the first byte chooses the format, the rest is the file.
#![no_main]

#[path = "read.rs"]
mod read;

use shardscope::session::import::{Names, import};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (Some((kind, file)), Ok(folder)) = (bytes.split_first(), tempfile::tempdir()) else { return };
    let ending = ["tsv", "json", "jsonl", "xlsx"][usize::from(*kind) % 4];
    let path = folder.path().join(format!("model_dataset.{ending}"));
    let session = folder.path().join("session");
    if std::fs::write(&path, file).is_ok() && import(&path, &session, &Names::default(), &mut |_| ()).is_ok() {
        read::everything(&session);
    }
});
