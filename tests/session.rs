//! A session folder: nothing counted as done is lost or doubled, whatever happens to the process or the file.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use shardscope::scoring::Verdict;
use shardscope::session::*;

fn manifest() -> Manifest {
    let checkpoint = CheckpointRecord {
        name: "tiny".into(),
        path: "/models/tiny".into(),
        config_hash: "c0".into(),
        index_hash: "1d".into(),
        texts_hash: "e0".into(),
        weights_hash: "f0".into(),
        template: "internvl2_5".into(),
        ..Default::default()
    };
    let dataset = DatasetRecord {
        name: "demo".into(),
        path: "/data/demo.tsv".into(),
        hash: "da".into(),
        questions: 4,
        selection: Selection::of(["0", "1", "2", "3"]),
        ..Default::default()
    };
    let settings =
        Settings { max_new_tokens: 64, dtype: "f32".into(), rule: "shardscope".into(), ..Default::default() };
    Manifest::new(checkpoint, dataset, settings)
}

/// An answer whose every field holds something, texts with all that JSON lines could stumble over.
fn answer(number: usize) -> Answer {
    let mut answer =
        Answer::new(number.to_string(), format!("line one\nline two \u{2028} \"{number}\" \\ 答案 {{}}"));
    answer.category = Some("colour".into());
    answer.question = "What colour?\r\n".into();
    answer.options = json!({"A": "None", "B": "NA"}).as_object().unwrap().clone();
    answer.images = vec![ImageRecord { name: "a.png".into(), width: 64, height: 48, grid: [2, 1] }];
    answer.output_ids = vec![1, 2, 151_645];
    answer.verdict = if number.is_multiple_of(3) { Verdict::Right } else { Verdict::Wrong };
    answer.score = f64::from(u8::from(answer.verdict == Verdict::Right));
    answer.read = json!(["red", "blue"]);
    answer.answer = json!("B");
    answer.seconds = Seconds { images: 0.25, prefill: 0.5, decode: 0.125, total: 0.875 };
    answer.peak_bytes = [("cuda:0".to_string(), 1 << 40)].into();
    answer.logprobs = Some(vec![TokenLogprob {
        id: 1,
        text: "re".into(),
        logprob: -0.5,
        top: vec![Alternative { id: 2, text: "bl".into(), logprob: f64::NEG_INFINITY }],
    }]);
    answer
}

/// A folder with a session of so many answers.
fn session(answers: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::create(dir.path(), &manifest()).unwrap();
    for number in 0..answers {
        session.append(&answer(number)).unwrap();
    }
    dir
}

fn resume(dir: &Path) -> shardscope::Result<(Session, Vec<Answer>)> {
    Session::resume(dir, &manifest())
}

fn refusal<T>(result: shardscope::Result<T>) -> shardscope::Problem {
    match result {
        Ok(_) => panic!("was not refused"),
        Err(problem) => problem,
    }
}

#[test]
fn what_is_written_is_read_again() {
    let dir = session(4);
    let (resumed, done) = resume(dir.path()).unwrap();
    assert_eq!(done, (0..4).map(answer).collect::<Vec<_>>());
    assert_eq!(resumed.manifest(), &manifest_on_disk(dir.path()));
    drop(resumed);
    let record = Record::open(dir.path()).unwrap();
    assert_eq!(record.answers().collect::<Result<Vec<_>, _>>().unwrap(), done);
    assert_eq!(record.answer(record.position("2").unwrap()).unwrap(), answer(2));
    assert_eq!((record.tally().right, record.tally().wrong, record.settled()), (2, 2, 4));
}

fn manifest_on_disk(dir: &Path) -> Manifest {
    Manifest::read(dir).unwrap()
}

/// Other programs read these names.
#[test]
fn a_line_has_the_fields_of_the_contract() {
    let dir = session(1);
    let text = fs::read_to_string(dir.path().join("answers.jsonl")).unwrap();
    let line: Value = serde_json::from_str(&text).unwrap();
    for field in "index id category question options prompt images tiles prompt_tokens output_tokens finish output_ids \
                  response read verdict score by rule answer seconds peak_bytes forecast_bytes logprobs"
        .split_whitespace()
    {
        assert!(line.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(line["finish"], "stop");
    assert_eq!(line["verdict"], "right");
    assert_eq!(line["images"][0], json!({"name": "a.png", "width": 64, "height": 48, "grid": [2, 1]}));
    assert_eq!(line["seconds"], json!({"images": 0.25, "prefill": 0.5, "decode": 0.125, "total": 0.875}));
}

#[test]
fn a_session_begins_once() {
    let dir = session(1);
    let problem = refusal(Session::create(dir.path(), &manifest()));
    assert!(problem.what.contains("already holds a session"), "{problem}");
    assert!(problem.fix.unwrap().contains("--resume"));
    assert_eq!(resume(dir.path()).unwrap().1.len(), 1);
}

#[test]
fn one_process_writes_at_a_time() {
    let dir = session(0);
    let (first, _) = resume(dir.path()).unwrap();
    assert!(refusal(resume(dir.path())).what.contains("another process is writing"));
    assert!(Summary::of(dir.path()).running);
    drop(first);
    assert!(!Summary::of(dir.path()).running);
    resume(dir.path()).unwrap();
}

#[test]
fn a_question_is_answered_once() {
    let dir = session(2);
    let (mut session, _) = resume(dir.path()).unwrap();
    assert!(refusal(session.append(&answer(1))).what.contains("already answered"));
    session.append(&answer(2)).unwrap();
    assert!(refusal(session.append(&answer(2))).what.contains("already answered"));
    drop(session);
    assert_eq!(resume(dir.path()).unwrap().1.len(), 3);

    let path = dir.path().join("answers.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&path, format!("{text}{first}\n")).unwrap();
    let problem = refusal(resume(dir.path()));
    assert!(problem.place.unwrap().ends_with("line 4"));
    assert_eq!(Record::open(dir.path()).unwrap().damaged(), 1);
}

/// A question that was stopped is asked again, and one that failed may be.
#[test]
fn unfinished_and_failed_answers_are_replaced() {
    let dir = session(1);
    let (mut session, _) = resume(dir.path()).unwrap();
    let mut stopped = answer(1);
    stopped.finish = Finish::Stopped;
    let mut failed = answer(2);
    failed.verdict = Verdict::OutOfMemory;
    for line in [&stopped, &failed] {
        session.append(line).unwrap();
    }
    drop(session);
    let (mut session, done) = resume(dir.path()).unwrap();
    assert_eq!(done, [answer(0), failed]);
    for number in [2, 1] {
        session.append(&answer(number)).unwrap();
    }
    drop(session);
    assert_eq!(resume(dir.path()).unwrap().1, [answer(0), answer(1), answer(2)]);
    let record = Record::open(dir.path()).unwrap();
    assert_eq!((record.len(), record.damaged(), record.tally().out_of_memory), (3, 0, 0));
}

#[test]
fn settings_that_change_answers_refuse_a_resume() {
    let dir = session(1);
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut other = manifest();
        change(&mut other);
        refusal(Session::resume(dir.path(), &other)).what
    };
    for (change, names) in [
        (
            &(|m: &mut Manifest| m.settings.max_new_tokens = 128) as &dyn Fn(&mut Manifest),
            "max_new_tokens is now 128 and was 64",
        ),
        (&|m| m.settings.dtype = "bf16".into(), "dtype is now bf16 and was f32"),
        (
            &|m| m.settings.system_prompt = Some("Be brief".into()),
            "system_prompt is now Be brief and was not set",
        ),
        (&|m| m.settings.max_tiles = Some(6), "max_tiles is now 6 and was not set"),
        (
            &|m| {
                m.settings.sampling = Sampling::Sample { temperature: 0.7, top_p: None, top_k: None, seed: 1 }
            },
            "sampling",
        ),
        (
            &|m| drop(m.settings.other.insert("thinking".into(), true.into())),
            "thinking is now true and was not set",
        ),
        (&|m| m.checkpoint.config_hash = "c1".into(), "checkpoint configuration (hash) is now c1 and was c0"),
        (&|m| m.checkpoint.index_hash = "2d".into(), "checkpoint weights"),
        (
            &|m| m.checkpoint.texts_hash = "e1".into(),
            "tokenizer and chat template (hash) is now e1 and was e0",
        ),
        (&|m| m.checkpoint.weights_hash = "f1".into(), "weights (hash of samples) is now f1 and was f0"),
        (&|m| m.checkpoint.template = "phi3".into(), "template is now phi3 and was internvl2_5"),
        (&|m| m.dataset.hash = "db".into(), "dataset (hash) is now db and was da"),
        (&|m| m.dataset.selection = Selection::of(["0", "1"]), "selected questions is now 2 (hash"),
    ] {
        let what = refused(change);
        assert!(what.contains(names), "{names:?} is not in {what:?}");
        assert_eq!(what.matches(" is now ").count(), 1, "{what:?} names one setting");
    }
    let both = refused(&|m| {
        m.settings.dtype = "bf16".into();
        m.settings.max_new_tokens = 1;
    });
    assert!(both.contains("dtype") && both.contains("max_new_tokens"));
}

#[test]
fn other_settings_do_not() {
    let dir = session(1);
    let mut other = manifest();
    other.settings.rule = "vlmevalkit".into();
    other.settings.batch = 8;
    other.settings.threads = Some(3);
    other.settings.top_logprobs = 5;
    // A session of an earlier version does not know them.
    other.checkpoint.texts_hash = String::new();
    other.checkpoint.weights_hash = String::new();
    other.layout.name = "single".into();
    other.checkpoint.path = "/moved/tiny".into();
    other.dataset.path = "/moved/demo.tsv".into();
    other.dataset.selection = Selection::of(["3", "2", "1", "0"]);
    assert_eq!(other.differences(&manifest()), []);
    assert_eq!(Session::resume(dir.path(), &other).unwrap().1.len(), 1);
    // Without a hash, the path is all there is to go by.
    other.dataset.hash = String::new();
    assert_eq!(other.differences(&manifest())[0].setting, "dataset");
}

#[test]
fn a_session_from_the_future_is_refused() {
    let dir = session(1);
    let path = dir.path().join("manifest.json");
    let mut future: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    future["schema"] = 7.into();
    future["checkpoint"] = "no longer a map".into();
    fs::write(&path, future.to_string()).unwrap();
    for problem in [refusal(Record::open(dir.path())), refusal(resume(dir.path()))] {
        assert!(problem.what.contains("schema 7") && problem.what.contains("up to 1"), "{problem}");
        assert!(problem.fix.is_some());
    }
    assert!(matches!(Summary::of(dir.path()).state, State::Damaged(why) if why.contains("schema 7")));
}

#[test]
fn unknown_fields_are_kept() {
    let dir = session(1);
    let path = dir.path().join("answers.jsonl");
    let mut line: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    line["energy_joules"] = json!({"cuda:0": 12.5});
    line["index"] = json!(17);
    fs::write(&path, format!("{line}\n")).unwrap();
    let read = Record::open(dir.path()).unwrap().answer(0).unwrap();
    assert_eq!(read.index, "17");
    assert_eq!(serde_json::to_value(&read).unwrap()["energy_joules"], json!({"cuda:0": 12.5}));
}

/// Reading under another rule changes what is seen everywhere, and nothing on the disk.
#[test]
fn a_session_is_read_under_another_rule() {
    let dir = session(5);
    let path = dir.path().join("answers.jsonl");
    let before = fs::read(&path).unwrap();
    let generous = |answer: &mut Answer| {
        answer.verdict = Verdict::Right;
        answer.score = 1.0;
        answer.rule = "generous".into();
    };
    let record = Record::open(dir.path()).unwrap().read_under("generous", generous).unwrap();
    assert_eq!((record.tally().right, record.tally().wrong), (5, 0));
    assert_eq!(record.answer(1).unwrap().rule, "generous");
    let comparison = compare(&Record::open(dir.path()).unwrap(), &record).unwrap();
    assert_eq!((comparison.paired.both, comparison.paired.second_alone), (2, 3));
    assert_eq!(
        comparison.cautions,
        ["The answers were read under different rules: shardscope and generous."]
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A folder from a stranger may hold links; nothing outside it is ever written, cut or waited for.
#[cfg(unix)]
#[test]
fn links_and_pipes_are_not_followed() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "precious, and without a line feed").unwrap();
    for name in ["answers.jsonl", "events.jsonl", "memory.jsonl"] {
        let dir = session(0);
        let path = dir.path().join(name);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(outside.path(), &path).unwrap();
        assert!(refusal(resume(dir.path())).what.contains("this is a link"), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("manifest.json.tmp")).unwrap();
    Session::create(dir.path(), &manifest()).unwrap();
    assert_eq!(fs::read(outside.path()).unwrap(), b"precious, and without a line feed");

    for name in ["answers.jsonl", "manifest.json", "session.lock"] {
        let dir = session(0);
        let path = dir.path().join(name);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(Record::open(dir.path()).is_err(), name != "session.lock");
        assert!(!Summary::of(dir.path()).running);
    }
}

/// Numbers that JSON does not have must not make a line that cannot be read again.
#[test]
fn not_a_number_does_no_harm() {
    let dir = session(0);
    let (mut session, _) = resume(dir.path()).unwrap();
    let mut odd = answer(0);
    (odd.score, odd.seconds.decode) = (f64::NAN, f64::INFINITY);
    session.append(&odd).unwrap();
    session.append(&answer(1)).unwrap();
    drop(session);
    assert_eq!(resume(dir.path()).unwrap().1.len(), 2);
}

#[test]
fn a_file_cut_anywhere_loses_its_last_line_at_most() {
    let dir = session(3);
    let path = dir.path().join("answers.jsonl");
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(Record::open(dir.path()).unwrap().len(), lines, "cut at {length}");
        let (mut session, done) = resume(dir.path()).unwrap();
        assert_eq!(done, (0..lines).map(answer).collect::<Vec<_>>(), "cut at {length}");
        // What follows stands on a line of its own.
        session.append(&answer(9)).unwrap();
        drop(session);
        let (_, done) = resume(dir.path()).unwrap();
        assert_eq!(done.len(), lines + 1, "cut at {length}");
        assert_eq!(done[lines], answer(9), "cut at {length}");
    }
}

#[test]
fn a_damaged_line_is_named() {
    let dir = session(3);
    let path = dir.path().join("answers.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    bytes[second + 5..second + 40].fill(0);
    fs::write(&path, &bytes).unwrap();
    let problem = refusal(resume(dir.path()));
    assert!(problem.place.unwrap().ends_with("answers.jsonl, line 2"));
    assert!(problem.fix.is_some());
    assert_eq!(fs::read(&path).unwrap(), bytes, "a refusal changes nothing");
    let record = Record::open(dir.path()).unwrap();
    assert_eq!((record.len(), record.damaged()), (2, 1));
    assert_eq!(record.answers().map(|answer| answer.unwrap().index).collect::<Vec<_>>(), ["0", "2"]);

    // The same in the last line is what a power cut leaves of a line that never counted.
    bytes.truncate(second);
    bytes.extend([0; 40]);
    bytes.push(b'\n');
    fs::write(&path, &bytes).unwrap();
    assert_eq!(resume(dir.path()).unwrap().1, [answer(0)]);
    assert_eq!(fs::metadata(&path).unwrap().len(), second as u64);
}

#[test]
fn a_line_without_end_is_not_held_in_memory() {
    let dir = session(1);
    let path = dir.path().join("answers.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.resize(bytes.len() + LONGEST_LINE + 10, b'[');
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Record::open(dir.path()).unwrap().len(), 1);
    bytes.push(b'\n');
    bytes.extend(serde_json::to_vec(&answer(1)).unwrap());
    bytes.push(b'\n');
    fs::write(&path, &bytes).unwrap();
    let record = Record::open(dir.path()).unwrap();
    assert_eq!((record.len(), record.damaged()), (2, 1));
    assert!(refusal(resume(dir.path())).what.contains("longer than 64 MiB"));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let problem = refusal(Session::create(&dir.path().join("file").join("session"), &manifest()));
    assert!(problem.fix.unwrap().contains("--session"));

    let read_only = session(1);
    let mut permissions = fs::metadata(read_only.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(read_only.path(), permissions.clone()).unwrap();
    fs::set_permissions(read_only.path().join("session.lock"), permissions.clone()).unwrap();
    // The superuser may write anywhere; for everybody else the resume is refused, and reading works all the same.
    if fs::write(read_only.path().join("probe"), "").is_err() {
        assert!(refusal(resume(read_only.path())).what.contains("cannot write"));
    }
    assert_eq!(Record::open(read_only.path()).unwrap().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        permissions.set_mode(0o755);
        fs::set_permissions(read_only.path(), permissions).unwrap();
    }
}

#[test]
fn events_and_memory_are_kept() {
    let dir = session(0);
    let sample = MemorySample {
        time: 1.5,
        device: "cuda:0".into(),
        used: 7,
        parts: [("kv".into(), 3)].into(),
        ..Default::default()
    };
    for round in 0..2 {
        let (mut session, _) = resume(dir.path()).unwrap();
        session.event("resume", json!({"round": round})).unwrap();
        session.memory(&sample).unwrap();
        drop(session);
        let path = dir.path().join("events.jsonl");
        fs::write(&path, [fs::read(&path).unwrap(), b"{\"torn".to_vec()].concat()).unwrap();
    }
    let record = Record::open(dir.path()).unwrap();
    assert_eq!(record.memory().unwrap(), [sample.clone(), sample]);
    let events = record.events().unwrap();
    assert_eq!(events.iter().map(|event| event.details["round"].clone()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn sessions_are_listed_newest_first() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(list(&root.path().join("missing")), []);
    for (name, started, answers) in [
        ("a", "2026-01-01T00:00:00Z", 4),
        ("b", "2026-03-01T00:00:00+05:00", 1),
        ("c", "2026-02-01T00:00:00Z", 0),
    ] {
        let mut begun = manifest();
        begun.started = started.into();
        let mut session = Session::create(&root.path().join(name), &begun).unwrap();
        for number in 0..answers {
            session.append(&answer(number)).unwrap();
        }
    }
    fs::create_dir(root.path().join("no session")).unwrap();
    fs::create_dir(root.path().join("lost")).unwrap();
    fs::write(root.path().join("lost").join("answers.jsonl"), "").unwrap();
    let all = list(root.path());
    assert_eq!(all.iter().map(Summary::name).collect::<Vec<_>>(), ["b", "c", "a", "lost"]);
    assert_eq!(all[0].state, State::Partial { done: 1, of: 4 });
    assert_eq!(all[1].state, State::Partial { done: 0, of: 4 });
    assert_eq!(all[2].state, State::Complete);
    assert_eq!(all[2].tally.accuracy(), Some(0.5));
    assert!(matches!(&all[3].state, State::Damaged(why) if why.contains("no manifest.json")));
}

/// A session over some questions, each with its verdict.
fn judged(verdicts: &[(usize, Verdict)], change: impl Fn(&mut Answer)) -> tempfile::TempDir {
    let dir = session(0);
    let (mut session, _) = resume(dir.path()).unwrap();
    for &(number, verdict) in verdicts {
        let mut answer = answer(number);
        answer.verdict = verdict;
        answer.score = f64::from(u8::from(verdict == Verdict::Right));
        change(&mut answer);
        session.append(&answer).unwrap();
    }
    dir
}

#[test]
fn two_sessions_are_compared_question_by_question() {
    use Verdict::*;
    let verdicts =
        [(0, Right), (1, Right), (2, Wrong), (3, Unparsed), (4, Failed), (5, Right), (7, Unscored)];
    let first = judged(&verdicts, |_| ());
    let verdicts = [(6, Wrong), (3, Right), (2, Right), (1, Wrong), (0, Right), (4, Right), (7, Unscored)];
    let second = judged(&verdicts, |answer| answer.category = None);
    let open = |dir: &tempfile::TempDir| Record::open(dir.path()).unwrap();
    let comparison = compare(&open(&first), &open(&second)).unwrap();
    let table = comparison.paired;
    assert_eq!((table.both, table.first_alone, table.second_alone, table.neither), (1, 1, 2, 0));
    assert_eq!(table.difference(), Some(0.25));
    assert_eq!(table.p(), 1.0);
    let flips: Vec<_> = comparison.flips.iter().map(|flip| (flip.index.as_str(), flip.is_gain())).collect();
    assert_eq!(flips, [("1", false), ("2", true), ("3", true)]);
    assert_eq!(
        (comparison.only_first, comparison.only_second),
        (vec!["5".to_string()], vec!["6".into(), "4".into()])
    );
    assert_eq!(comparison.by_category["colour"], table);
    assert_eq!(comparison.cautions, ["3 questions are judged in one session only and are left out."]);

    // Another dataset whose indices happen to be the same.
    let third = judged(&verdicts[1..3], |answer| answer.question = "Where is it?".into());
    let path = third.path().join("manifest.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"da\"", "\"db\"")).unwrap();
    let comparison = compare(&open(&first), &open(&third)).unwrap();
    assert!(comparison.cautions[0].starts_with("2 questions have the same index but not the same text"));
    assert_eq!(comparison.settings[0].setting, "dataset (hash)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a journal holds: no panic, and what can be resumed can be appended to and read again.
    #[test]
    fn any_bytes_are_refused_or_read(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[\\[{\"}\\]:,0-9a-z\n\r ]{0,40}".prop_map(String::into_bytes),
                (0usize..3).prop_map(|n| [serde_json::to_vec(&answer(n)).unwrap(), b"\n".to_vec()].concat()),
                Just(b"\n".to_vec()),
            ],
            0..8,
        )
    ) {
        let dir = session(0);
        let bytes = pieces.concat();
        let path = dir.path().join("answers.jsonl");
        fs::write(&path, &bytes).unwrap();
        for name in ["events.jsonl", "memory.jsonl"] {
            fs::write(dir.path().join(name), &bytes).unwrap();
        }
        let record = Record::open(dir.path()).unwrap();
        let readable = record.answers().filter(|answer| answer.is_ok()).count();
        record.events().unwrap();
        record.memory().unwrap();
        Summary::of(dir.path());
        match resume(dir.path()) {
            Err(_) => prop_assert_eq!(fs::read(&path).unwrap(), bytes),
            Ok((mut session, done)) => {
                prop_assert_eq!(done.len(), readable);
                session.append(&answer(7)).unwrap();
                drop(session);
                prop_assert_eq!(resume(dir.path()).unwrap().1.len(), done.len() + 1);
            }
        }
    }

    #[test]
    fn any_manifest_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..2000) {
        let _ = Manifest::parse(&bytes);
        let mut good = serde_json::to_vec_pretty(&manifest()).unwrap();
        let at = at % good.len();
        good.splice(at..at + bytes.len().min(good.len() - at), bytes);
        let _ = Manifest::parse(&good);
    }
}

/// The other half of the tests below, run as a process of its own: appends until it is killed or cannot go on,
/// and says on standard error what has been kept.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("SHARDSCOPE_TEST_SESSION") else { return };
    let (mut session, done) = resume(Path::new(&dir)).unwrap();
    eprintln!("begun");
    for number in done.len().. {
        if let Err(problem) = session.append(&answer(number)) {
            eprintln!("refused {problem}");
            return;
        }
        eprintln!("kept {number}");
    }
}

/// This test binary, running `child` alone.
fn child_command(shell_prefix: &str, dir: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = match shell_prefix {
        "" => Command::new(own),
        prefix => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{prefix}; exec \"$0\" \"$@\"")).arg(own);
            shell
        }
    };
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env("SHARDSCOPE_TEST_SESSION", dir).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_killed_process_loses_nothing() {
    let dir = session(0);
    let mut kept = 0;
    for round in 0..8u64 {
        let mut child = child_command("", dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "begun", "a killed writer leaves no lock");
        // Some answers later, at a moment that differs from round to round.
        for line in lines.by_ref().take(3 * round as usize) {
            line.unwrap();
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // A line of the pipe may be torn, too.
        let said =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("kept ")?.parse::<usize>().ok());
        let acknowledged = said.max().map_or(kept, |number| number + 1).max(kept);
        let (_, done) = resume(dir.path()).unwrap();
        assert!(done.len() >= acknowledged, "{} of {acknowledged} answers are there", done.len());
        for (number, line) in done.iter().enumerate() {
            assert_eq!(line, &answer(number));
        }
        kept = done.len();
    }
    assert!(kept > 20, "the test has tried something");
}

/// The largest file that the process may write stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_half_line() {
    let dir = session(0);
    // 64 blocks of 512 bytes; the signal is ignored, so that the write itself fails half way.
    let output = child_command("trap '' XFSZ; ulimit -f 64", dir.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("refused") && said.contains("make room"), "{said}");
    let kept = said.lines().filter(|line| line.starts_with("kept ")).count();
    let bytes = fs::read(dir.path().join("answers.jsonl")).unwrap();
    assert!(bytes.ends_with(b"\n") && bytes.len() <= 64 * 1024 && kept > 5);
    let (mut session, done) = resume(dir.path()).unwrap();
    assert_eq!(done, (0..kept).map(answer).collect::<Vec<_>>());
    session.append(&answer(kept)).unwrap();
}
