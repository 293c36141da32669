//! Datasets and prompts against what OpenGVLab's code in VLMEvalKit made of the same files.

use std::path::{Path, PathBuf};

use shardscope::dataset::{Dataset, ImageRef, Prompt, QuestionKind, Style, prompt};
use shardscope::picture::{Tiling, dimensions};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dataset").join(name)
}

fn lines(name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Tiles of each image of a prompt, for the reference checkpoint's tiles of 84 pixels.
fn tiles(dataset: &Dataset, images: &[ImageRef], prompt: &Prompt) -> Vec<u64> {
    let tiling = Tiling { side: 84, min_tiles: 1, max_tiles: prompt.max_tiles, thumbnail: true };
    let count = |image: &prompt::ImageUse| {
        let bytes = dataset.image_bytes(&images[image.index]).unwrap();
        let (width, height) = dimensions(&bytes, "image").unwrap();
        tiling.count_for(width, height, image.scale) as u64
    };
    prompt.images.iter().map(count).collect()
}

fn check_against(reference: &str, max_tiles: Option<u32>) {
    let sets = [
        Dataset::open(&fixture("MMMU_like.tsv")).unwrap(),
        Dataset::open(&fixture("easyvqa_mcq.tsv")).unwrap(),
    ];
    for expected in lines(reference) {
        let dataset = sets.iter().find(|set| expected["dataset"] == set.name()).unwrap();
        let row = dataset.find(&expected["index"].to_string()).unwrap();
        let question = dataset.question(row).unwrap();
        let prompt = prompt::build(dataset, &question, Style::Vlmevalkit, max_tiles).unwrap();
        let mut text = expected["question"].as_str().unwrap().to_owned();
        if dataset.name() == "MMMU_like" && question.index == "17" {
            // The original reads a column of numbers with gaps as fractions; here an option keeps its text.
            assert!(text.contains("\nF. 6.0\nG. 7.0\n"));
            text = text.replace("\nF. 6.0\nG. 7.0\n", "\nF. 6\nG. 7\n");
        }
        assert_eq!(prompt.text, text);
        assert_eq!(u64::from(prompt.max_tiles), expected["max_num"].as_u64().unwrap(), "{text}");
        let expected: Vec<u64> =
            expected["tiles"].as_array().unwrap().iter().map(|tiles| tiles.as_u64().unwrap()).collect();
        assert_eq!(tiles(dataset, &question.images, &prompt), expected, "{text}");
    }
}

#[test]
fn prompts_and_tiles_equal_the_original() {
    check_against("expected.jsonl", None);
}

#[test]
fn prompts_and_tiles_equal_the_original_with_six_tiles() {
    check_against("expected_max6.jsonl", Some(6));
}

#[test]
fn the_mmmu_columns_are_read_whole() {
    let dataset = Dataset::open(&fixture("MMMU_like.tsv")).unwrap();
    assert_eq!((dataset.name(), dataset.len()), ("MMMU_like", 20));
    let question = |index: &str| dataset.question(dataset.find(index).unwrap()).unwrap();
    let economics = question("18");
    assert_eq!(economics.id.as_deref(), Some("validation_Economics_901"));
    assert_eq!(economics.options[0], ('A', "\"demand\"".into()));
    assert_eq!(economics.options[3], ('D', "back\\slash".into()));
    let open = question("10");
    assert_eq!(
        (open.kind, open.gold),
        (QuestionKind::Short, ["grey values", "gray values", "grey"].map(String::from).to_vec())
    );
    assert_eq!(question("17").images.len(), 7);
    let outline = &dataset.outlines().unwrap()[3];
    assert_eq!(outline.index, "4");
    assert_eq!(outline.category.as_deref(), Some("Biology"));
    assert_eq!(outline.super_category.as_deref(), Some("Science"));
    assert_eq!((outline.split.as_deref(), outline.kind), (Some("validation"), QuestionKind::Option));
}

#[test]
fn images_are_shared_by_reference() {
    let dataset = Dataset::open(&fixture("easyvqa_head.tsv")).unwrap();
    assert_eq!(dataset.len(), 60);
    let image = |row: usize| {
        let question = dataset.question(row).unwrap();
        assert_eq!(question.images.len(), 1);
        dataset.image_bytes(&question.images[0]).unwrap()
    };
    assert_eq!(image(0), image(5));
    assert_eq!(dimensions(&image(5), "image").unwrap(), (64, 64));
    assert_eq!(dataset.question(3).unwrap().kind, QuestionKind::YesNo);
    assert_eq!(dataset.question(0).unwrap().kind, QuestionKind::Short);
}

#[test]
fn parquet_and_tsv_of_the_same_questions_agree() {
    let tsv = Dataset::open(&fixture("MMMU_like.tsv")).unwrap();
    let parquet = Dataset::open(&fixture("MMMU_like.parquet")).unwrap();
    assert_eq!(parquet.len(), 20);
    assert_eq!(parquet.profile().max_tiles, 12);
    let outlines = parquet.outlines().unwrap();
    for row in 0..tsv.len() {
        let expected = tsv.question(row).unwrap();
        let id = expected.id.clone().unwrap();
        let question = parquet.question(parquet.find(&id).unwrap()).unwrap();
        assert_eq!(question.index, id);
        assert_eq!((&question.text, &question.options), (&expected.text, &expected.options));
        assert_eq!((&question.gold, question.kind), (&expected.gold, expected.kind));
        assert_eq!(
            (&question.category, &question.super_category, &question.split),
            (&expected.category, &expected.super_category, &expected.split)
        );
        assert_eq!(outlines[question.row].category, expected.category.as_deref().map(Into::into));
        assert_eq!(question.images.len(), expected.images.len(), "{id}");
        for (image, expected) in question.images.iter().zip(&expected.images) {
            assert_eq!(parquet.image_bytes(image).unwrap(), tsv.image_bytes(expected).unwrap(), "{id}");
        }
        let prompt = |dataset: &Dataset, question| prompt::build(dataset, question, Style::Vlmevalkit, None).unwrap();
        assert_eq!(prompt(&parquet, &question), prompt(&tsv, &expected));
    }
}
