//! Pictures against Pillow 12.0.0, torchvision and OpenGVLab's tiling.

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
            Ok(picture) if picture.as_raw() != &bytes_of(&row["rgb"]) => {
                let expected = bytes_of(&row["rgb"]);
                let at =
                    picture.as_raw().iter().zip(&expected).position(|(ours, theirs)| ours != theirs).unwrap();
                different.push(format!(
                    "{name}: byte {at} is {} and not {}",
                    picture.as_raw()[at],
                    expected[at]
                ));
            }
            Ok(picture) => assert_eq!(dimensions(&file, name).unwrap(), picture.dimensions()),
            Err(problem) => different.push(problem.to_string()),
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
