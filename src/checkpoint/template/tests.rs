use std::path::Path;

use serde_json::Value;

use super::*;

/// A checkpoint folder in the Hugging Face layout with this chat template.
fn folder_with(source: &str, tokens: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), source).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), tokens.to_string()).unwrap();
    folder
}

fn open(folder: &Path) -> Result<Template> {
    Template::from_folder(&Folder::Disk(folder.to_owned()), None)
}

#[test]
fn prompts_equal_those_of_the_original() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizer/qwen2/expected.jsonl");
    let template = Template::by_name("internvl2_5").unwrap();
    let mut rows = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let tiles: Vec<usize> =
            row["tiles"].as_array().unwrap().iter().map(|tiles| tiles.as_u64().unwrap() as usize).collect();
        let prompt = template.render(None, row["question"].as_str().unwrap()).unwrap();
        let prompt = expand_images(&template, &prompt, &tiles, 9).unwrap();
        assert_eq!(prompt, row["prompt"].as_str().unwrap());
        rows += 1;
    }
    assert_eq!(rows, 27);
}

#[test]
fn templates_are_found_by_the_names_in_config_json() {
    for name in
        ["internlm2-chat", "Hermes-2", "internvl2_5", "phi3-chat", "internvl3_5_gpt_oss", "internvl_zh"]
    {
        assert_eq!(Template::by_name(name).unwrap().name(), name);
    }
    assert!(Template::by_name("chat").is_none());
    let problem = Template::from_folder(&Folder::Embedded(&[]), Some("vicuna")).unwrap_err();
    assert!(problem.what.contains("vicuna") && problem.fix.unwrap().contains("internvl2_5"));
}

/// The prompts of conversation.py, as it puts them together from its parts.
#[test]
fn every_template_writes_its_own_prompt() {
    let prompt =
        |name: &str, system, question| Template::by_name(name).unwrap().render(system, question).unwrap();
    let chat = "<|im_start|>system\nS<|im_end|><|im_start|>user\nQ<|im_end|><|im_start|>assistant\n";
    assert_eq!(prompt("internlm2-chat", Some("S"), "Q"), chat);
    assert_eq!(prompt("Hermes-2", Some("S"), "Q"), chat);
    assert_eq!(prompt("internvl2_5", Some("S"), "Q"), chat.replace("<|im_end|>", "<|im_end|>\n"));
    assert_eq!(prompt("phi3-chat", Some("S"), "Q"), "<|system|>\nS<|end|><|user|>\nQ<|end|><|assistant|>\n");
    assert_eq!(
        prompt("internvl3_5_gpt_oss", Some("S"), "Q"),
        "<|start|>system<|message|>S<|end|><|start|>user<|message|>Q<|end|><|start|>assistant"
    );
    assert_eq!(prompt("internvl_zh", None, "Q"), " <human>: Q <bot>:");
    // An empty message is one still to come.
    assert_eq!(prompt("phi3-chat", Some(""), ""), "<|system|>\n<|end|><|user|>\n<|assistant|>\n");
    assert_eq!(prompt("internvl_zh", None, ""), " <human>:<bot>:");
    // Braces are text.
    assert!(
        prompt("internvl2_5", None, "{system} {{ 1 }} {% x %}")
            .contains("user\n{system} {{ 1 }} {% x %}<|im_end|>")
    );
}

#[test]
fn default_system_prompts_are_those_of_the_original() {
    let system = |name: &str| Template::by_name(name).unwrap().default_system().unwrap().to_owned();
    assert!(
        system("internvl2_5")
            .starts_with("你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学")
    );
    for name in ["internlm2-chat", "Hermes-2", "phi3-chat"] {
        assert!(system(name).ends_with("英文名叫InternVL, 是一个有用无害的人工智能助手。"));
    }
    assert!(system("internvl3_5_gpt_oss").contains(
        "Laboratory.\nKnowledge cutoff: 2024-06\nCurrent date: 2025-08-06\n\nReasoning: low\n\n# Valid"
    ));
    assert_eq!(system("internvl_zh"), "");
}

#[test]
fn responses_are_cut_and_trimmed() {
    let clean = |name: &str, text: &str| Template::by_name(name).unwrap().clean(text);
    assert_eq!(clean("internvl2_5", " B\u{1c}\n<|im_end|>\nmore<|im_end|>").text, "B");
    assert_eq!(clean("phi3-chat", "B<|im_end|><|end|>").text, "B<|im_end|>");
    assert_eq!(clean("internvl_zh", "B</s>").text, "B");
    assert_eq!(clean("internvl2_5", "").text, "");
    let gpt = clean("internvl3_5_gpt_oss", "<|channel|>final<|message|> The answer. <|return|><|return|>");
    assert_eq!(gpt.text, "The answer.");
    assert_eq!(clean("internvl3_5_gpt_oss", "plain").text, "plain");
    assert!(Template::Internvl3_5GptOss.keeps_special_tokens());
    assert!(!Template::Internvl2_5.keeps_special_tokens());
}

#[test]
fn thinking_is_shown_apart_and_stays_in_the_response() {
    let clean = |text: &str| Template::Internvl2_5.clean(text);
    let whole = clean("<think>\nred, so B\n</think>\n\nB<|im_end|>");
    assert_eq!(whole.text, "<think>\nred, so B\n</think>\n\nB");
    assert_eq!(whole.thinking.as_deref(), Some("red, so B"));
    assert_eq!(whole.answer(), "B");
    let open = clean("<think>on and on");
    assert_eq!(
        (open.text.as_str(), open.thinking.as_deref(), open.answer()),
        ("<think>on and on", Some("on and on"), "")
    );
    let none = clean("B <think>late</think>");
    assert_eq!((none.thinking.clone(), none.answer()), (None, "B <think>late</think>"));
}

#[test]
fn image_tokens_are_put_in_exact_number() {
    let template = Template::Internvl2_5;
    let expand = |prompt: &str, tiles: &[usize]| expand_images(&template, prompt, tiles, 2);
    assert_eq!(
        expand("a <image>b<image>", &[1, 2]).unwrap(),
        "a <img><IMG_CONTEXT><IMG_CONTEXT></img>b<img><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT></img>"
    );
    assert_eq!(expand("none", &[]).unwrap(), "none");
    // What follows the images is the question's own.
    assert_eq!(
        expand("<image>What does <image> mean?", &[1]).unwrap(),
        "<img><IMG_CONTEXT><IMG_CONTEXT></img>What does <image> mean?"
    );
    for (prompt, tiles) in [("<image>", vec![1, 1]), ("", vec![1]), ("<image>", vec![])] {
        let problem = expand(prompt, &tiles).unwrap_err();
        assert!(problem.what.contains("image") && problem.fix.is_some(), "{problem}");
    }
    assert!(expand("<image>", &[usize::MAX]).is_err());
    assert!(expand("<image>", &[1 << 40]).is_err());
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/template/cases.json");
    let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut rendered = 0;
    for case in cases.as_array().unwrap() {
        let folder = folder_with(case["template"].as_str().unwrap(), &case["tokens"]);
        let template = open(folder.path()).unwrap();
        assert_eq!(template.name(), "chat");
        assert_eq!(template.stop_token(), "<|im_end|>");
        assert_eq!(template.origin(), "the chat template of chat_template.jinja");
        for row in case["rows"].as_array().unwrap() {
            let prompt = template.render(row["system"].as_str(), row["question"].as_str().unwrap());
            match row["prompt"].as_str() {
                Some(expected) => assert_eq!(prompt.unwrap(), expected, "{}", case["name"]),
                None => assert!(
                    prompt.unwrap_err().what.contains("System role not supported"),
                    "{}",
                    case["name"]
                ),
            }
            rendered += 1;
        }
    }
    assert!(rendered >= 49);
}

#[test]
fn a_chat_template_is_found_in_each_of_its_files() {
    let source = |word: &str| {
        format!(
            "{{% for m in messages %}}{{% for p in m.content %}}{word}{{{{ p.text or '<IMG_CONTEXT>\n' }}}}{{% endfor %}}{{% endfor %}}"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let fallback = open(folder.path()).unwrap();
    assert!(fallback.origin().contains("because the folder has none"));
    assert_eq!(
        fallback.render(Some("S"), "<image>\nQ").unwrap(),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<IMG_CONTEXT>\nQ<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(fallback.default_system(), None);
    let expanded = expand_images(&fallback, &fallback.render(None, "<image>\nQ").unwrap(), &[2], 1).unwrap();
    assert!(expanded.contains("user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\nQ"));
    // A question that spells the image token is one place too many.
    let forged = fallback.render(None, "<image>\nWhat does <IMG_CONTEXT> mean?").unwrap();
    assert!(expand_images(&fallback, &forged, &[2], 1).is_err());

    let write = |file: &str, json: Value| std::fs::write(folder.path().join(file), json.to_string()).unwrap();
    let begins = |word: &str| open(folder.path()).unwrap().render(None, "Q").unwrap() == format!("{word}Q");
    let named = serde_json::json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": source("c")}]);
    write(
        "tokenizer_config.json",
        serde_json::json!({"chat_template": named, "eos_token": {"content": "<end>"}}),
    );
    assert!(begins("c"));
    assert_eq!(open(folder.path()).unwrap().stop_token(), "<end>");
    write("chat_template.json", serde_json::json!({"chat_template": source("b")}));
    assert!(begins("b"));
    std::fs::write(folder.path().join("chat_template.jinja"), source("a")).unwrap();
    assert!(begins("a"));
}

#[test]
fn hostile_chat_templates_are_stopped() {
    let fine = "{% for m in messages %}{% for p in m.content %}{{ p.text or '<IMG_CONTEXT>' }}{% endfor %}{% endfor %}";
    for (source, word) in [
        (
            "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
            "does not come to an end",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails"),
        ("{% set long = 'x' * 90000 %}{% for a in range(100) %}{{ long }}{% endfor %}", "writes without end"),
        ("{% set long = 'x' * 1000000000000 %}", "fails"),
        (
            "{% set n = namespace(x=1) %}{% for i in range(90000) %}{% set n.x = [n.x] %}{% endfor %}",
            "does not come to an end",
        ),
        (
            "{% set n = namespace(x=1) %}{% for i in range(2000) %}{% set n.x = [n.x] %}{% endfor %}\
             {% set text = n.x | tojson %}{{ raise_exception('survived') }}",
            "survived",
        ),
        ("{% include '/etc/passwd' %}", "fails"),
        ("{{ messages.__class__.__mro__ }}{{ messages[0].content.pop() }}", "fails"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% for", "cannot be read"),
        ("no images here", "no place for an image"),
    ] {
        let folder = folder_with(
            &format!("{fine}{source}").replace(if word.contains("image") { fine } else { "\0" }, ""),
            &Value::Null,
        );
        std::fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
        let problem = open(folder.path()).unwrap_err();
        assert!(problem.what.contains(word), "{source}: {problem}");
        assert!(problem.place.is_some() && problem.fix.is_some(), "{problem}");
    }
    let folder = folder_with(&format!("{fine}{}", "x".repeat(300 << 10)), &serde_json::json!({}));
    assert!(open(folder.path()).unwrap_err().what.contains("bytes"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Whatever a chat template holds, it is rendered or refused.
    #[test]
    fn random_chat_templates_never_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{% for m in messages %}", "{% endfor %}", "{% if m.role == 'user' %}", "{% else %}", "{% endif %}",
                "{{ m.content }}", "{{ m['content'][0]['type'] }}", "<IMG_CONTEXT>", "{{ m | tojson }}", "{%", "}}",
                "{{ m.content[0].text.split('x')[-1] }}", "{% set x = m %}", "{{ x | length }}", "{# note #}", "\n  ",
                "{% macro f(a) %}", "{% endmacro %}", "{{ f(messages) }}", "{{ 1 // 0 }}", "{{ 9999999999 * 9999999999 }}",
                "{% generation %}", "{% endgeneration %}", "{{ strftime_now('%Y-%Q') }}", "{{ messages[::-1] }}", "é中",
            ]),
            0..12,
        ),
        question in ".{0,20}",
    ) {
        let folder = folder_with(&parts.concat(), &serde_json::json!({}));
        match open(folder.path()) {
            Ok(template) => { let _ = template.render(Some("S"), &question); }
            Err(problem) => proptest::prop_assert!(problem.place.is_some() && problem.fix.is_some()),
        }
    }
}
