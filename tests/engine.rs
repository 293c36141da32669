//! Whatever is in flight together, wherever units lie, and however often a run is stopped: every question is answered as
//! it is alone, on one device, and one at a time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use shardscope::checkpoint::Checkpoint;
use shardscope::dataset::Dataset;
use shardscope::demo;
use shardscope::engine::asking::ask;
use shardscope::engine::{Command, Event, Language, Model, Order, Run, RunSettings, Sampling};
use shardscope::evaluation::{Choices, Evaluation, Questions};
use shardscope::model::{Place, Placement, WeightType};
use shardscope::session::export::{Format, export};
use shardscope::session::{Answer, Manifest, Record};

/// A checkpoint with questions for it, and what it answers one at a time on one device.
struct Case {
    checkpoint: Arc<Checkpoint>,
    dataset: Arc<Dataset>,
    choices: Choices,
    expected: HashMap<String, Answer>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Case {
    fn new(checkpoint: Checkpoint, dataset: Arc<Dataset>, choices: Choices) -> Self {
        let checkpoint = Arc::new(checkpoint);
        let weight_type = shardscope::engine::model::weight_type(&choices.dtype).unwrap();
        let model = model(&checkpoint, weight_type);
        let rows = choices.questions.rows(&dataset).unwrap();
        let one = |row| {
            let question = dataset.question(row).unwrap();
            let answer = ask(&model, &dataset, &question, &choices.settings, &mut |_| true).unwrap().unwrap();
            (answer.index.clone(), answer)
        };
        let expected = rows.into_iter().map(one).collect();
        Self { checkpoint, dataset, choices, expected }
    }

    /// The built-in pair, every so many of its questions.
    fn demo(every: usize, dtype: &str, new_tokens: usize) -> Self {
        let dataset = demo::dataset().unwrap();
        let outlines = dataset.outlines().unwrap();
        let ids = (0..dataset.len()).step_by(every).map(|row| outlines[row].index.clone()).collect();
        let settings = RunSettings { max_new_tokens: new_tokens, ..RunSettings::default() };
        let questions = Questions { ids, ..Questions::default() };
        let choices = Choices { questions, settings, dtype: dtype.into(), ..Choices::default() };
        Self::new(demo::checkpoint().unwrap(), dataset.clone(), choices)
    }

    fn fixture(checkpoint: &str, dataset: &str, new_tokens: usize) -> Self {
        let open = |path: &str| fixtures().join(path);
        let dataset = Arc::new(Dataset::open(&open(dataset)).unwrap());
        let settings = RunSettings { max_new_tokens: new_tokens, ..RunSettings::default() };
        let choices = Choices { settings, ..Choices::default() };
        Self::new(Checkpoint::open(open(checkpoint).to_str().unwrap()).unwrap(), dataset, choices)
    }

    fn order(&self, session: &Path, resume: bool, how: &How) -> (Order, Vec<Answer>) {
        let mut choices = self.choices.clone();
        choices.batch = how.batch;
        choices.devices = "cpu".into();
        choices.settings.micro_batch = how.micro_batch;
        choices.settings.prefill_chunk = how.prefill_chunk;
        if !how.caches {
            (choices.settings.picture_cache, choices.settings.prompt_cache) = (0, 0);
        }
        let (checkpoint, dataset) = (self.checkpoint.clone(), self.dataset.clone());
        let evaluation = Evaluation::prepare(checkpoint, dataset, choices, &mut |_| true).unwrap();
        let (mut order, done) = evaluation.begin(session, resume).unwrap();
        order.replicas.clone_from(&how.replicas);
        (order, done)
    }

    /// Runs all questions and compares; the answers.
    fn answers_equal(&self, how: &How) -> Vec<Answer> {
        let dir = tempfile::tempdir().unwrap();
        let (order, _) = self.order(&dir.path().join("session"), false, how);
        let (answers, complete) = follow(Run::start(order).unwrap(), |_, _| {});
        assert!(complete, "{how:?}");
        self.compare(&answers, how);
        answers
    }

    fn compare(&self, answers: &[Answer], how: &How) {
        assert_eq!(answers.len(), self.expected.len(), "{how:?}");
        for answer in answers {
            let expected = &self.expected[&answer.index];
            let index = &answer.index;
            assert_eq!(answer.error, None, "question {index}, {how:?}");
            assert_eq!(answer.output_ids, expected.output_ids, "question {index}, {how:?}");
            assert_eq!(answer.response, expected.response, "question {index}, {how:?}");
            assert_eq!(answer.finish, expected.finish, "question {index}, {how:?}");
            assert_eq!(answer.prompt_tokens, expected.prompt_tokens, "question {index}, {how:?}");
            assert_eq!(answer.images, expected.images, "question {index}, {how:?}");
            assert_eq!(answer.logprobs, expected.logprobs, "question {index}, {how:?}");
        }
    }
}

fn model(checkpoint: &Arc<Checkpoint>, weight_type: WeightType) -> Model {
    let language = Language::open(checkpoint).unwrap();
    let place = Place::cpu();
    Model::load(checkpoint.clone(), language, weight_type, &|_| place.clone(), &mut |_| true).unwrap()
}

/// How a run is made; nothing of it may change an answer.
#[derive(Debug, Clone)]
struct How {
    batch: usize,
    micro_batch: usize,
    prefill_chunk: usize,
    caches: bool,
    replicas: Vec<Placement>,
}

impl How {
    fn plain(batch: usize) -> Self {
        let replicas = vec![Placement::single(Place::cpu())];
        Self { batch, micro_batch: 4, prefill_chunk: 1024, caches: true, replicas }
    }
}

/// Listens until a run is over: the answers, and whether it is complete. `heard` may answer with commands.
fn follow(
    run: Run,
    mut heard: impl FnMut(&Event, &crossbeam_channel::Sender<Command>),
) -> (Vec<Answer>, bool) {
    let (mut answers, mut ended) = (Vec::new(), None);
    for event in &run.events {
        heard(&event, &run.commands);
        match event {
            Event::Answered { answer, .. } => answers.push(*answer),
            Event::Finished { complete } => ended = Some(complete),
            Event::Failed(problem) => panic!("{problem}"),
            _ => {}
        }
    }
    run.join();
    (answers, ended.unwrap())
}

/// A plan over some simulated devices: any unit anywhere.
fn placement(checkpoint: &Checkpoint, devices: usize, of: &[usize]) -> Placement {
    let places = (0..devices).map(|i| Place::simulated(format!("sim:{i}"), 1 << 30).unwrap()).collect();
    let units = checkpoint.units.iter().map(|unit| unit.name.clone());
    Placement::new(places, units.zip(of.iter().map(|device| device % devices)).collect()).unwrap()
}

fn any_placement(checkpoint: Arc<Checkpoint>) -> impl Strategy<Value = Placement> {
    let units = checkpoint.units.len();
    let scattered = prop::collection::vec(0usize..6, units);
    // Most plans are made of stretches.
    let stretches = prop::collection::vec((0usize..6, 1usize..8), units).prop_map(move |stretches| {
        let all = stretches.into_iter().flat_map(|(device, count)| std::iter::repeat_n(device, count));
        all.take(units).collect::<Vec<_>>()
    });
    (1usize..=6, prop_oneof![1 => scattered, 2 => stretches])
        .prop_map(move |(devices, of)| placement(&checkpoint, devices, &of))
}

fn any_how(checkpoint: Arc<Checkpoint>) -> impl Strategy<Value = How> {
    let plan = any_placement(checkpoint);
    (prop::sample::select(vec![1usize, 2, 5, 8, 16]), 1usize..6, 1usize..200, any::<bool>(), plan).prop_map(
        |(batch, micro_batch, prefill_chunk, caches, plan)| How {
            batch,
            micro_batch,
            prefill_chunk,
            caches,
            replicas: vec![plan],
        },
    )
}

/// Draws so many ways of running a few questions, and compares.
fn random_plans(count: usize) {
    let case = Case::demo(45, "f32", 12);
    let mut runner = TestRunner::deterministic();
    let any = any_how(case.checkpoint.clone());
    for _ in 0..count {
        case.answers_equal(&any.new_tree(&mut runner).unwrap().current());
    }
}

#[test]
fn any_plan_gives_the_same_answers() {
    random_plans(25);
}

/// `cargo test --release --test engine -- --ignored a_thousand`
#[test]
#[ignore = "takes minutes"]
fn a_thousand_plans_give_the_same_answers() {
    random_plans(1000);
}

#[test]
fn any_number_in_flight_gives_the_same_answers() {
    for (dtype, every) in [("f32", 8), ("auto", 8), ("bf16", 16), ("q8_0", 16)] {
        let case = Case::demo(every, dtype, 12);
        for batch in [1, 2, 5, 8, 16] {
            for caches in [true, false] {
                case.answers_equal(&How { caches, ..How::plain(batch) });
            }
        }
    }
}

/// `cargo test --release --test engine -- --ignored all_questions`
#[test]
#[ignore = "takes a minute"]
fn all_questions_of_the_demonstration_are_answered_the_same_in_company() {
    let case = Case::demo(1, "f32", 64);
    for batch in [1, 2, 5, 8, 16, 33] {
        for (caches, prefill_chunk) in [(true, 1024), (false, 1024), (true, 7)] {
            case.answers_equal(&How { caches, prefill_chunk, ..How::plain(batch) });
        }
    }
}

#[test]
fn pictures_of_many_tiles_and_texts_beyond_the_models_length_are_answered_the_same_in_company() {
    let small = "checkpoints/small.tsv";
    for (checkpoint, dataset) in [
        ("chat-qwen2/checkpoint", "dataset/MMMU_like.tsv"),
        ("checkpoints/llama-bos", small),
        ("checkpoints/internlm2-dynamic", small),
        ("checkpoints/qwen3-merges", small),
        ("checkpoints/phi3-longrope", small),
    ] {
        let case = Case::fixture(checkpoint, dataset, 24);
        case.answers_equal(&How::plain(1));
        case.answers_equal(&How { prefill_chunk: 50, micro_batch: 3, ..How::plain(5) });
        case.answers_equal(&How { caches: false, ..How::plain(8) });
    }
}

#[test]
fn sampled_answers_and_their_probabilities_are_the_same_in_company() {
    let mut case = Case::demo(20, "auto", 10);
    case.choices.settings.top_logprobs = 3;
    let sampling = Sampling::Sample { temperature: 1.5, top_p: Some(0.95), top_k: None, seed: 7 };
    case.choices.settings.sampling = sampling;
    let case = Case::new(demo::checkpoint().unwrap(), case.dataset.clone(), case.choices);
    case.answers_equal(&How::plain(8));
    case.answers_equal(&How { caches: false, ..How::plain(3) });
}

#[test]
fn replicas_share_the_questions() {
    let case = Case::demo(10, "auto", 12);
    let units = case.checkpoint.units.len();
    let split: Vec<usize> = (0..units).map(|unit| unit * 2 / units).collect();
    let replicas = vec![
        placement(&case.checkpoint, 2, &split),
        Placement::single(Place::simulated("sim:2", 1 << 30).unwrap()),
        Placement::single(Place::cpu()),
    ];
    case.answers_equal(&How { replicas, ..How::plain(7) });
}

#[test]
fn devices_are_dealt_out_among_the_copies_asked_for() {
    let case = Case::demo(20, "auto", 12);
    let prepare = |devices: &str, replicas: usize| {
        let mut choices = case.choices.clone();
        (choices.devices, choices.replicas, choices.batch) = (devices.into(), replicas, 4);
        let (checkpoint, dataset) = (case.checkpoint.clone(), case.dataset.clone());
        Evaluation::prepare(checkpoint, dataset, choices, &mut |_| true)
    };
    let dir = tempfile::tempdir().unwrap();
    let evaluation = prepare("sim:1GiB,512MiB,1GiB,512MiB", 2).unwrap();
    let (order, _) = evaluation.begin(&dir.path().join("session"), false).unwrap();
    let names = |placement: &Placement| -> Vec<String> {
        placement.places().iter().map(|place| place.name().to_owned()).collect()
    };
    let groups: Vec<Vec<String>> = order.replicas.iter().map(names).collect();
    assert_eq!(groups, [["sim:0", "sim:3"], ["sim:2", "sim:1"]]);
    let how = How { replicas: order.replicas.clone(), ..How::plain(4) };
    let (answers, complete) = follow(Run::start(order).unwrap(), |_, _| {});
    assert!(complete);
    case.compare(&answers, &how);
    let refused = prepare("sim:2x1GiB", 3).err().unwrap();
    assert!(refused.to_string().contains("3 copies need 3 devices"), "{refused}");
}

#[test]
fn what_questions_share_is_computed_once() {
    let case = Case::demo(1, "auto", 4);
    let mut by_picture: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for row in 0..case.dataset.len() {
        let question = case.dataset.question(row).unwrap();
        let bytes = case.dataset.image_bytes(&question.images[0]).unwrap();
        *by_picture.entry(bytes.to_vec()).or_default() += 1;
    }
    assert!(by_picture.len() < case.dataset.len(), "no picture is asked about twice");
    for batch in [1, 8] {
        let answers = case.answers_equal(&How::plain(batch));
        let fresh: u64 = answers.iter().map(|answer| answer.tiles - answer.reused.tiles).sum();
        assert_eq!(fresh as usize, by_picture.len(), "{batch} in flight");
        // The system message comes before every picture.
        let begun = answers.iter().filter(|answer| answer.reused.prompt_tokens > 0).count();
        assert!(begun >= answers.len() - batch, "{begun} of {}", answers.len());
        let answers = case.answers_equal(&How { caches: false, ..How::plain(1) });
        assert!(answers.iter().all(|answer| answer.reused.is_nothing()));
    }
}

#[test]
fn a_run_stopped_anywhere_resumes_without_an_answer_lost_or_doubled() {
    let case = Case::demo(10, "auto", 12);
    let mut runner = TestRunner::deterministic();
    let any = any_how(case.checkpoint.clone());
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let session = dir.path().join("session");
        let mut all: Vec<Answer> = Vec::new();
        let mut resume = false;
        loop {
            let how = any.new_tree(&mut runner).unwrap().current();
            let (order, done) = case.order(&session, resume, &how);
            assert_eq!(done.len(), all.len());
            resume = true;
            let mut left = 3 + 4 * round;
            let (answers, complete) = follow(Run::start(order).unwrap(), |event, commands| {
                match event {
                    // The run may be over by now.
                    Event::Text { .. } if left == 2 => {
                        let _ = commands.send(Command::Pause);
                        let _ = commands.send(Command::Resume);
                    }
                    Event::Answered { .. } | Event::Text { .. } => {}
                    _ => return,
                }
                left -= 1;
                if left == 0 {
                    let _ = commands.send(Command::Stop);
                }
            });
            all.extend(answers);
            if complete {
                case.compare(&all, &how);
                break;
            }
        }
    }
}

#[test]
fn a_paused_run_says_nothing_until_it_is_resumed() {
    let case = Case::demo(10, "auto", 12);
    let dir = tempfile::tempdir().unwrap();
    let how = How::plain(4);
    let (order, _) = case.order(&dir.path().join("session"), false, &how);
    let run = Run::start(order).unwrap();
    run.commands.send(Command::Pause).unwrap();
    let mut answers = Vec::new();
    let mut paused = false;
    for event in &run.events {
        match event {
            Event::Paused => {
                paused = true;
                run.commands.send(Command::Resume).unwrap();
            }
            Event::Answered { answer, .. } => answers.push(*answer),
            _ => {}
        }
    }
    run.join();
    assert!(paused);
    case.compare(&answers, &how);
}

#[test]
fn skipped_questions_stay_open_and_are_asked_again() {
    let case = Case::demo(10, "auto", 12);
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("session");
    let how = How { caches: false, ..How::plain(3) };
    let (order, _) = case.order(&session, false, &how);
    let last = *order.rows.last().unwrap();
    let run = Run::start(order).unwrap();
    run.commands.send(Command::Skip(last)).unwrap();
    let (mut asked, mut skipped) = (0, Vec::new());
    let (answers, complete) = follow(run, |event, commands| match event {
        Event::Asking { row, .. } => {
            asked += 1;
            if asked == 5 {
                // Should it be over by now, it is answered.
                let _ = commands.send(Command::Skip(*row));
            }
        }
        Event::Skipped { row } => skipped.push(*row),
        _ => {}
    });
    assert!(!complete && skipped.contains(&last));
    assert_eq!(answers.len() + skipped.len(), case.expected.len());
    let (order, done) = case.order(&session, true, &how);
    assert_eq!((order.rows.len(), done.len()), (skipped.len(), answers.len()));
    let (rest, complete) = follow(Run::start(order).unwrap(), |_, _| {});
    assert!(complete);
    case.compare(&[answers, rest].concat(), &how);
}

#[test]
fn questions_wait_where_they_are_not_admitted() {
    let case = Case::demo(10, "auto", 12);
    let dir = tempfile::tempdir().unwrap();
    let how = How::plain(8);
    let (mut order, _) = case.order(&dir.path().join("session"), false, &how);
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = most.clone();
    order.schedule.admission = Box::new(move |others, new| {
        seen.fetch_max(others.len() + 1, std::sync::atomic::Ordering::Relaxed);
        assert!(new.prompt_tokens > 0 && new.tiles > 0);
        others.len() < 2
    });
    let (answers, complete) = follow(Run::start(order).unwrap(), |_, _| {});
    assert!(complete);
    case.compare(&answers, &how);
    assert_eq!(most.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[test]
fn the_question_that_takes_the_most_memory_is_asked_first_on_request() {
    let case = Case::fixture("chat-qwen2/checkpoint", "dataset/MMMU_like.tsv", 4);
    let dir = tempfile::tempdir().unwrap();
    let order = |session: &str, canary: bool, resume: bool| {
        let mut choices = case.choices.clone();
        (choices.canary, choices.devices) = (canary, "sim:2x1GiB".into());
        (choices.settings.picture_cache, choices.settings.prompt_cache) = (0, 0);
        let (checkpoint, dataset) = (case.checkpoint.clone(), case.dataset.clone());
        let evaluation = Evaluation::prepare(checkpoint, dataset, choices, &mut |_| true).unwrap();
        evaluation.begin(&dir.path().join(session), resume).unwrap().0
    };
    // What each question really takes, measured without a word of the forecast.
    let plain = order("plain", false, false);
    let in_order = plain.rows.clone();
    let (answers, _) = follow(Run::start(plain).unwrap(), |_, _| {});
    let peaks: Vec<u64> = answers.iter().map(|answer| *answer.peak_bytes.values().max().unwrap()).collect();
    let heaviest = (0..peaks.len()).max_by_key(|at| peaks[*at]).unwrap();
    println!("{peaks:?}");
    assert!(heaviest > 0, "the dataset begins with its heaviest question");

    let session = dir.path().join("canary");
    let begun = order("canary", true, false);
    assert_eq!(begun.rows[0], in_order[heaviest]);
    let mut rest = begun.rows[1..].to_vec();
    assert!(rest.is_sorted());
    rest.insert(heaviest, begun.rows[0]);
    assert_eq!(rest, in_order);
    // Stopped before it had an answer, it is the first again.
    drop(begun);
    let again = order("canary", true, true);
    assert_eq!(again.rows[0], in_order[heaviest]);
    let stop = |event: &Event, commands: &crossbeam_channel::Sender<Command>| {
        if matches!(event, Event::Answered { .. }) {
            let _ = commands.send(Command::Stop);
        }
    };
    let (first, complete) = follow(Run::start(again).unwrap(), stop);
    assert_eq!((first[0].index.as_str(), complete), (answers[heaviest].index.as_str(), false));
    // Answered, it is no matter any more.
    let rows = order("canary", true, true).rows;
    assert!(rows.is_sorted() && !rows.contains(&in_order[heaviest]));
    let manifest = Manifest::read(&session).unwrap();
    assert_eq!(manifest.settings.other["canary"], true);
    assert!(Choices::of(&manifest).unwrap().canary);
    // Which is first changes no answer, so the session goes on without it too.
    let (more, complete) = follow(Run::start(order("canary", false, true)).unwrap(), |_, _| {});
    assert!(complete);
    case.compare(&[first, more].concat(), &How::plain(1));

    let record = Record::open(&session).unwrap();
    let file = dir.path().join("samples.jsonl");
    export(&record, Format::LmmsEval, &file, &|_, _| None).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let numbers: Vec<u32> = lines.map(|line| line["index"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers.len(), in_order.len());
    assert!(numbers.is_sorted());
}
