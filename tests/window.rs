//! The window as a person uses it: found by names, clicked, typed into, drawn on the CPU.

mod window_support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use egui::{Key, Modifiers, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use shardscope::app::habits::Theme;
use shardscope::app::language::Language;
use shardscope::app::{App, Habits, Screen, Wish, remembered};
use window_support::{Shelf, script, settle, wait, window, window_with};

/// The built-in checkpoint, as a folder on disk.
fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/checkpoint")
}

/// The built-in questions, as a file on disk.
fn questions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/dataset.tsv")
}

fn source(harness: &Harness<'_, App>) -> String {
    harness.state().workspace.subject.ready().map(|subject| subject.source.clone()).unwrap_or_default()
}

/// The field for text with this hint.
fn field<'a>(harness: &'a Harness<'_, App>, hint: &'a str) -> egui_kittest::Node<'a> {
    harness.get_by(move |node| node.placeholder().is_some_and(|it| it == hint))
}

/// The row of a list whose name begins so.
fn row<'a>(harness: &'a Harness<'_, App>, name: &'a str) -> egui_kittest::Node<'a> {
    let begins = move |label: String| label.starts_with(name) && label.contains(", ");
    harness.get_by(move |node| node.role() == egui::Role::Button && node.label().is_some_and(begins))
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

fn drop_onto(harness: &mut Harness<'_, App>, path: PathBuf) {
    harness.input_mut().dropped_files.push(Arc::new(Dropped(path)));
    settle(harness);
}

#[test]
fn every_screen_is_reached_by_its_tab_and_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    let keys = [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6];
    for (place, screen) in Screen::NAVIGATION.into_iter().enumerate() {
        harness.get_by_role_and_label(egui::Role::Tab, screen.name()).click();
        settle(&mut harness);
        assert_eq!(harness.state().screen, screen);
        let other = (place + 1) % keys.len();
        harness.key_press_modifiers(Modifiers::COMMAND, keys[other]);
        settle(&mut harness);
        assert_eq!(harness.state().screen, Screen::NAVIGATION[other]);
    }
    harness.key_press(Key::F1);
    settle(&mut harness);
    harness.get_by_label_contains("Everything larger");
}

#[test]
fn a_first_start_is_one_click_from_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.get_by_label("Run 400 questions").click();
    harness.run_steps(6);
    assert_eq!(harness.state().screen, Screen::Run);
    wait(&mut harness, "the run to begin", |app| app.run.live().is_some());
    // A second one has to wait, and closing asks.
    harness.state_mut().apply(Wish::Start);
    assert!(harness.state().toasts.texts().any(|text| text.contains("in progress")));
    assert!(!harness.state_mut().may_close());
    harness.run_steps(3);
    harness.get_by_label("Keep running").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Keep running").is_none() && !harness.state().is_to_close());
    assert!(!harness.state_mut().may_close());
    harness.run_steps(3);
    harness.get_by_label("Stop the run and close").click();
    harness.run_steps(3);
    assert!(harness.state_mut().may_close() && harness.state().is_to_close());
    harness.state_mut().run.shut();
    let sessions = shardscope::session::list(folder.path());
    assert_eq!(sessions.len(), 1);
    assert!(!sessions[0].running, "the session is let go");
}

#[test]
fn what_is_dropped_is_opened_by_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    drop_onto(&mut harness, checkpoint());
    assert_eq!(source(&harness), checkpoint().display().to_string());
    drop_onto(&mut harness, questions());
    assert_eq!(harness.state().workspace.dataset.ready().unwrap().path(), Some(questions().as_path()));
    assert_eq!(harness.state().habits.checkpoints, [checkpoint().display().to_string()]);
    drop_onto(&mut harness, folder.path().to_owned());
    assert!(harness.state().toasts.texts().any(|text| text.contains("neither a checkpoint")));
    harness.get_by_label("Run 400 questions");
}

#[test]
fn a_dialog_chooses_a_folder_and_a_closed_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    script(&mut harness, None);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::O);
    settle(&mut harness);
    assert_eq!(source(&harness), "built-in");
    script(&mut harness, Some(&checkpoint()));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::O);
    settle(&mut harness);
    assert_eq!(source(&harness), checkpoint().display().to_string());
    script(&mut harness, Some(&questions()));
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::O);
    settle(&mut harness);
    assert!(harness.state().workspace.dataset.ready().unwrap().path().is_some());
}

#[test]
fn a_wrong_path_is_told_on_the_card_and_the_way_back_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.state_mut().apply(Wish::OpenCheckpoint("/no/such/model".into()));
    settle(&mut harness);
    harness.get_by_label("This checkpoint cannot be used");
    harness.state_mut().apply(Wish::OpenDataset("/no/such/questions.tsv".into()));
    settle(&mut harness);
    harness.get_by_label("This dataset cannot be used");
    harness.state_mut().apply(Wish::Start);
    assert_eq!(harness.state().screen, Screen::Setup, "nothing begins");
    harness.get_by_label("Back to the built-in checkpoint").click();
    settle(&mut harness);
    harness.get_by_label("Back to the built-in dataset").click();
    settle(&mut harness);
    harness.get_by_label("Run 400 questions");
}

#[test]
fn a_path_can_be_typed() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    let hint = "Folder, org/name or model of the catalogue";
    field(&harness, hint).focus();
    harness.run_steps(2);
    field(&harness, hint).type_text(&checkpoint().display().to_string());
    harness.run_steps(2);
    harness.key_press(Key::Enter);
    settle(&mut harness);
    assert_eq!(source(&harness), checkpoint().display().to_string());
}

#[test]
fn a_model_of_the_catalogue_can_be_planned_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.get_by_label("Catalogue").click();
    settle(&mut harness);
    field(&harness, "Search").focus();
    harness.run_steps(2);
    field(&harness, "Search").type_text("llama3-76b");
    settle(&mut harness);
    row(&harness, "InternVL2-Llama3-76B").click();
    settle(&mut harness);
    harness.get_by_label("planning only");
    harness.state_mut().apply(Wish::Start);
    assert_eq!(harness.state().screen, Screen::Setup);
    assert!(harness.state().toasts.texts().any(|text| text.contains("planned, not run")));
}

#[test]
fn which_questions_are_asked_follows_the_choice() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.get_by_label("Random").click();
    settle(&mut harness);
    harness.get_by_label("Run 50 questions");
    assert_eq!(harness.state().workspace.choices.questions.sample, Some(50));
    harness.state_mut().workspace.choices.questions.category = Some("no such".into());
    settle(&mut harness);
    assert!(harness.get_all_by_label_contains("no category").next().is_some());
    harness.get_by_label("Ask all questions").click();
    settle(&mut harness);
    harness.get_by_label("Run 400 questions");
}

#[test]
fn languages_are_switched_in_the_bar() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.get_by_label("Language").click();
    settle(&mut harness);
    harness.get_by_label("简体中文").click();
    settle(&mut harness);
    assert_eq!(harness.state().habits.language, Language::Chinese);
    harness.get_by_label("设置");
    harness.get_by_label("运行 400 题");
    // What jobs have to say is said in it too.
    harness.state_mut().apply(Wish::OpenCheckpoint("/no/such/model".into()));
    settle(&mut harness);
    assert!(harness.get_all_by_label("没有这个文件夹").next().is_some());
}

#[test]
fn habits_survive_a_restart_and_a_broken_file_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::L);
    harness.state_mut().apply(Wish::OpenDataset(questions().display().to_string()));
    settle(&mut harness);
    let mut shelf = Shelf::default();
    eframe::App::save(harness.state_mut(), &mut shelf);
    let habits = remembered(Some(&shelf));
    assert_eq!((habits.theme, habits.datasets.len()), (Theme::Light, 1));
    assert_eq!(habits, harness.state().habits);
    let again = window_with(folder.path(), habits, Vec2::new(1000.0, 700.0));
    let dataset = again.state().workspace.dataset.ready().unwrap();
    assert_eq!(dataset.path(), Some(questions().as_path()), "what was chosen last is open again");
    for value in shelf.0.values_mut() {
        *value = "(version: [not habits".into();
    }
    assert_eq!(remembered(Some(&shelf)), Habits::default());
    assert_eq!(remembered(None), Habits::default());
}

#[test]
fn sessions_are_named_discarded_brought_back_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("sessions");
    let mut harness = window(&root);
    harness.state_mut().apply(Wish::Go(Screen::Sessions));
    settle(&mut harness);
    // A first start finds the sample.
    row(&harness, "built-in demonstration").click();
    settle(&mut harness);
    harness.get_by_label("Give it a name").click();
    settle(&mut harness);
    field(&harness, "A name of your own").type_text("the first");
    settle(&mut harness);
    harness.key_press(Key::Enter);
    settle(&mut harness);
    harness.get_all_by_label("the first").next().unwrap();
    assert_eq!(shardscope::session::keeping::label(&root.join("sample")).as_deref(), Some("the first"));

    harness.get_by_label("Move to the trash").click();
    settle(&mut harness);
    harness.get_by_label("No sessions yet");
    harness.get_by_label("Undo").click();
    settle(&mut harness);
    row(&harness, "the first").click();
    settle(&mut harness);

    copy(&root.join("sample"), &root.join("other"));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num5);
    settle(&mut harness);
    assert_eq!(harness.state().sessions.listing().unwrap().entries.len(), 2);
    shardscope::session::keeping::set_label(&root.join("other"), "the second").unwrap();
    harness.get_by_label("Read the folder again").click();
    settle(&mut harness);
    row(&harness, "the second").click_modifiers(Modifiers::COMMAND);
    settle(&mut harness);
    harness.get_by_label("Compare the two").click();
    settle(&mut harness);
    assert_eq!(harness.state().screen, Screen::Results);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_session_is_exported_from_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = window(&folder.path().join("sessions"));
    harness.state_mut().apply(Wish::Go(Screen::Sessions));
    settle(&mut harness);
    row(&harness, "built-in demonstration").click();
    settle(&mut harness);
    let to = folder.path().join("answers.csv");
    script(&mut harness, Some(&to));
    harness.get_by_label("Export").click();
    settle(&mut harness);
    harness.get_by_label("Table (CSV)").click();
    settle(&mut harness);
    assert_eq!(std::fs::read_to_string(&to).unwrap().lines().count(), 121);
}

#[test]
fn predictions_of_other_programs_become_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("sessions");
    let mut harness = window(&root);
    harness.state_mut().apply(Wish::Go(Screen::Sessions));
    settle(&mut harness);
    let predictions =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/session/InternVL3-8B_Tricky_VAL.xlsx");
    script(&mut harness, Some(&predictions));
    harness.get_by_label("Import…").click();
    settle(&mut harness);
    harness.get_by_label("InternVL3-8B_Tricky_VAL.xlsx");
    harness.snapshot("sessions_import");
    harness.get_by_label("Import").click();
    settle(&mut harness);
    row(&harness, "InternVL3-8B");
    let entries = &harness.state().sessions.listing().unwrap().entries;
    assert!(entries.iter().any(|entry| entry.dataset() == "Tricky_VAL"));
    let before = entries.len();

    // What is no table says so in the dialog, and leaves nothing behind.
    let broken = folder.path().join("broken.xlsx");
    std::fs::write(&broken, "no zip at all").unwrap();
    drop_onto(&mut harness, broken);
    harness.get_by_label("Import").click();
    settle(&mut harness);
    harness.get_by_label("broken.xlsx");
    harness.get_by_label("Cancel").click();
    settle(&mut harness);
    assert!(harness.query_by_label("broken.xlsx").is_none());
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), before);
}

#[test]
fn setup_looks_as_it_did() {
    let folder = tempfile::tempdir().unwrap();
    window(folder.path()).snapshot("setup_dark");
}

#[test]
fn small_light_chinese_screens_look_as_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let habits = Habits { theme: Theme::Light, language: Language::Chinese, ..Habits::default() };
    let mut harness = window_with(folder.path(), habits, Vec2::new(880.0, 560.0));
    harness.snapshot("setup_light_chinese_small");
    harness.state_mut().apply(Wish::Go(Screen::Sessions));
    settle(&mut harness);
    harness.snapshot("sessions_empty_light_chinese");
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardscope"));
    command.args(arguments).current_dir(folder).env("XDG_DATA_HOME", folder.join("data"));
    for display in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(display);
    }
    command
}

#[test]
fn screens_are_drawn_to_files_without_a_display() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |screen: &str, more: &[&str]| {
        let arguments = [&["render", "--screen", screen, "--out", "screen.png"], more].concat();
        let output = program(folder.path(), &arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(draw("sessions", &["--size", "900x600", "--language", "zh"]), (Some(0), String::new()));
    let drawn = image::open(folder.path().join("screen.png")).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (900, 600));
    for (screen, more, told) in [
        ("setup", ["--size", "0x900"], "cannot be drawn"),
        ("setup", ["--size", "90000x90000"], "cannot be drawn"),
        ("setup", ["--scale", "0"], "cannot be drawn"),
        ("results", ["--session", "nowhere"], "no folder"),
        ("present", ["--scale", "1"], "nothing to present"),
    ] {
        let (code, said) = draw(screen, &more);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(draw("setup", &["--size", "large"]).0, Some(2));
}

#[test]
fn without_a_display_it_says_so_and_evaluates_in_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = program(folder.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(
        lines.next().unwrap().unwrap().starts_with("No window can be opened here (there is no display here)")
    );
    assert!(lines.next().unwrap().unwrap().starts_with("built-in demonstration"));
    running.kill().unwrap();
    running.wait().unwrap();
}
