//! `plan` as people call it.

use super::*;
use crate::evaluation::facts::{CheckpointFacts, catalogue_or_config};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PlanArgs,
}

fn answer(line: &str) -> Result<String> {
    let args = Line::try_parse_from(std::iter::once("plan").chain(line.split_whitespace())).unwrap().args;
    let questions = |_: &str, _: &CheckpointFacts, _: &PlanArgs| {
        let question = |i: u64| {
            let tiles = [13, 26, 65, 70, 1][i as usize % 5];
            QuestionCost {
                id: format!("validation_{i}"),
                tiles,
                prompt_tokens: tiles * 256 + 90 + i % 30,
                ..QuestionCost::default()
            }
        };
        Ok((0..900).map(question).collect())
    };
    let devices = |spec: &DeviceSpec| match spec {
        DeviceSpec::Simulated(devices) => Ok(devices.clone()),
        _ => Err(Problem::new("no such devices here")),
    };
    let sources = Sources {
        checkpoint: &catalogue_or_config,
        dataset: &questions,
        devices: &devices,
        host_memory: None,
        calibration: &|_| Ok(Calibration::default()),
    };
    let mut out = Vec::new();
    run(&args, &sources, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn the_text_shows_every_gpu_and_the_heaviest_question() {
    let text = answer("--checkpoint InternVL2-Llama3-76B --devices sim:8x40GiB --dataset mmmu").unwrap();
    for wanted in [
        "InternVL2-Llama3-76B",
        "sim:0",
        "sim:7",
        "900 questions",
        "fits",
        "keys and values",
        "run out first",
        "at 50 to 60 %",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    assert_eq!(
        text.lines().filter(|line| line.starts_with("validation_")).count(),
        10,
        "the ten heaviest:\n{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 140), "a line is too long:\n{text}");
}

#[test]
fn json_has_what_scripts_rely_on() {
    let text = answer("--checkpoint InternVL2-76B --devices sim:8x40GiB --dataset mmmu --json").unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["units"].as_array().unwrap().len(), 130);
    let total: u64 =
        json["units"].as_array().unwrap().iter().map(|u| u["weight_bytes"].as_u64().unwrap()).sum();
    assert_eq!(total, 152_524_716_800);
    assert_eq!(json["fits"], true);
    assert_eq!(json["questions"]["scanned"], 900);
    assert_eq!(json["questions"]["heaviest"].as_array().unwrap().len(), 10);
    let devices = json["devices"].as_array().unwrap();
    for device in devices {
        let part = |key: &str| device[key].as_u64().unwrap();
        assert_eq!(part("peak"), part("weights") + part("kv") + part("activation"));
        let share = part("peak") as f64 / part("usable") as f64;
        assert!((device["share"].as_f64().unwrap() - share).abs() < 1e-9);
    }
    let weights: u64 = devices.iter().map(|d| d["weights"].as_u64().unwrap()).sum();
    assert_eq!(weights, total);
    assert_eq!(json["assignment"].as_object().unwrap().len(), 130);
    assert_eq!(json["hf_device_map"]["vision_model"], 0);
    assert!(json["hf_device_map"].get("language_model.model.rotary_emb").is_some());
    let stages = json["stages"].as_array().unwrap();
    assert_eq!(stages[0]["first"], "vision_model.embeddings");
    assert!(json["longest_answer_tokens"]["overall"].as_u64().unwrap() > 4096);
}

#[test]
fn the_released_rule_fails_and_says_where() {
    let text =
        answer("--checkpoint InternVL2-76B --devices sim:8x40GiB --dataset mmmu --layout internvl --json")
            .unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["fits"], false);
    let over = json["findings"].as_array().unwrap().iter().find(|f| f["code"] == "over-capacity").unwrap();
    assert!(over["message"].as_str().unwrap().contains("validation_"), "{over}");
    assert!(!over["fixes"].as_array().unwrap().is_empty());
    let here = answer("--checkpoint InternVL2-76B --devices sim:8x40GiB --dataset mmmu --layout internvl --assume shardscope --json").unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&here).unwrap()["fits"], true);
}

#[test]
fn every_view_is_drawn() {
    let base = "--checkpoint InternVL3-78B --devices sim:4x80GiB";
    for view in [
        "--compare",
        "--needs",
        "--replicas",
        "--goal fewest-gpus",
        "--vision alone --batch 4",
        "--compare --json",
        "--needs --json",
        "--replicas --json",
    ] {
        let text = answer(&format!("{base} {view}")).unwrap();
        assert!(text.contains("InternVL3-78B"), "{view}:\n{text}");
    }
    assert!(answer("--list").unwrap().contains("InternVL2-Llama3-76B"));
}

#[test]
fn a_map_is_written_read_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.json");
    let base = "--checkpoint InternVL3-8B --devices sim:2x24GiB";
    answer(&format!("{base} --hf-device-map {}", file.display())).unwrap();
    let text = answer(&format!("{base} --check {}", file.display())).unwrap();
    assert!(!text.contains("uncovered"), "{text}");
    let map = std::fs::read_to_string(&file).unwrap().replace("rotary_emb", "rotary");
    std::fs::write(&file, map).unwrap();
    let text = answer(&format!("{base} --check {}", file.display())).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains("Expected all tensors to be on the same device"), "{text}");
}

#[test]
fn refusals_are_sentences() {
    for line in [
        "--checkpoint InternVL3-8B --devices sim:0x1GiB",
        "--checkpoint InternVL99-8B --devices sim:1GiB",
        "--checkpoint InternVL3-8B --devices sim:1GiB --layout best",
        "--checkpoint InternVL3-8B --devices sim:1GiB --dtype f8",
        "--checkpoint InternVL3-8B --devices sim:1GiB --pin mlp1=sim:9",
        "--checkpoint InternVL3-8B --devices sim:1GiB --attention none",
        "--checkpoint InternVL3-8B --devices sim:1GiB --check /nowhere.json",
    ] {
        assert!(answer(line).is_err(), "{line}");
    }
    // A single byte of memory is a plan that does not fit, not a refusal.
    assert!(answer("--checkpoint InternVL3-8B --devices sim:1").unwrap().contains("does not fit"));
}
