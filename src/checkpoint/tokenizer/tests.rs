use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer").join(name)
}

fn open(name: &str, backbone: &str) -> Tokenizer {
    Tokenizer::open(&Folder::Disk(fixture(name)), backbone).unwrap()
}

fn rows(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture(path)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// What a stream shows in all, and that it never shows half a character.
fn streamed(mut stream: TextStream, ids: &[u32]) -> String {
    let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
    text.extend(stream.finish());
    text
}

/// The same tokenizer as vocab.json and merges.txt, made from tokenizer.json, without the latter.
fn split_into_vocab_and_merges(from: &Path) -> tempfile::TempDir {
    let json: Value = serde_json::from_slice(&std::fs::read(from.join("tokenizer.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.json"), json["model"]["vocab"].to_string()).unwrap();
    let mut merges = String::from("#version: 0.2\n");
    for merge in json["model"]["merges"].as_array().unwrap() {
        let pair: Vec<&str> = match merge {
            Value::String(pair) => pair.split(' ').collect(),
            pair => pair.as_array().unwrap().iter().map(|half| half.as_str().unwrap()).collect(),
        };
        merges += &format!("{}\n", pair.join(" "));
    }
    std::fs::write(folder.path().join("merges.txt"), merges).unwrap();
    for file in ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"] {
        std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn check_qwen2(tokenizer: &Tokenizer) {
    let rows = rows("qwen2/expected.jsonl");
    assert_eq!(rows.len(), 27);
    for row in rows {
        assert_eq!(tokenizer.encode(row["prompt"].as_str().unwrap()).unwrap(), ids(&row["prompt_ids"]));
        let answer = ids(&row["ids"]);
        let decoded = tokenizer.decode(&answer, true).unwrap();
        assert_eq!(Template::Internvl2_5.clean(&decoded).text, row["text"].as_str().unwrap());
        assert_eq!(streamed(tokenizer.stream(), &answer), decoded);
        let kept = tokenizer.decode(&answer, false).unwrap();
        assert_eq!(streamed(tokenizer.stream_with_special(), &answer), kept);
    }
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(602));
    assert_eq!(tokenizer.image_context_id(), 607);
    assert_eq!(tokenizer.vocab_size(), 614);
}

use crate::checkpoint::template::Template;

#[test]
fn qwen2_ids_equal_the_original_from_tokenizer_json() {
    let tokenizer = open("qwen2", "Qwen2ForCausalLM");
    assert_eq!(tokenizer.source(), TokenizerSource::Json);
    check_qwen2(&tokenizer);
}

#[test]
fn qwen2_ids_equal_the_original_from_vocab_and_merges() {
    let folder = split_into_vocab_and_merges(&fixture("qwen2"));
    let tokenizer = Tokenizer::open(&Folder::Disk(folder.path().to_owned()), "Qwen2ForCausalLM").unwrap();
    assert_eq!(tokenizer.source(), TokenizerSource::VocabAndMerges);
    check_qwen2(&tokenizer);
}

#[test]
fn qwen3_folder_with_added_tokens_alone_gives_the_same_ids() {
    let folder = split_into_vocab_and_merges(&fixture("qwen2"));
    std::fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
    let tokenizer = Tokenizer::open(&Folder::Disk(folder.path().to_owned()), "Qwen3ForCausalLM").unwrap();
    check_qwen2(&tokenizer);
}

/// Every text and every id sequence of a folder's expected.jsonl, which the slow tokenizers of transformers wrote.
fn check_pieces(folder: &str, backbone: &str) {
    let tokenizer = open(folder, backbone);
    assert_eq!(tokenizer.source(), TokenizerSource::Sentencepiece);
    let rows = rows(&format!("{folder}/expected.jsonl"));
    assert!(rows.iter().filter(|row| row.get("text").is_some()).count() > 200);
    let mut wrong = Vec::new();
    for row in rows {
        let expected = ids(&row["ids"]);
        if let Some(text) = row.get("text").and_then(Value::as_str) {
            let found = tokenizer.encode(text).unwrap();
            // The original puts a second token before a text that spells the first.
            let twice = text.starts_with("<s>") && expected.get(1) == Some(&1);
            if found != expected[usize::from(twice)..] {
                wrong.push(format!("{text:?}\n  expected {expected:?}\n  found    {found:?}"));
            }
        }
        for (skip, key) in [(true, "decoded"), (false, "with_special")] {
            let found = tokenizer.decode(&expected, skip).unwrap();
            if found != row[key].as_str().unwrap() {
                wrong.push(format!("{expected:?} {key}\n  expected {:?}\n  found    {found:?}", row[key]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

#[test]
fn internlm2_equals_the_slow_tokenizer() {
    check_pieces("internlm2", "InternLM2ForCausalLM");
}

#[test]
fn internlm2_without_dummy_prefix_equals_the_slow_tokenizer() {
    check_pieces("internlm2-plain", "InternLM2ForCausalLM");
}

#[test]
fn internlm3_equals_the_slow_tokenizer() {
    check_pieces("internlm3", "InternLM2ForCausalLM");
}

#[test]
fn yi_equals_the_slow_tokenizer() {
    check_pieces("yi", "LlamaForCausalLM");
}

#[test]
fn phi3_equals_the_slow_tokenizer() {
    check_pieces("phi3", "Phi3ForCausalLM");
    check_pieces("phi3-eating", "Phi3ForCausalLM");
}

#[test]
fn unigram_equals_the_slow_tokenizer() {
    check_pieces("unigram", "LlamaForCausalLM");
}
