//! Whole checkpoints of four decoder families against the original implementations: tokens, tiles, greedy answers.
//!
//! What each fixture is for, and how its answers were made, stands in `fixtures/checkpoints/README.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use shardscope::checkpoint::Checkpoint;
use shardscope::dataset::Dataset;
use shardscope::engine::asking::{ask, prepare};
use shardscope::engine::{Language, Model, RunSettings};
use shardscope::model::{Place, WeightType};
use shardscope::session::journal::Finish;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints")
}

fn load(name: &str) -> Model {
    let checkpoint = Arc::new(Checkpoint::open(fixtures().join(name).to_str().unwrap()).unwrap());
    let language = Language::open(&checkpoint).unwrap();
    let place = Place::cpu();
    Model::load(checkpoint, language, WeightType::Stored, &|_| place.clone(), &mut |_| true).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

/// Asks every question with the prompt taken in whole and in parts: neither may change an answer.
fn answers_equal(name: &str) {
    let model = load(name);
    let dataset = Dataset::open(&fixtures().join("small.tsv")).unwrap();
    let expected = std::fs::read_to_string(fixtures().join(name).join("expected.jsonl")).unwrap();
    let expected: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(expected.len(), dataset.len());
    let (mut stopped, mut long) = (0, 0);
    for (row, expected) in expected.iter().enumerate() {
        let question = dataset.question(row).unwrap();
        assert_eq!(question.index, expected["index"].as_str().unwrap());
        for prefill_chunk in [4096, 50] {
            let place = format!("{name}, question {}, {prefill_chunk} positions at a time", question.index);
            let settings = RunSettings { max_new_tokens: 24, prefill_chunk, ..RunSettings::default() };
            let asked = prepare(&model, &dataset, &question, &settings).unwrap();
            assert_eq!(asked.ids, numbers(&expected["prompt_ids"]), "{place}");
            let tiles: Vec<u32> = asked.images.iter().map(|image| image.grid[0] * image.grid[1]).collect();
            let tiles: Vec<u32> = tiles.iter().map(|n| if *n > 1 { n + 1 } else { *n }).collect();
            assert_eq!(tiles, numbers(&expected["tiles"]), "{place}");

            let answer = ask(&model, &dataset, &question, &settings, &mut |_| true).unwrap().unwrap();
            assert_eq!(answer.output_ids, numbers(&expected["ids"]), "{place}");
            assert_eq!(answer.response, expected["text"].as_str().unwrap(), "{place}");
            stopped += usize::from(answer.finish == Finish::Stop);
        }
        let limit = model.checkpoint.config.decoder.max_positions as u64;
        long += usize::from(expected["prompt_tokens"].as_u64().unwrap() > limit);
    }
    assert!(stopped > 0, "{name}: no answer ends by itself");
    assert!(long > 0 || !name.contains("dynamic"), "{name}: no prompt is beyond the model's length");
}

#[test]
fn llama_in_three_shards_with_a_beginning_token() {
    answers_equal("llama-bos");
}

#[test]
fn internlm2_beyond_its_length() {
    answers_equal("internlm2-dynamic");
}

#[test]
fn qwen3_from_vocabulary_and_merges() {
    answers_equal("qwen3-merges");
}

#[test]
fn phi3_across_its_original_length() {
    answers_equal("phi3-longrope");
}
