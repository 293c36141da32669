//! The built-in pair: the network answers as the program that trained it does, and well.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde_json::Value;
use shardscope::demo;
use shardscope::engine::{Language, Model};
use shardscope::model::{Place, WeightType};
use shardscope::picture::decode;

/// `reference.jsonl`: prompts, their tokens and the greedy answers of the PyTorch code that trained the model, in
/// float32 with the published (bf16) weights.
#[test]
fn the_network_answers_as_the_code_that_trained_it() {
    let checkpoint = Arc::new(demo::checkpoint().unwrap());
    let language = Language::open(&checkpoint).unwrap();
    let place = Place::cpu();
    let model =
        Model::load(checkpoint, language, WeightType::Stored, &|_| place.clone(), &mut |_| true).unwrap();
    let dataset = demo::dataset().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo/reference.jsonl");
    let rows: Vec<Value> = std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.len() >= 40);
    for row in rows {
        let index = row["index"].to_string();
        let question = dataset.question(dataset.find(index.trim_matches('"')).unwrap()).unwrap();
        let bytes = dataset.image_bytes(&question.images[0]).unwrap();
        let tiles = model.tiling(6).cut(&decode(&bytes, "image").unwrap());
        let shape = (tiles.count, 3, tiles.side as usize, tiles.side as usize);
        let pixels = Tensor::from_vec(tiles.pixels, shape, &Device::Cpu).unwrap();

        let numbers = |name: &str| -> Vec<u32> {
            row[name].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let ids = model.tokenizer.encode(row["prompt"].as_str().unwrap()).unwrap();
        assert_eq!(ids, numbers("prompt_ids"), "{index}");
        let features = model.network.image_features(&pixels, 1).unwrap();
        let embedded =
            model.network.embed(&ids, model.tokenizer.image_context_id(), Some(&features)).unwrap();
        let expected = numbers("ids");
        let mut cache = model.network.cache(ids.len() + expected.len());
        let mut logits = model.network.prefill(&embedded, &mut cache, 1000).unwrap();
        for id in expected {
            let likeliest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            assert_eq!(likeliest as u32, id, "{index}");
            logits = model.network.step(id, &mut cache).unwrap();
        }
    }
}

#[test]
fn the_built_in_run_ends_with_a_good_score() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_shardscope"))
        .current_dir(dir.path())
        .args(["eval", "--session", "session", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["questions"], &result["failed"]), (&Value::from(400), &Value::from(0)));
    assert!(result["accuracy"].as_f64().unwrap() >= 0.98, "{}", result["accuracy"]);
}
