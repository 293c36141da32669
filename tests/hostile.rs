//! Damaged and hostile files in every format: a clear problem, never a panic, never a huge allocation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use proptest::prelude::*;
use shardscope::dataset::{Dataset, Style, prompt};
use shardscope::picture::{decode, dimensions};

/// How a file is damaged.
#[derive(Debug, Clone)]
struct Damage {
    /// Part of the file that is left.
    left: f64,
    /// Places (parts of the file) and the bytes written there.
    flips: Vec<(f64, u8)>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let left = prop_oneof![Just(1.0), 0.0..1.0f64];
    // Headers and footers decide most, so places are drawn towards both ends.
    let place = prop_oneof![0.0..1.0f64, 0.0..0.002f64, 0.995..1.0f64];
    (left, proptest::collection::vec((place, any::<u8>()), 0..6))
        .prop_map(|(left, flips)| Damage { left, flips })
}

impl Damage {
    fn of(&self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound[..(sound.len() as f64 * self.left) as usize].to_vec();
        for &(place, byte) in &self.flips {
            let at = (sound.len() as f64 * place) as usize;
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        bytes
    }
}

/// Opens a file of these bytes and asks for everything in it; problems are fine and must be said.
fn ask_everything(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let said = |problem: shardscope::Problem| {
        assert!(!problem.what.is_empty());
        assert!(problem.to_string().contains(name), "{problem}");
    };
    let dataset = match Dataset::open(&path) {
        Ok(dataset) => dataset,
        Err(problem) => return said(problem),
    };
    if let Err(problem) = dataset.outlines() {
        said(problem);
    }
    for row in 0..dataset.len().min(30) {
        match dataset.question(row) {
            Ok(question) => {
                for style in Style::ALL {
                    let _ = prompt::build(&dataset, &question, style, None);
                }
                for image in &question.images {
                    if let Err(problem) = dataset.image_bytes(image) {
                        said(problem);
                    }
                }
            }
            Err(problem) => said(problem),
        }
    }
    let _ = dataset.find("3");
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset").join(name)).unwrap()
}

const LINES: &str = r#"{"index": 1, "question": "q", "options": ["a", "b"], "answer": "A", "image": "data:image/png;base64,iVBORw0KGgo="}
{"question": "x", "answer": ["1", "one"], "type": "short", "images": ["a.png", 7, null]}
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_tsv(damage in damage()) {
        ask_everything("easy.tsv", &damage.of(&fixture("easyvqa_head.tsv")));
    }

    #[test]
    fn damaged_parquet(damage in damage()) {
        ask_everything("like.parquet", &damage.of(&fixture("MMMU_like.parquet")));
    }

    #[test]
    fn damaged_json_lines(damage in damage()) {
        ask_everything("own.jsonl", &damage.of(LINES.as_bytes()));
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), ending in "(tsv|csv|jsonl|parquet|dat)") {
        ask_everything(&format!("random.{ending}"), &bytes);
        let _ = decode(&bytes, "random");
    }

    #[test]
    fn random_tables(text in "(question|image|A|B|answer|index|\t|\n|\"|\\[|'|,|1|2){0,60}") {
        ask_everything("random.tsv", text.as_bytes());
        ask_everything("random.csv", text.as_bytes());
    }
}

/// The same picture in every format.
fn pictures() -> Vec<(&'static str, Vec<u8>)> {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let picture =
        image::RgbImage::from_fn(23, 17, |x, y| image::Rgb([(x * 11) as u8, (y * 15) as u8, (x * y) as u8]));
    [("png", Png), ("jpeg", Jpeg), ("webp", WebP), ("bmp", Bmp), ("gif", Gif), ("tiff", Tiff)]
        .map(|(name, format)| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).unwrap();
            (name, bytes.into_inner())
        })
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_pictures(damage in damage()) {
        for (name, sound) in pictures() {
            let bytes = damage.of(&sound);
            let _ = dimensions(&bytes, name);
            if let Err(problem) = decode(&bytes, name) {
                assert_eq!(problem.place.as_deref(), Some(name));
            }
        }
    }
}

/// Found by fuzzing: the decoder panics at it.
#[test]
fn a_palette_of_one_byte_is_refused() {
    let bytes = include_bytes!("../fuzz/corpus/picture/png-palette-of-one-byte");
    let problem = decode(bytes, "palette.png").unwrap_err();
    assert!(problem.what.contains("damaged"), "{problem}");
}

#[test]
fn cut_off_pictures_are_refused() {
    for (name, sound) in pictures() {
        assert!(decode(&sound, name).is_ok(), "{name}");
        for left in [0, 1, 8, sound.len() / 2, sound.len() - 30] {
            assert!(decode(&sound[..left], name).is_err(), "{name} of {left} bytes");
        }
    }
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    let (_, mut png) = pictures().swap_remove(0);
    png[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let mut table = [0u32; 256];
    for (byte, entry) in (0u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(byte, |crc, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 });
    }
    let crc = !png[12..29].iter().fold(!0u32, |crc, &byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let problem = decode(&png, "bomb.png").unwrap_err();
    assert!(problem.what.contains("60000 x 60000"), "{problem}");
    assert!(dimensions(&png, "bomb.png").is_err());
    let deep = format!("{{\"question\": {}1", "[".repeat(200_000));
    ask_everything("deep.jsonl", deep.as_bytes());
    let list = format!("index\timage\tquestion\n1\t{}\tq\n", "[".repeat(200_000));
    ask_everything("deep.tsv", list.as_bytes());
    let wide = format!("question{}\nq{}\n", "\ta".repeat(20_000), "\tb".repeat(100_000));
    ask_everything("wide.tsv", wide.as_bytes());
}
