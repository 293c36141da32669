//! The manifest of a session: what is read can be written and read again, and agrees with itself.
#![no_main]

use shardscope::session::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert_eq!(manifest.differences(&manifest), []);
    let Ok(written) = serde_json::to_vec(&manifest) else { return };
    assert!(Manifest::parse(&written).is_ok());
});
