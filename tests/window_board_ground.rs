//! What the board's plan stands on: devices, to which a step back leads as well, and what runs have measured.

mod window_support;

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use shardscope::app::board::assumed::Assume;
use shardscope::app::board::desk::Pull;
use shardscope::app::board::{self, view::Tab};
use shardscope::evaluation::Learnt;
use shardscope::plan::calibration::{Component, Lesson};
use shardscope::plan::{Calibration, Layout};
use window_support::board::*;
use window_support::{script, wait};

const BACK: Modifiers = Modifiers::COMMAND;
const FORTH: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

fn devices(window: &Window) -> usize {
    desk(window).draft().plan.devices.len()
}

#[test]
fn a_step_back_leads_to_the_devices_before_with_what_was_made_by_hand_on_them() {
    let mut window = board_of("InternVL3-8B", "sim:2x12GiB");
    let moved = layer(&window, 3);
    let (home, away) = (device_of(&window, moved), 1 - device_of(&window, moved));
    wish(&mut window, board::Wish::Pull(Pull::Move { units: vec![moved], device: away }));
    wish(&mut window, board::Wish::Devices("sim:4x40GiB".into()));
    wish(&mut window, board::Wish::Devices("sim:3x24GiB".into()));
    assert_eq!((devices(&window), desk(&window).draft().plan.layout), (3, Layout::Auto));

    press(&mut window, BACK, Key::Z);
    assert_eq!(devices(&window), 4);
    press(&mut window, BACK, Key::Z);
    assert_eq!((devices(&window), device_of(&window, moved)), (2, away));
    assert_eq!(desk(&window).draft().pins.get(&moved), Some(&away));
    assert_eq!(desk(&window).case().devices.len(), 2, "it is judged on them");
    assert_eq!(desk(&window).outlook().forecast.devices.len(), 2);
    window.state_mut().board.view.tab = Tab::Devices;
    window.run();
    assert!(window.query_all_by_value("sim:2x12GiB").next().is_some(), "the field says so");

    // What is taken for granted is no step, and holds on every device that one comes back to.
    wish(&mut window, board::Wish::Assume(Assume::InFlight(3)));
    assert_eq!(device_of(&window, moved), away);
    press(&mut window, BACK, Key::Z);
    assert_eq!((device_of(&window, moved), desk(&window).can()), (home, (false, true)));
    for expected in [2, 4, 3] {
        press(&mut window, FORTH, Key::Z);
        assert_eq!(devices(&window), expected);
        assert_eq!(desk(&window).case().assumptions.in_flight.value, 3);
    }
    assert_eq!(desk(&window).can(), (true, false));
    for _ in 0..3 {
        press(&mut window, BACK, Key::Z);
    }
    assert_eq!((devices(&window), device_of(&window, moved)), (2, home));
}

#[test]
fn devices_that_are_what_they_were_change_nothing_when_they_are_looked_for_again() {
    let mut window = board_of("InternVL3-8B", "sim:2x12GiB");
    let moved = layer(&window, 3);
    let away = 1 - device_of(&window, moved);
    wish(&mut window, board::Wish::Pull(Pull::Move { units: vec![moved], device: away }));
    wish(&mut window, board::Wish::LookAgain);
    assert_eq!((device_of(&window, moved), desk(&window).can()), (away, (true, false)));
}

#[test]
fn the_forecast_is_corrected_by_what_runs_have_measured_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("measured.json");
    let learnt = Learnt::File(file.clone());
    let lesson = |component, measured| Lesson { card: "cpu".into(), component, predicted: 1000, measured };
    learnt.learn(&[lesson(Component::Prefill, 1500), lesson(Component::Weights, 1100)]).unwrap();

    let mut window = board_of("built-in", "cpu");
    let before = desk(&window).outlook().forecast.devices[0].worst;
    assert_eq!(desk(&window).case().calibration, Calibration::default());
    assert!(!says(&window, "corrected by"));
    window.state_mut().board.view.tab = Tab::Assumptions;
    window.run();
    script(&mut window, Some(&file));
    window.get_by_label("Corrections: none").click();
    settle(&mut window);
    window.get_by_label("from a file…").click();
    wait(&mut window, "the dialog", |app| app.workspace.choices.learnt != Learnt::Ignored);
    settle(&mut window);
    let after = desk(&window).outlook().forecast.devices[0].worst;
    // Each unit is corrected, and so rounded, by itself.
    assert!(after.weights.abs_diff((before.weights as f64 * 1.1) as u64) < 64, "{after:?} {before:?}");
    window.get_by_label("corrected by measurements");
    assert!(says(&window, "× 1.500 (1 measured)") && says(&window, "Corrections: measured.json"));
    assert_eq!(window.state().workspace.choices.learnt, learnt, "the run is corrected by it too");
    // The software of the releases was not measured.
    let released = desk(&window).case_of(board::desk::Habits::Released);
    assert_eq!(released.calibration, Calibration::default());

    std::fs::write(&file, "no corrections").unwrap();
    wish(&mut window, board::Wish::Assume(Assume::Corrections(Learnt::Ignored)));
    assert_eq!(desk(&window).outlook().forecast.devices[0].worst, before);
    wish(&mut window, board::Wish::Assume(Assume::Corrections(learnt)));
    assert!(says(&window, "measured.json"), "a file that cannot be read is a problem on the board");
}
