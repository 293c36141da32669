//! The pack of sentences against the source that makes them, and against findings and problems as they come.

use std::collections::HashSet;
use std::path::Path;

use super::*;
use crate::Problem;
use crate::app::language::choose;
use crate::plan::bytes::GIB;
use crate::plan::checks::{self, Finding};
use crate::plan::device_map::DeviceMap;
use crate::plan::spec::DeviceSpec;
use crate::plan::{
    Assumptions, Case, Device, Dtype, Forecaster, Layout, Model, Plan, QuestionCost, Workload, catalogue,
    planner, presets,
};
use crate::problem::OutOfMemory;

/// The texts in a source file's program, without its tests, their values as `{}`.
fn texts(path: &Path) -> Vec<String> {
    static TEXT: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r#"(?s)"((?:[^"\\]|\\.)*)""#).unwrap());
    static LINE_END: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(r"\\\n\s*").unwrap());
    static VALUE: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(r"\{[^{}]*\}").unwrap());
    let source = std::fs::read_to_string(path).unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap();
    // Letters in single quotes and comments may hold a quote that begins no text.
    let lines = source.lines().map(|line| {
        line.split_once("//").map_or(line, |(before, rest)| {
            if before.matches('"').count() % 2 == 0 && !rest.contains('"') { before } else { line }
        })
    });
    let source = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "' '").replace("b'\"'", "' '");
    let text = |text: &str| {
        let text = LINE_END.replace_all(text, "").replace("\\\"", "\"").replace("\\n", "\n");
        VALUE.replace_all(&text, "{}").replace("\\\\", "\\")
    };
    TEXT.captures_iter(&source).map(|found| text(&found[1])).collect()
}

fn all_texts(folder: &Path, found: &mut HashSet<String>, whole: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all_texts(&path, found, whole);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.extend(texts(&path).iter().map(|text| core(text)));
            whole.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// A pattern without the values at its ends, which may be put on in another place of the source.
fn core(pattern: &str) -> String {
    let mut pattern = pattern.to_owned();
    while pattern.contains("{}{}") {
        pattern = pattern.replace("{}{}", "{}");
    }
    let (start, end) = (pattern.strip_prefix("{}"), pattern.strip_suffix("{}"));
    let inner = match (start, end) {
        (Some(_), Some(_)) if pattern.len() >= 4 => &pattern[2..pattern.len() - 2],
        (Some(inner), _) | (_, Some(inner)) => inner,
        _ => &pattern,
    };
    inner.trim().to_owned()
}

fn has_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

const PACK: &str = include_str!("../../../assets/languages/zh-CN.sentences.toml");

#[test]
fn every_pattern_of_the_pack_is_a_text_of_the_source() {
    let (mut source, mut whole) = (HashSet::new(), String::new());
    all_texts(Path::new("src"), &mut source, &mut whole);
    // The last room is what the system and a library say.
    let (ours, _) = PACK.split_once("# What the system").unwrap();
    let lost: Vec<String> = toml::from_str::<HashMap<String, String>>(ours)
        .unwrap()
        .into_keys()
        // A file with quotes in raw texts is not read in full.
        .filter(|pattern| !source.contains(&core(pattern)) && !whole.contains(&format!("\"{pattern}\"")))
        .collect();
    assert!(lost.is_empty(), "the source no longer says: {lost:#?}");
}

#[test]
fn every_value_of_a_pattern_has_its_place() {
    for (english, chinese) in toml::from_str::<HashMap<String, String>>(PACK).unwrap() {
        let values = english.matches("{}").count();
        let in_order = chinese.matches("{}").count();
        static NUMBER: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(r"\{(\d+)\}").unwrap());
        let mut numbers = NUMBER.captures_iter(&chinese).map(|found| found[1].parse::<usize>().unwrap());
        let has_numbers = NUMBER.is_match(&chinese);
        // A verb of the English may have no place in the Chinese, but nothing else may be lost or made up.
        let is_right = match has_numbers {
            true => in_order == 0 && numbers.all(|number| (1..=values).contains(&number)),
            false => in_order == values,
        };
        assert!(is_right, "{english:?} = {chinese:?}");
    }
}

/// Words of a sentence that stayed English: three in a row outside of quotes, brackets and names.
fn english_left(text: &str) -> Option<String> {
    static QUOTED: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r#""[^"]*"|`[^`]*`|（wrapper[^）]*）"#).unwrap());
    static WORDS: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}").unwrap());
    WORDS.find(&QUOTED.replace_all(text, "")).map(|words| words.as_str().to_owned())
}

/// How a sentence is told, where that is not Chinese alone.
fn untold(english: &str) -> Option<String> {
    choose(Language::Chinese);
    let chinese = told(english).into_owned();
    choose(Language::English);
    assert_eq!(told(english), english);
    let is_told = has_chinese(&chinese) && english_left(&chinese).is_none();
    (!is_told).then(|| format!("{english:?} is told as {chinese:?}"))
}

fn case(name: &str, gpus: usize, gib: u64) -> Case {
    let model = Model::new(catalogue::find(name).unwrap(), Dtype::Bf16, None);
    let devices = (0..gpus).map(|i| Device::simulated(i, gib * GIB)).collect();
    let question = |(id, tiles): (&str, u64)| QuestionCost {
        id: id.into(),
        tiles,
        prompt_tokens: tiles * 256 + 150,
        ..QuestionCost::default()
    };
    let questions = [("light", 13), ("heavy", 70)].map(question).to_vec();
    Case::new(model, devices, Assumptions::default(), Workload::new(questions))
}

fn judged(case: &Case, plan: &Plan) -> Vec<Finding> {
    checks::check(case, plan, &Forecaster::new(case).forecast(plan))
}

/// A finding of every code.
fn all_findings() -> Vec<Finding> {
    let mut all = Vec::new();
    // What an imported map says as a map.
    let eight = case("InternVL3-8B", 2, 24);
    let plan = planner::plan(&eight, Layout::Auto).unwrap();
    let text = serde_json::to_string(&DeviceMap::of(&plan, &eight.model).to_json()).unwrap();
    let layer = |number: usize| format!("\"language_model.model.layers.{number}\":");
    let put = |before: &str, more: &str| text.replacen(before, &format!("{more},{before}"), 1);
    for map in [
        text.replacen("\"mlp1\":", "\"nothing.such\":", 1),
        text.replacen("rotary_emb", "rotary_such", 1),
        put(&layer(3), &format!("{}9,{}9,{}9", layer(90), layer(91), layer(92))),
        put(&layer(3), &format!("{}9", layer(90))),
        put(&layer(3), "\"model.language_model.layers.4\":1"),
        put(&layer(3), "\"model.language_model.layers.4\":1,\"model.language_model.layers.5\":1"),
        text.replacen(&format!("{}0", layer(2)), &format!("{}7", layer(2)), 1),
        put(
            &layer(3),
            &format!(
                "\"language_model.model.layers.3.mlp\":1,{}\"language_model.model.layers.3.self_attn\":0",
                ""
            ),
        ),
        text.replacen(&format!("{}0", layer(9)), &format!("{}\"cpu\"", layer(9)), 1),
        regex::Regex::new("lm_head\":.").unwrap().replace(&text, "lm_head\":\"disk\"").into_owned(),
    ] {
        all.extend(checks::check_map(&eight, &DeviceMap::parse(&map).unwrap()).2);
    }
    let mut twice = DeviceMap::of(&plan, &eight.model);
    let first = twice.entries.iter().position(|(name, _)| name.ends_with("layers.3")).unwrap();
    let last = twice.entries.iter().position(|(name, _)| name.ends_with("layers.27")).unwrap();
    let contradiction = (twice.entries[first].0.clone(), twice.entries[last].1);
    twice.entries.push(contradiction);
    all.extend(checks::check_map(&eight, &twice).2);

    // A rule of the releases on too little memory, with everything that would help.
    let large = case("InternVL2-Llama3-76B", 8, 40);
    let mut released = large.with_assumptions(large.assumptions.clone().as_released());
    released.devices[0].others = GIB;
    released.assumptions.in_flight.value = 4;
    let released = released.with_assumptions(released.assumptions.clone());
    let rule = planner::plan(&released, Layout::Rule(presets::Rule::InternVl)).unwrap();
    all.extend(judged(&released, &rule));
    // Tight, and no word about the pictures of its questions.
    for gib in 16..40 {
        let small = case("InternVL3-8B", 1, gib);
        all.extend(judged(&small, &planner::plan(&small, Layout::Single).unwrap()));
    }

    // Cards with habits of their own.
    let mut slices = case("InternVL3-8B", 2, 40);
    slices.devices.iter_mut().for_each(|device| device.mig = true);
    slices.devices[0].card = Some("Tesla V100-PCIE".into());
    let mut plan = planner::plan(&slices, Layout::Auto).unwrap();
    all.extend(judged(&slices, &plan));
    let half = plan.assignment.len() / 2;
    plan.assignment[..half].fill(0);
    plan.assignment[half..].fill(1);
    all.extend(judged(&slices, &plan));

    let mut shape = catalogue::find("InternVL3-2B").unwrap();
    (shape.decoder.tied, shape.runnable) = (true, false);
    let mut tied = case("InternVL3-2B", 3, 24);
    tied.model = Model::new(shape, Dtype::Bf16, None);
    tied.model.differing.push(("language_model.lm_head".into(), 5, 7));
    let tied = Case::new(tied.model, tied.devices, tied.assumptions, tied.workload);
    let mut plan = planner::plan(&tied, Layout::Single).unwrap();
    *plan.assignment.last_mut().unwrap() = 1;
    all.extend(judged(&tied, &plan));
    all
}

#[test]
fn every_finding_and_every_fix_has_its_chinese() {
    let findings = all_findings();
    static CODE: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new("^[a-z]+(-[a-z]+)+$").unwrap());
    let mut codes: HashSet<String> =
        ["offloaded", "mig", "dtype", "tight", "planner"].map(str::to_owned).into();
    for file in ["checks.rs", "checks/coverage.rs", "checks/placement.rs"] {
        codes.extend(texts(&Path::new("src/plan").join(file)).into_iter().filter(|text| CODE.is_match(text)));
    }
    assert!(codes.len() > 18, "{codes:?}");
    let mut untold_ones = Vec::new();
    for finding in &findings {
        codes.remove(finding.code);
        untold_ones.extend(untold(&finding.message));
        untold_ones.extend(finding.fixes.iter().filter_map(|fix| untold(&fix.what)));
    }
    assert!(untold_ones.is_empty(), "{untold_ones:#?}");
    assert!(codes.is_empty(), "no case leads to {codes:?}");
}

#[test]
fn problems_that_a_person_meets_have_their_chinese() {
    use crate::checkpoint::Checkpoint;
    use crate::dataset::Dataset;
    use crate::session::Record;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, bytes: &[u8]| {
        let file = path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let demo = Path::new("assets/demo/checkpoint");
    let mut met: Vec<Problem> = Vec::new();
    let mut checkpoint = |folder: &Path| {
        met.push(Checkpoint::open(&folder.display().to_string()).map(|_| folder.to_owned()).unwrap_err())
    };
    checkpoint(&path("nowhere"));
    std::fs::create_dir(path("empty")).unwrap();
    checkpoint(&path("empty"));
    write("json/config.json", b"{");
    checkpoint(&path("json"));
    write("other/config.json", b"{\"model_type\": \"llava\"}");
    checkpoint(&path("other"));
    let config = std::fs::read(demo.join("config.json")).unwrap();
    write("weightless/config.json", &config);
    checkpoint(&path("weightless"));
    write("torn/config.json", &config);
    for torn in [&b""[..], &[255; 40], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"]
    {
        write("torn/model.safetensors", torn);
        checkpoint(&path("torn"));
    }
    write("pickled/config.json", &config);
    write("pickled/pytorch_model.bin", b"x");
    checkpoint(&path("pickled"));

    let mut dataset = |path: &Path| {
        met.push(Dataset::open(path).and_then(|it| it.question(0)).map(|_| path.to_owned()).unwrap_err())
    };
    dataset(&path("nowhere.tsv"));
    dataset(&write("a.tsv", b""));
    dataset(&write("b.tsv", b"index\tanswer\n1\tA\n"));
    dataset(&write("c.tsv", b"index\tquestion\n1\t\"open"));
    dataset(&write("d.tsv", b"\xff\xfei\0n\0"));
    dataset(&write("e.jsonl", b"{\"text\": 1}\n"));
    dataset(&write("f.parquet", b"PAR1"));
    dataset(&path("empty"));

    met.push(Record::open(&path("empty")).err().unwrap());
    met.push(crate::picture::decode(b"no picture", "").err().unwrap());
    for spec in ["", "sim:9 bananas", "cuda:x", "sim:0GiB", "tpu"] {
        met.push(DeviceSpec::parse(spec).unwrap_err());
    }
    met.push(DeviceMap::parse("nonsense").unwrap_err());
    let small = case("InternVL3-8B", 1, 1);
    met.extend(planner::plan(&small, Layout::MistralRs).err());
    for (device, needed, capacity) in
        [("", 0, None), ("sim:0", 0, None), ("sim:1", 5 * GIB, None), ("cuda:0", 5 * GIB, Some(GIB))]
    {
        met.push(OutOfMemory { device: device.into(), needed, capacity }.into());
    }
    met.push(Problem::io("write", &path("x"), &std::io::Error::from_raw_os_error(28)));
    let sentences = met.iter().flat_map(|problem| [Some(&problem.what), problem.fix.as_ref()]).flatten();
    let untold_ones: Vec<String> = sentences.filter_map(|sentence| untold(sentence)).collect();
    assert!(untold_ones.is_empty(), "{untold_ones:#?}");
    assert!(met.len() > 30);
}
