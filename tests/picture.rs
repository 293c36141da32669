//! Pictures against Pillow 12.0.0, torchvision and OpenGVLab's tiling.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use image::RgbImage;
use sha2::{Digest, Sha256};
use shardscope::picture::{Filter, Tiling, decode, dimensions, resize};

fn fixture(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/fixtures/picture/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The generated picture that `tools/resize_reference.py` describes.
fn generated(width: u32, height: u32, smooth: bool) -> RgbImage {
    let mut state = u64::from(width) * 1_000_003 + u64::from(height);
    let mut bytes = Vec::with_capacity((width * height * 3) as usize);
    for i in 0..width * height * 3 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut byte = (state >> 56) as u32;
        if smooth {
            let (x, y) = ((i / 3) % width, (i / 3) / width);
            byte = byte / 8 + 2 * x + 3 * y;
        }
        bytes.push(byte as u8);
    }
    RgbImage::from_raw(width, height, bytes).unwrap()
}

#[test]
fn resizing_equals_pillow_byte_by_byte() {
    let reference = fixture("resize.json");
    let rows = reference["rows"].as_array().unwrap();
    assert!(rows.len() > 300);
    for row in rows {
        let number = |i: usize| row[i].as_u64().unwrap() as u32;
        let picture = generated(number(0), number(1), row[2].as_bool().unwrap());
        let filter = if row[5] == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
        let resized = resize(&picture, number(3), number(4), filter);
        let digest: String =
            Sha256::digest(resized.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, row[6].as_str().unwrap(), "{row}");
    }
}

#[test]
fn grids_equal_opengvlab_in_every_golden_row() {
    let reference = fixture("tiling.json");
    let rows = reference["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 574);
    for row in rows {
        let number = |i: usize| row[i].as_u64().unwrap() as u32;
        let tiling = Tiling { side: 448, min_tiles: 1, max_tiles: number(2), thumbnail: true };
        let grid = tiling.grid(number(0), number(1));
        assert_eq!(
            (grid.cols, grid.rows, tiling.count(grid) as u32),
            (number(3), number(4), number(5)),
            "{row}"
        );
    }
}

fn bytes_of(text: &serde_json::Value) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
}

#[test]
fn every_kind_of_file_decodes_as_pillow_converts_it() {
    let mut different = Vec::new();
    for row in fixture("decode.json").as_array().unwrap() {
        let file = bytes_of(&row["file"]);
        let name = row["name"].as_str().unwrap();
        match decode(&file, name) {
            Ok(picture) if serde_json::json!([picture.width(), picture.height()]) != row["size"] => {
                different.push(format!("{name}: another size"));
            }
            Ok(picture) => {
                assert_eq!(dimensions(&file, name).unwrap(), picture.dimensions());
                let allowed = row["allowed"].as_u64().unwrap() as u8;
                let expected = bytes_of(&row["rgb"]);
                let mut pairs = picture.as_raw().iter().zip(&expected);
                if let Some(at) = pairs.position(|(ours, theirs)| ours.abs_diff(*theirs) > allowed) {
                    different.push(format!(
                        "{name}: byte {at} is {}, not {}",
                        picture.as_raw()[at],
                        expected[at]
                    ));
                }
            }
            Err(problem) => different.push(problem.to_string()),
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn tiles_are_normalised_to_the_bits_of_torchvision() {
    let picture = RgbImage::from_fn(16, 16, |x, y| image::Rgb([(y * 16 + x) as u8; 3]));
    let tiles = Tiling { side: 16, min_tiles: 1, max_tiles: 1, thumbnail: true }.cut(&picture);
    assert_eq!((tiles.count, tiles.pixels.len()), (1, 3 * 256));
    let expected: Vec<i32> = fixture("levels.json")
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|channel| channel.as_array().unwrap())
        .map(|bits| bits.as_i64().unwrap() as i32)
        .collect();
    let bits: Vec<i32> = tiles.pixels.iter().map(|value| value.to_bits() as i32).collect();
    assert_eq!(bits, expected);
}

#[test]
fn tiles_go_row_by_row_and_the_thumbnail_comes_last() {
    // Four columns and two rows, each tile of its own level.
    let picture = RgbImage::from_fn(32, 16, |x, y| image::Rgb([(x / 8 * 40 + y / 8 * 20) as u8; 3]));
    let tiling = Tiling { side: 8, min_tiles: 1, max_tiles: 8, thumbnail: true };
    let tiles = tiling.cut(&picture);
    assert_eq!((tiles.grid.cols, tiles.grid.rows, tiles.count), (4, 2, 9));
    let level = |value: f32| ((value * 0.229 + 0.485) * 255.0).round() as u32;
    for (tile, pixels) in tiles.pixels.chunks(3 * 64).take(8).enumerate() {
        let expected = (tile % 4 * 40 + tile / 4 * 20) as u32;
        assert!(pixels[..64].iter().all(|&value| level(value) == expected), "tile {tile}");
    }
    let small = resize(&picture, 8, 8, Filter::Bicubic);
    let thumbnail = &tiles.pixels[8 * 3 * 64..];
    assert!(small.pixels().zip(thumbnail).all(|(pixel, &value)| level(value) == u32::from(pixel[0])));
    // Doubled first, the same picture has four times the pixels; its shape stays.
    assert_eq!(tiling.cut_enlarged(&picture, 2).grid, tiles.grid);
    assert_eq!(tiling.count_for(8, 8, 1), 1);
    assert_eq!(tiling.count_for(8, 8, 2), 5);
}
