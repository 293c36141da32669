//! A picture file.
#![no_main]

use shardscope::picture::{Tiling, decode, dimensions};

libfuzzer_sys::fuzz_target!(init: {
    // A panic that is caught inside is no fault; one that comes out still ends the run.
    std::panic::set_hook(Box::new(|_| {}));
}, |bytes: &[u8]| {
    let size = dimensions(bytes, "fuzzed");
    if let Ok(picture) = decode(bytes, "fuzzed") {
        assert_eq!(size.ok(), Some(picture.dimensions()));
        if picture.width() < 2000 && picture.height() < 2000 {
            Tiling { side: 28, min_tiles: 1, max_tiles: 6, thumbnail: true }.cut(&picture);
        }
    }
});
