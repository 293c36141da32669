//! Datasets and prompts against what OpenGVLab's code in VLMEvalKit made of the same files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use shardscope::dataset::{Dataset, ImageRef, Prompt, QuestionKind, Style, prompt};
use shardscope::picture::{Tiling, dimensions};
use shardscope::scoring::AnswerType;

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
        let prompt =
            |dataset: &Dataset, question| prompt::build(dataset, question, Style::Vlmevalkit, None).unwrap();
        assert_eq!(prompt(&parquet, &question), prompt(&tsv, &expected));
    }
}

/// A folder with files, gone after the test.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

/// A png of one colour.
fn png(side: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(side, side, image::Rgb([side as u8, 2, 3]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// Sides of a question's images.
fn sides(dataset: &Dataset, row: usize) -> Vec<u32> {
    let images = dataset.question(row).unwrap().images;
    images.iter().map(|image| dimensions(&dataset.image_bytes(image).unwrap(), "image").unwrap().0).collect()
}

#[test]
fn texts_stay_the_texts_they_are() {
    let tsv = "index\tquestion\tA\tB\tC\tD\tE\tanswer\thint\n\
               1\tq\tNone\tNA\tnull\tnan\t1\tA\tN/A\n\
               2\tq\t007\t1.0\t\t \t\tB\t\n";
    let folder = folder(&[("Words.tsv", tsv.as_bytes())]);
    let dataset = Dataset::open(&folder.path().join("Words.tsv")).unwrap();
    let question = dataset.question(0).unwrap();
    let texts: Vec<&str> = question.options.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["None", "NA", "null", "nan", "1"]);
    assert_eq!(question.hint.as_deref(), Some("N/A"));
    let letters: Vec<(char, String)> = dataset.question(1).unwrap().options;
    assert_eq!(letters, [('A', "007".into()), ('B', "1.0".into()), ('D', " ".into())]);
}

#[test]
fn one_bad_row_never_stops_the_rest() {
    let image = "A".repeat(80);
    let tsv = format!(
        "index\timage\tquestion\tanswer\n\
         1\t{image}\tfine\tyes\n\
         2\t99\tno such row\tyes\n\
         3\t2\ta row that refers on\tno\n\
         4\t['x\tlist cut off\tno\n\
         5\t1\t\tno\n\
         6\t1\ttoo many\tno\tcells\n\
         7\t1\tfine too\tno\n\
         8\t\tno image\tNo\n"
    );
    let mut tsv = tsv.into_bytes();
    tsv.extend_from_slice(b"9\t1\tnot utf-8 \xFF\tyes\n10\t%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%\tnot base64\tyes\n");
    let folder = folder(&[("Bad.tsv", &tsv)]);
    let dataset = Dataset::open(&folder.path().join("Bad.tsv")).unwrap();
    assert_eq!(dataset.len(), 10);
    let problem = |row: usize| dataset.question(row).unwrap_err();
    assert_eq!(dataset.question(0).unwrap().kind, QuestionKind::YesNo);
    for (row, column) in [(1, "image"), (2, "image"), (3, "image"), (4, "question"), (8, "question")] {
        let place = problem(row).place.unwrap();
        assert!(place.ends_with(&format!("Bad.tsv, row {}, column {column}", row + 1)), "{place}");
    }
    assert!(problem(1).what.contains("99") && problem(2).what.contains("itself"));
    assert!(problem(5).what.contains("more cells"));
    assert_eq!(dataset.question(6).unwrap().images, [ImageRef::Stored { row: 0, part: 0 }]);
    let bare = dataset.question(7).unwrap();
    assert!(bare.images.is_empty());
    let prompt = prompt::build(&dataset, &bare, Style::Vlmevalkit, None).unwrap();
    assert_eq!(prompt.text, "no image\nAnswer the question using a single word or phrase.");
    assert_eq!((prompt.images.len(), prompt.max_tiles), (0, 6));
    let image = &dataset.question(9).unwrap().images[0];
    assert!(
        dataset
            .image_bytes(image)
            .unwrap_err()
            .to_string()
            .contains("row 10, column image: the image is not base64")
    );
    assert_eq!(dataset.outlines().unwrap().len(), 10);
}

#[test]
fn image_files_are_found_and_never_outside() {
    let small = png(5);
    let secret = folder(&[("secret.png", &small)]);
    let outside = secret.path().join("secret.png").display().to_string();
    let tsv = format!(
        "index\tquestion\timage_path\n1\tq\tone.png\n2\tq\t['deep/two.png', 'one.png']\n3\tq\tin_images.png\n\
         4\tq\t../one.png\n5\tq\t{outside}\n6\tq\tlink.png\n7\tq\tmissing.png\n8\tq\tdeep\n"
    );
    let folder = folder(&[
        ("set/Files.tsv", tsv.as_bytes()),
        ("set/one.png", &small),
        ("set/deep/two.png", &png(6)),
        ("set/images/Files/in_images.png", &png(7)),
        ("one.png", &small),
    ]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(&outside, folder.path().join("set/link.png")).unwrap();
    let dataset = Dataset::open(&folder.path().join("set/Files.tsv")).unwrap();
    assert_eq!(sides(&dataset, 0), [5]);
    assert_eq!(sides(&dataset, 1), [6, 5]);
    assert_eq!(sides(&dataset, 2), [7]);
    for row in 3..8 {
        let problem = dataset.question(row).unwrap_err().to_string();
        assert!(problem.contains(&format!("row {}, column image_path", row + 1)), "{problem}");
    }
}

#[test]
fn json_lines_are_read_in_their_documented_shape() {
    use base64::Engine;
    let data = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png(9)));
    let lines = format!(
        "{{\"question\": \"which?\", \"options\": [\"cat\", \"None\"], \"answer\": \"B\", \"images\": [\"a.png\", \"{data}\"], \"index\": 7, \"category\": \"pets\", \"super_category\": \"life\", \"split\": \"dev\"}}\n\
         \n\
         {{\"question\": \"many?\", \"answer\": [\"2\", \"two\"], \"type\": \"short\", \"image\": \"{data}\"}}\r\n\
         not json\n\
         {{\"question\": \"map\", \"options\": {{\"A\": \"x\", \"B\": \"\"}}, \"answer\": 3}}\n\
         {{\"question\": \"cut off\""
    );
    let folder = folder(&[("ours.jsonl", lines.as_bytes()), ("a.png", &png(4))]);
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.len(), 5);
    let first = dataset.question(dataset.find("7").unwrap()).unwrap();
    assert_eq!(first.options, [('A', "cat".into()), ('B', "None".into())]);
    assert_eq!((first.gold, first.kind), (vec!["B".to_owned()], QuestionKind::Option));
    assert_eq!(
        (first.category.as_deref(), first.super_category.as_deref(), first.split.as_deref()),
        (Some("pets"), Some("life"), Some("dev"))
    );
    assert_eq!(sides(&dataset, 0), [4, 9]);
    assert_eq!(sides(&dataset, 1), [9]);
    assert_eq!(dataset.question(1).unwrap().gold, ["2", "two"]);
    assert!(dataset.question(2).unwrap_err().to_string().contains("row 3: the line is not JSON"));
    assert_eq!(dataset.question(3).unwrap().options, [('A', "x".into())]);
    assert!(dataset.question(4).is_err());
    assert_eq!(dataset.outlines().unwrap()[0].category.as_deref(), Some("pets"));
}

#[test]
fn a_folder_of_images_with_a_csv_is_a_dataset() {
    let csv = "image,question,A,B,answer\r\na.png,\"what, then?\",x,y,A\r\na.png; sub/b.png,two,x,y,B\r\n";
    let folder = folder(&[("questions.csv", csv.as_bytes()), ("a.png", &png(3)), ("sub/b.png", &png(8))]);
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.question(0).unwrap().text, "what, then?");
    assert_eq!(sides(&dataset, 0), [3]);
    assert_eq!(sides(&dataset, 1), [3, 8]);
}

#[test]
fn folders_of_subjects_are_one_dataset_and_configurations_are_not() {
    let parquet = std::fs::read(fixture("MMMU_like.parquet")).unwrap();
    let subjects = folder(&[
        ("MMMU/Art/validation-00000-of-00001.parquet", &parquet),
        ("MMMU/Music/dev-00000-of-00001.parquet", &parquet),
    ]);
    let dataset = Dataset::open(&subjects.path().join("MMMU")).unwrap();
    assert_eq!((dataset.name(), dataset.len()), ("MMMU", 40));
    assert_eq!(
        dataset.find("validation_Art_901"),
        dataset.outlines().unwrap().iter().position(|outline| outline.index == "validation_Art_901")
    );
    let question = dataset.question(39).unwrap();
    assert_eq!((question.row, question.split.as_deref()), (39, Some("dev")));
    assert!(dataset.image_bytes(&question.images[0]).unwrap().len() > 1000);
    let single = Dataset::open(&fixture("MMMU_like.parquet")).unwrap().fingerprint().unwrap();
    assert_ne!(dataset.fingerprint().unwrap(), single);

    let cache = folder(&[
        ("datasets--MMMU--MMMU_Pro/refs/main", b"abc"),
        ("datasets--MMMU--MMMU_Pro/snapshots/abc/vision/test-00000-of-00001.parquet", &parquet),
        (
            "datasets--MMMU--MMMU_Pro/snapshots/abc/standard (10 options)/test-00000-of-00001.parquet",
            &parquet,
        ),
        ("datasets--me--pets/snapshots/def/data/train-00000-of-00001.parquet", &parquet),
        ("models--me--pets/snapshots/def/data/train-00000-of-00001.parquet", &parquet),
    ]);
    let found = shardscope::dataset::in_hugging_face_cache(cache.path());
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["MMMU_Pro standard (10 options)", "MMMU_Pro vision", "pets"]);
    let pro = Dataset::open(&found[0].path).unwrap();
    assert_eq!((pro.name(), pro.profile().max_tiles), ("MMMU_Pro standard (10 options)", 6));
    assert_eq!(Dataset::open(&found[2].path).unwrap().name(), "pets");
    let root = cache.path().join("datasets--MMMU--MMMU_Pro/snapshots/abc");
    assert!(
        Dataset::open(&root)
            .unwrap_err()
            .to_string()
            .contains("several datasets: standard (10 options), vision")
    );
}

/// What VLMEvalKit's InternVL wrapper makes of a reference's messages: the prompt's text and the order of images.
fn reorganised(messages: &serde_json::Value) -> (String, Vec<usize>) {
    let messages = messages.as_array().unwrap();
    let image = |message: &serde_json::Value| message["image_no"].as_u64().map(|number| number as usize - 1);
    let order: Vec<usize> = messages.iter().filter_map(image).collect();
    if order.len() == 1 {
        let texts: Vec<&str> = messages.iter().filter_map(|message| message["value"].as_str()).collect();
        return (format!("<image>\n{}", texts.join("\n")), order);
    }
    let (mut text, mut count) = (String::new(), 0);
    for message in messages {
        match message["value"].as_str() {
            Some(value) => text.push_str(value),
            None => {
                count += 1;
                text.push_str(&format!("<Image-{count}>"));
            }
        }
    }
    let all: String = (1..=count).map(|k| format!("<Image-{k}>")).collect();
    let list: String = (1..=count).map(|k| format!("Image-{k}: <image>\n")).collect();
    (list + &text.replace(&all, ""), order)
}

#[test]
fn official_and_dataset_prompts_equal_the_originals() {
    let dataset = Dataset::open(&fixture("MMMU_like.parquet")).unwrap();
    let pro = shardscope::dataset::Profile { name: "MMMU_Pro_10c".into(), ..dataset.profile().clone() };
    let references = lines("prompts.jsonl");
    assert_eq!(references.len(), 8);
    for reference in references {
        let question = dataset.question(dataset.find(reference["id"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(prompt::mmmu_official(&question), reference["mmmu_official_prompt"].as_str().unwrap());
        for (style, key) in
            [(Style::MmmuProCot, "mmmu_pro_prompt_cot"), (Style::MmmuProDirect, "mmmu_pro_prompt_direct")]
        {
            let built = prompt::build(&dataset, &question, style, None);
            match reference[key].as_str() {
                Some(text) => {
                    let built = built.unwrap();
                    assert_eq!(built.text, text);
                    let order: Vec<usize> = built.images.iter().map(|image| image.index + 1).collect();
                    assert_eq!(serde_json::json!(order), reference["mmmu_pro_image_order"]);
                }
                None => assert!(built.is_err()),
            }
        }
        let own = prompt::build(&dataset, &question, Style::VlmevalkitDataset, None).unwrap();
        let own_pro = prompt::build(&pro, &question, Style::VlmevalkitDataset, None).unwrap();
        for (built, key) in [(own, "vlmevalkit_mmmu_messages"), (own_pro, "vlmevalkit_mmmu_pro_10c_messages")]
        {
            let (text, order) = reorganised(&reference[key]);
            // The original reads a column of numbers with gaps as fractions.
            assert_eq!(built.text, text.replace("F. 6.0\nG. 7.0\n", "F. 6\nG. 7\n"));
            assert_eq!(built.images.iter().map(|image| image.index).collect::<Vec<_>>(), order);
        }
    }
}

#[test]
fn every_family_has_its_sentence() {
    let ask = |name: &str, columns: &[&str], style, change: &dyn Fn(&mut shardscope::dataset::Question)| {
        let columns: Vec<String> = columns.iter().map(|column| column.to_string()).collect();
        let profile = shardscope::dataset::Profile::of(name, &columns);
        let mut question = shardscope::dataset::Question {
            row: 0,
            index: "0".into(),
            id: None,
            text: "What?".into(),
            hint: None,
            options: vec![],
            gold: vec![],
            kind: QuestionKind::Short,
            category: None,
            super_category: None,
            split: None,
            images: vec![],
            other: vec![],
        };
        change(&mut question);
        prompt::build(&profile, &question, style, None).unwrap()
    };
    let plain = |name: &str| ask(name, &[], Style::Vlmevalkit, &|_| {}).text;
    let phrase = "Answer the question using a single word or phrase.";
    assert_eq!(plain("MME"), format!("What? {phrase}"));
    assert_eq!(plain("HallusionBench"), format!("What? Please answer yes or no. {phrase}"));
    assert_eq!(plain("POPE"), "What?");
    assert_eq!(plain("TextVQA_VAL"), format!("What?\n{phrase}"));
    assert_eq!(plain("MathVista_MINI"), "What?");
    assert_eq!(plain("LLaVABench"), "What?\nAnswer this question in detail.");
    assert_eq!(plain("anything else"), format!("What?\n{phrase}"));
    let tiles = |name: &str, images: usize| {
        ask(name, &[], Style::Vlmevalkit, &|question| {
            question.images = vec![ImageRef::Stored { row: 0, part: 0 }; images];
        })
        .max_tiles
    };
    assert_eq!(
        [
            ("MMMU_DEV_VAL", 1),
            ("MMMU_DEV_VAL", 5),
            ("MMMU_DEV_VAL", 6),
            ("MMMU_DEV_VAL", 7),
            ("MMMU_DEV_VAL", 65)
        ]
        .map(|(name, images)| tiles(name, images)),
        [12, 12, 10, 9, 1]
    );
    assert_eq!(
        ["DocVQA_VAL", "InfoVQA_VAL", "OCRBench", "MMStar", "MMMU_Pro_10c", "ChartQA_TEST"]
            .map(|name| tiles(name, 1)),
        [18, 24, 24, 6, 6, 12]
    );
    let choice: &dyn Fn(&mut shardscope::dataset::Question) = &|question| {
        question.kind = QuestionKind::Option;
        question.hint = Some("看".into());
        question.options = vec![('A', "x".into()), ('C', "y".into())];
    };
    let chosen = |style| ask("own", &["A", "B"], style, choice).text;
    assert_eq!(chosen(Style::Vlmevalkit), "看\nWhat?\nA. x\nC. y\n请直接回答选项字母。");
    assert!(chosen(Style::VlmevalkitMpo).ends_with("\n\nQuestion:\n\nWhat?\nA. x\nC. y"));
    let english: &dyn Fn(&mut shardscope::dataset::Question) = &|question| {
        choice(question);
        question.hint = None;
        question.images = vec![ImageRef::Stored { row: 0, part: 0 }];
    };
    let thinking = ask("own", &["A", "B"], Style::VlmevalkitThinking, english);
    assert_eq!(
        thinking.text,
        "<image>\nWhat?\nA. x\nC. y\nPlease answer the question and put the final answer within \\boxed{}."
    );
    assert!(thinking.system.unwrap().contains("<think>"));
    let steps = ask("own", &["A", "B"], Style::VlmevalkitCot, english).text;
    assert!(steps.starts_with(
        "<image>\nWhat?\nA. x\nC. y\nAnswer the preceding multiple choice question. The last line"
    ));
    let own =
        "Question: What?\nOptions:\nA. x\nC. y\nPlease select the correct answer from the options above. \n";
    let lettered = |name: &str, style| ask(name, &["A", "B"], style, english).text;
    let internvl = [
        Style::Vlmevalkit,
        Style::VlmevalkitCot,
        Style::VlmevalkitThinking,
        Style::VlmevalkitMpo,
        Style::VlmevalkitDataset,
    ];
    for style in internvl {
        for name in ["LEGO_circular", "optics_dataset", "BabyVision"] {
            assert_eq!(lettered(name, style), format!("<image>\n{own}"), "{name} {style}");
            let profile = shardscope::dataset::Profile::of(name, &[]);
            assert!(prompt::departure(&profile, style).is_some() || name.starts_with("LEGO"));
        }
        assert_eq!(
            lettered("MME-RealWorld", style),
            "<image>\nWhat? The choices are listed below:\n(A) x\n(C) y\nSelect the best answer to the above multiple-choice question based on the image. Respond with only the letter (A, B, C, D, or E) of the correct option. \nThe best answer is:"
        );
        assert!(lettered("MME-RealWorld-CN", style).ends_with("\n(C) y\n根据图像选择上述多项选择题的最佳答案。只需回答正确选项的字母（A, B, C, D 或 E）。\n最佳答案为："));
        for name in ["MME-RealWorld", "MMStar", "TextVQA_VAL"] {
            assert_eq!(prompt::departure(&shardscope::dataset::Profile::of(name, &[]), style), None);
        }
    }
    assert_eq!(
        prompt::departure(&shardscope::dataset::Profile::of("optics_dataset", &[]), Style::Mmmu),
        None
    );
    let museum = plain("ChartMuseum_test");
    assert!(museum.contains("\n\n    Question: What?\n\n") && museum.ends_with("    </answer>"), "{museum}");
    assert_eq!(plain("MMAlignBench"), "What?");
    for name in ["ChartMuseum_dev", "MMAlignBench"] {
        let profile = shardscope::dataset::Profile::of(name, &[]);
        assert_eq!(prompt::departure(&profile, Style::Vlmevalkit), None);
    }
    assert_eq!(plain("ChartQAPro"), "What?\nAnswer the question using a single word or phrase.");
    let verse = ask("MathVerse_MINI", &[], Style::Vlmevalkit, &|question| {
        question.text = "According to the image, please directly answer the question and provide it.".into();
    });
    assert_eq!(verse.text, "According to the image, please provide it.");
    for style in Style::ALL {
        assert_eq!(style.name().parse::<Style>().unwrap(), style);
        assert_eq!(serde_json::to_value(style).unwrap(), style.name());
    }
    assert!("mmlu".parse::<Style>().unwrap_err().to_string().contains("vlmevalkit-cot"));
}

#[test]
fn kinds_and_types_of_answers_are_named_as_they_are_recorded() {
    for kind in QuestionKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(kind.name().parse::<QuestionKind>(), Ok(kind));
    }
    for answer_type in AnswerType::ALL {
        assert_eq!(serde_json::to_value(answer_type).unwrap(), answer_type.name());
        assert_eq!(answer_type.name().parse::<AnswerType>(), Ok(answer_type));
    }
    assert!("essay".parse::<QuestionKind>().unwrap_err().to_string().contains("yes-no"));
}

#[test]
fn what_a_person_states_counts_in_every_format() {
    use shardscope::dataset::Stated;
    let parquet = std::fs::read(fixture("MMMU_like.parquet")).unwrap();
    let folder = folder(&[
        ("MMMU/Art/validation-00000-of-00001.parquet", &parquet),
        ("MMMU/Music/dev-00000-of-00001.parquet", &parquet),
        ("own.tsv", b"index\tquestion\tquestion_type\tA\tB\tanswer\n1\tq\tmultiple-choice\tx\ty\tA\n"),
        ("own.jsonl", b"{\"question\": \"q\", \"options\": [\"x\", \"y\"], \"answer\": \"A\"}\n"),
    ]);
    for name in ["own.tsv", "own.jsonl"] {
        let mut dataset = Dataset::open(&folder.path().join(name)).unwrap();
        let last = dataset.len() - 1;
        assert_eq!(dataset.outlines().unwrap()[last].kind, QuestionKind::Option, "{name}");
        for kind in QuestionKind::ALL {
            dataset.state(Stated { kind: Some(kind), answer_type: None });
            let question = dataset.question(last).unwrap();
            assert_eq!((question.kind, dataset.outlines().unwrap()[last].kind), (kind, kind), "{name}");
            assert_eq!(question.options.is_empty(), kind != QuestionKind::Option);
            let text = prompt::build(&dataset, &question, Style::Vlmevalkit, None).unwrap().text;
            let expected = match kind {
                QuestionKind::Option => {
                    "q\nA. x\nB. y\nAnswer with the option's letter from the given choices directly."
                }
                QuestionKind::YesNo | QuestionKind::Short => {
                    "q\nAnswer the question using a single word or phrase."
                }
                QuestionKind::Free => "q",
            };
            assert_eq!(text, expected, "{name} {kind:?}");
        }
        dataset.state(Stated { kind: None, answer_type: Some(AnswerType::Anls) });
        let question = dataset.question(last).unwrap();
        assert_eq!(question.kind, QuestionKind::Option, "{name}: as the file says");
        assert_eq!(dataset.profile().answer_type(question.kind, &question.gold), Some(AnswerType::Anls));
    }
    let mut subjects = Dataset::open(&folder.path().join("MMMU")).unwrap();
    subjects.state(Stated { kind: Some(QuestionKind::Free), answer_type: None });
    assert!(subjects.outlines().unwrap().iter().all(|outline| outline.kind == QuestionKind::Free));
}

#[test]
fn a_file_that_is_not_the_published_one_is_told() {
    let folder = folder(&[
        ("MMStar.tsv", b"index\tquestion\n1\tq\n"),
        ("BLINK.tsv", b"index\tquestion\tA\tB\n1\tq\tx\ty\n"),
    ]);
    let check = |name: &str| {
        let dataset = Dataset::open(&folder.path().join(name)).unwrap();
        dataset.check_published(&mut |_| true).unwrap().unwrap().what
    };
    assert_eq!(check("MMStar.tsv"), "MMStar is published with 1500 rows, and this file has 1");
    // The MD5 of these bytes by md5sum.
    assert_eq!(
        check("BLINK.tsv"),
        "this is not the published file of BLINK: its MD5 is f8a29679bea5f6a4aecc04220e941650, not 3b6649b6a662184ea046908e5506260e"
    );
    let found = shardscope::dataset::in_vlmevalkit_root(folder.path());
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["BLINK", "MMStar"]);
    assert!(found[0].entry.is_some() && found[0].bytes == 27);
}

/// A parquet file among the fuzzer's seeds, which pyarrow wrote.
fn seed(name: &str) -> Dataset {
    Dataset::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parquet").join(name)).unwrap()
}

#[test]
fn parquet_lists_are_options_answers_and_images() {
    let dataset = seed("lists");
    let first = dataset.question(dataset.find("1").unwrap()).unwrap();
    assert_eq!(first.options, [('A', "a".into()), ('B', "b".into())]);
    assert_eq!(
        (first.kind, first.id.as_deref(), first.images.len()),
        (QuestionKind::Option, Some("validation_Art_1"), 2)
    );
    let second = dataset.question(1).unwrap();
    assert_eq!(
        (second.kind, second.gold, second.images.len()),
        (QuestionKind::Short, vec!["z".to_owned()], 0)
    );
    assert!(
        dataset
            .question(2)
            .unwrap_err()
            .to_string()
            .ends_with("row 3, column question: the question is empty")
    );
    assert_eq!(
        dataset.image_bytes(&first.images[1]).unwrap(),
        dataset.image_bytes(&first.images[0]).unwrap()
    );
}

#[test]
fn absent_cells_of_parquet_are_absent_and_a_bad_list_is_named() {
    let dataset = seed("mmmu");
    assert!(dataset.profile().mmmu && dataset.profile().max_tiles == 12);
    let first = dataset.question(0).unwrap();
    assert_eq!((first.images.len(), first.super_category.as_deref()), (1, Some("Art & Design")));
    assert_eq!(dimensions(&dataset.image_bytes(&first.images[0]).unwrap(), "image").unwrap(), (10, 2));
    // The second image of this row is a name without bytes, and there is no such file.
    let second = dataset.question(1).unwrap();
    assert_eq!((second.images.len(), second.gold), (2, vec!["x".to_owned(), "y".to_owned()]));
    assert!(dataset.image_bytes(&second.images[1]).unwrap_err().what.contains("no image file 'b.png'"));
    assert!(dataset.question(2).unwrap_err().to_string().contains("row 3, column options"));
}

#[test]
fn a_file_that_shrinks_while_it_is_open_is_told() {
    let folder = folder(&[("Short.tsv", b"index\tquestion\n1\tone\n2\ttwo\n")]);
    let path = folder.path().join("Short.tsv");
    let dataset = Dataset::open(&path).unwrap();
    std::fs::write(&path, b"index\tquestion\n1\tone\n").unwrap();
    assert_eq!(dataset.question(0).unwrap().text, "one");
    let problem = dataset.question(1).unwrap_err().to_string();
    assert!(problem.contains("row 2: the file has become shorter"), "{problem}");
}

#[test]
fn a_dataset_may_be_embedded_and_shared_between_threads() {
    static TSV: &[u8] = b"index\tquestion\tanswer\n5\tReally?\tyes\n";
    let dataset = Dataset::from_bytes("built in", TSV).unwrap();
    let texts: Vec<String> = std::thread::scope(|scope| {
        let ask = || dataset.question(0).unwrap().text;
        [scope.spawn(ask), scope.spawn(ask)].map(|thread| thread.join().unwrap()).to_vec()
    });
    assert_eq!(texts, ["Really?", "Really?"]);
    assert_eq!((dataset.name(), dataset.path(), dataset.find("5")), ("built in", None, Some(0)));
    // sha256sum of these bytes.
    assert_eq!(
        dataset.fingerprint().unwrap(),
        "9f47c0645206a178371ff00eefc34a708fa257e67b7fb04f183e2696c2595cd0"
    );
    assert!(dataset.fingerprint_watched(&mut |_| false).unwrap().is_some());
    let fresh = Dataset::from_bytes("built in", TSV).unwrap();
    assert_eq!(fresh.fingerprint_watched(&mut |_| false).unwrap(), None);
}

#[test]
fn a_path_that_is_not_there_is_told_with_what_may_be_given() {
    let problem = Dataset::open(Path::new("no-org/no-dataset")).unwrap_err();
    assert_eq!(problem.place.as_deref(), Some("no-org/no-dataset"));
    assert!(problem.fix.unwrap().contains("Hugging Face cache"));
    let empty = folder(&[("notes.txt", b"hello")]);
    assert!(Dataset::open(empty.path()).unwrap_err().what.contains("no file of questions"));
    let two = folder(&[("a.tsv", b"question\nq\n"), ("b.tsv", b"question\nq\n")]);
    assert!(Dataset::open(two.path()).unwrap_err().what.contains("several files of questions: a.tsv, b.tsv"));
}

#[test]
fn several_threads_read_one_parquet_file() {
    let dataset = Dataset::open(&fixture("MMMU_like.parquet")).unwrap();
    let read = |row: usize| -> Vec<usize> {
        let question = dataset.question(row).unwrap();
        question.images.iter().map(|image| dataset.image_bytes(image).unwrap().len()).collect()
    };
    let expected: Vec<_> = (0..dataset.len()).map(read).collect();
    std::thread::scope(|scope| {
        for start in 0..8 {
            let (read, expected) = (&read, &expected);
            scope.spawn(move || {
                for i in 0..3 * expected.len() {
                    let row = (i + start * 3) % expected.len();
                    assert_eq!(read(row), expected[row]);
                }
            });
        }
    });
}

#[test]
fn what_a_dataset_asks_beyond_pictures_and_texts_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let videos = write("MVBench.tsv", "index\tvideo\tquestion\n1\ta.mp4\tWhat?\n");
    let problem = Dataset::open(&videos).unwrap_err();
    assert!(problem.what.contains("videos") && problem.place.unwrap().contains("MVBench.tsv"));
    let both = write("both.tsv", "index\tvideo\timage\tquestion\n1\ta.mp4\t\tWhat?\n");
    assert!(Dataset::open(&both).unwrap().problems().is_empty());
    let screens = write("ScreenSpot_Mobile.tsv", "index\timage\tquestion\n1\t\tWhere?\n");
    assert!(Dataset::open(&screens).unwrap().problems()[0].what.contains("screens"));
}

#[test]
fn columns_that_part_a_benchmark_stay_with_its_questions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("HRBench4K.tsv");
    std::fs::write(&path, "index\tquestion\tA\tB\tanswer\tcycle_category\n1\tWhat?\tx\ty\tA\t2\n").unwrap();
    let question = Dataset::open(&path).unwrap().question(0).unwrap();
    assert_eq!(question.other, [("cycle_category", "2".to_owned())]);
}

/// MME-RealWorld-Lite comes with its options as one list.
#[test]
fn options_of_one_column_are_lettered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("MME-RealWorld-Lite.tsv");
    let image = "iVBO".repeat(20);
    let rows = "index\timage\tquestion\tmulti-choice options\tanswer\tcategory\tl2-category\n\
        1\t{image}\tWhich?\t['(A) a red one', \"(B) it's blue\", '(C) x', '(D) y', '(E) not here']\tB\tPerception/Monitoring\tColor\n\
        2\t{image}\tWhich?\t['(A) cut off\tA\tPerception/Monitoring\tColor\n";
    std::fs::write(&path, rows.replace("{image}", &image)).unwrap();
    let dataset = Dataset::open(&path).unwrap();
    let question = dataset.question(0).unwrap();
    assert_eq!(question.kind, QuestionKind::Option);
    assert_eq!(question.options[1], ('B', "it's blue".to_owned()));
    let text = prompt::build(&dataset, &question, Style::Vlmevalkit, None).unwrap().text;
    assert!(text.contains("Which? The choices are listed below:\n(A) a red one\n(B) it's blue\n"), "{text}");
    assert!(dataset.question(1).unwrap().options.is_empty());
}
