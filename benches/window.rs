//! How fast the window is, drawn without a display and up to the triangles of a frame (filling them is the graphics card's
//! work, or llvmpipe's). The bars it must stay under: a session of 100,000 answers opens in 1 s, and no frame over it takes
//! as long as a display's (16.7 ms); frames of a run stay under 8 ms at the 99th percentile; the first frame comes within
//! 300 ms, whatever was open last.
//!
//! `cargo bench --bench window [-- ANSWERS]`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A bench that cannot go on ends.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use egui::{Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, TouchPhase, pos2, vec2};
use shardscope::app::offscreen::Offscreen;
use shardscope::app::results::view::{Bounds, Column, Filter};
use shardscope::app::results::{self, Page};
use shardscope::app::{App, Habits, Screen, Wish};
use shardscope::session::{Answer, Manifest, Record, Session};

/// Frames of a display a second.
const DISPLAY: f64 = 60.0;

/// Pixels of the window.
const SIZE: [u32; 2] = [1360, 860];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let answers = args.first().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("sessions/large");
    let bytes = make_session(&session, answers);
    println!("{answers} answers, {} MiB; frames up to their triangles\n", bytes >> 20);
    println!("{:<34} {:>7} {:>9} {:>9} {:>9}", "", "frames", "p50 ms", "p99 ms", "worst ms");

    first_frame(dir.path());
    let mut window = Offscreen::new(SIZE, 1.0, Habits::default()).unwrap();
    window.app.workspace.sessions = dir.path().join("none");
    rest(&mut window);
    opening(&mut window, &session);
    going_through(&mut window);
    arranging(&mut window);
    window.app.apply(Wish::ShowSession(session));
    frames(&mut window, "closed, and opened again", Vec::new, |app| app.results.answer().is_some());
    run(&mut window, dir.path());
}

/// The first frame, while a dataset of 64 MiB that was open last is still being read.
fn first_frame(dir: &Path) {
    let dataset = dir.join("large.tsv");
    let mut text = String::from("index\tquestion\tanswer\timage\n");
    let picture = "A".repeat(64 << 10);
    for row in 0..1024 {
        writeln!(text, "{row}\tWhat is shown?\tfish\t{picture}").unwrap();
    }
    std::fs::write(&dataset, text).unwrap();
    let habits = Habits { dataset: dataset.display().to_string(), ..Habits::default() };
    let start = Instant::now();
    let mut window = Offscreen::new(SIZE, 1.0, habits).unwrap();
    frame(&mut window, Vec::new());
    row("the first frame, from nothing", vec![start.elapsed()]);
    rest(&mut window);
}

/// From the wish to the first answer on the screen.
fn opening(window: &mut Offscreen, session: &Path) {
    let start = Instant::now();
    let record = Record::open(session).unwrap();
    let alone = start.elapsed();
    drop(record);
    let start = Instant::now();
    window.app.apply(Wish::ShowSession(session.to_owned()));
    frames(window, "while it opens", Vec::new, |app| app.results.answer().is_some());
    let whole = start.elapsed();
    println!("  opened in {:.0} ms, the file alone in {:.0} ms", millis(whole), millis(alone));
    rest(window);
}

fn going_through(window: &mut Offscreen) {
    let mut wheel = || {
        let delta = vec2(0.0, -900.0);
        let unit = MouseWheelUnit::Point;
        let (phase, source, modifiers) = (TouchPhase::Move, MouseWheelSource::Unknown, Modifiers::NONE);
        vec![
            Event::PointerMoved(pos2(300.0, 500.0)),
            Event::MouseWheel { unit, delta, phase, source, modifiers },
        ]
    };
    some_frames(window, "scrolling", 300, &mut wheel);
    let mut arrow = || key(Key::ArrowDown);
    some_frames(window, "arrow keys, an answer a frame", 180, &mut arrow);
    let mut far = false;
    let mut ends = || {
        far = !far;
        key(if far { Key::End } else { Key::Home })
    };
    some_frames(window, "from end to end", 120, &mut ends);
}

fn arranging(window: &mut Offscreen) {
    let changed = |window: &mut Offscreen, name: &str, wishes: Vec<results::Wish>| {
        let mut times = Vec::new();
        let mut slowest = Duration::ZERO;
        for wish in wishes {
            let start = Instant::now();
            // What a wish does before the next frame counts as that frame's.
            window.app.apply(Wish::Results(wish));
            let applied = start.elapsed();
            let from = times.len();
            until(window, &mut times, Vec::new, |app| !app.results.is_at_work());
            times[from] += applied;
            slowest = slowest.max(start.elapsed());
        }
        row(name, times);
        println!("  done in {:.0} ms at the most", millis(slowest));
    };
    use Column::{Category, Index, Order, Peak, Seconds, Tokens};
    let sorts = [Index, Index, Category, Tokens, Tokens, Seconds, Seconds, Peak, Order];
    changed(window, "sorting", sorts.map(results::Wish::Sort).into());
    let filter = |filter: Filter| results::Wish::Filter(Box::new(filter));
    let at_least = |from| Bounds { from: Some(from), to: None };
    let filters = vec![
        filter(Filter { tiles: at_least(5.0), ..Filter::default() }),
        filter(Filter { category: Some("color".into()), ..Filter::default() }),
        filter(Filter { tokens: at_least(2.0), seconds: at_least(0.002), ..Filter::default() }),
        filter(Filter::default()),
    ];
    changed(window, "filtering", filters);
    let search = |text: &str| filter(Filter { text: text.into(), ..Filter::default() });
    changed(window, "searching all texts", vec![search("rectangle"), search("case 9")]);
    changed(window, "and back", vec![filter(Filter::default())]);
    let pages = [Page::Charts, Page::Rules, Page::Answers].map(results::Wish::Turn);
    changed(window, "charts and rules", pages.into());
}

/// A run of the built-in pair, whose answers come faster than those of any larger model.
fn run(window: &mut Offscreen, dir: &Path) {
    window.app.workspace.sessions = dir.join("runs");
    window.app.apply(Wish::Go(Screen::Setup));
    rest(window);
    window.app.apply(Wish::Start);
    frames(window, "a run, from its start to its end", Vec::new, |app| {
        app.run.refused().is_some() || app.run.live().is_some() && !app.run.is_active()
    });
    assert!(window.app.run.refused().is_none());
    let live = window.app.run.live().unwrap();
    println!("  {} answers", live.done);
    window.app.run.shut();
}

/// One frame, and how long it took.
fn frame(window: &mut Offscreen, events: Vec<Event>) -> Duration {
    let start = Instant::now();
    let output = window.step(events);
    window.tessellate(output);
    start.elapsed()
}

/// Frames at a display's pace until something holds.
fn until(
    window: &mut Offscreen,
    times: &mut Vec<Duration>,
    mut events: impl FnMut() -> Vec<Event>,
    holds: impl Fn(&App) -> bool,
) {
    let start = Instant::now();
    loop {
        let took = frame(window, events());
        times.push(took);
        if holds(&window.app) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "nothing happens");
        std::thread::sleep(Duration::from_secs_f64(1.0 / DISPLAY).saturating_sub(took));
    }
}

fn frames(
    window: &mut Offscreen,
    name: &str,
    events: impl FnMut() -> Vec<Event>,
    holds: impl Fn(&App) -> bool,
) {
    let mut times = Vec::new();
    until(window, &mut times, events, holds);
    row(name, times);
}

fn some_frames(window: &mut Offscreen, name: &str, count: usize, events: &mut dyn FnMut() -> Vec<Event>) {
    let mut times = Vec::new();
    for _ in 0..count {
        until(window, &mut times, &mut *events, |_| true);
        std::thread::sleep(Duration::from_secs_f64(1.0 / DISPLAY).saturating_sub(times[times.len() - 1]));
    }
    row(name, times);
    rest(window);
}

fn rest(window: &mut Offscreen) {
    for _ in 0..3 {
        assert!(window.wait(Duration::from_secs(120), App::is_at_rest), "nothing comes to rest");
    }
}

fn key(key: Key) -> Vec<Event> {
    let press =
        |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    vec![press(true), press(false)]
}

fn millis(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| millis(times[((times.len() - 1) as f64 * share).round() as usize]);
    println!("{name:<34} {:>7} {:>9.2} {:>9.2} {:>9.2}", times.len(), at(0.5), at(0.99), at(1.0));
}

/// A session of so many answers to the built-in questions, in turn; says how many bytes they are.
fn make_session(folder: &Path, count: usize) -> u64 {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/sample");
    let mut manifest = Manifest::read(&sample).unwrap();
    manifest.dataset.questions = count;
    manifest.dataset.selection = Default::default();
    let record = Record::open(&sample).unwrap();
    let patterns: Vec<Answer> = record.answers().map(Result::unwrap).collect();
    let mut session = Session::create(folder, &manifest).unwrap();
    for from in (0..count).step_by(1000) {
        let answers = (from..(from + 1000).min(count)).map(|i| {
            let mut answer = patterns[i % patterns.len()].clone();
            answer.index = i.to_string();
            answer.thinking = Some(format!("Let me look at case {i}. ").repeat(1 + i % 20));
            answer.tiles = (i * 7919 % 13) as u64;
            answer.output_tokens = (i * 7907 % 512) as u64;
            answer.seconds.total = (i * 104_729 % 10_007) as f64 / 500.0;
            answer
        });
        session.append_all(&answers.collect::<Vec<_>>()).unwrap();
    }
    drop(session);
    folder.join("answers.jsonl").metadata().unwrap().len()
}
