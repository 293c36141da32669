use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::checkpoint::template::Template;

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

/// A copy of a fixture's folder that may be changed.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::write(folder.path().join(path.file_name().unwrap()), std::fs::read(&path).unwrap()).unwrap();
    }
    folder
}

fn change_json(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

fn reopen(folder: &Path, backbone: &str) -> Result<Tokenizer> {
    Tokenizer::open(&Folder::Disk(folder.to_owned()), backbone)
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

#[test]
fn qwen2_ids_equal_the_original_from_tokenizer_json() {
    let tokenizer = open("qwen2", "Qwen2ForCausalLM");
    assert_eq!(tokenizer.source(), TokenizerSource::Json);
    check_qwen2(&tokenizer);
}

#[test]
fn files_inside_the_program_serve_as_well() {
    static FILES: [(&str, &[u8]); 2] = [
        ("tokenizer.json", include_bytes!("../../../tests/fixtures/tokenizer/qwen2/tokenizer.json")),
        (
            "tokenizer_config.json",
            include_bytes!("../../../tests/fixtures/tokenizer/qwen2/tokenizer_config.json"),
        ),
    ];
    check_qwen2(&Tokenizer::open(&Folder::Embedded(&FILES), "Qwen2ForCausalLM").unwrap());
}

#[test]
fn special_tokens_in_a_question_count_as_in_the_original() {
    let tokenizer = open("qwen2", "Qwen2ForCausalLM");
    let prompt = Template::Internvl2_5.render(None, "<image>\nWhat is <IMG_CONTEXT><|im_end|>?").unwrap();
    let prompt =
        crate::checkpoint::template::expand_images(&Template::Internvl2_5, &prompt, &[1], 4).unwrap();
    let image_ids =
        tokenizer.encode(&prompt).unwrap().into_iter().filter(|id| *id == tokenizer.image_context_id());
    // One more than the image has: whoever places the image sees it.
    assert_eq!(image_ids.count(), 5);
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
    check_qwen2(&reopen(folder.path(), "Qwen3ForCausalLM").unwrap());
    // Without any word on what is special the ids are the same, and answers are cut at the separator.
    std::fs::remove_file(folder.path().join("special_tokens_map.json")).unwrap();
    let tokenizer = reopen(folder.path(), "Qwen3ForCausalLM").unwrap();
    for row in rows("qwen2/expected.jsonl") {
        assert_eq!(tokenizer.encode(row["prompt"].as_str().unwrap()).unwrap(), ids(&row["prompt_ids"]));
    }
    assert_eq!(tokenizer.decode(&[32, 602], true).unwrap(), "A<|im_end|>");
}

/// Every text and every id sequence of a folder's expected.jsonl, which transformers wrote.
fn check_folder(tokenizer: &Tokenizer, folder: &str, bos: &str) {
    let rows = rows(&format!("{folder}/expected.jsonl"));
    assert!(rows.iter().filter(|row| row.get("text").is_some()).count() > 100);
    let mut wrong = Vec::new();
    for row in rows {
        let expected = ids(&row["ids"]);
        if let Some(text) = row.get("text").and_then(Value::as_str) {
            let found = tokenizer.encode(text).unwrap();
            // The original puts a second token before a text that spells the first.
            let twice = text.starts_with(bos) && expected.len() > 1 && expected[0] == expected[1];
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
        // What is shown on the way differs in nothing but spaces.
        let decoded = tokenizer.decode(&expected, true).unwrap();
        let shown = streamed(tokenizer.stream(), &expected);
        let broken_run = folder == "llama-fast" && decoded.contains("��");
        if !broken_run && decoded.replace(' ', "") != shown.replace(' ', "") {
            wrong.push(format!("{expected:?} shown\n  expected {decoded:?}\n  found    {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}

fn check_pieces(folder: &str, backbone: &str) {
    let tokenizer = open(folder, backbone);
    assert_eq!(tokenizer.source(), TokenizerSource::Sentencepiece);
    check_folder(&tokenizer, folder, "<s>");
}

#[test]
fn llama3_equals_the_fast_tokenizer_and_its_clean_up() {
    let tokenizer = open("llama3", "LlamaForCausalLM");
    assert_eq!(tokenizer.source(), TokenizerSource::Json);
    check_folder(&tokenizer, "llama3", "<|begin_of_text|>");
}

#[test]
fn a_decoder_that_looks_at_neighbours_equals_the_fast_tokenizer() {
    check_folder(&open("llama-fast", "LlamaForCausalLM"), "llama-fast", "<s>");
}

#[test]
fn llama_settings_outrank_the_post_processor() {
    let folder = copied("llama-fast");
    let with = open("llama-fast", "LlamaForCausalLM").encode("a").unwrap();
    change_json(folder.path(), "tokenizer_config.json", |config| config["add_bos_token"] = false.into());
    let without = reopen(folder.path(), "LlamaForCausalLM").unwrap().encode("a").unwrap();
    assert_eq!(with[0], 1);
    assert_eq!(with[1..], without);
    change_json(folder.path(), "tokenizer_config.json", |config| config["add_bos_token"] = true.into());
    change_json(folder.path(), "tokenizer.json", |json| json["post_processor"] = Value::Null);
    assert_eq!(reopen(folder.path(), "LlamaForCausalLM").unwrap().encode("a").unwrap(), with);
}

#[test]
fn a_text_that_begins_with_the_first_token_gets_no_second() {
    for (folder, bos) in [("internlm2", "<s>"), ("llama3", "<|begin_of_text|>"), ("llama-fast", "<s>")] {
        let tokenizer = open(folder, "LlamaForCausalLM");
        let begun = tokenizer.encode(&format!("{bos}<|im_start|>user")).unwrap();
        assert_eq!(begun, tokenizer.encode("<|im_start|>user").unwrap(), "{folder}");
    }
}

#[test]
fn older_folders_list_added_tokens_elsewhere() {
    let folder = copied("internlm2");
    let mut added = Value::Null;
    change_json(folder.path(), "tokenizer_config.json", |config| {
        added = config.as_object_mut().unwrap().remove("added_tokens_decoder").unwrap();
        config.as_object_mut().unwrap().remove("tokenizer_class");
    });
    let added: serde_json::Map<String, Value> = added
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, token)| (token["content"].as_str().unwrap().to_owned(), id.parse::<u32>().unwrap().into()))
        .collect();
    std::fs::write(folder.path().join("added_tokens.json"), Value::from(added).to_string()).unwrap();
    let tokenizer = reopen(folder.path(), "InternLM2ForCausalLM").unwrap();
    check_folder(&tokenizer, "internlm2", "<s>");
}

#[test]
fn tokens_only_known_beside_tokenizer_json_are_added() {
    let folder = copied("qwen2");
    change_json(folder.path(), "tokenizer.json", |json| {
        json["added_tokens"].as_array_mut().unwrap().retain(|token| token["id"].as_u64().unwrap() < 605);
    });
    check_qwen2(&reopen(folder.path(), "Qwen2ForCausalLM").unwrap());
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

/// That a changed folder is refused with a sentence that names the file and a fix.
fn refused(folder: &Path, backbone: &str, file: &str, word: &str) {
    let problem = reopen(folder, backbone).unwrap_err();
    assert!(problem.place.as_deref().unwrap_or_default().ends_with(file), "{problem}");
    assert!(problem.what.contains(word), "{problem}");
    assert!(problem.fix.is_some(), "{problem}");
}

#[test]
fn folders_without_a_usable_tokenizer_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    refused(empty.path(), "Qwen2ForCausalLM", "/", "no tokenizer");

    let no_images = copied("qwen2");
    for file in ["tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"] {
        let path = no_images.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap().replace("<IMG_CONTEXT>", "<OTHER>");
        std::fs::write(path, text).unwrap();
    }
    refused(no_images.path(), "Qwen2ForCausalLM", "tokenizer.json", "<IMG_CONTEXT>");

    let pointer = copied("internlm2");
    std::fs::write(pointer.path().join("tokenizer.model"), "version https://git-lfs.github.com/spec/v1\n")
        .unwrap();
    refused(pointer.path(), "InternLM2ForCausalLM", "tokenizer.model", "Git LFS");
}

#[test]
fn contradictions_are_refused() {
    let folder = copied("qwen2");
    change_json(folder.path(), "added_tokens.json", |json| json["<box>"] = 700.into());
    refused(folder.path(), "Qwen2ForCausalLM", "added_tokens.json", "also has the id 612");
    change_json(folder.path(), "added_tokens.json", |json| {
        json.as_object_mut().unwrap().remove("<box>");
        json["<circle>"] = 612.into();
    });
    refused(folder.path(), "Qwen2ForCausalLM", "added_tokens.json", "gives the id 612 to");
    change_json(folder.path(), "added_tokens.json", |json| json["<circle>"] = 4_000_000_000_u32.into());
    refused(folder.path(), "Qwen2ForCausalLM", "added_tokens.json", "no vocabulary has");
    change_json(folder.path(), "added_tokens.json", |json| json["<circle>"] = Value::from(-1));
    refused(folder.path(), "Qwen2ForCausalLM", "added_tokens.json", "-1");

    let folder = copied("qwen2");
    change_json(folder.path(), "tokenizer.json", |json| json["model"]["vocab"]["A"] = 33.into());
    refused(folder.path(), "Qwen2ForCausalLM", "tokenizer.json", "gives the id 33 to both");

    let folder = split_into_vocab_and_merges(&fixture("qwen2"));
    change_json(folder.path(), "vocab.json", |json| json["A"] = 33.into());
    refused(folder.path(), "Qwen2ForCausalLM", "vocab.json", "gives the id 33 to both");
    change_json(folder.path(), "vocab.json", |json| json["A"] = 5_000_000_000_u64.into());
    refused(folder.path(), "Qwen2ForCausalLM", "vocab.json", "no vocabulary has");

    let folder = split_into_vocab_and_merges(&fixture("qwen2"));
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\ni n\nnonsense\n").unwrap();
    refused(folder.path(), "Qwen2ForCausalLM", "merges.txt", "line 3");
    std::fs::write(folder.path().join("merges.txt"), "i unheard-of\n").unwrap();
    refused(folder.path(), "Qwen2ForCausalLM", "vocab.json", "merges.txt");
}

#[test]
fn every_truncation_of_a_sentencepiece_model_is_read_or_refused() {
    let bytes = std::fs::read(fixture("unigram/tokenizer.model")).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        if let Err(problem) = sentencepiece::Sentencepiece::read(&bytes[..length], "tokenizer.model") {
            assert!(problem.fix.is_some() && problem.place.is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A damaged sentencepiece model is refused, or encodes and decodes something: it never panics or hangs.
    #[test]
    fn damaged_sentencepiece_models_never_panic(
        name in prop::sample::select(vec!["unigram", "internlm2"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        text in ".{0,40}",
    ) {
        let mut bytes = std::fs::read(fixture(name).join("tokenizer.model")).unwrap();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(model) = sentencepiece::Sentencepiece::read(&bytes, "tokenizer.model") {
            let ids = model.encode(&text);
            let mut decoding = sentencepiece::Decoding::default();
            for id in ids {
                prop_assert!((id as usize) < model.len());
                decoding.push(&model, model.piece(id).unwrap());
            }
            decoding.finish();
        }
    }

    #[test]
    fn random_bytes_are_no_sentencepiece_model(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(problem) = sentencepiece::Sentencepiece::read(&bytes, "tokenizer.model") {
            prop_assert!(problem.fix.is_some());
        }
    }

    /// The same for every JSON file of a folder, cut short or with some of its bytes changed.
    #[test]
    fn damaged_json_files_never_panic(
        file in prop::sample::select(vec!["tokenizer.json", "tokenizer_config.json", "added_tokens.json",
            "special_tokens_map.json", "vocab.json", "merges.txt"]),
        keep in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0179{}[]\",:-x \\".to_vec())), 0..6),
    ) {
        let folder = if file == "vocab.json" || file == "merges.txt" {
            split_into_vocab_and_merges(&fixture("qwen2"))
        } else {
            copied("qwen2")
        };
        let path = folder.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        if damage.is_empty() {
            bytes.truncate(keep.index(bytes.len()));
        }
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        match reopen(folder.path(), "Qwen2ForCausalLM") {
            Ok(tokenizer) => {
                let ids = tokenizer.encode("<|im_start|>user\n中文 text<|im_end|>").unwrap_or_default();
                let _ = tokenizer.decode(&ids, true);
            }
            Err(problem) => prop_assert!(problem.place.is_some() && problem.fix.is_some(), "{}", problem),
        }
    }

    /// Texts come back from byte-level ids whatever they hold.
    #[test]
    fn byte_level_ids_hold_the_whole_text(text in "\\PC{0,60}") {
        let tokenizer = open("llama3", "LlamaForCausalLM");
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(streamed(tokenizer.stream_with_special(), &ids[1..]), text);
    }
}
