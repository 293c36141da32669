//! `shardscope plan` as a person runs it: maps in and out in every form, and refusals with their exit code.

#![allow(clippy::unwrap_used)] // A test that cannot go on fails.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const MODEL: &[&str] = &["--checkpoint", "InternVL2-Llama3-76B", "--devices", "sim:8x40GiB"];

fn plan(more: &[&str]) -> Output {
    plan_with(more, "")
}

fn plan_with(more: &[&str], input: &str) -> Output {
    run("plan", &[MODEL, more].concat(), input)
}

fn run(command: &str, words: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shardscope"));
    program.env("RUST_BACKTRACE", "0").env_remove("AUTO_SPLIT").arg(command).args(words);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    // A program that refuses before it reads closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The device of each decoder layer.
fn layers(json: &Value) -> Vec<String> {
    let assignment = json["assignment"].as_object().unwrap();
    let of_layers = assignment.iter().filter(|(unit, _)| unit.contains("language_model.model.layers."));
    of_layers.map(|(_, device)| device.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_exported_comes_back() {
    let ours = layers(&json(&plan(&["--json"])));
    assert_eq!(ours.len(), 80);
    let folder = tempfile::tempdir().unwrap();
    for form in ["device-map", "device-layers", "topology", "tensor-split"] {
        let written = plan(&["--export", form]);
        assert_eq!(written.status.code(), Some(0), "{form}: {}", text(&written.stderr));
        let written = text(&written.stdout);
        let file = folder.path().join(form);
        std::fs::write(&file, &written).unwrap();
        let file = file.to_str().unwrap();
        for (words, input) in [
            (vec!["--layout", file], ""),
            (vec!["--layout", written.trim()], ""),
            (vec!["--layout", "-"], written.as_str()),
            (vec!["--check", file], ""),
            (vec!["--check", "-"], written.as_str()),
        ] {
            let read = json(&plan_with(&[words.as_slice(), &["--json"]].concat(), input));
            assert_eq!(layers(&read), ours, "{form}, {words:?}");
            assert_eq!(read["layout"], "custom");
        }
        // To a file, the table stays on the terminal; in JSON, the text is a field.
        let out = folder.path().join("out");
        let table = plan(&["--export", form, "--out", out.to_str().unwrap()]);
        assert!(text(&table.stdout).contains("of usable memory"), "{form}");
        assert_eq!(std::fs::read_to_string(&out).unwrap().trim(), written.trim(), "{form}");
        let object = json(&plan(&["--export", form, "--json"]));
        assert_eq!(object["export"]["text"].as_str().unwrap().trim(), written.trim(), "{form}");
    }
}

#[test]
fn what_a_form_cannot_say_is_said() {
    // The rule's last layer returns to the first GPU, for which only two of the forms have words.
    for (form, code) in [("device-map", 0), ("topology", 0), ("device-layers", 3), ("tensor-split", 3)] {
        let output = plan(&["--layout", "internvl", "--export", form]);
        assert_eq!(output.status.code(), Some(code), "{form}: {}", text(&output.stderr));
        if code == 3 {
            assert!(output.stdout.is_empty() && text(&output.stderr).contains("what to do"), "{form}");
        }
    }
    let output = plan(&["--vision", "alone", "--export", "tensor-split"]);
    assert!(
        text(&output.stderr).contains("the projector and the token embedding"),
        "{}",
        text(&output.stderr)
    );
    let whole = plan(&["--export", "device-map"]);
    assert!(whole.stderr.is_empty(), "{}", text(&whole.stderr));
}

#[test]
fn maps_are_judged() {
    for map in ["1,1", "0:40;1:40", "0-40:\n  device: cuda[0]\n40-80:\n  device: cuda[1]\n"] {
        let judged = json(&plan(&["--check", map, "--json"]));
        let codes: Vec<&str> =
            judged["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
        assert!(codes.contains(&"over-capacity"), "{map}: {codes:?}");
        assert_eq!(judged["fits"], false, "{map}");
    }
}

/// Maps that no file should hold, and what is said of them.
const HOSTILE: &[(&str, &str)] = &[
    ("", "no such"),
    ("best", "no such"),
    ("/nowhere/map.json", "no such"),
    ("80", "no such"),
    ("0:80;", "" /* a trailing separator is no harm */),
    ("0:81", "more than the 80 layers"),
    ("0:40", "40 of 80 layers get no device"),
    ("9:80", "layer 0 lies on GPU 9"),
    ("0:99999999999999999999", "not a number of layers"),
    ("0:18446744073709551615", "more than the 80 layers"),
    ("x:80", "not a GPU"),
    ("1,2,3,4,5,6,7,8,9", "more shares than the 8 GPUs"),
    ("0,0", "add up to nothing"),
    ("-1,2", "not a share"),
    ("nan,1", "not a share"),
    ("inf,1", "not a share"),
    ("3e38,3e38", "too large"),
    ("0-81:\n  device: cuda[0]", "no range of this model's 80 layers"),
    ("40-0:\n  device: cuda[0]", "no range of this model's 80 layers"),
    ("0-80:\n  device: tpu", "is no device"),
    ("0-80:\n  device: cuda[99999999999999999999]", "is no device"),
    ("0-80:\n  isq: Q4K", "places no layers"),
    ("/attn/:\n  device: cuda[0]", "regular expression"),
    ("{", "no map in this text"),
    ("{'mlp1': 0", "not closed"),
    ("{'mlp1': 'tpu'}", "cannot be read"),
    ("{'mlp1': -1}", "cannot be read"),
];

#[test]
fn hostile_maps_are_refused_in_a_sentence() {
    for (map, said) in HOSTILE {
        for option in ["--layout", "--check"] {
            let output = plan(&[&format!("{option}={map}")]);
            let message = text(&output.stderr);
            let code = if said.is_empty() { 0 } else { 3 };
            assert_eq!(output.status.code(), Some(code), "{option} {map:?}: {message}");
            assert!(message.contains(said), "{option} {map:?}: {message}");
            assert!(code == 0 || message.contains("what to do"), "{option} {map:?}: {message}");
        }
    }
}

#[test]
fn files_that_are_no_maps_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("bytes"), [0xff, 0xfe, 0, 1]).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::File::create(path("huge")).unwrap().set_len(17 << 20).unwrap();
    let mut files = vec![path("bytes"), path("empty"), path("huge"), path(".")];
    if Path::new("/dev/zero").exists() {
        files.push("/dev/zero".into());
    }
    for file in &files {
        for option in ["--layout", "--check"] {
            let output = plan(&[option, file]);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{option} {file}: {message}");
            assert!(message.contains(file.as_str()), "{option} {file}: {message}");
        }
    }
    let output = plan_with(&["--check", "-"], "nothing of use");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("standard input"), "{}", text(&output.stderr));
}

#[test]
fn options_that_exclude_each_other_are_wrong_usage() {
    for words in [
        &["--compare", "--export", "topology"][..],
        &["--needs", "--hf-device-map", "x.json"],
        &["--export", "topology", "--launch", "vllm"],
        &["--out", "x"],
        &["--export", "yaml"],
    ] {
        assert_eq!(plan(words).status.code(), Some(2), "{words:?}");
    }
    assert!(!Path::new("x.json").exists());
}

#[test]
fn every_assumption_is_shown_and_can_be_changed() {
    let peaks =
        |words: &[&str]| json(&plan(&[words, &["--vision", "alone", "--json"]].concat()))["devices"].take();
    let usual = peaks(&[]);
    for (words, line) in [
        (&["--dtype", "q8_0"][..], "dtype q8_0 (chosen)"),
        (&["--batch", "3"], "questions in flight 3 (chosen)"),
        (&["--max-new-tokens", "77"], "longest answer 77 tokens (chosen)"),
        (&["--tile-batch", "2"], "tiles at once 2 (chosen)"),
        (&["--prefill-chunk", "512"], "prompt tokens at once 512 (chosen)"),
        (&["--attention", "eager"], "attention scores whole matrix (chosen)"),
        (&["--logits", "all"], "logits all positions (chosen)"),
        (&["--overhead", "1GiB"], "driver overhead 1.0 GiB (chosen)"),
        (&["--temporary", "cpu:4"], "temporary memory as on the CPU with 4 threads (chosen)"),
        (&["--simulated", "card"], "simulated memory as a card of that size leaves (chosen)"),
        (&["--tiles", "70", "--prompt-tokens", "20000"], "a question of 70 tiles and 20000 tokens"),
    ] {
        let output = plan(words);
        let said = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(line), "{words:?}: {said}{}", text(&output.stderr));
        assert_ne!(peaks(words), usual, "{words:?} changes nothing");
    }
    let tied = ["--checkpoint", "Qwen2.5-VL-3B", "--devices", "sim:2x6GiB"];
    for (how, words) in [("shared", "shared with the embedding"), ("copied", "a copy each")] {
        let output = run("plan", &[&tied[..], &["--tied-head", how]].concat(), "");
        let said = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("tied head {words}")), "{said}");
    }
    for words in
        [["--overhead", "much"], ["--temporary", "cpu:0"], ["--prompt-tokens", "0"], ["--tied-head", "x"]]
    {
        assert_eq!(plan(&words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn fixes_are_planned_anew() {
    let map = r#"{"vision_model": 0, "mlp1": 0, "language_model.model.embed_tokens": 9, "language_model.model.layers": 1,
                  "language_model.model.layers.90": 1, "nothing.here": 0, "language_model.model.norm": 0,
                  "language_model.lm_head": "cpu"}"#;
    let judged = json(&plan(&["--check", map, "--json"]));
    let findings = judged["findings"].as_array().unwrap();
    let codes: Vec<&str> = findings.iter().map(|f| f["code"].as_str().unwrap()).collect();
    for code in [
        "uncovered-unit",
        "uncovered-buffer",
        "absent-device",
        "phantom-layer",
        "unknown-key",
        "offloaded",
        "over-capacity",
    ] {
        assert!(codes.contains(&code), "{code} is not among {codes:?}");
    }
    for finding in findings.iter().filter(|f| f["severity"] != "note" || f["code"] == "phantom-layer") {
        let fixes = finding["fixes"].as_array().unwrap();
        assert!(fixes.iter().any(|fix| !fix["verdict"].is_null()), "{finding}");
    }
}

#[test]
fn a_run_takes_the_same_maps() {
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat-qwen2/checkpoint");
    let layers = {
        let config = std::fs::read_to_string(checkpoint.join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        config["llm_config"]["num_hidden_layers"].as_u64().unwrap()
    };
    let dataset = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset/easyvqa_mcq.tsv");
    let folder = tempfile::tempdir().unwrap();
    let run = |map: &str, input: &str, session: &str| {
        let session = folder.path().join(session);
        let words = [
            "--checkpoint",
            checkpoint.to_str().unwrap(),
            "--dataset",
            dataset.to_str().unwrap(),
            "--devices",
            "sim:2x4GiB",
            "--limit",
            "1",
            "--max-new-tokens",
            "4",
            "--calibration",
            "none",
            "--layout",
            map,
            "--session",
            session.to_str().unwrap(),
        ];
        let output = run("eval", &words, input);
        (output, session.join("manifest.json"))
    };
    let pairs = format!("0:1;1:{}", layers - 1);
    for (index, (map, input)) in [(pairs.as_str(), ""), ("-", "1,1"), ("1/1", "")].into_iter().enumerate() {
        let (output, manifest) = run(map, input, &index.to_string());
        assert_eq!(output.status.code(), Some(0), "{map}: {}", text(&output.stderr));
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        let assignment = manifest["layout"]["assignment"].as_object().unwrap();
        let used = |device: &str| assignment.values().any(|at| at == device);
        assert!(used("sim:0") && used("sim:1"), "{map}: {assignment:?}");
        assert_eq!(manifest["layout"]["name"], if map == "-" { input } else { map });
    }
    for (map, said) in
        [("0:1", "get no device"), ("nowhere.json", "no such layout"), ("0:1;7:9", "more than")]
    {
        let (output, manifest) = run(map, "", "refused");
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{map}: {message}");
        assert!(message.contains(said) && message.contains("what to do"), "{map}: {message}");
        assert!(!manifest.exists(), "{map}");
    }
}
