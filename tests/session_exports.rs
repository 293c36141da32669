//! Sessions in the formats of others, and back: against files that pandas wrote as VLMEvalKit lets it write them.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on fails.

use std::fs;
use std::path::{Path, PathBuf};

use calamine::{DataType, Reader, Xlsx, open_workbook};
use proptest::prelude::*;
use serde_json::{Value, json};
use shardscope::Problem;
use shardscope::scoring::{AnswerType, Verdict};
use shardscope::session::export::{Format, export};
use shardscope::session::import::{Names, import};
use shardscope::session::*;

const PREDICTIONS: &str = "InternVL3-8B_Tricky_VAL";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/session").join(name)
}

fn imported(file: &Path) -> (tempfile::TempDir, Vec<Problem>) {
    let dir = tempfile::tempdir().unwrap();
    let warnings = import(file, dir.path(), &Names::default(), &mut |_| ()).unwrap();
    (dir, warnings)
}

fn answers(dir: &tempfile::TempDir) -> Vec<Answer> {
    Record::open(dir.path()).unwrap().answers().collect::<Result<_, _>>().unwrap()
}

/// A session of these answers.
fn session(answers: &[Answer]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = CheckpointRecord { name: "org/tiny".into(), ..Default::default() };
    let dataset = DatasetRecord { name: "demo".into(), questions: answers.len(), ..Default::default() };
    let manifest = Manifest::new(checkpoint, dataset, Settings::default());
    Session::create(dir.path(), &manifest).unwrap().append_all(answers).unwrap();
    dir
}

fn exported(dir: &tempfile::TempDir, format: Format) -> (PathBuf, Vec<Problem>) {
    let record = Record::open(dir.path()).unwrap();
    let to = dir.path().join(format.file_name(&record));
    let warnings = export(&record, format, &to, &|_, _| None).unwrap();
    (to, warnings)
}

/// The cells of the first sheet.
fn cells(file: &Path) -> Vec<Vec<String>> {
    let mut book: Xlsx<_> = open_workbook(file).unwrap();
    let range = book.worksheet_range_at(0).unwrap().unwrap();
    range.rows().map(|row| row.iter().map(|cell| cell.as_string().unwrap_or_default()).collect()).collect()
}

#[test]
fn vlmevalkit_predictions_are_imported_in_all_formats() {
    let mut of_each = Vec::new();
    for kind in ["tsv", "xlsx", "json"] {
        let (dir, warnings) = imported(&fixture(&format!("{PREDICTIONS}.{kind}")));
        assert_eq!(warnings, [], "{kind}");
        let manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!(
            (manifest.checkpoint.name.as_str(), manifest.dataset.name.as_str()),
            ("InternVL3-8B", "Tricky_VAL")
        );
        assert_eq!(Summary::of(dir.path()).state, State::Complete);
        of_each.push(answers(&dir));
    }
    let [first, second, third] = of_each[0].as_slice() else { panic!("three answers") };
    assert_eq!((first.index.as_str(), second.index.as_str(), third.index.as_str()), ("1", "2", "10"));
    assert_eq!(first.question, "What is <image 1>?\n\"Quoted\"\tand tabbed");
    assert_eq!(first.response, "The answer is A.\n\nBecause \\boxed{A}");
    assert_eq!(first.thinking.as_deref(), Some("let me\nsee"));
    assert_eq!(
        Value::from(first.options.clone()),
        json!({"A": "=1+1", "B": "https://example.org/a", "C": "x"})
    );
    assert_eq!(first.answer_type, Some(AnswerType::Option));
    assert_eq!(first.verdict, Verdict::Unscored);
    assert_eq!(second.options["B"], "2.50");
    assert_eq!(second.category.as_deref(), Some("数学"));
    assert_eq!(third.answer_type, Some(AnswerType::YesNo));
    assert_eq!((third.verdict, third.response.as_str()), (Verdict::Failed, ""));
    assert_eq!(of_each[0], of_each[1]);
    // The JSON file has the verdicts besides.
    let verdicts: Vec<_> = of_each[2].iter().map(|answer| (answer.verdict, answer.rule.as_str())).collect();
    let rule = "vlmevalkit (as recorded)";
    assert_eq!(verdicts, [(Verdict::Right, rule), (Verdict::Wrong, rule), (Verdict::Failed, "")]);
    assert_eq!(of_each[2][0].response, first.response);
}

/// Byte for byte what pandas writes, cell by cell what it puts into a spreadsheet.
#[test]
fn vlmevalkit_predictions_are_exported_as_vlmevalkit_writes_them() {
    let (dir, _) = imported(&fixture(&format!("{PREDICTIONS}.tsv")));
    let (tsv, warnings) = exported(&dir, Format::VlmevalkitTsv);
    assert_eq!(tsv.file_name().unwrap().to_str(), Some("InternVL3-8B_Tricky_VAL.tsv"));
    let theirs = fs::read_to_string(fixture(&format!("{PREDICTIONS}.tsv"))).unwrap();
    assert_eq!(fs::read_to_string(tsv).unwrap(), theirs);
    assert_eq!(warnings.len(), 1, "one question failed: {warnings:?}");
    let (xlsx, _) = exported(&dir, Format::VlmevalkitXlsx);
    assert_eq!(cells(&xlsx), cells(&fixture(&format!("{PREDICTIONS}.xlsx"))));
    let book: Vec<_> = {
        let mut book: Xlsx<_> = open_workbook(&xlsx).unwrap();
        let range = book.worksheet_range_at(0).unwrap().unwrap();
        range.rows().map(|row| row[0].is_float()).collect()
    };
    assert_eq!(book, [false, true, true, true], "the index is a number");
}

#[test]
fn lmms_eval_samples_are_imported() {
    let (dir, warnings) = imported(&fixture("20260301_101500_samples_tricky_val.jsonl"));
    assert_eq!(warnings, []);
    assert_eq!(Manifest::read(dir.path()).unwrap().dataset.name, "tricky_val");
    let answers = answers(&dir);
    let seen: Vec<_> =
        answers.iter().map(|it| (it.response.as_str(), it.read.clone(), it.verdict, it.score)).collect();
    assert_eq!(
        seen,
        [
            ("(B)", json!("B"), Verdict::Unscored, 0.0),
            ("Yes, it is.", json!("yes"), Verdict::Right, 1.0),
            ("20", Value::Null, Verdict::Wrong, 0.25),
        ]
    );
    assert_eq!((answers[0].prompt_tokens, answers[0].output_tokens), (300, 4));
    assert_eq!(answers[0].category.as_deref(), Some("Art"));
    assert_eq!(answers[1].answer_type, Some(AnswerType::YesNo));
    assert_eq!((answers[2].by.as_str(), answers[2].rule.as_str()), ("relaxed", "lmms-eval (as recorded)"));
}

#[test]
fn exports_come_back() {
    let (dir, _) = imported(&fixture(&format!("{PREDICTIONS}.json")));
    let mut before = answers(&dir);
    before[0].other.insert("energy".into(), json!({"joules": 3}));
    before[1].thinking = Some("x".into());
    let dir = session(&before);
    let (journal, _) = exported(&dir, Format::JsonLines);
    assert_eq!(answers(&imported(&journal).0), before);
    let (samples, _) = exported(&dir, Format::LmmsEval);
    for (after, before) in answers(&imported(&samples).0).iter().zip(&before) {
        assert_eq!(
            (&after.index, &after.response, after.verdict, &after.answer),
            (&before.index, &before.response, before.verdict, &before.answer)
        );
    }
    let line: Value =
        serde_json::from_str(fs::read_to_string(&samples).unwrap().lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&line["doc_id"], &line["target"], &line["filtered_resps"]),
        (&json!(2), &json!("B"), &json!(["B"]))
    );
}

#[test]
fn a_judge_reads_what_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let mut judge = |answer: &mut Answer| {
        answer.verdict = if answer.response.starts_with('B') { Verdict::Right } else { Verdict::Wrong };
        answer.rule = "first letter".into();
    };
    import(&fixture(&format!("{PREDICTIONS}.tsv")), dir.path(), &Names::default(), &mut judge).unwrap();
    let record = Record::open(dir.path()).unwrap();
    assert_eq!((record.tally().right, record.tally().wrong), (1, 2));
    assert_eq!(record.manifest().settings.rule, "first letter");
}

/// A cell of a spreadsheet holds 32,767 UTF-16 units; what is more is cut and told.
#[test]
fn long_texts_are_cut_only_in_spreadsheets_and_never_in_silence() {
    let mut long = Answer::new("7", "😀".repeat(20_000));
    long.question = "https://example.org/".repeat(120);
    let dir = session(&[
        long.clone(),
        Answer::new("8", "None"),
        Answer::new("9", "=HYPERLINK(\"x\") _x0041_ \u{7}"),
    ]);
    let (xlsx, warnings) = exported(&dir, Format::VlmevalkitXlsx);
    let place = "question 7, column prediction";
    let told: Vec<_> = warnings.iter().filter(|it| it.place.as_deref() == Some(place)).collect();
    assert!(told[0].what.contains("it has 40000"), "{warnings:?}");
    assert!(warnings.iter().any(|it| it.what.contains("1 cells hold a text such as None")), "{warnings:?}");
    let rows = cells(&xlsx);
    let column = rows[0].iter().position(|name| name == "prediction").unwrap();
    assert_eq!(rows[1][column], "😀".repeat(16_383));
    assert_eq!(rows[1][1], long.question, "an address stays a text");
    assert_eq!(rows[2][column], "None");
    assert!(rows[3][column].starts_with("=HYPERLINK(\"x\") "), "a formula stays a text: {:?}", rows[3]);
    let (tsv, warnings) = exported(&dir, Format::VlmevalkitTsv);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(answers(&imported(&tsv).0)[0].response, long.response);
}

#[test]
fn a_table_for_people_has_a_row_for_each_question() {
    let mut comma = Answer::new("2", "a, \"b\"\nc");
    comma.answer = json!(["x", "y"]);
    let dir = session(&[comma, Answer::new("1", "")]);
    let (csv, _) = exported(&dir, Format::Csv);
    let text = fs::read_to_string(csv).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("\"index\",\"id\",\"category\""));
    assert!(lines.next().unwrap().starts_with("\"1\",\"\","), "in the dataset's order");
    assert!(text.contains("\"[\"\"x\"\",\"\"y\"\"]\",\"a, \"\"b\"\"\nc\","));
}

/// Texts that would be something else than text, if the page let them.
fn hostile(index: &str) -> Answer {
    let attack = "</script></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)><!-- \u{2028} ]]>";
    let mut answer = Answer::new(index, attack);
    for text in [&mut answer.question, &mut answer.by, &mut answer.rule, &mut answer.prompt] {
        *text = attack.into();
    }
    for text in [
        &mut answer.id,
        &mut answer.category,
        &mut answer.super_category,
        &mut answer.error,
        &mut answer.thinking,
    ] {
        *text = Some(format!("{attack}{index}"));
    }
    answer.options = json!({"A": attack, "</li>": attack}).as_object().unwrap().clone();
    answer.answer = json!([attack]);
    answer.read = json!(attack);
    answer.images = vec![ImageRecord { name: attack.into(), ..Default::default() }];
    answer.verdict = Verdict::Right;
    answer.score = 1.0;
    answer
}

#[test]
fn nothing_in_a_report_is_more_than_text() {
    let dir = session(&[hostile("1"), hostile("2")]);
    let path = dir.path().join("manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace("org/tiny", "</title><script>alert(4)</script>")).unwrap();
    let page = dir.path().join("report.html");
    let picture = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(5)'/>".to_vec();
    let record = Record::open(dir.path()).unwrap();
    let warnings = export(&record, Format::Html, &page, &|_, _| Some(picture.clone())).unwrap();
    assert!(warnings[0].what.contains("2 pictures are not at hand or cannot be read"), "{warnings:?}");
    let page = fs::read_to_string(page).unwrap();
    // Two blocks of data and the page's own script; the only tags that begin with these letters.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    for attack in ["<img src", "<svg onload", "<svg xmlns", "<!-- ", "onerror=alert(2)>"] {
        assert!(!page.contains(attack), "{attack}");
    }
    assert_eq!(page.matches("</title>").count(), 1);
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched");
    // What the script reads is what was asked and said.
    let block = page.split("class=\"q\">").nth(1).unwrap().split("</script>").next().unwrap();
    let question: Value = serde_json::from_str(block).unwrap();
    assert_eq!(question["r"], hostile("1").response);
}

/// A verdict set by a person stands beside the machine's in whatever has a place for it, and changes no other value.
#[test]
fn a_persons_verdict_stands_beside_the_machines() {
    let verdicts = [Verdict::Wrong, Verdict::Right, Verdict::Wrong, Verdict::Right];
    let all: Vec<Answer> = verdicts
        .iter()
        .zip(1..)
        .map(|(verdict, number)| {
            let mut answer = Answer::new(number.to_string(), "B");
            (answer.verdict, answer.score) = (*verdict, f64::from(u8::from(*verdict == Verdict::Right)));
            answer
        })
        .collect();
    let dir = session(&all);
    let (before, _) = exported(&dir, Format::Html);
    let before = fs::read_to_string(before).unwrap();
    assert!(!before.contains("✎ 75.0") && !before.contains("class=\"person\""));
    let reason = "</script><b>the picture shows both</b>";
    Override::new("1", Some(Verdict::Right), reason).keep(dir.path()).unwrap();
    Override::new("2", Some(Verdict::Wrong), "taken back").keep(dir.path()).unwrap();
    Override::new("2", None, "").keep(dir.path()).unwrap();

    let (page, _) = exported(&dir, Format::Html);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<p class=\"big\">50.0<small>"), "the machine's score stays");
    assert!(page.contains("✎ 75.0&nbsp;% with 1 verdict set by a person"));
    assert!(!page.contains(reason));
    let questions: Vec<Value> = page
        .split("class=\"q\">")
        .skip(1)
        .map(|block| serde_json::from_str(block.split("</script>").next().unwrap()).unwrap())
        .collect();
    assert_eq!((&questions[0]["v"], &questions[0]["h"]), (&json!("wrong"), &json!(["right", reason])));
    assert!(questions[1..].iter().all(|question| question["h"].is_null()));

    let lines = |format| {
        let text = fs::read_to_string(exported(&dir, format).0).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    for format in [Format::JsonLines, Format::LmmsEval] {
        let lines = lines(format);
        assert_eq!(
            (&lines[0]["verdict"], &lines[0]["override"]["verdict"]),
            (&json!("wrong"), &json!("right"))
        );
        assert_eq!(lines[0]["override"]["reason"], reason);
        assert!(lines[1..].iter().all(|line| line.get("override").is_none()));
    }
    let csv = fs::read_to_string(exported(&dir, Format::Csv).0).unwrap();
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[0].ends_with("\"override\",\"override_reason\""));
    assert!(rows[1].ends_with(&format!("\"right\",\"{reason}\"")), "{}", rows[1]);
    assert!(rows[2].ends_with("\"\",\"\""));
    assert!(rows[1].contains("\"wrong\",\"0\""));
    // A prediction file has no verdicts, and stays what VLMEvalKit reads.
    let tsv = fs::read_to_string(exported(&dir, Format::VlmevalkitTsv).0).unwrap();
    assert!(!tsv.contains("override") && !tsv.contains("both"));
}

#[test]
fn a_report_shows_each_picture_once() {
    let mut bytes = Vec::new();
    let red = image::RgbImage::from_pixel(9, 7, image::Rgb([255, 0, 0]));
    red.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    let all: Vec<Answer> = (0..70)
        .map(|number| {
            let mut answer = Answer::new(number.to_string(), "x");
            answer.images = vec![ImageRecord::default(); 2];
            answer
        })
        .collect();
    let dir = session(&all);
    let page = dir.path().join("report.html");
    let record = Record::open(dir.path()).unwrap();
    let second =
        |answer: &Answer, number: usize| (number == 0 || answer.index == "69").then(|| bytes.clone());
    let warnings = export(&record, Format::Html, &page, &second).unwrap();
    assert_eq!(warnings.len(), 1, "69 pictures are missing: {warnings:?}");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), 1);
    assert_eq!(page.matches("\"p\":[[0,").count(), 70);
    assert!(page.contains("not scored"));
}

#[test]
fn what_cannot_be_imported_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        let session = dir.path().join("session");
        let problem = import(&file, &session, &Names::default(), &mut |_| ()).unwrap_err();
        assert!(!session.exists(), "{name} leaves no session");
        problem.to_string()
    };
    assert!(refused("a.pkl", b"\x80\x04").contains("PRED_FORMAT=tsv"));
    assert!(refused("a.csv", b"").contains(".xlsx, .tsv, .json"));
    assert!(refused("a.tsv", b"index\tquestion\n1\tx\n").contains("no column is named prediction"));
    assert!(refused("a.tsv", b"index\tprediction\n").contains("no answer in this file"));
    assert!(refused("a.tsv", b"question\tprediction\nx\ty\n").contains("row 2: it has no index"));
    assert!(refused("a.json", b"{\"a\": 1}").contains("not a list of records"));
    assert!(refused("a.json", b"[1]").contains("not a list of records"));
    assert!(refused("a.jsonl", b"{}\n[]\n").contains("no answer"));
    assert!(refused("a.xlsx", b"PK\x03\x04").contains("not a spreadsheet"));
    assert!(refused("a.xlsx", b"").contains("not a spreadsheet"));
    assert!(
        refused("open.tsv", &[b"index\tprediction\n1\t\"".as_slice(), &[b'x'; 300 << 20]].concat())
            .contains("longer")
    );

    // A row that stands twice, and one without an index: told, and the rest is imported.
    let file = dir.path().join("twice.tsv");
    fs::write(&file, "\u{feff}index\tprediction\n1\tA\n1\tB\n\tC\n2\tD\n").unwrap();
    let (session, warnings) = imported(&file);
    assert_eq!(answers(&session).iter().map(|it| it.response.as_str()).collect::<Vec<_>>(), ["A", "D"]);
    assert!(
        warnings[0].place.as_deref().unwrap().ends_with("row 3") && warnings[1].what.contains("no index")
    );
}

/// A spreadsheet of a few kilobytes that unpacks to gigabytes, and one whose only cell is far away.
#[test]
fn a_spreadsheet_cannot_exhaust_memory() {
    let dir = tempfile::tempdir().unwrap();
    let far = dir.path().join("far.xlsx");
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    for (row, column, text) in
        [(0, 0, "index"), (0, 1, "prediction"), (1, 0, "5"), (1, 1, "A"), (1_048_575, 16_383, "far")]
    {
        sheet.write_string(row, column, text).unwrap();
    }
    book.save(&far).unwrap();
    assert_eq!(answers(&imported(&far).0).len(), 1);

    let bomb = dir.path().join("bomb.xlsx");
    let mut archive = zip::ZipWriter::new(fs::File::create(&bomb).unwrap());
    archive.start_file("xl/sharedStrings.xml", zip::write::SimpleFileOptions::default()).unwrap();
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..600 {
        std::io::Write::write_all(&mut archive, &zeros).unwrap();
    }
    archive.finish().unwrap();
    let problem = import(&bomb, &dir.path().join("session"), &Names::default(), &mut |_| ()).unwrap_err();
    assert!(problem.what.contains("unpacks to more than"), "{problem}");
}

#[test]
fn an_export_appears_whole_or_not_at_all() {
    let dir = session(&[Answer::new("1", "x")]);
    let record = Record::open(dir.path()).unwrap();
    let nowhere = dir.path().join("missing").join("a.csv");
    assert!(export(&record, Format::Csv, &nowhere, &|_, _| None).unwrap_err().fix.is_some());
    fs::write(
        dir.path().join("answers.jsonl"),
        "{\"index\": \"1\", \"verdict\": \"right\", \"response\": 5}\n",
    )
    .unwrap();
    let record = Record::open(dir.path()).unwrap();
    for format in Format::ALL {
        let to = dir.path().join(format.file_name(&record));
        let before = fs::read_dir(dir.path()).unwrap().count();
        export(&record, format, &to, &|_, _| None).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before, "{} leaves nothing", format.name());
    }
    assert!("docx".parse::<Format>().unwrap_err().fix.unwrap().contains("vlmevalkit-xlsx"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Any text survives the way out and in; a carriage return and a zero are what no table format agrees on.
    #[test]
    fn any_text_survives(texts in prop::collection::vec("[^\r\0]{0,30}", 4)) {
        let mut answer = Answer::new("1", texts[0].clone());
        answer.question = texts[1].clone();
        answer.options = json!({"A": texts[2].clone() + "a", "B": "b"}).as_object().unwrap().clone();
        answer.answer = json!(texts[3].clone() + "x");
        answer.answer_type = Some(AnswerType::Option);
        let dir = session(std::slice::from_ref(&answer));
        for format in [Format::JsonLines, Format::VlmevalkitTsv] {
            let (file, _) = exported(&dir, format);
            let read = &answers(&imported(&file).0)[0];
            prop_assert_eq!(read, &answer);
        }
        for format in [Format::Csv, Format::LmmsEval, Format::Html, Format::VlmevalkitXlsx] {
            exported(&dir, format);
        }
    }

    /// Whatever a file holds: no panic.
    #[test]
    fn any_file_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..7000) {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["tsv", "json", "jsonl", "xlsx"] {
            let good = fs::read(fixture(&format!("{PREDICTIONS}.{}", if kind == "jsonl" { "json" } else { kind }))).unwrap();
            let mut torn = good[..cut % good.len()].to_vec();
            torn.extend(&bytes);
            for (number, content) in [&bytes, &torn].into_iter().enumerate() {
                let file = dir.path().join(format!("f{number}.{kind}"));
                fs::write(&file, content).unwrap();
                let _ = import(&file, &dir.path().join(format!("{kind}{number}")), &Names::default(), &mut |_| ());
            }
        }
    }
}
