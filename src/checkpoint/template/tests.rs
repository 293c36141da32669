use super::*;

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
