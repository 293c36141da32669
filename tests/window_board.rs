//! The layout board as a person uses it, without a display.

mod window_support;

use std::time::{Duration, Instant};

use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use shardscope::app::Wish;
use shardscope::app::board::{self, view::Tab};
use shardscope::app::shell::Theme;
use shardscope::plan::Layout;
use shardscope::plan::presets::Rule;
use window_support::board::*;

const EIGHT_B: &str = "InternVL3-8B";

#[test]
fn a_dragged_chip_moves_and_bars_and_findings_follow_before_it_is_dropped() {
    let mut window = board_of(EIGHT_B, "sim:4x12GiB");
    let moved = layer(&window, 3);
    let home = device_of(&window, moved);
    let away = (home + 2) % 4;
    let from = place(&window, "layer 3, ").center();
    let to = bottom(&window, &format!("sim:{away}"));
    let before = desk(&window).outlook().forecast.clone();
    carry(&mut window, from, to);
    let imagined = desk(&window).hypothesis().expect("what the drag would do is shown");
    assert_eq!(imagined.draft.plan.assignment[moved], away);
    assert!(imagined.outlook.forecast.devices[away].worst.weights > before.devices[away].worst.weights);
    assert!(imagined.outlook.findings.iter().any(|f| f.code == "extra-hops"), "findings follow");
    let name = window.get_by_label_contains("layer 3, ").accesskit_node().label().unwrap();
    assert!(name.ends_with(&format!("on sim:{away}")), "{name}");
    assert_eq!(device_of(&window, moved), home, "nothing is done yet");
    window.drop_at(to);
    settle(&mut window);
    assert!(desk(&window).hypothesis().is_none());
    assert_eq!(device_of(&window, moved), away);
    assert_eq!(desk(&window).draft().pins.get(&moved), Some(&away), "what was dragged stays");

    press(&mut window, Modifiers::COMMAND, Key::Z);
    assert_eq!(device_of(&window, moved), home);
    assert_eq!(desk(&window).outlook().forecast, before);
    press(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(device_of(&window, moved), away);
}

#[test]
fn layers_20_to_30_go_from_one_gpu_to_another_in_one_drag() {
    let mut window = board_of("InternVL2-Llama3-76B", "sim:4x80GiB");
    let (first, last) = (layer(&window, 20), layer(&window, 30));
    let home = device_of(&window, first);
    assert_eq!(device_of(&window, last), home, "the planner keeps them together");
    window.get_by_label_contains("layer 20, ").click();
    window.run();
    window.get_by_label_contains("layer 30, ").click_modifiers(Modifiers::SHIFT);
    window.run();
    assert_eq!(window.state().board.view.selection.units(), (first..=last).collect::<Vec<_>>());
    let to = bottom(&window, "sim:3");
    let from = place(&window, "layer 25, ").center();
    drag(&mut window, from, to);
    assert!((first..=last).all(|unit| device_of(&window, unit) == 3));
    assert_eq!(device_of(&window, first - 1), home);
    press(&mut window, Modifiers::COMMAND, Key::Z);
    assert!((first..=last).all(|unit| device_of(&window, unit) == home), "one step takes all of them back");
}

#[test]
fn several_chips_chosen_with_ctrl_travel_together() {
    let mut window = board_of(EIGHT_B, "sim:3x24GiB");
    for number in [2, 4, 6] {
        window.get_by_label_contains(&format!("layer {number}, ")).click_modifiers(Modifiers::COMMAND);
        window.run();
    }
    let units: Vec<usize> = [2, 4, 6].map(|n| layer(&window, n)).to_vec();
    assert_eq!(window.state().board.view.selection.units(), units);
    let to = bottom(&window, "sim:2");
    let from = place(&window, "layer 4, ").center();
    drag(&mut window, from, to);
    assert!(units.iter().all(|unit| device_of(&window, *unit) == 2));
    assert_ne!(device_of(&window, layer(&window, 3)), 2);
}

#[test]
fn a_whole_stage_travels_by_its_head() {
    let mut window = board_of(EIGHT_B, "sim:3x24GiB");
    let units: Vec<usize> = (0..desk(&window).case().model.units.len()).collect();
    let on_second: Vec<usize> = units.iter().copied().filter(|u| device_of(&window, *u) == 1).collect();
    assert!(on_second.len() > 3);
    let from = place(&window, "sim:1, all its units").center_top() + egui::vec2(0.0, 14.0);
    let to = bottom(&window, "sim:2");
    drag(&mut window, from, to);
    assert!(on_second.iter().all(|unit| device_of(&window, *unit) == 2));
    assert!(!units.iter().any(|unit| device_of(&window, *unit) == 1));
    assert!(window.query_by_label_contains("sim:1, device, empty").is_some());
}

#[test]
fn a_boundary_is_pulled_and_keys_do_the_same() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    let runs = desk(&window).draft().plan.runs();
    let handle = place(&window, "boundary between sim:0 and sim:1").center();
    carry(&mut window, handle, handle + egui::vec2(37.0, 0.0));
    let imagined = desk(&window).hypothesis().expect("the boundary follows").draft.plan.runs()[0].last;
    assert_eq!(imagined, runs[0].last + 3);
    window.drop_at(handle + egui::vec2(37.0, 0.0));
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.runs()[0].last, runs[0].last + 3);
    window.get_by_label("boundary between sim:0 and sim:1").focus();
    window.run();
    press(&mut window, Modifiers::NONE, Key::ArrowLeft);
    assert_eq!(desk(&window).draft().plan.runs()[0].last, runs[0].last + 2);
}

#[test]
fn escape_cancels_drags_and_then_the_selection() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    let before = desk(&window).draft().clone();
    window.get_by_label_contains("layer 5, ").click();
    window.run();
    let to = bottom(&window, "sim:1");
    let from = place(&window, "layer 5, ").center();
    carry(&mut window, from, to);
    assert!(desk(&window).hypothesis().is_some());
    window.key_press(Key::Escape);
    window.run();
    assert!(desk(&window).hypothesis().is_none());
    window.drop_at(to);
    settle(&mut window);
    assert_eq!(desk(&window).draft(), &before);

    let handle = place(&window, "boundary between sim:0 and sim:1").center();
    carry(&mut window, handle, handle + egui::vec2(40.0, 0.0));
    window.key_press(Key::Escape);
    window.run();
    window.drop_at(handle + egui::vec2(40.0, 0.0));
    settle(&mut window);
    assert_eq!(desk(&window).draft(), &before);
    assert_eq!(desk(&window).can(), (false, false), "no step was made");

    window.get_by_label_contains("layer 5, ").click();
    window.run();
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert!(window.state().board.view.selection.is_empty());
}

#[test]
fn the_keyboard_walks_moves_and_pins() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    window.get_by_label_contains("layer 1, ").focus();
    window.run();
    press(&mut window, Modifiers::NONE, Key::ArrowRight);
    assert!(window.get_by_label_contains("layer 2, ").accesskit_node().is_focused());
    press(&mut window, Modifiers::ALT, Key::ArrowRight);
    let moved = layer(&window, 2);
    assert_eq!(device_of(&window, moved), 1);
    let chip = window.get_by_label_contains("layer 2, ");
    assert!(chip.accesskit_node().is_focused(), "the keyboard stays with the chip in its new column");
    press(&mut window, Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(device_of(&window, moved), 0);
    press(&mut window, Modifiers::SHIFT, Key::ArrowRight);
    press(&mut window, Modifiers::SHIFT, Key::ArrowRight);
    assert_eq!(window.state().board.view.selection.units(), [moved, moved + 1, moved + 2]);
    press(&mut window, Modifiers::NONE, Key::P);
    assert!((moved..moved + 3).all(|unit| desk(&window).draft().pins.contains_key(&unit)));
    press(&mut window, Modifiers::NONE, Key::P);
    assert!(!desk(&window).draft().pins.contains_key(&(moved + 1)));
    press(&mut window, Modifiers::COMMAND, Key::A);
    assert_eq!(window.state().board.view.selection.len(), desk(&window).case().model.units.len());
}

#[test]
fn the_context_menu_moves_what_is_selected() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    window.get_by_label_contains("layer 0, ").click();
    window.run();
    window.get_by_label_contains("layer 2, ").click_modifiers(Modifiers::SHIFT);
    window.run();
    window.get_by_label_contains("layer 1, ").click_secondary();
    window.run();
    window.get_by_label("Move to sim:1").click();
    settle(&mut window);
    for number in 0..3 {
        assert_eq!(device_of(&window, layer(&window, number)), 1);
    }
}

#[test]
fn the_rest_is_planned_anew_around_pins() {
    let mut window = board_of(EIGHT_B, "sim:4x12GiB");
    let pinned = layer(&window, 27);
    wish(&mut window, board::Wish::Pull(board::desk::Pull::Move { units: vec![pinned], device: 0 }));
    window.get_by_label("Re-plan the rest").click();
    settle(&mut window);
    assert_eq!(device_of(&window, pinned), 0);
    assert_eq!(desk(&window).draft().plan.layout, Layout::Auto, "the planner's, with the pin kept");
    window.get_by_label("Undo").click();
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.layout, Layout::Custom);
}

#[test]
fn strategies_say_how_they_end_before_they_are_chosen() {
    let mut window = board_of("InternVL2-Llama3-76B", "sim:8x40GiB");
    window.get_by_label("Layout: auto").click();
    window.run();
    assert!(says(&window, "single, does not fit"));
    window.get_by_label_contains("accelerate-sequential, does not fit").click();
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.layout, Layout::AccelerateSequential);
    assert_eq!(desk(&window).habits(), board::desk::Habits::Released, "judged as accelerate runs it");
    let over = |window: &Window| desk(window).outlook().findings.iter().any(|f| f.code == "over-capacity");
    assert!(over(&window));
    // A fix is a click, on the card of every finding that it mends.
    window.get_all_by_label("Use Shardscope's own plan").next().unwrap().click();
    settle(&mut window);
    assert!(!over(&window));
    press(&mut window, Modifiers::COMMAND, Key::Z);
    press(&mut window, Modifiers::COMMAND, Key::Z);
    assert_eq!(desk(&window).draft().plan.layout, Layout::Auto);
    assert_eq!(desk(&window).habits(), board::desk::Habits::Own, "and ours as we run it");
}

#[test]
fn two_plans_stand_beside_each_other() {
    let mut window = board_of("InternVL2-Llama3-76B", "sim:8x40GiB");
    window.state_mut().board.view.tab = Tab::Plans;
    window.run();
    let judged = window.state().board.alternatives().unwrap();
    let rule = judged.iter().find(|a| a.layout == Layout::Rule(Rule::InternVl)).unwrap();
    assert!(rule.released.is_some() && rule.here.is_ok());
    window.get_all_by_label("Show beside").nth(1).unwrap().click();
    window.run();
    assert_eq!(window.state().board.view.beside, Some(Layout::Rule(Rule::InternVl)));
    assert!(window.query_by_label("as the software it comes from runs it").is_some());
    window.get_by_label("Close").click();
    window.run();
    assert_eq!(window.state().board.view.beside, None);
}

#[test]
fn devices_are_simulated_added_and_taken_away() {
    let mut window = board_of("InternVL3-38B", "sim:2x40GiB");
    window.state_mut().board.view.tab = Tab::Devices;
    window.run();
    window.get_by_label("8 × 40 GiB").click();
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.devices.len(), 8);
    window.get_by_label("Add a device").click();
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.devices.len(), 9);
    for _ in 0..2 {
        window.get_by_label("remove sim:0").click();
        settle(&mut window);
    }
    assert_eq!(desk(&window).draft().plan.devices.len(), 7);
    assert_eq!(
        window.state().workspace.choices.devices,
        "sim:2x40GiB",
        "the run keeps its own until it is told"
    );

    wish(&mut window, board::Wish::Devices("sim:9 bananas".into()));
    assert!(says(&window, "is neither a size nor a known card"));
    assert_eq!(desk(&window).draft().plan.devices.len(), 7, "the board stays");
    wish(&mut window, board::Wish::Devices("sim:24GiB,80GiB".into()));
    let sizes: Vec<u64> = desk(&window).draft().plan.devices.iter().map(|d| d.capacity >> 30).collect();
    assert_eq!(sizes, [24, 80]);
    assert!(!says(&window, "is neither a size"));
}

#[test]
fn a_pasted_map_is_judged_before_it_is_taken() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    window.state_mut().board.view.tab = Tab::Maps;
    window.run();
    let case = desk(&window).case();
    let map = shardscope::plan::device_map::DeviceMap::of(&desk(&window).draft().plan, &case.model);
    let text = map.to_json().to_string().replace("rotary_emb", "rotary");
    wish(&mut window, board::Wish::ReadMap(text.clone()));
    assert!(says(&window, "Expected all tensors to be on the same device"));
    let python = text
        .replace("language_model.model.layers.9\":0", "language_model.model.layers.9\":1")
        .replace('"', "'");
    wish(&mut window, board::Wish::ReadMap(format!("INFO - device map: {python}")));
    window.get_by_label("Put it on the board").click();
    settle(&mut window);
    assert_eq!(device_of(&window, layer(&window, 9)), 1);
    for (text, says) in [
        ("0:20;1:20", "more than the 28 layers"),
        ("{'mlp1': 0", "device map"),
        ("hello", "no map of a form that can be read"),
        ("1,2,3", "more shares than the 2 GPUs"),
    ] {
        wish(&mut window, board::Wish::ReadMap(text.into()));
        assert!(self::says(&window, says), "{text}");
    }
}

#[test]
fn a_plan_is_saved_through_the_dialog_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new").join("map.json");
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    window_support::script(&mut window, Some(&file));
    let moved = layer(&window, 5);
    wish(&mut window, board::Wish::Pull(board::desk::Pull::Move { units: vec![moved], device: 1 }));
    window.state_mut().board.view.tab = Tab::Maps;
    window.run();
    window.get_by_label("Save as…").click();
    let start = Instant::now();
    while !file.is_file() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is written");
        window.step();
    }
    settle(&mut window);
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written["language_model.model.layers.5"], 1);
    wish(&mut window, board::Wish::Undo);
    wish(&mut window, board::Wish::ReadFile(file));
    window.get_by_label("Put it on the board").click();
    settle(&mut window);
    assert_eq!(device_of(&window, moved), 1);
}

#[test]
fn an_assumption_plans_anew_at_once_and_belongs_to_the_run() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    let before = desk(&window).outlook().forecast.devices[0].worst;
    wish(&mut window, board::Wish::Assume(board::assumed::Assume::InFlight(8)));
    assert_eq!(window.state().workspace.choices.batch, 8);
    let after = desk(&window).outlook().forecast.devices[0].worst;
    assert!(after.kv > before.kv);
    // What was made by hand stays where it lies.
    let moved = layer(&window, 10);
    let other = 1 - device_of(&window, moved);
    wish(&mut window, board::Wish::Pull(board::desk::Pull::Move { units: vec![moved], device: other }));
    wish(&mut window, board::Wish::Assume(board::assumed::Assume::InFlight(1)));
    assert_eq!(device_of(&window, moved), other);
    assert!(desk(&window).outlook().forecast.devices[0].worst.kv < after.kv);
    // A layout by name stays that layout.
    wish(&mut window, board::Wish::Strategy(Layout::Rule(Rule::InternVl)));
    wish(&mut window, board::Wish::Assume(board::assumed::Assume::MaxNewTokens(2048)));
    assert_eq!(desk(&window).draft().plan.layout, Layout::Rule(Rule::InternVl));
    assert_eq!(desk(&window).case().assumptions.max_new_tokens.value, 2048);
    // And what the run is told elsewhere is taken over.
    window.state_mut().workspace.choices.layout = "single".into();
    settle(&mut window);
    assert_eq!(desk(&window).draft().plan.layout, Layout::Single);
}

#[test]
fn filters_and_folds_keep_every_unit_within_reach() {
    let mut window = board_of("InternVL2-Llama3-76B", "sim:8x40GiB");
    window.get_by_label("show Layers").click();
    window.run();
    press(&mut window, Modifiers::COMMAND, Key::A);
    let layers = window.state().board.view.selection.units();
    assert_eq!(layers.len(), desk(&window).case().model.units.len() - 80, "what is dimmed is not selected");
    window.state_mut().board.view.folding = board::view::Folding::All;
    window.run();
    assert!(window.query_by_label_contains("layers 4 to 14, ").is_some());
    let to = bottom(&window, "sim:7");
    press(&mut window, Modifiers::NONE, Key::Escape);
    let from = place(&window, "layers 4 to 14, ").center();
    drag(&mut window, from, to);
    assert!(
        (4..=14).all(|number| device_of(&window, layer(&window, number)) == 7),
        "a folded run travels whole"
    );
}

#[test]
fn the_plan_becomes_the_layout_of_the_next_run() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    wish(&mut window, board::Wish::Devices("sim:3x16GiB".into()));
    window.get_by_label("Use for the run").click();
    settle(&mut window);
    let choices = &window.state().workspace.choices;
    assert_eq!((choices.layout.as_str(), choices.devices.as_str()), ("auto", "sim:3x16GiB"));
    assert_eq!(desk(&window).draft().plan.devices.len(), 3, "the board does not begin anew");
}

#[test]
fn a_model_that_cannot_be_opened_is_a_problem_on_the_board() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    window.state_mut().apply(Wish::OpenCheckpoint("/no/such/folder".into()));
    let start = Instant::now();
    while !says(&window, "/no/such/folder") {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody says what is wrong");
        window.step();
    }
}

#[test]
fn thousands_of_drags_leave_nothing_behind() {
    let mut window = board_of(EIGHT_B, "sim:2x24GiB");
    let moved = layer(&window, 7);
    for turn in 0..10_000 {
        let pull = board::desk::Pull::Move { units: vec![moved], device: turn % 2 };
        window.state_mut().apply(Wish::Board(board::Wish::Pull(pull)));
    }
    settle(&mut window);
    let mut steps = 0;
    while window.state_mut().board.undo() {
        steps += 1;
    }
    assert!((100..1000).contains(&steps), "{steps} steps are kept");
    let textures = window.ctx.tex_manager().read().num_allocated();
    assert!(textures <= 2, "{textures} textures");
}

#[test]
fn the_board_looks_as_it_did() {
    let mut window = window(EIGHT_B, "sim:3x12GiB", [880.0, 560.0], Theme::Dark);
    window.snapshot("board_dark");
}

#[test]
fn a_drag_looks_as_it_did() {
    let mut window = window("InternVL2-Llama3-76B", "sim:6x40GiB", [880.0, 560.0], Theme::Light);
    window.state_mut().board.view.is_side_open = false;
    wish(&mut window, board::Wish::Strategy(Layout::AccelerateSequential));
    let from = place(&window, "layer 17, ").center();
    let to = place(&window, "sim:5, all its units").center();
    carry(&mut window, from, to);
    window.run();
    window.snapshot("board_light_drag");
}
