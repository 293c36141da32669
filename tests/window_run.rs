//! Running, looking at results, presenting and asking, as a person does them, without a display.

mod window_support;

use std::path::{Path, PathBuf};

use egui::{Key, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use shardscope::app::results::view::{Column, Filter};
use shardscope::app::results::{self, Page};
use shardscope::app::run::live::Stage;
use shardscope::app::{App, Habits, Screen, Wish, ask, run};
use shardscope::scoring::{AnswerType, Rule, Verdict};
use shardscope::session::{
    Answer, CheckpointRecord, DatasetRecord, Manifest, Override, Record, Session, Settings, overrides,
};
use window_support::{script, settle, wait, window, window_with};

type Window = Harness<'static, App>;

/// Begins a run of so many of the built-in questions.
fn start(window: &mut Window, limit: usize) {
    window.state_mut().workspace.choices.questions.limit = Some(limit);
    window.state_mut().screen = Screen::Run;
    window.run_steps(2);
    window.get_by_label("Start").click();
    wait(window, "the run to begin", |app| app.run.live().is_some() || app.run.refused().is_some());
    assert!(window.state().run.refused().is_none(), "{:?}", window.state().run.refused());
}

fn stage(app: &App) -> Option<&Stage> {
    app.run.live().map(|live| &live.stage)
}

/// The same to its end; gives the session.
fn run_through(window: &mut Window, limit: usize) -> PathBuf {
    start(window, limit);
    wait(window, "the run to end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(true)));
    settle(window);
    window.state().run.live().unwrap().about.folder.clone()
}

/// Opens a session and waits for its first answer.
fn open(window: &mut Window, session: &Path) {
    window.state_mut().apply(Wish::ShowSession(session.to_owned()));
    wait(window, "an answer", |app| app.results.answer().is_some());
    settle(window);
}

fn wish(window: &mut Window, wish: results::Wish) {
    window.state_mut().apply(Wish::Results(wish));
    settle(window);
}

/// A session of made answers: every third one wrong, every fifth unparsed, categories in turn.
fn made(folder: &Path, name: &str, count: usize, right: impl Fn(usize) -> bool) {
    let checkpoint = CheckpointRecord { name: name.into(), ..CheckpointRecord::default() };
    let dataset = DatasetRecord { name: "MADE".into(), questions: count, ..DatasetRecord::default() };
    let settings = Settings { rule: Rule::default().name(), ..Settings::default() };
    let mut session = Session::create(folder, &Manifest::new(checkpoint, dataset, settings)).unwrap();
    let answers = (0..count).map(|i| {
        let mut answer = Answer::new(i.to_string(), format!("I think that it is B, as in case {i}."));
        answer.question = format!("What is shown in picture {i}?");
        answer.category = Some(["fish", "birds", "trees"][i % 3].into());
        answer.options = serde_json::from_str(r#"{"A":"cat","B":"dog"}"#).unwrap();
        answer.answer_type = Some(AnswerType::Option);
        answer.answer = if right(i) { "B".into() } else { "A".into() };
        answer.read = "B".into();
        answer.verdict = if right(i) { Verdict::Right } else { Verdict::Wrong };
        answer.score = f64::from(u8::from(right(i)));
        answer.span = Some([19, 20]);
        answer.by = "letter".into();
        answer.tiles = (i % 13) as u64;
        answer.output_tokens = (i * 7 % 50) as u64;
        answer.seconds.total = (i * 7919 % 1000) as f64 / 100.0;
        answer
    });
    session.append_all(&answers.collect::<Vec<_>>()).unwrap();
}

#[test]
fn the_built_in_pair_runs_to_a_score_and_its_results_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    let session = run_through(&mut window, 6);
    let live = window.state().run.live().unwrap();
    assert_eq!((live.done, live.report.overall.total), (6, 6));
    assert!(live.tokens_per_second.is_some());
    // What the screen counts is what is on the disk.
    assert_eq!(Record::open(&session).unwrap().tally(), live.report.overall);
    let right = live.report.overall.right;
    window.get_by_label_contains(&format!("{right} right"));
    window.get_by_label("See the results").click();
    wait(&mut window, "the results", |app| app.screen == Screen::Results && app.results.answer().is_some());
    settle(&mut window);
    assert_eq!(window.state().results.listed().len(), 6);
    let pictures = window.state().results.pictures().and_then(|it| it.ready()).unwrap();
    assert!(pictures.pictures.iter().all(Result::is_ok) && !pictures.pictures.is_empty());
    assert_eq!(pictures.pictures[0].as_ref().unwrap().grid, Some(([1, 1], false)));
}

#[test]
fn a_run_is_paused_gone_on_with_stopped_and_resumed_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    start(&mut window, 80);
    wait(&mut window, "answers", |app| app.run.live().is_some_and(|live| live.done >= 2));
    window.get_by_label("Pause").click();
    wait(&mut window, "the pause", |app| stage(app) == Some(&Stage::Paused));
    assert!(window.state().run.is_active() && !window.state_mut().may_close());
    window.state_mut().apply(Wish::Stay);
    let done = window.state().run.live().unwrap().done;
    window.run_steps(20);
    assert_eq!(window.state().run.live().unwrap().done, done);
    // The keys go back through the answers while it waits.
    let latest = window.state().run.shown();
    window.key_press(Key::ArrowLeft);
    window.run_steps(2);
    assert_ne!(window.state().run.shown(), latest);

    window.get_by_label("Go on").click();
    wait(&mut window, "more answers", |app| app.run.live().is_some_and(|live| live.done > done));
    window.get_by_label("Stop").click();
    wait(&mut window, "the end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(false)));
    let session = window.state().run.live().unwrap().about.folder.clone();
    let kept = Record::open(&session).unwrap().len();
    assert_eq!(kept, window.state().run.live().unwrap().done);
    assert!(kept < 80);

    // Another window knows nothing of it but the folder.
    drop(window);
    let mut window = window_with(folder.path(), Habits::default(), Vec2::new(880.0, 560.0));
    window.state_mut().apply(Wish::Resume(session.clone()));
    wait(&mut window, "the run to begin", |app| app.run.live().is_some() || app.run.refused().is_some());
    assert!(window.state().run.refused().is_none(), "{:?}", window.state().run.refused());
    assert!(window.state().run.live().unwrap().done >= kept);
    wait(&mut window, "answers", |app| app.run.live().is_some_and(|live| live.done > kept + 2));
    window.state_mut().apply(Wish::Run(run::Wish::Stop));
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let record = Record::open(&session).unwrap();
    let live = window.state().run.live().unwrap();
    assert_eq!((record.len(), record.damaged()), (live.done, 0));
    assert_eq!(record.tally(), live.report.overall);
}

#[test]
fn a_skipped_question_stays_unanswered() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    start(&mut window, 80);
    wait(&mut window, "a question", |app| app.run.live().is_some_and(|live| !live.flights.is_empty()));
    window.get_by_label("Pause").click();
    wait(&mut window, "the pause", |app| stage(app) == Some(&Stage::Paused));
    let live = window.state().run.live().unwrap();
    let (row, done) = (live.flights.last().map(|flight| flight.row).unwrap(), live.done);
    let dataset = window.state().workspace.dataset.ready().unwrap().clone();
    let index = dataset.outlines().unwrap()[row].index.clone();
    window.state_mut().apply(Wish::Run(run::Wish::Skip(row)));
    window.get_by_label("Go on").click();
    wait(&mut window, "more answers", |app| app.run.live().is_some_and(|live| live.done > done + 2));
    window.state_mut().apply(Wish::Run(run::Wish::Stop));
    wait(&mut window, "the end", |app| !app.run.is_active());
    let live = window.state().run.live().unwrap();
    let record = Record::open(&live.about.folder).unwrap();
    assert_eq!(record.len(), live.done);
    assert_eq!(record.position(&index), None);
}

#[test]
fn simulated_devices_show_what_was_measured_beside_the_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    window.state_mut().workspace.choices.devices = "sim:2x64MiB".into();
    run_through(&mut window, 24);
    let trace = &window.state().run.live().unwrap().trace;
    assert_eq!(trace.devices.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["sim:0", "sim:1"]);
    for device in &trace.devices {
        let capacity = device.capacity.unwrap();
        assert!(!device.samples.is_empty() && device.peak > 0 && device.peak <= capacity, "{device:?}");
        assert!(device.forecast.is_some_and(|forecast| forecast > 0));
    }
    window.get_by_label_contains("sim:0: ");
}

#[test]
fn a_refusal_is_told_with_its_fix() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    window.state_mut().workspace.choices.devices = "sim:1x1MiB".into();
    window.state_mut().apply(Wish::Start);
    wait(&mut window, "the refusal", |app| app.run.refused().is_some());
    window.run_steps(2);
    assert!(!window.state().run.is_active());
    let refused = window.state().run.refused().unwrap();
    assert!(refused.fix.is_some(), "{refused:?}");
    window.get_by_label("The run did not begin");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is written");
}

#[test]
fn answers_are_filtered_sorted_searched_and_gone_through_by_keys() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("made");
    made(&session, "made", 90, |i| i % 3 != 0);
    let mut window = window(folder.path());
    open(&mut window, &session);
    let index = |window: &Window| window.state().results.answer().unwrap().answer.index.clone();
    assert_eq!(index(&window), "0");
    for (key, at) in [(Key::ArrowDown, "1"), (Key::ArrowDown, "2"), (Key::ArrowUp, "1"), (Key::End, "89")] {
        window.key_press(key);
        settle(&mut window);
        assert_eq!(index(&window), at);
    }
    // Wrong ones, by the button that counts them.
    window.get_by_label("30 wrong").click();
    settle(&mut window);
    let listed = window.state().results.listed().to_vec();
    assert!(listed.len() == 30 && listed.iter().all(|place| place % 3 == 0));
    // By time, the longest first.
    wish(&mut window, results::Wish::Sort(Column::Seconds));
    wish(&mut window, results::Wish::Sort(Column::Seconds));
    let seconds = |place: &usize| place * 7919 % 1000;
    assert!(window.state().results.listed().is_sorted_by_key(|place| std::cmp::Reverse(seconds(place))));
    // A key begins a search, and is no part of it.
    window.key_press(Key::Slash);
    window.run_steps(2);
    let search = window.get_by_label("Search questions and answers");
    assert!(search.is_focused() && search.value().unwrap_or_default().is_empty());
    search.type_text("case 12");
    settle(&mut window);
    assert_eq!(window.state().results.listed(), [12]);
    window.key_press(Key::Escape);
    // What an answer says.
    let filter = Filter { text: "CASE 7".into(), ..Filter::default() };
    wish(&mut window, results::Wish::Filter(Box::new(filter)));
    let mut found = window.state().results.listed().to_vec();
    found.sort_unstable();
    assert_eq!(found, [7, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79]);
    let mut filter = Filter { category: Some("birds".into()), ..Filter::default() };
    filter.tiles.from = Some(11.0);
    wish(&mut window, results::Wish::Filter(Box::new(filter)));
    assert!(!window.state().results.listed().is_empty());
    assert!(window.state().results.listed().iter().all(|place| place % 3 == 1 && place % 13 >= 11));
    // Nothing passes: said, with the way back.
    let filter = Filter { text: "no such words".into(), ..Filter::default() };
    wish(&mut window, results::Wish::Filter(Box::new(filter)));
    window.get_by_label("No answer passes the filter");
    window.get_by_label("Show all").click();
    settle(&mut window);
    assert_eq!(window.state().results.listed().len(), 90);
}

#[test]
fn a_person_sets_a_verdict_beside_the_machines_and_takes_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("made");
    made(&session, "made", 12, |i| i % 3 != 0);
    let mut window = window(folder.path());
    open(&mut window, &session);
    let before = std::fs::read(session.join("answers.jsonl")).unwrap();
    wish(&mut window, results::Wish::Override(Some(Verdict::Right), "the picture shows both".into()));
    let opened = window.state().results.opened().unwrap();
    assert_eq!((opened.tally.right, opened.overridden.right), (8, 9));
    window.get_by_label("the picture shows both");
    window.get_by_label_contains("with 1 set by a person");
    let said: Override = overrides(&session).unwrap().remove("0").unwrap();
    assert_eq!((said.verdict, said.reason.as_str()), (Some(Verdict::Right), "the picture shows both"));
    // It is exported, and the answers stay as they are.
    let csv = folder.path().join("made.csv");
    script(&mut window, Some(&csv));
    window.get_by_label("Export").click();
    settle(&mut window);
    window.get_by_label("Table (CSV)").click();
    wait(&mut window, "the export", |_| csv.exists());
    settle(&mut window);
    let table = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(table.lines().count(), 13);
    assert!(table.lines().nth(1).unwrap().ends_with("\"right\",\"the picture shows both\""), "{table}");
    window.get_by_label("Take back").click();
    settle(&mut window);
    assert!(overrides(&session).unwrap().is_empty());
    assert_eq!(std::fs::read(session.join("answers.jsonl")).unwrap(), before);
}

#[test]
fn two_sessions_are_compared_and_two_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    made(&one, "one", 30, |i| i % 3 != 0);
    made(&other, "other", 30, |i| i % 5 != 0);
    let mut window = window(folder.path());
    window.state_mut().apply(Wish::CompareSessions(one.clone(), other));
    wait(&mut window, "the comparison", |app| app.results.compared().is_some());
    settle(&mut window);
    let comparison = &window.state().results.compared().unwrap().comparison;
    // Right in the second alone: multiples of 3 that are none of 5; in the first alone the other way round.
    let only = |a: usize, b: usize| (0..30).filter(|i| i % a == 0 && i % b != 0).count();
    assert_eq!((comparison.paired.second_alone, comparison.paired.first_alone), (only(3, 5), only(5, 3)));
    assert_eq!(comparison.flips.len(), only(3, 5) + only(5, 3));
    window.get_by_label_contains("exact McNemar test");
    window.get_by_label_contains("Question 3, first wrong, second right").click();
    settle(&mut window);
    let looked = window.state().results.answer().unwrap();
    assert_eq!(looked.answer.index, "3");
    assert_eq!(looked.other.as_ref().map(|it| it.verdict), Some(Verdict::Right));

    open(&mut window, &one);
    wish(&mut window, results::Wish::Turn(Page::Rules));
    let found = window.state().results.rules().unwrap();
    assert_eq!(found.rules[0], Rule::default().name());
    assert_eq!((found.compared, found.left_out), (30, 0));
    wish(&mut window, results::Wish::Turn(Page::Charts));
    window.get_by_label_contains("fish: ");
}

#[test]
fn a_question_is_presented_and_revealed_by_keys() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("made");
    made(&session, "made", 9, |i| i % 3 != 0);
    let mut window = window(folder.path());
    open(&mut window, &session);
    window.key_press(Key::P);
    settle(&mut window);
    assert_eq!(window.state().screen, Screen::Present);
    assert!(window.query_by_label_contains("it is B, as in case").is_none());
    window.key_press(Key::Space);
    settle(&mut window);
    assert!(window.state().present.is_revealed());
    window.get_by_label_contains("it is B, as in case 0");
    window.key_press(Key::ArrowRight);
    settle(&mut window);
    assert!(!window.state().present.is_revealed());
    window.get_by_label("Question 1");
    window.key_press(Key::Escape);
    settle(&mut window);
    assert_eq!(window.state().screen, Screen::Results);
    assert_eq!(window.state().results.chosen(), Some(1));
}

#[test]
fn a_free_question_about_a_picture_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("circle.png");
    let pixel = |x: u32, y: u32| {
        let inside = (f64::from(x) - 30.0).hypot(f64::from(y) - 30.0) < 16.0;
        image::Rgb(if inside { [255, 0, 0] } else { [255, 255, 240] })
    };
    image::RgbImage::from_fn(64, 64, pixel).save(&picture).unwrap();
    let mut window = window(&folder.path().join("sessions"));
    window.state_mut().screen = Screen::Ask;
    settle(&mut window);
    script(&mut window, Some(&picture));
    window.get_by_label("Picture…").click();
    settle(&mut window);
    window.get_by_label_contains("circle.png, 64 by 64 pixels");
    window.get_by_role_and_label(egui::Role::MultilineTextInput, "Question").focus();
    window.run_steps(2);
    window.event(egui::Event::Text("What color is the circle?".into()));
    window.run_steps(2);
    window.key_press(Key::Enter);
    wait(&mut window, "the question", |app| app.ask.is_busy());
    wait(&mut window, "the answer", |app| !app.ask.is_busy());
    let [exchange] = window.state().ask.exchanges() else { panic!("one exchange") };
    let Some(ask::End::Answered(answer)) = &exchange.end else { panic!("it is answered") };
    assert!(!answer.response.is_empty() && answer.tiles == 1, "{answer:?}");
    assert!(answer.response.starts_with(exchange.text.trim()), "{:?} {:?}", answer.response, exchange.text);
    window.run_steps(2);
    window.get_by_label_contains("tokens in");
    // A picture that is none is told, and the window goes on; on this screen dropping one is enough.
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, b"no picture").unwrap();
    window.state_mut().apply(Wish::OpenDropped(broken));
    settle(&mut window);
    window.get_by_label_contains("not a picture");
}

#[test]
fn a_hundred_thousand_answers_are_scrolled_with_bounded_work() {
    const COUNT: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("large");
    made(&session, "large", COUNT, |i| i % 3 != 0);
    let mut window = window(folder.path());
    open(&mut window, &session);
    assert_eq!(window.state().results.listed().len(), COUNT);
    for at in [0, 40_000, COUNT - 1] {
        wish(&mut window, results::Wish::Choose(at));
        wish(&mut window, results::Wish::Step(0));
        let rows = window.query_all_by_label_contains(", read B, gold ").count();
        assert!((10..80).contains(&rows), "{rows} rows are laid out");
        window.get_by_label_contains(&format!("Question {at}, "));
    }
    // No frame sorts them: the list stands until a job has done it.
    window.state_mut().apply(Wish::Results(results::Wish::Sort(Column::Seconds)));
    let listed = &window.state().results;
    assert!(listed.is_at_work() && listed.listed().is_sorted() && listed.row() == Some(COUNT - 1));
    settle(&mut window);
    let seconds = |place: &usize| place * 7919 % 1000;
    let results = &window.state().results;
    assert!(results.listed().is_sorted_by_key(seconds) && results.listed().len() == COUNT);
    assert_eq!(results.listed()[results.row().unwrap()], COUNT - 1, "the chosen answer stays");
    // Opening can be stopped.
    window.state_mut().apply(Wish::ShowSession(session));
    window.step();
    window.get_by_label("Cancel").click();
    settle(&mut window);
    assert!(window.state().results.opened().is_none());
    window.get_by_label("No session is open");
}

#[test]
fn a_long_answer_is_shown_in_part_and_more_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("long");
    made(&session, "long", 1, |_| true);
    let line = std::fs::read_to_string(session.join("answers.jsonl")).unwrap();
    let mut answer: Answer = serde_json::from_str(&line).unwrap();
    answer.response = "Let me think about the picture once more. ".repeat(5_000) + "B";
    let end = answer.response.len();
    answer.span = Some([end - 1, end]);
    std::fs::write(session.join("answers.jsonl"), serde_json::to_string(&answer).unwrap() + "\n").unwrap();
    let mut window = window(folder.path());
    open(&mut window, &session);
    let shown = |window: &Window| {
        let texts = window.query_all_by_label_contains("Let me think");
        texts
            .filter_map(|node| node.accesskit_node().value().or(node.accesskit_node().label()))
            .map(|it| it.len())
            .max()
    };
    let first = shown(&window).unwrap();
    assert!(first < 20_000, "{first}");
    window.get_by_label("Show more").click_accesskit();
    settle(&mut window);
    assert!(shown(&window).unwrap() > first);
}

#[test]
fn the_screens_look_as_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("made");
    made(&session, "made", 40, |i| i % 3 != 0);
    let mut window = window_with(folder.path(), Habits::default(), Vec2::new(880.0, 560.0));
    window.state_mut().screen = Screen::Run;
    settle(&mut window);
    window.snapshot("run_empty");
    open(&mut window, &session);
    window.snapshot("results");
    window.key_press(Key::P);
    settle(&mut window);
    window.key_press(Key::Space);
    settle(&mut window);
    window.snapshot("present");
}
