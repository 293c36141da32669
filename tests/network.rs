//! The network against transformers 5.23: seven backbones, both tower styles, both layouts.
//!
//! Each folder of `fixtures/internvl-tiny` holds a tiny random model and what the original computes for it; see the
//! README there.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use shardscope::checkpoint::{Checkpoint, Folder};
use shardscope::model::{Loading, Network, Place, WeightType};

const IMAGE_TOKEN: u32 = 301;

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/internvl-tiny");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    assert!(found.len() >= 8);
    found
}

/// The layouts of one fixture: Hugging Face beside `reference.safetensors`, GitHub in `opengvlab`.
fn layouts(fixture: &Path) -> Vec<PathBuf> {
    let all = [fixture.to_owned(), fixture.join("opengvlab")];
    let found: Vec<PathBuf> = all.into_iter().filter(|p| p.join("config.json").is_file()).collect();
    assert!(!found.is_empty(), "{}", fixture.display());
    found
}

fn load(folder: &Path) -> Network {
    let checkpoint = Checkpoint::from_folder(Folder::Disk(folder.to_owned())).unwrap();
    let place = Place::cpu();
    let mut loading =
        Loading { place: &|_| place.clone(), weight_type: WeightType::Stored, progress: &mut |_| true };
    Network::load(&checkpoint, &mut loading).unwrap()
}

struct Reference {
    pixels: Tensor,
    ids: Vec<u32>,
    features: Tensor,
    logits: Tensor,
    greedy: Vec<u32>,
}

fn reference(fixture: &Path) -> Reference {
    let tensors =
        candle_core::safetensors::load(fixture.join("reference.safetensors"), &Device::Cpu).unwrap();
    let ids = |name: &str| {
        let values = tensors[name].flatten_all().unwrap().to_vec1::<i64>().unwrap();
        values.into_iter().map(|id| id as u32).collect::<Vec<u32>>()
    };
    Reference {
        pixels: tensors["pixel_values"].clone(),
        ids: ids("input_ids"),
        features: tensors["image_features"].clone(),
        logits: tensors["logits"].squeeze(0).unwrap(),
        greedy: ids("greedy"),
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn largest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32
}

#[test]
fn features_logits_and_greedy_ids_equal_the_reference() {
    for fixture in fixtures() {
        let reference = reference(&fixture);
        for folder in layouts(&fixture) {
            let name = folder.display();
            let network = load(&folder);
            let features = network.image_features(&reference.pixels, 4).unwrap();
            let difference = largest_difference(&features, &reference.features);
            assert!(difference < 1e-5, "{name}: image features differ by {difference}");

            let embedded = network.embed(&reference.ids, IMAGE_TOKEN, Some(&features)).unwrap();
            let logits = network.all_logits(&embedded).unwrap();
            let difference = largest_difference(&logits, &reference.logits);
            assert!(difference < 1e-4, "{name}: logits differ by {difference}");

            // The reference's ids are the prompt's and what follows.
            let new = &reference.greedy[reference.ids.len()..];
            let mut cache = network.cache(reference.greedy.len());
            let mut logits = network.prefill(&embedded, &mut cache, 5).unwrap();
            for (i, expected) in new.iter().enumerate() {
                assert_eq!(largest(&logits), *expected, "{name}: token {i}");
                logits = network.step(*expected, &mut cache).unwrap();
            }
        }
    }
}

#[test]
fn decoding_with_the_cache_equals_the_full_forward_pass() {
    for fixture in fixtures() {
        let reference = reference(&fixture);
        let network = load(&layouts(&fixture)[0]);
        let features = network.image_features(&reference.pixels, 1).unwrap();
        let embedded = network.embed(&reference.greedy, IMAGE_TOKEN, Some(&features)).unwrap();
        let all = network.all_logits(&embedded).unwrap().to_vec2::<f32>().unwrap();
        let prompt = reference.ids.len();
        for chunk in [1, 3, 1000] {
            let mut cache = network.cache(reference.greedy.len());
            let start = embedded.narrow(1, 0, prompt).unwrap();
            let mut logits = network.prefill(&start, &mut cache, chunk).unwrap();
            for (position, expected) in all.iter().enumerate().skip(prompt - 1) {
                let difference = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(
                    difference < 2e-5,
                    "{}: chunk {chunk}, position {position}: {difference}",
                    fixture.display()
                );
                if position + 1 < reference.greedy.len() {
                    logits = network.step(reference.greedy[position + 1], &mut cache).unwrap();
                }
            }
        }
    }
}

#[test]
fn any_micro_batch_of_tiles_gives_equal_features() {
    for fixture in fixtures() {
        let reference = reference(&fixture);
        let network = load(&layouts(&fixture)[0]);
        let pixels = Tensor::cat(
            &[&reference.pixels, &reference.pixels.affine(0.5, 0.1).unwrap(), &reference.pixels],
            0,
        )
        .unwrap();
        let whole = network.image_features(&pixels, 100).unwrap();
        for micro_batch in [1, 2, 3, 5] {
            let parts = network.image_features(&pixels, micro_batch).unwrap();
            assert!(largest_difference(&whole, &parts) < 1e-5, "{} by {micro_batch}", fixture.display());
        }
    }
}

#[test]
fn an_answer_can_be_abandoned_between_any_two_layers() {
    let fixture = &fixtures()[0];
    let reference = reference(fixture);
    let network = load(&layouts(fixture)[0]);
    let config = network.config().clone();
    let until = |most: usize| {
        let mut asked = 0;
        move || {
            asked += 1;
            asked <= most
        }
    };
    // Two micro-batches of a tile through every block; two parts of the prompt through every layer.
    let (blocks, layers) = (2 * config.vision.used_layers, 2 * config.decoder.layers);
    for most in 0..blocks {
        let features = network.image_features_while(&reference.pixels, 1, &mut until(most)).unwrap();
        assert!(features.is_none(), "after {most} blocks");
    }
    let features = network.image_features_while(&reference.pixels, 1, &mut until(blocks)).unwrap().unwrap();
    let embedded = network.embed(&reference.ids, IMAGE_TOKEN, Some(&features)).unwrap();
    let chunk = reference.ids.len().div_ceil(2);
    for most in 0..=layers {
        let mut cache = network.cache(reference.ids.len());
        let logits = network.prefill_while(&embedded, &mut cache, chunk, &mut until(most)).unwrap();
        assert_eq!(logits.is_some(), most == layers, "after {most} layers");
    }
}
