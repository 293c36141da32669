//! Every rule against outcomes that the original evaluation code produced (see `tests/fixtures/scoring/README.md`).

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use shardscope::scoring::{AnswerType, Reading, Row, Rule, Verdict, mmmu, vlmevalkit, vqa};

fn fixture(name: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scoring").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let rows: Vec<Value> = text
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!rows.is_empty());
    rows
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}"))
}

fn row(answer_type: AnswerType, choices: &Value, response: &str, answer: &Value) -> Row {
    Row {
        id: Value::Null,
        answer_type,
        choices: choices.as_object().cloned().unwrap_or_else(Map::new),
        response: response.to_owned(),
        answer: answer.clone(),
        dataset: None,
    }
}

fn newest() -> Rule {
    Rule::by_name("vlmevalkit").unwrap()
}

fn pairs(choices: &Value) -> Vec<(String, String)> {
    choices
        .as_object()
        .into_iter()
        .flatten()
        .map(|(letter, text)| (letter.clone(), text.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn letter(inferred: Option<vlmevalkit::Inferred>) -> Value {
    inferred.map_or(Value::Null, |found| Value::from(found.letter))
}

/// Collects disagreements, so that a failing test shows them together.
#[derive(Default)]
struct Disagreements {
    checked: usize,
    lines: Vec<String>,
}

impl Disagreements {
    fn check(&mut self, what: impl Fn() -> String, ours: &Value, theirs: &Value) {
        self.checked += 1;
        if ours != theirs {
            self.lines.push(format!("{}: ours {ours}, theirs {theirs}", what()));
        }
    }

    fn none(self, at_least: usize) {
        assert!(self.checked >= at_least, "only {} comparisons", self.checked);
        let shown = self.lines.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.lines.is_empty(), "{} of {} disagree:\n{shown}", self.lines.len(), self.checked);
    }
}

fn span_is_valid(reading: &Reading, response: &str) {
    if let Some([from, to]) = reading.span {
        assert!(response.get(from..to).is_some(), "{reading:?} in {response:?}");
    }
}

#[test]
fn vlmevalkit_infers_options_as_the_original() {
    let mut d = Disagreements::default();
    let rule = newest();
    for name in ["mc_infer_synthetic", "mmmu_pro_gpt4o_responses", "mmmu_val_responses"] {
        for r in fixture(&format!("{name}.jsonl.gz")) {
            let response = text(&r, "response");
            let open = r.get("question_type").is_some_and(|kind| kind != "multiple-choice");
            let choices = match (&r["vk_choices"], &r["options"], &r["choices"]) {
                (Value::Object(_), _, _) => &r["vk_choices"],
                (_, Value::Object(_), _) => &r["options"],
                (_, _, choices) => choices,
            };
            let id = || format!("{name} {}{} {response:?}", r["uid"], r["id"]);
            let version = vlmevalkit::Version::Since2026June;
            let options = pairs(choices);
            d.check(id, &letter(vlmevalkit::infer_option(response, &options, version)), &r["vk_option"]);
            d.check(id, &letter(vlmevalkit::infer_text(response, &options, version)), &r["vk_text"]);
            let gold = r.get("gold_answer").cloned().unwrap_or(json!("A"));
            let kind = if open { AnswerType::MmmuOpen } else { AnswerType::Option };
            let mut one = row(kind, choices, response, &gold);
            let reading = rule.read(&one);
            span_is_valid(&reading, response);
            d.check(id, &reading.read, &r["vk_infer"]);
            let opt = if reading.read.is_null() { json!("Z") } else { reading.read.clone() };
            d.check(id, &opt, &r["vk_opt"]);
            if let Some(hit) = r.get("vk_hit") {
                d.check(id, &json!(reading.verdict == Verdict::Right), hit);
            }
            if let Some(gt) = r.get("vk_gt").filter(|_| open) {
                d.check(id, &json!(vlmevalkit::pseudo_options(&gold).1), gt);
                let expected: Vec<_> = pairs(&r["vk_choices"]);
                d.check(id, &json!(vlmevalkit::pseudo_options(&gold).0), &json!(expected));
            }
            if let Some(cut) = r.get("vk_cot_postproc") {
                let (ours, [from, to]) = vlmevalkit::cot_postproc(response);
                assert_eq!(&response[from..to], ours);
                let unchanged = cut.is_null();
                d.check(id, &json!(ours), if unchanged { &r["response"] } else { cut });
                one.dataset = Some("MMMU_Pro_10c_COT".into());
                let reading = rule.read(&one);
                span_is_valid(&reading, response);
                let opt = if reading.read.is_null() { json!("Z") } else { reading.read.clone() };
                d.check(id, &opt, &r["vk_cot_opt"]);
                if let Some(hit) = r.get("vk_cot_hit") {
                    d.check(id, &json!(reading.verdict == Verdict::Right), hit);
                }
            }
            if let Some(prediction) = r.get("vk_split_think_prediction") {
                let (ours, thinking) = vlmevalkit::split_think(response);
                d.check(id, &json!(ours), prediction);
                d.check(id, &json!(thinking), &r["vk_split_think_thinking"]);
                let opt = letter(vlmevalkit::infer(&ours, &options, version));
                let opt = if opt.is_null() { json!("Z") } else { opt };
                d.check(id, &opt, &r["vk_opt_after_split_think"]);
            }
        }
    }
    d.none(5_000);
}

#[test]
fn mmmu_and_mmmu_pro_parse_as_the_originals() {
    let mut d = Disagreements::default();
    let check = |d: &mut Disagreements,
                 id: String,
                 reading: &Reading,
                 parsed: &Value,
                 random: &Value,
                 correct: Option<&Value>| {
        d.check(|| format!("{id} random"), &json!(reading.verdict == Verdict::Unparsed), random);
        if random == &json!(false) {
            d.check(|| id.clone(), &reading.read, parsed);
            if let Some(correct) = correct {
                d.check(|| format!("{id} verdict"), &json!(reading.verdict == Verdict::Right), correct);
            }
        }
    };
    for r in fixture("mc_infer_synthetic.jsonl.gz") {
        let response = text(&r, "response");
        let one = row(AnswerType::Option, &r["choices"], response, &json!("A"));
        for (rule, parsed, random) in [
            ("mmmu", "mmmu_parsed", "mmmu_took_random_path"),
            ("mmmu-pro", "mmmu_pro_parsed", "mmmu_pro_took_random_path"),
        ] {
            let reading = Rule::by_name(rule).unwrap().read(&one);
            span_is_valid(&reading, response);
            check(&mut d, format!("{rule} {response:?}"), &reading, &r[parsed], &r[random], None);
        }
    }
    for (name, rule) in [("mmmu_pro_gpt4o_responses", Rule::MmmuPro), ("mmmu_val_responses", Rule::Mmmu)] {
        for r in fixture(&format!("{name}.jsonl.gz")) {
            let response = text(&r, "response");
            let choice = r["question_type"] == "multiple-choice";
            let kind = if choice { AnswerType::Option } else { AnswerType::MmmuOpen };
            let reading = rule.read(&row(kind, &r["options"], response, &r["gold_answer"]));
            span_is_valid(&reading, response);
            let id = format!("{} {response:?}", r["uid"]);
            if choice {
                check(
                    &mut d,
                    id,
                    &reading,
                    &r["official_parsed"],
                    &r["took_random_path"],
                    Some(&r["official_correct"]),
                );
            } else {
                d.check(|| id.clone(), &json!(reading.verdict == Verdict::Right), &r["official_correct"]);
                if r["official_parsed_open"].is_object() {
                    d.check(|| id.clone(), &reading.read, &open_parts(&r["official_parsed_open"]));
                }
            }
        }
    }
    d.none(3_000);
}

/// The fixture's parts as our readings hold them: texts, then numbers.
fn open_parts(parts: &Value) -> Value {
    let list = |field: &str| parts[field].as_array().cloned().unwrap_or_default();
    Value::from([list("strings"), list("numbers")].concat())
}

#[test]
fn mmmu_reads_open_questions_as_the_original() {
    let mut d = Disagreements::default();
    for r in fixture("mmmu_open_synthetic.jsonl.gz") {
        let response = text(&r, "response");
        let reading = Rule::Mmmu.read(&row(AnswerType::MmmuOpen, &Value::Null, response, &r["gold_answer"]));
        let id = || format!("{response:?}");
        d.check(id, &reading.read, &open_parts(&r["official_parsed_open"]));
        d.check(id, &json!(reading.verdict == Verdict::Right), &r["official_correct"]);
        d.check(id, &json!(mmmu::extract_numbers(response)), &r["extract_numbers_of_response"]);
        let golds = match &r["gold_answer"] {
            Value::Array(items) => items.iter().filter_map(|g| g.as_str()).map(str::to_owned).collect(),
            gold => vec![gold.as_str().unwrap().to_owned()],
        };
        let normalized: Vec<_> = golds.iter().flat_map(|gold| mmmu::normalize(gold)).collect();
        d.check(id, &mmmu::open_parts_json(&normalized), &r["official_gold_normalized"]);
    }
    d.none(400);
}

#[test]
fn parsed_outputs_are_judged_as_the_original_judges_them() {
    let mut d = Disagreements::default();
    for r in fixture("mmmu_val_evalonly.jsonl.gz") {
        let prediction = text(&r, "prediction");
        let right = if r["question_type"] == "multiple-choice" {
            r["gold_answer"] == r["prediction"]
        } else {
            let reading =
                Rule::Mmmu.read(&row(AnswerType::MmmuOpen, &Value::Null, prediction, &r["gold_answer"]));
            if r["official_parsed_open"].is_object() {
                d.check(|| prediction.to_owned(), &reading.read, &open_parts(&r["official_parsed_open"]));
            }
            reading.verdict == Verdict::Right
        };
        d.check(|| r["uid"].to_string(), &json!(right), &r["official_correct"]);
    }
    d.none(1_000);
}

#[test]
fn vlmevalkit_reads_yes_and_no_as_the_original() {
    let mut d = Disagreements::default();
    for r in fixture("yorn_synthetic.jsonl.gz") {
        let response = text(&r, "response");
        let reading = newest().read(&row(AnswerType::YesNo, &Value::Null, response, &json!("Yes")));
        span_is_valid(&reading, response);
        d.check(|| response.to_owned(), &reading.read, &r["extracted"]);
        let plain = vqa::process_punctuation(&response.to_lowercase());
        d.check(|| response.to_owned(), &json!(plain), &r["process_punctuation_lower"]);
    }
    d.none(200);
}

#[test]
fn vlmevalkit_scores_short_answers_as_the_original() {
    let mut d = Disagreements::default();
    for r in fixture("vqa_process_answer.jsonl.gz") {
        let source = text(&r, "text");
        d.check(|| source.to_owned(), &json!(vqa::process_punctuation(source)), &r["process_punctuation"]);
        d.check(
            || source.to_owned(),
            &json!(vqa::process_digit_article(source)),
            &r["process_digit_article"],
        );
        d.check(|| source.to_owned(), &json!(vqa::process_answer(source)), &r["process_answer"]);
    }
    for name in ["textvqa", "anls", "chartqa_relaxed", "accuracy_ocrvqa_gqa"] {
        for r in fixture(&format!("vqa_{name}.jsonl.gz")) {
            if !r["error"].is_null() {
                continue;
            }
            let dataset = text(&r, "dataset_name");
            let kind = match text(&r, "method") {
                "vqa_score" | "default" => AnswerType::VqaScore,
                "anls" => AnswerType::Anls,
                "relaxed_accuracy" => AnswerType::RelaxedAccuracy,
                "accuracy" if dataset.starts_with("OCRVQA") => AnswerType::AccuracyMax,
                "accuracy" => AnswerType::AccuracyMean,
                other => panic!("method {other}"),
            };
            let reading = newest().read(&row(kind, &Value::Null, text(&r, "prediction"), &r["answer"]));
            d.check(|| r.to_string(), &reading.read, &r["pred"]);
            let hit = r["hit"].as_f64().unwrap_or_else(|| f64::from(u8::from(r["hit"] == json!(true))));
            d.check(|| r.to_string(), &json!((reading.score - hit).abs() < 1e-12), &json!(true));
            // The gold answers as a list give the same.
            let listed = newest().read(&row(kind, &Value::Null, text(&r, "prediction"), &r["gt"]));
            d.check(|| r.to_string(), &json!(listed.score), &json!(reading.score));
        }
    }
    for r in fixture("vqa_ocrbench.jsonl.gz") {
        let mut one = row(AnswerType::Ocrbench, &Value::Null, text(&r, "prediction"), &r["answer"]);
        one.dataset = Some(format!("OCRBench/{}", text(&r, "category")));
        if r["error"].is_null() {
            let reading = newest().read(&one);
            d.check(|| r.to_string(), &json!(reading.score), &json!(r["score"].as_f64()));
        }
    }
    d.none(700);
}

#[test]
fn shardscope_reads_what_a_person_reads() {
    let (mut equal, mut rows, mut wrong, mut lines) = (0, 0, 0, Vec::new());
    for r in fixture("mc_infer_synthetic.jsonl.gz") {
        let response = text(&r, "response");
        let reading = Rule::Shardscope.read(&row(AnswerType::Option, &r["choices"], response, &json!("A")));
        span_is_valid(&reading, response);
        rows += 1;
        if reading.read == r["intended"] {
            equal += 1;
        } else {
            wrong += usize::from(!reading.read.is_null());
            lines.push(format!(
                "{} {} {response:?}: ours {} by {}, intended {}",
                r["fmt"], r["choices"], reading.read, reading.by, r["intended"]
            ));
        }
    }
    let shown = lines.join("\n");
    assert!(wrong == 0 && equal * 100 >= rows * 98, "{equal} of {rows}, {wrong} read wrongly\n{shown}");
}
