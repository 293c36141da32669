//! `shardscope sessions`, `score` and `datasets` as a person runs them: the program itself over a session of the
//! built-in pair, its files, its refusals and its exit codes.

#![allow(clippy::unwrap_used)] // A test that cannot go on fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The program in a folder, with nothing of this machine's own datasets.
fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardscope"));
    command.current_dir(dir).args(args).env("RUST_BACKTRACE", "0");
    command.env("HOME", dir).env("LMUData", dir.join("lmu")).env_remove("HF_HOME");
    command.env("HF_HUB_CACHE", dir.join("hub"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn run(dir: &Path, args: &[&str]) -> Output {
    let output = program(dir, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    output
}

#[track_caller]
fn json_of(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_slice(&run(dir, args).stdout).unwrap()
}

/// The message of a command that ends with this code.
#[track_caller]
fn refused(dir: &Path, code: i32, args: &[&str]) -> String {
    let output = program(dir, args).output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?} wrote to standard output");
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// A folder with the session `a`: twelve questions of the built-in pair.
fn with_session() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["eval", "--limit", "12", "--session", "a"]);
    dir
}

fn lines(path: &Path) -> Vec<Value> {
    let all = fs::read_to_string(path).unwrap();
    all.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Cells of a tab-separated text in which quotes only stand around cells.
fn cells(path: &Path) -> Vec<Vec<String>> {
    let all = fs::read_to_string(path).unwrap();
    let cell = |cell: &str| cell.trim_matches('"').to_owned();
    all.lines().map(|line| line.split('\t').map(cell).collect()).collect()
}

#[test]
fn every_format_is_written_and_read_back() {
    let dir = with_session();
    let dir = dir.path();
    let answers = lines(&dir.join("a/answers.jsonl"));
    let formats = ["csv", "jsonl", "vlmevalkit-tsv", "vlmevalkit-xlsx", "lmms-eval", "html"];
    for format in formats {
        let output = run(dir, &["sessions", "export", "a", "--format", format, "--out", format]);
        assert!(text(&output.stderr).contains("12 answers"), "{format}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(lines(&dir.join("jsonl")), answers);
    assert_eq!(fs::read_to_string(dir.join("csv")).unwrap().lines().count(), 13);
    let table = cells(&dir.join("vlmevalkit-tsv"));
    let column = table[0].iter().position(|name| name == "prediction").unwrap();
    for (row, answer) in table[1..].iter().zip(&answers) {
        assert_eq!(json!(row[column]), answer["response"]);
    }
    // Back again, from each format that holds predictions; with its dataset every answer is judged as it was.
    for (i, format) in ["jsonl", "vlmevalkit-tsv", "vlmevalkit-xlsx", "lmms-eval"].into_iter().enumerate() {
        let ending = ["jsonl", "tsv", "xlsx", "jsonl"][i];
        let (file, session) = (format!("back-{i}.{ending}"), format!("back-{i}"));
        fs::rename(dir.join(format), dir.join(&file)).unwrap();
        let more = ["--dataset", "built-in", "--rule", "shardscope", "--model", "m"];
        run(dir, &[&["sessions", "import", &file, "--session", &session][..], &more].concat());
        let show = json_of(dir, &["sessions", "show", &session, "--json"]);
        assert_eq!(show["manifest"]["checkpoint"]["name"], "m");
        let comparison = json_of(dir, &["sessions", "compare", "a", &session, "--json"]);
        assert_eq!((&comparison["questions"], &comparison["p"]), (&json!(12), &json!(1.0)), "{format}");
        assert_eq!(comparison["first"]["right"], comparison["second"]["right"], "{format}");
        assert_eq!(comparison["flips"], json!([]), "{format}");
    }
}

#[test]
fn an_export_goes_where_it_is_told_and_replaces_nothing() {
    let dir = with_session();
    let dir = dir.path();
    fs::create_dir(dir.join("out")).unwrap();
    run(dir, &["sessions", "export", "a", "--format", "csv"]);
    run(dir, &["sessions", "export", "a", "--format", "csv", "--out", "out"]);
    let name = "built-in demonstration_easy-vqa-demo.csv";
    assert_eq!(fs::read(dir.join(name)).unwrap(), fs::read(dir.join("out").join(name)).unwrap());
    fs::write(dir.join(name), "mine").unwrap();
    let message = refused(dir, 3, &["sessions", "export", "a", "--format", "csv"]);
    assert!(message.contains("already") && message.contains("--force"), "{message}");
    assert_eq!(fs::read(dir.join(name)).unwrap(), b"mine");
    run(dir, &["sessions", "export", "a", "--format", "csv", "--force"]);
    assert_ne!(fs::read(dir.join(name)).unwrap(), b"mine");
    // Never a session's own files, and no half-written file in a folder that is not there.
    let before = fs::read(dir.join("a/answers.jsonl")).unwrap();
    let own = ["sessions", "export", "a", "--format", "jsonl", "--out", "a/answers.jsonl", "--force"];
    assert!(refused(dir, 3, &own).contains("part of a session"));
    assert_eq!(fs::read(dir.join("a/answers.jsonl")).unwrap(), before);
    refused(dir, 3, &["sessions", "export", "a", "--format", "csv", "--out", "no/such/file.csv"]);
    refused(dir, 2, &["sessions", "export", "a", "--format", "pdf"]);
    refused(dir, 3, &["sessions", "export", "a", "--format", "html", "--rule", "guess"]);
    refused(dir, 3, &["sessions", "export", "nothing", "--format", "csv"]);
}

#[test]
fn a_report_has_the_pictures_as_long_as_the_dataset_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)> is it red?";
    let built_in = fs::read_to_string(fixture("dataset/easyvqa_head.tsv")).unwrap();
    let image = built_in
        .split('\t')
        .find(|cell| cell.trim_matches('"').starts_with("iVBOR"))
        .unwrap()
        .trim_matches('"');
    let image = format!("data:image/png;base64,{image}");
    let row = json!({"index": "<b>1</b>", "question": hostile, "image": image, "answer": "yes",
                     "category": "\"><script>alert(3)</script>\u{1b}[2J"});
    let other =
        json!({"index": "2", "question": "Is it blue?", "image": image, "answer": "no", "category": "plain"});
    fs::write(dir.join("mine.jsonl"), format!("{row}\n{other}\n")).unwrap();
    run(dir, &["eval", "--dataset", "mine.jsonl", "--session", "s"]);
    let export = ["sessions", "export", "s", "--format", "html", "--out", "s.html", "--force"];
    let output = run(dir, &export);
    assert!(!text(&output.stderr).contains("warning"), "{}", text(&output.stderr));
    let page = fs::read_to_string(dir.join("s.html")).unwrap();
    assert!(page.contains("data:image/png;base64,"));
    assert!(page.contains("alert(1)"), "the question is shown");
    for order in ["<script>alert", "<img src=x", "\"><script"] {
        assert!(!page.contains(order), "{order}");
    }
    // A terminal obeys nothing of it either.
    for args in
        [&["sessions", "show", "s"][..], &["score", "--session", "s"], &["sessions", "compare", "s", "s"]]
    {
        assert!(!text(&run(dir, args).stdout).contains('\u{1b}'), "{args:?}");
    }
    // Another text under the same index is another question, whose picture must not stand beside this answer.
    let changed = json!({"index": "2", "question": "Is it a dog?", "image": image, "answer": "no"});
    fs::write(dir.join("mine.jsonl"), format!("{row}\n{changed}\n")).unwrap();
    let warning = text(&run(dir, &export).stderr);
    assert!(warning.contains("1 pictures are left out"), "{warning}");
    fs::remove_file(dir.join("mine.jsonl")).unwrap();
    let warning = text(&run(dir, &export).stderr);
    assert!(warning.contains("no pictures") && warning.contains("mine.jsonl"), "{warning}");
    let page = fs::read_to_string(dir.join("s.html")).unwrap();
    assert!(!page.contains("data:image/png") && page.contains("Is it blue?"));
}

#[test]
fn two_sessions_are_compared_with_their_flips() {
    let dir = with_session();
    let dir = dir.path();
    run(dir, &["sessions", "export", "a", "--format", "vlmevalkit-tsv", "--out", "b.tsv"]);
    // Two answers are spoilt, so that the second session loses exactly these.
    let mut table = cells(&dir.join("b.tsv"));
    let at = |name: &str| table[0].iter().position(|column| column == name).unwrap();
    let (index, prediction) = (at("index"), at("prediction"));
    let mut spoilt = Vec::new();
    for row in [2, 5] {
        table[row][prediction] = "a hippopotamus".into();
        spoilt.push(table[row][index].clone());
    }
    let text_of = table.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n");
    fs::write(dir.join("b.tsv"), text_of).unwrap();
    run(
        dir,
        &["sessions", "import", "b.tsv", "--session", "b", "--dataset", "built-in", "--rule", "shardscope"],
    );
    let right = json_of(dir, &["sessions", "show", "a", "--json"])["right"].as_u64().unwrap();
    assert_eq!(right, 12, "the built-in checkpoint answers its first questions rightly");
    let it = json_of(dir, &["sessions", "compare", "a", "b", "--json"]);
    assert_eq!(it["both_right"], 10);
    assert_eq!((&it["first_alone"], &it["second_alone"]), (&json!(2), &json!(0)));
    let flipped: Vec<&str> =
        it["flips"].as_array().unwrap().iter().map(|f| f["index"].as_str().unwrap()).collect();
    assert_eq!(flipped, spoilt);
    // Two flips one way: 2 * (1/2)^2.
    assert_eq!(it["p"], 0.5);
    assert!((it["difference"].as_f64().unwrap() + 2.0 / 12.0).abs() < 1e-12);
    assert!(it["settings"].as_array().unwrap().iter().any(|setting| setting["setting"] == "template"));
    let shown = text(&run(dir, &["sessions", "compare", "a", "b"]).stdout);
    for part in ["100.0 %", "83.3 %", "-16.7 points", "p = 0.500", &spoilt.join(", "), "template"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    refused(dir, 3, &["sessions", "compare", "a", "nothing"]);
    refused(dir, 2, &["sessions", "compare", "a"]);
}

#[test]
fn rules_disagree_where_the_originals_are_strict() {
    let dir = with_session();
    let dir = dir.path();
    // VLMEvalKit compares `Yes` with the gold answer letter by letter, and this dataset writes `yes`.
    let answers = lines(&dir.join("a/answers.jsonl"));
    let expected: Vec<&Value> = answers
        .iter()
        .filter(|it| it["answer"] == "yes" || it["answer"] == "no")
        .map(|it| &it["index"])
        .collect();
    assert!(!expected.is_empty() && expected.len() < 12);
    let it = json_of(dir, &["sessions", "disagree", "a", "--rules", "shardscope,vlmevalkit", "--json"]);
    let found: Vec<&Value> = it["answers"].as_array().unwrap().iter().map(|it| &it["index"]).collect();
    assert_eq!(found, expected);
    assert_eq!(it["compared"], 12);
    assert_eq!(it["answers"][0]["readings"][0]["verdict"], "right");
    assert_eq!(it["answers"][0]["readings"][1]["verdict"], "wrong");
    let shown = text(&run(dir, &["sessions", "disagree", "a", "--rules", "shardscope,vlmevalkit"]).stdout);
    assert!(shown.contains(&format!("{} of 12 answers", expected.len())), "{shown}");
    let score = json_of(dir, &["score", "--session", "a", "--rule", "vlmevalkit", "--json"]);
    assert_eq!(score["changed"], expected.len());
    assert_eq!(score["wrong"], expected.len());
    assert_eq!(score["rule"], "vlmevalkit@2026-06");
    assert_eq!(json_of(dir, &["score", "--session", "a", "--json"])["changed"], 0);
    refused(dir, 2, &["sessions", "disagree", "a", "--rules", "shardscope"]);
    refused(dir, 3, &["sessions", "disagree", "a", "--rules", "shardscope,guess"]);
    refused(dir, 3, &["score", "--session", "a", "--rule", "guess"]);
}

/// Figures worked out by hand from VLMEvalKit's description of MME: accuracy in percent, plus the percentage of
/// images with both questions right; perception is the sum of its categories.
#[test]
fn benchmarks_have_their_own_figures() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rows = [
        ("existence", "a.jpg", "Yes", "Yes."),
        ("existence", "a.jpg", "No", "no"),
        ("existence", "b.jpg", "Yes", "yes"),
        ("existence", "b.jpg", "No", "Yes"),
        ("code_reasoning", "c.jpg", "Yes", "Yes"),
        ("code_reasoning", "c.jpg", "No", "No"),
    ];
    for with_path in [true, false] {
        let mut table = String::from("index\tcategory\timage_path\tquestion\tanswer\tprediction\n");
        for (i, (category, image, answer, prediction)) in rows.iter().enumerate() {
            let image = if with_path { image } else { "" };
            table += &format!("{i}\t{category}\t{image}\tIs it?\t{answer}\t{prediction}\n");
        }
        fs::write(dir.join("m_MME.tsv"), table).unwrap();
        let session = format!("mme-{with_path}");
        run(dir, &["sessions", "import", "m_MME.tsv", "--session", &session, "--rule", "vlmevalkit"]);
        let score = json_of(dir, &["score", "--session", &session, "--json"]);
        let figures = &score["figures"]["rows"][0]["figures"];
        let expected =
            json!({"perception": 125.0, "reasoning": 200.0, "existence": 125.0, "code_reasoning": 200.0});
        assert_eq!(figures, &expected, "{score}");
        let shown = text(&run(dir, &["score", "--session", &session]).stdout);
        assert!(
            shown.contains("MME") && shown.contains("perception") && shown.contains("125.000"),
            "{shown}"
        );
    }
    let mut table = String::from("index\tA\tB\tquestion\tanswer\tprediction\n");
    for (index, prediction) in [("1", "A"), ("1000001", "B"), ("2", "A"), ("1000002", "A")] {
        table += &format!("{index}\tcat\tdog\tWhich?\tA\t{prediction}\n");
    }
    fs::write(dir.join("m_MMBench_DEV_EN.tsv"), table).unwrap();
    run(
        dir,
        &["sessions", "import", "m_MMBench_DEV_EN.tsv", "--session", "circular", "--rule", "vlmevalkit"],
    );
    let score = json_of(dir, &["score", "--session", "circular", "--json"]);
    assert_eq!(score["accuracy"], 0.75);
    assert_eq!(score["figures"]["rows"][0]["figures"]["Overall"], 0.5);
    // Under another rule there is no such sum.
    let score = json_of(dir, &["score", "--session", "circular", "--rule", "shardscope", "--json"]);
    assert_eq!(score["figures"], Value::Null);
}

#[test]
fn imports_take_over_what_the_dataset_knows_and_say_what_they_cannot() {
    let dir = with_session();
    let dir = dir.path();
    let file = fixture("session/InternVL3-8B_Tricky_VAL.xlsx");
    let file = file.to_str().unwrap();
    run(dir, &["sessions", "import", file, "--session", "x"]);
    let again = refused(dir, 3, &["sessions", "import", file, "--session", "x"]);
    assert!(again.contains("already holds a session"), "{again}");
    let show = json_of(dir, &["sessions", "show", "x", "--json"]);
    assert_eq!(show["manifest"]["dataset"]["name"], "Tricky_VAL");
    // The built-in dataset has questions 1, 2 and 10 as well, and so each answer gets that question's.
    run(dir, &["sessions", "export", "a", "--format", "lmms-eval", "--out", "p.jsonl"]);
    run(dir, &["sessions", "import", "p.jsonl", "--session", "p", "--dataset", "built-in"]);
    let (mine, theirs) = (lines(&dir.join("p/answers.jsonl")), lines(&dir.join("a/answers.jsonl")));
    for (one, two) in mine.iter().zip(&theirs) {
        for field in ["index", "question", "category", "type", "answer", "verdict"] {
            assert_eq!(one[field], two[field], "{field}");
        }
    }
    run(dir, &["sessions", "export", "p", "--format", "html", "--out", "p.html"]);
    assert!(fs::read_to_string(dir.join("p.html")).unwrap().contains("data:image/png;base64,"));
    fs::write(dir.join("odd.jsonl"), "no json\n{\"doc_id\": 900, \"target\": \"x\", \"resps\": [[\"y\"]]}\n")
        .unwrap();
    let output = run(dir, &["sessions", "import", "odd.jsonl", "--session", "odd", "--dataset", "built-in"]);
    let warnings = text(&output.stderr);
    assert!(warnings.contains("row 1") && warnings.contains("1 of 1 answers are to questions"), "{warnings}");
    // lmms-eval numbers the rows of a dataset that has names of its own; a row with another gold answer is another one.
    let question = |name: &str, gold: &str| json!({"index": name, "question": "Which?", "options": ["cat", "dog"], "answer": gold, "category": "pets"});
    fs::write(dir.join("pets.jsonl"), format!("{}\n{}\n", question("first", "A"), question("second", "B")))
        .unwrap();
    let sample = |row: usize, gold: &str| json!({"doc_id": row, "target": gold, "resps": [["B"]]});
    fs::write(dir.join("numbered.jsonl"), format!("{}\n{}\n", sample(0, "C"), sample(1, "B"))).unwrap();
    let output =
        run(dir, &["sessions", "import", "numbered.jsonl", "--session", "n", "--dataset", "pets.jsonl"]);
    assert!(text(&output.stderr).contains("1 of 2 answers are to questions"), "{}", text(&output.stderr));
    let numbered = lines(&dir.join("n/answers.jsonl"));
    assert_eq!((&numbered[0]["category"], &numbered[0]["verdict"]), (&Value::Null, &json!("unscored")));
    assert_eq!((&numbered[1]["category"], &numbered[1]["verdict"]), (&json!("pets"), &json!("right")));
    for (name, content) in
        [("a.pkl", "x"), ("b.csv", "a,b\n"), ("c.json", "{}"), ("d.tsv", ""), ("e.xlsx", "PK\u{3}\u{4}")]
    {
        fs::write(dir.join(name), content).unwrap();
        refused(dir, 3, &["sessions", "import", name, "--session", "never"]);
        assert!(!dir.join("never/manifest.json").exists(), "{name}");
    }
}

#[test]
fn sessions_are_listed_with_state_score_model_dataset_and_date() {
    let dir = with_session();
    let dir = dir.path();
    fs::create_dir(dir.join("broken")).unwrap();
    fs::write(dir.join("broken/manifest.json"), "{").unwrap();
    let shown = text(&run(dir, &["sessions", "list", "."]).stdout);
    let line = shown.lines().find(|line| line.ends_with("/a")).unwrap();
    for part in ["complete", "100.0 %", "built-in demonstration", "easy-vqa-demo", "20"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(shown.contains("damaged") && shown.contains("manifest"), "{shown}");
    let list = json_of(dir, &["sessions", "list", ".", "--json"]);
    assert_eq!(list["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn datasets_are_asked_for_by_file_or_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir_all(dir.join("lmu")).unwrap();
    fs::copy(fixture("dataset/easyvqa_mcq.tsv"), dir.join("lmu/MyShapes.tsv")).unwrap();
    let list = json_of(dir, &["datasets", "--json"]);
    assert_eq!(list["datasets"][0]["name"], "MyShapes");
    assert!(text(&run(dir, &["datasets"]).stdout).contains("MyShapes"));
    let result = json_of(dir, &["eval", "--dataset", "myshapes", "--limit", "1", "--session", "s", "--json"]);
    assert_eq!((&result["dataset"], &result["selected"]), (&json!("MyShapes"), &json!(1)));
    for unknown in ["MMStar", "nothing.tsv"] {
        let message = refused(dir, 3, &["eval", "--dataset", unknown, "--session", "never"]);
        assert!(message.contains(unknown) && message.contains("MyShapes"), "{message}");
    }
    // Parquet, JSON lines, and a folder of images with a CSV of questions.
    fs::create_dir(dir.join("pictures")).unwrap();
    image::RgbImage::from_pixel(30, 20, image::Rgb([200, 0, 0])).save(dir.join("pictures/red.png")).unwrap();
    fs::write(dir.join("pictures/q.csv"), "image,question,A,B,answer\nred.png,Which colour?,red,blue,A\n")
        .unwrap();
    let parquet = fixture("dataset/MMMU_like.parquet");
    for (i, dataset) in [parquet.to_str().unwrap(), "pictures"].into_iter().enumerate() {
        let session = format!("s{i}");
        let more =
            ["--limit", "1", "--max-new-tokens", "2", "--max-tiles", "1", "--session", &session, "--json"];
        let result = json_of(dir, &[&["eval", "--dataset", dataset][..], &more].concat());
        assert_eq!(result["complete"], true, "{dataset}");
        assert_eq!(result["failed"], 0, "{dataset}");
    }
}

#[test]
fn style_and_split_are_chosen_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rows: String = ["dev", "test", "test"]
        .iter()
        .enumerate()
        .map(|(i, split)| format!("{i}\tIs it red?\tyes\t{split}\n"))
        .collect();
    fs::write(dir.join("d.tsv"), format!("index\tquestion\tanswer\tsplit\n{rows}")).unwrap();
    let eval = ["eval", "--dataset", "d.tsv", "--max-new-tokens", "2", "--json"];
    let more = ["--split", "test", "--prompt-style", "vlmevalkit-thinking", "--session", "s"];
    let result = json_of(dir, &[&eval[..], &more].concat());
    assert_eq!(result["selected"], 2);
    let manifest: Value = serde_json::from_slice(&fs::read(dir.join("s/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["settings"]["prompt_style"], "vlmevalkit-thinking");
    assert_eq!(manifest["dataset"]["selection"]["split"], "test");
    // The style's own system message takes the place of the template's.
    let prompt = lines(&dir.join("s/answers.jsonl"))[0]["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.contains("<think>"), "{prompt}");
    let message = refused(dir, 3, &[&eval[..], &["--split", "train", "--session", "n"]].concat());
    assert!(message.contains("dev, test"), "{message}");
    refused(dir, 2, &[&eval[..], &["--prompt-style", "haiku", "--session", "n"]].concat());
}
