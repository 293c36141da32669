//! The driver, against a small `libnvidia-ml.so` with a scripted life that is built here with the C compiler.
// What fails here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use shardscope::demo;
use shardscope::devices::{Alarm, Driver, Sampler, Settings, find};
use shardscope::engine::{Command as Commands, Event, Neighbours, Run, RunSettings};
use shardscope::evaluation::{Choices, Evaluation, Questions};
use shardscope::plan::spec::DeviceSpec;
use shardscope::session::Record;

/// Builds a library with a scenario; every test has its own, so that none sees another's counters.
fn library(name: &str, scenario: &[&str]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fake-nvml");
    std::fs::create_dir_all(&folder).unwrap();
    let library = folder.join(format!("lib{name}.so"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/devices/fake_nvml.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .args(scenario.iter().map(|macro_| format!("-D{macro_}")))
        .status()
        .expect("a C compiler named cc");
    assert!(built.success());
    library
}

fn driver(name: &str, scenario: &[&str]) -> Driver {
    Driver::open_library(&library(name, scenario)).unwrap()
}

#[test]
fn everything_a_driver_says() {
    let driver = driver("plain", &["GPUS=3"]);
    assert_eq!(driver.versions(), (Some("580.65.06".into()), Some("13.2".into())));
    let gpus = driver.gpus();
    assert_eq!(gpus.len(), 3);
    let first = &gpus[0];
    assert_eq!(first.name, "NVIDIA A100-SXM4-80GB");
    assert_eq!(first.uuid.as_deref(), Some("GPU-5ca1ab1e-0000"));
    assert_eq!(first.pci.as_deref(), Some("00000000:01:00.0"));
    assert_eq!(first.memory.unwrap().total, 80 << 30);
    assert_eq!((first.utilisation, first.temperature, first.power), (Some(37), Some(45), Some(123.5)));
    assert_eq!((first.capability, first.pcie, first.nvlinks), (Some((9, 0)), Some([4, 8, 5, 16]), 4));
    assert!(first.display && !gpus[1].display);
    let own = first.processes.iter().find(|p| p.own).unwrap();
    assert_eq!((own.pid, own.bytes), (std::process::id(), Some(600 << 20)));
    assert!(own.name.is_some());
    assert!(first.processes.iter().any(|p| !p.own && p.pid == 1));

    let pairs = driver.pairs();
    assert_eq!(pairs.len(), 3);
    assert_eq!((pairs[0].nvlinks, pairs[0].peer, pairs[0].meet), (4, true, Some("PCIe switches")));
    assert_eq!((pairs[1].nvlinks, pairs[1].peer, pairs[1].meet), (0, false, Some("across NUMA nodes")));
    assert!(pairs[0].link().seconds(1 << 30) < pairs[1].link().seconds(1 << 30));
    // CUDA's order differs from the driver's, and the links follow the cards.
    let devices =
        find::cuda_devices(&gpus, Some("GPU-5ca1ab1e-0002,GPU-5ca1ab1e-0001,GPU-5ca1ab1e-0000"), true);
    let links = find::links(&devices, &gpus, &pairs);
    assert!(links.between(1, 2).bandwidth > links.between(0, 1).bandwidth);
}

#[test]
fn devices_for_a_plan() {
    let gpus = driver("planned", &["GPUS=2"]).gpus();
    // CUDA puts the H100 first though it is second on the bus.
    let devices = find::cuda_devices(&gpus, None, false);
    assert_eq!(
        (devices[0].name.as_str(), devices[0].card.as_deref()),
        ("cuda:0", Some("NVIDIA H100 80GB HBM3"))
    );
    let bus = find::cuda_devices(&gpus, None, true);
    assert_eq!(bus[0].uuid.as_deref(), Some("GPU-5ca1ab1e-0000"));
    // Of GPU 0's 1000 MiB in use 600 are our own.
    assert_eq!(bus[0].others, 400 << 20);
    assert_eq!(bus[0].capacity, (80 << 30) - (500 << 20));
    assert!(bus[0].bandwidth.is_some());
}

#[test]
fn slices_are_worlds_of_their_own() {
    let gpus = driver("sliced", &["GPUS=2", "SLICED=1"]).gpus();
    assert_eq!(
        gpus[0].slices.iter().map(|(uuid, _)| uuid.as_str()).collect::<Vec<_>>(),
        ["MIG-slice-0", "MIG-slice-1"]
    );
    let devices = find::cuda_devices(&gpus, Some("MIG-slice-1,MIG-slice-0"), true);
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].mig, devices[0].capacity), (true, 20 << 30));
}

#[test]
fn absence_is_a_sentence() {
    let none = Driver::open_library(&PathBuf::from("/nowhere/libnvidia-ml.so")).unwrap_err();
    assert!(none.what.contains("no NVIDIA driver"), "{none}");
    let unloaded = Driver::open_library(&library("unloaded", &["GPUS=-1"])).unwrap_err();
    assert!(unloaded.what.contains("not loaded"), "{unloaded}");
    let empty = driver("empty", &["GPUS=0"]);
    assert!(empty.gpus().is_empty() && empty.pairs().is_empty() && empty.readings().is_empty());
    // A machine whose driver shows nothing is planned for as a machine without GPUs.
    assert_eq!(find::devices(&DeviceSpec::Auto, &Ok(empty)).unwrap()[0].name, "cpu");
}

/// Waits for the sampler, not for the clock.
fn until(sampler: &Sampler, what: impl Fn(&Sampler) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what(sampler) {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn growth_is_followed_and_traced() {
    let driver = driver("growing", &["GPUS=1", "GROWTH=64"]);
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("memory.jsonl");
    let settings = Settings {
        every: Duration::from_millis(1),
        trace: Some(trace.clone()),
        kept: 4,
        ..Settings::default()
    };
    let sampler = Sampler::start(settings, move || driver.readings()).unwrap();
    until(&sampler, |s| s.count() >= 8);
    let samples = sampler.samples("GPU-5ca1ab1e-0000");
    assert_eq!(samples.len(), 4, "a ring keeps what it was told to keep");
    assert!(samples.windows(2).all(|w| w[1].used - w[0].used == 64 << 20));
    drop(sampler);
    let lines = std::fs::read_to_string(trace).unwrap();
    assert!(lines.lines().count() >= 8);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["device"], "GPU-5ca1ab1e-0000");
        assert!(value["bytes"].as_u64().unwrap() >= 1000 << 20);
    }
}

#[test]
fn a_lost_gpu_is_told_once_and_the_other_goes_on() {
    let driver = driver("lost", &["GPUS=2", "LOST_AT=3"]);
    let settings = Settings { every: Duration::from_millis(1), ..Settings::default() };
    let sampler = Sampler::start(settings, move || driver.readings()).unwrap();
    until(&sampler, |s| s.count() >= 8);
    let lost: Vec<Alarm> = sampler.alarms();
    assert_eq!(lost, [Alarm::Lost { device: "GPU-5ca1ab1e-0001".into() }]);
    assert_eq!(sampler.samples("GPU-5ca1ab1e-0001").len(), 3);
    assert!(sampler.samples("GPU-5ca1ab1e-0000").len() >= 8);
}

#[test]
fn a_lost_gpu_is_listed_as_lost() {
    let driver = driver("gone", &["GPUS=2", "LOST_AT=1"]);
    assert!(driver.gpus().iter().all(|gpu| !gpu.lost));
    let gpus = driver.gpus();
    assert!(gpus[1].lost && gpus[1].memory.is_none() && !gpus[0].lost);
    assert_eq!(find::cuda_devices(&gpus, None, true).len(), 1);
}

#[test]
fn a_neighbour_that_grows_is_named() {
    let driver = driver("neighbour", &["GPUS=1", "NEIGHBOUR=100"]);
    let settings =
        Settings { every: Duration::from_millis(1), neighbour_limit: 250 << 20, ..Settings::default() };
    let sampler = Sampler::start(settings, move || driver.readings()).unwrap();
    until(&sampler, |s| s.count() >= 6);
    let alarms = sampler.alarms();
    let [Alarm::Neighbour { grown, who: Some(who), .. }] = &alarms[..] else { panic!("{alarms:?}") };
    assert!(*grown > 250 << 20);
    assert_eq!(who.pid, 1);
}

/// What a run says while a driver tells of other processes on its device, a reading each millisecond.
fn run_beside(
    driver: Driver,
    mut heard: impl FnMut(&Event, &crossbeam_channel::Sender<Commands>),
) -> (Vec<Event>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let session = dir.path().join("session");
    let questions = Questions { limit: Some(80), ..Questions::default() };
    let settings = RunSettings { max_new_tokens: 4, ..RunSettings::default() };
    let choices = Choices { questions, settings, devices: "cpu".into(), batch: 2, ..Choices::default() };
    let checkpoint = std::sync::Arc::new(demo::checkpoint().unwrap());
    let evaluation =
        Evaluation::prepare(checkpoint, demo::dataset().unwrap(), choices, &mut |_| true).unwrap();
    let (mut order, _) = evaluation.begin(&session, false).unwrap();
    assert!(order.neighbours.is_none(), "who else uses the CPU is no concern");
    let settings = Settings { every: Duration::from_millis(1), ..Settings::default() };
    order.neighbours = Some(Neighbours { read: Box::new(move || driver.readings()), settings });
    let run = Run::start(order).unwrap();
    let mut events = Vec::new();
    for event in &run.events {
        heard(&event, &run.commands);
        events.push(event);
    }
    run.join();
    let kinds = Record::open(&session).unwrap().events().unwrap().into_iter().map(|event| event.kind);
    (events, kinds.collect())
}

fn answered(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Answered { .. })).count()
}

#[test]
fn a_neighbour_that_grows_holds_back_the_next_question_until_it_is_gone() {
    let driver = driver("guest", &["GPUS=1", "NEIGHBOUR=100", "GONE_AT=100"]);
    let (events, kinds) = run_beside(driver, |_, _| {});
    let paused = events.iter().position(|event| matches!(event, Event::Paused)).unwrap();
    let resumed = events.iter().position(|event| matches!(event, Event::Resumed)).unwrap();
    assert!(paused < resumed);
    assert!(
        !events[paused..resumed].iter().any(|event| matches!(event, Event::Asking { .. })),
        "a question has begun meanwhile"
    );
    let Some(Event::Note(note)) = events[..paused].last() else { panic!("nothing is said") };
    assert!(note.what.contains("process 1") && note.what.contains("GPU-5ca1ab1e-0000"), "{note}");
    assert!(matches!(events.last(), Some(Event::Finished { complete: true })));
    assert_eq!(answered(&events), 80);
    let at = |kind: &str| kinds.iter().position(|known| known == kind).unwrap();
    assert!(at("neighbour") < at("neighbour_gone"));
}

#[test]
fn a_person_may_let_the_run_go_on_beside_a_neighbour() {
    let driver = driver("lasting", &["GPUS=1", "NEIGHBOUR=100"]);
    let (events, _) = run_beside(driver, |event, commands| {
        if matches!(event, Event::Paused) {
            commands.send(Commands::Resume).unwrap();
        }
    });
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Paused)).count(), 1);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Resumed)).count(), 1);
    assert_eq!(answered(&events), 80);
}

/// The program itself, with the scripted library where the system's own would be.
fn program(name: &str, scenario: &[&str], words: &[&str]) -> std::process::Output {
    let built = library(name, scenario);
    let folder = built.with_extension("folder");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(&built, folder.join("libnvidia-ml.so.1")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardscope"));
    command.env("LD_LIBRARY_PATH", &folder).env_remove("CUDA_VISIBLE_DEVICES").args(words);
    command.output().unwrap()
}

#[test]
fn the_program_watches_and_keeps_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("memory.jsonl");
    let words =
        ["devices", "--watch", "--every", "0.05", "--seconds", "1.5", "--trace", trace.to_str().unwrap()];
    let output = program("watched", &["GPUS=2", "NEIGHBOUR=100", "LOST_AT=3"], &words);
    let (said, noted) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{noted}");
    assert!(said.lines().count() >= 2 && said.contains("GPU-5ca1ab1e-0000"), "{said}");
    assert!(noted.contains("GPU-5ca1ab1e-0001 has fallen off the bus"), "{noted}");
    assert!(noted.contains("other processes on GPU-5ca1ab1e-0000 have grown by"), "{noted}");
    let lines = std::fs::read_to_string(trace).unwrap();
    let others: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["device"] == "GPU-5ca1ab1e-0000")
        .map(|line| line["others"].as_u64().unwrap())
        .collect();
    assert!(others.len() >= 4 && others.windows(2).all(|pair| pair[1] > pair[0]), "{others:?}");
    // A trace that cannot be written, and a machine without GPUs, are refused before anything is watched.
    let nowhere = ["devices", "--watch", "--trace", "/nowhere/at/all.jsonl"];
    assert_eq!(program("watched", &["GPUS=2"], &nowhere).status.code(), Some(3));
    assert_eq!(program("bare", &["GPUS=0"], &["devices", "--watch"]).status.code(), Some(3));
}

#[test]
fn the_program_plans_for_a_slice_alone() {
    let words =
        ["plan", "--checkpoint", "InternVL3-2B", "--devices", "auto", "--calibration", "none", "--json"];
    let output = program("sliced-plan", &["GPUS=2", "SLICED=1"], &words);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let devices = plan["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{devices:?}");
    assert_eq!(devices[0]["capacity"].as_u64(), Some(20 << 30));
}
