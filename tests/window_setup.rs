//! The settings of a run in the window: where each comes from, what survives a restart, and copies of the model.

mod window_support;

use egui::Vec2;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use shardscope::app::run::live::Stage;
use shardscope::app::{App, Wish, remembered};
use shardscope::dataset::Style;
use shardscope::session::{Manifest, Record};
use window_support::{Shelf, settle, wait, window, window_with};

fn count(window: &Harness<'_, App>, source: &str) -> usize {
    window.query_all_by_label(source).count()
}

#[test]
fn every_setting_says_where_it_comes_from_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    let chosen = "chosen: Back to the default";
    assert_eq!((count(&window, "preset"), count(&window, chosen)), (0, 0));
    let defaults = count(&window, "default");
    window.get_by_label("MMMU").click();
    settle(&mut window);
    // Prompts and rule are the preset's now.
    assert_eq!((count(&window, "preset"), count(&window, "default")), (2, defaults - 2));
    window.state_mut().workspace.choices.settings.style = Style::MmmuProCot;
    settle(&mut window);
    assert_eq!((count(&window, "preset"), count(&window, chosen)), (0, 2));
    for _ in 0..2 {
        window.get_all_by_label(chosen).next().unwrap().click();
        settle(&mut window);
    }
    assert_eq!(count(&window, "default"), defaults);
    let map = folder.path().join("map.json");
    std::fs::write(&map, "{}").unwrap();
    window.state_mut().workspace.choices.layout = map.display().to_string();
    settle(&mut window);
    assert_eq!(count(&window, "file: Back to the default"), 1);
}

#[test]
fn settings_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    window.get_by_label("MMMU").click();
    window.get_by_label("Random").click();
    settle(&mut window);
    window.state_mut().workspace.choices.devices = "sim:4x64MiB".into();
    window.state_mut().workspace.choices.settings.max_new_tokens = 77;
    settle(&mut window);
    let mut shelf = Shelf::default();
    eframe::App::save(window.state_mut(), &mut shelf);
    let again = window_with(folder.path(), remembered(Some(&shelf)), Vec2::new(1360.0, 860.0));
    assert_eq!(again.state().workspace.choices, window.state().workspace.choices);
    again.get_by_label("Run 50 questions");
    again.get_by_label_contains("on devices: sim:4x64MiB");
}

#[test]
fn copies_are_chosen_where_they_fit_and_answer_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    assert!(window.query_by_label("Copies").is_none(), "one device holds one copy");
    window.state_mut().workspace.choices.devices = "sim:4x64MiB".into();
    settle(&mut window);
    window.get_by_role_and_label(egui::Role::ComboBox, "Copies").click();
    settle(&mut window);
    window.get_by_label_contains("2 copies on 2 devices each").click();
    settle(&mut window);
    let choices = &window.state().workspace.choices;
    assert_eq!((choices.replicas, choices.batch), (2, 2), "no copy rests");
    window.state_mut().workspace.choices.questions.limit = Some(8);
    settle(&mut window);
    window.state_mut().apply(Wish::Start);
    wait(&mut window, "the run to begin", |app| app.run.live().is_some() || app.run.refused().is_some());
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let live = window.state().run.live().unwrap();
    assert_eq!(live.stage, Stage::Over(true));
    let manifest = Manifest::read(&live.about.folder).unwrap();
    assert_eq!(manifest.settings.other["replicas"], 2);
    assert_eq!((manifest.devices.len(), Record::open(&live.about.folder).unwrap().len()), (4, 8));
    // On devices each of which is too small for a copy, it cannot be chosen.
    window.state_mut().apply(Wish::Go(shardscope::app::Screen::Setup));
    window.state_mut().workspace.choices.devices = "sim:4x3MiB".into();
    window.state_mut().workspace.choices.replicas = 4;
    settle(&mut window);
    window.get_by_label("4 copies do not fit on these devices");
    window.get_by_role_and_label(egui::Role::ComboBox, "Copies").click();
    settle(&mut window);
    let four = window.get_by_label_contains("4 copies on 1 device each: does not fit");
    assert!(four.accesskit_node().is_disabled());
}

#[test]
fn what_a_number_means_is_told_under_the_pointer() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    for (name, why) in [
        ("Parameters", "Numbers in its weights, shared ones counted once"),
        ("3.8 M", "Numbers in its weights, shared ones counted once"),
        ("Questions", "Questions in the file"),
    ] {
        window.get_by_label(name).hover();
        window.run_steps(90);
        assert!(window.query_all_by_label(why).next().is_some(), "{why}");
    }
}

#[test]
fn the_keys_of_every_screen_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut window =
        window_with(folder.path(), shardscope::app::Habits::default(), Vec2::new(1360.0, 2000.0));
    window.key_press(egui::Key::F1);
    settle(&mut window);
    for (_, keys, name) in shardscope::app::shortcut::ON_SCREENS {
        assert!(window.query_all_by_label(keys).next().is_some(), "{keys}");
        assert!(window.query_all_by_label(name).next().is_some(), "{name}");
    }
}
