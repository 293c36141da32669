//! A served model in the window: picked like a checkpoint, asked how it is, run to a score, broken off and gone on with;
//! and its key is in no file.

#[allow(dead_code)] // Other tests use the rest of it.
mod server;
mod window_support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use egui::{Key, Role, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use serde_json::json;
use server::{Exchange, Server, completion};
use shardscope::app::run::live::Stage;
use shardscope::app::served::{Hidden, KeyFrom};
use shardscope::app::{App, Screen, Wish, ask, run, setup};
use shardscope::session::Record;
use window_support::{settle, wait, window, window_with};

type Window = Harness<'static, App>;

const KEY: &str = "sk-hunter2-never-show-me";

/// What a server says to the question of its models.
fn models(names: &[&str]) -> String {
    let models: Vec<_> =
        names.iter().map(|name| json!({ "id": name, "owned_by": "me", "max_model_len": 8192 })).collect();
    json!({ "object": "list", "data": models }).to_string()
}

/// Answers what is asked: the list of models, or B.
fn answer(exchange: &mut Exchange, names: &[&str]) {
    let body = match exchange.path() {
        "/v1/models" => models(names),
        _ => completion("B").to_string(),
    };
    exchange.say_with("200 OK", "Server: tiny/1.0\r\n", &body);
}

fn is_opened(exchange: &Exchange) -> bool {
    exchange.request.head.to_ascii_lowercase().contains(&format!("authorization: bearer {KEY}"))
}

/// The field for text of this name.
fn field<'a>(window: &'a Window, name: &'a str) -> egui_kittest::Node<'a> {
    let is_text = |role| matches!(role, Role::TextInput | Role::PasswordInput);
    window.get_by(move |node| is_text(node.role()) && node.label().is_some_and(|it| it == name))
}

fn type_into(window: &mut Window, name: &str, text: &str) {
    field(window, name).focus();
    window.run_steps(2);
    field(window, name).type_text(text);
    window.run_steps(2);
}

/// Types the address of a server and connects.
fn connect(window: &mut Window, address: &str) {
    window.get_by_label("Served").click();
    window.run_steps(2);
    type_into(window, "Address of the server", address);
    window.key_press(Key::Enter);
    settle(window);
    assert!(window.state().workspace.served.is_chosen);
}

/// Chooses to type the key, and types it.
fn type_key(window: &mut Window) {
    let mut server = window.state().workspace.served.server.clone();
    server.key_from = KeyFrom::Typed;
    window.state_mut().apply(Wish::Setup(setup::Wish::Serve(Box::new(server))));
    window.run_steps(3);
    type_into(window, "The key itself", KEY);
}

fn start(window: &mut Window, limit: usize) {
    window.state_mut().workspace.choices.questions.limit = Some(limit);
    settle(window);
    window.get_by_label(&format!("Run {limit} questions")).click();
    wait(window, "the run to begin", |app| app.run.live().is_some() || app.run.refused().is_some());
}

fn stage(app: &App) -> Option<&Stage> {
    app.run.live().map(|live| &live.stage)
}

/// Every byte that the window has written: the folder of sessions, the habits, and what egui keeps.
fn written(window: &mut Window, folder: &Path) -> String {
    fn files(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => files(&path, text),
                path => text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap())),
            }
        }
    }
    let mut text = String::new();
    files(folder, &mut text);
    // As eframe writes both when the window closes.
    let mut shelf = Shelf::default();
    eframe::App::save(window.state_mut(), &mut shelf);
    window.ctx.memory(|memory| eframe::set_value(&mut shelf, "egui", memory));
    assert_eq!(shelf.0.len(), 2);
    text + &shelf.0.concat()
}

#[derive(Default)]
struct Shelf(Vec<String>);

impl eframe::Storage for Shelf {
    fn get_string(&self, _key: &str) -> Option<String> {
        None
    }

    fn set_string(&mut self, _key: &str, value: String) {
        self.0.push(value);
    }

    fn remove_string(&mut self, _key: &str) {}

    fn flush(&mut self) {}
}

#[test]
fn a_served_model_is_picked_looked_at_and_run_to_a_score() {
    let server = Server::new(|_, exchange| answer(exchange, &["tiny-vision"]));
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    // Its only model is the one; the card says how it stands.
    window.get_by_label("reachable");
    window.get_by_label("tiny/1.0");
    window.get_by_label("8192 tokens");
    assert_eq!(window.state().workspace.served.server.model, "tiny-vision");
    assert_eq!(server.requests().len(), 1, "nothing is asked but the list of models");
    window.get_by_label_contains("tiny-vision answers");
    window.state_mut().workspace.served.server.price = [1000.0, 1000.0];
    start(&mut window, 12);
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(true)), "{:?}", window.state().run.refused());
    let live = window.state().run.live().unwrap();
    let record = Record::open(&live.about.folder).unwrap();
    assert_eq!((live.done, record.len(), record.tally()), (12, 12, live.report.overall));
    // 123 tokens each, at a thousand for a million.
    let cost = live.flow.now.as_ref().and_then(|now| now.cost).unwrap();
    assert!((cost - 12.0 * 0.123).abs() < 1e-9, "{cost}");
    window.run_steps(3);
    window.get_by_label("1.48");
    assert!(window.query_by_label("Memory").is_none());
    // It stands among the recent ones, and is chosen when the window opens again.
    let habits = window.state().habits.clone();
    assert_eq!(habits.servers.len(), 1);
    let again = window_with(folder.path(), habits, Vec2::new(1200.0, 800.0));
    again.get_by_label("not asked");
    again.get_by_label_contains("tiny-vision answers");
}

#[test]
fn one_of_several_models_is_chosen_from_the_list_or_typed() {
    let server = Server::new(|_, exchange| answer(exchange, &["one", "two"]));
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    assert_eq!(window.state().workspace.obstacle().unwrap().what, "no model of the server is chosen");
    window.get_by_label("Models of the server").click();
    settle(&mut window);
    window.get_by_label("two").click();
    settle(&mut window);
    assert!(window.state().workspace.obstacle().is_none());
    window.get_by_label_contains("two answers");
    type_into(&mut window, "Name of the model", "-and-more");
    window.get_by_label("The server does not list this model");
    assert!(window.state().workspace.obstacle().is_none(), "some servers know further names");
    window.get_by_label("Back to the checkpoint").click();
    settle(&mut window);
    window.get_by_label_contains("Built-in demonstration answers");
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let server = Server::nobody();
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    window.get_by_label("not reachable");
    window.get_by_label("Is the server running?");
    window.state_mut().apply(Wish::Start);
    assert_eq!(window.state().screen, Screen::Setup);
    assert!(window.state().habits.servers.is_empty());
    // Beyond this machine plain http has to be allowed.
    let server = shardscope::app::served::Server::at("http://192.0.2.1:9");
    window.state_mut().apply(Wish::Setup(setup::Wish::Serve(Box::new(server))));
    window.run_steps(3);
    assert!(window.get_all_by_label_contains("for all to read").next().is_some());
    window.get_by_label("Allow plain http beyond private addresses").click();
    window.run_steps(3);
    assert!(window.query_by_label_contains("for all to read").is_none());
    window.get_by_label_contains("can be read on its way");
}

#[test]
fn a_server_that_says_nothing_is_given_up_by_a_click() {
    let server = Server::new(|_, exchange| exchange.hang());
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    window.get_by_label("Served").click();
    window.run_steps(2);
    type_into(&mut window, "Address of the server", &server.address);
    window.get_by_label("Connect").click();
    window.run_steps(3);
    window.get_by_label("being asked");
    window.get_all_by_label("Cancel").next().unwrap().click();
    // Its socket is broken off: the job ends long before any time is up.
    settle(&mut window);
    window.get_by_label("not asked");
}

#[test]
fn a_typed_key_opens_the_server_and_is_in_no_file() {
    let server = Server::new(|_, exchange| match is_opened(exchange) {
        true => answer(exchange, &["tiny"]),
        false => {
            let words = json!({ "error": { "message": "no such key" } }).to_string();
            exchange.say_with("401 Unauthorized", "", &words);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    window.get_by_label("not reachable");
    assert!(window.get_all_by_label_contains("401").next().is_some());
    window.get_by_label_contains("name the variable that holds it");
    type_key(&mut window);
    window.key_press(Key::Enter);
    settle(&mut window);
    window.get_by_label("reachable");
    start(&mut window, 6);
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(true)));
    settle(&mut window);
    let text = written(&mut window, folder.path());
    assert!(text.contains("tiny") && !text.contains("hunter2"));
    assert!(!format!("{:?}", window.state().workspace.served.key).contains("hunter2"));
}

#[test]
fn a_session_goes_on_with_a_key_that_is_asked_for_again() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let server = Server::new(move |_, exchange| {
        if !is_opened(exchange) {
            exchange.say_with("401 Unauthorized", "", "{}");
        } else if exchange.path() == "/v1/models" || count.fetch_add(1, Ordering::SeqCst) < 5 {
            answer(exchange, &["tiny"]);
        } else {
            // The key was taken away in the middle of the run.
            exchange.say_with("401 Unauthorized", "", "{}");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    type_key(&mut window);
    window.key_press(Key::Enter);
    settle(&mut window);
    window.state_mut().workspace.served.server.in_flight = 1;
    start(&mut window, 20);
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let Some(Stage::Broken(broken)) = stage(window.state()) else { panic!("{:?}", stage(window.state())) };
    assert!(broken.what.contains("401"), "{broken}");
    assert!(broken.fix.as_deref().is_some_and(|fix| fix.contains("give the right key")), "{broken}");
    let session = window.state().run.live().unwrap().about.folder.clone();
    assert_eq!(Record::open(&session).unwrap().len(), 5);
    window.run_steps(3);
    window.get_by_label("Go on with this key");

    // Another window has never heard of the key: it is asked for.
    answered.store(0, Ordering::SeqCst);
    let habits = window.state().habits.clone();
    drop(window);
    let mut window = window_with(folder.path(), habits, Vec2::new(1200.0, 800.0));
    window.state_mut().apply(Wish::Resume(session.clone()));
    wait(&mut window, "the refusal", |app| app.run.refused().is_some());
    settle(&mut window);
    window.get_by_label("The session did not go on");
    type_into(&mut window, "The key itself", KEY);
    window.get_by_label("Go on with this key").click();
    wait(&mut window, "the run to begin", |app| app.run.live().is_some());
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    assert_eq!(Record::open(&session).unwrap().len(), 10, "what was answered is not asked again");
    settle(&mut window);
    assert!(!written(&mut window, folder.path()).contains("hunter2"));
}

#[test]
fn a_server_that_dies_in_the_middle_is_told_and_the_session_goes_on() {
    let lives = Arc::new(AtomicBool::new(true));
    let (alive, answered) = (lives.clone(), Arc::new(AtomicUsize::new(0)));
    let count = answered.clone();
    let server = Server::new(move |_, exchange| {
        let is_question = exchange.path() != "/v1/models";
        if is_question && count.fetch_add(1, Ordering::SeqCst) >= 7 && alive.load(Ordering::SeqCst) {
            return exchange.reset();
        }
        answer(exchange, &["tiny"]);
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    let served = &mut window.state_mut().workspace.served.server;
    (served.in_flight, served.retries) = (1, 0);
    start(&mut window, 40);
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let Some(Stage::Broken(broken)) = stage(window.state()) else { panic!("{:?}", stage(window.state())) };
    assert!(broken.fix.as_deref().is_some_and(|fix| fix.contains("go on when")), "{broken}");
    let session = window.state().run.live().unwrap().about.folder.clone();
    assert_eq!(Record::open(&session).unwrap().len(), 7);
    window.run_steps(3);
    window.get_by_label("could not go on; every answer is kept");
    lives.store(false, Ordering::SeqCst);
    window.get_by_label("Resume").click();
    wait(&mut window, "the run to begin", |app| app.run.live().is_some_and(|live| live.is_active()));
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(true)));
    let record = Record::open(&session).unwrap();
    assert_eq!((record.len(), record.tally()), (40, window.state().run.live().unwrap().report.overall));
}

#[test]
fn a_served_run_is_paused_and_stopped() {
    let server = Server::new(|_, exchange| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        answer(exchange, &["tiny"]);
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    window.state_mut().workspace.served.server.in_flight = 2;
    start(&mut window, 300);
    wait(&mut window, "answers", |app| app.run.live().is_some_and(|live| live.done >= 3));
    window.get_by_label("Pause").click();
    wait(&mut window, "the pause", |app| {
        stage(app) == Some(&Stage::Paused) && app.run.live().is_some_and(|live| live.flights.is_empty())
    });
    let done = window.state().run.live().unwrap().done;
    window.run_steps(20);
    assert_eq!(window.state().run.live().unwrap().done, done);
    window.get_by_label("Go on").click();
    wait(&mut window, "more answers", |app| app.run.live().is_some_and(|live| live.done > done));
    window.state_mut().apply(Wish::Run(run::Wish::Stop));
    wait(&mut window, "the end", |app| !app.run.is_active());
    assert_eq!(stage(window.state()), Some(&Stage::Over(false)));
    let live = window.state().run.live().unwrap();
    assert_eq!(Record::open(&live.about.folder).unwrap().len(), live.done);
}

#[test]
fn servers_on_this_machine_are_found_when_they_are_looked_for() {
    let server = Server::new(|_, exchange| answer(exchange, &["tiny-nearby"]));
    let nobody = Server::nobody();
    let port = |server: &Server| server.address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    window.state_mut().setup.ports = setup::Ports(vec![port(&nobody), port(&server)]);
    window.get_by_label("Served").click();
    settle(&mut window);
    assert!(server.requests().is_empty(), "nobody is asked before a click");
    window.get_by_label("Look on this machine").click();
    settle(&mut window);
    window.get_by_label_contains("tiny-nearby, http://localhost").click();
    settle(&mut window);
    window.get_by_label("reachable");
    assert_eq!(window.state().workspace.served.server.model, "tiny-nearby");
    assert!(
        server.requests().iter().all(|request| !request.head.to_ascii_lowercase().contains("authorization"))
    );
}

#[test]
fn a_key_in_the_wrong_field_is_in_no_file_either() {
    let server = Server::new(|_, exchange| answer(exchange, &["tiny"]));
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    type_key(&mut window);
    window.run_steps(2);
    let mut chosen = window.state().workspace.served.server.clone();
    chosen.extra = format!("{{\"user\": \"{KEY}\"}}");
    chosen.headers = Hidden(format!("X-Team: {KEY}"));
    window.state_mut().apply(Wish::Setup(setup::Wish::Serve(Box::new(chosen))));
    settle(&mut window);
    window.state_mut().apply(Wish::Start);
    wait(&mut window, "the refusal", |app| app.run.refused().is_some());
    settle(&mut window);
    let refused = window.state().run.refused().unwrap();
    assert!(refused.what.contains("the key stands in a setting"), "{refused}");
    assert!(!written(&mut window, folder.path()).contains("hunter2"));
}

#[test]
fn a_free_question_is_answered_by_a_server_and_a_silent_one_is_given_up() {
    let silent = Arc::new(AtomicBool::new(false));
    let quiet = silent.clone();
    let server = Server::new(move |_, exchange| {
        if exchange.path() != "/v1/models" && quiet.load(Ordering::SeqCst) {
            return exchange.hang();
        }
        answer(exchange, &["tiny"]);
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    window.state_mut().screen = Screen::Ask;
    settle(&mut window);
    window.get_by_label_contains("Questions go to tiny");
    window.state_mut().ask.write("What color is it?");
    window.state_mut().apply(Wish::Ask(ask::Wish::Ask));
    wait(&mut window, "the answer", |app| !app.ask.is_busy() && !app.ask.exchanges().is_empty());
    let Some(ask::End::Answered(answer)) = &window.state().ask.exchanges()[0].end else { panic!("answered") };
    assert_eq!((answer.response.as_str(), answer.prompt_tokens), ("B", 120));
    let asked = server.requests().pop().unwrap().body;
    assert!(asked.contains("What color is it?") && asked.contains("\"model\":\"tiny\""), "{asked}");
    silent.store(true, Ordering::SeqCst);
    window.state_mut().ask.write("And this?");
    window.state_mut().apply(Wish::Ask(ask::Wish::Ask));
    wait(&mut window, "the question", |app| app.ask.exchanges().len() == 2);
    window.run_steps(2);
    window.get_by_label("Stop").click();
    wait(&mut window, "the end", |app| !app.ask.is_busy());
    assert!(matches!(window.state().ask.exchanges()[1].end, Some(ask::End::Stopped)));
    // The next question is heard again.
    silent.store(false, Ordering::SeqCst);
    window.state_mut().ask.write("Once more");
    window.state_mut().apply(Wish::Ask(ask::Wish::Ask));
    wait(&mut window, "the answer", |app| !app.ask.is_busy() && app.ask.exchanges().len() == 3);
    assert!(matches!(window.state().ask.exchanges()[2].end, Some(ask::End::Answered(_))));
}

#[test]
fn what_failed_is_asked_again_on_demand() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = ill.clone();
    let server = Server::new(move |_, exchange| {
        // Some questions are refused for good.
        let is_refused = exchange.request.body.len() % 3 == 0 && exchange.path() != "/v1/models";
        match is_refused && is_ill.load(Ordering::SeqCst) {
            true => exchange.say_with("400 Bad Request", "", "{\"error\":{\"message\":\"too long\"}}"),
            false => answer(exchange, &["tiny"]),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut window = window(folder.path());
    connect(&mut window, &server.address);
    start(&mut window, 30);
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let live = window.state().run.live().unwrap();
    let failed = live.report.overall.failed;
    assert!(failed > 0 && failed < 30 && live.done == 30, "{failed}");
    window.run_steps(3);
    ill.store(false, Ordering::SeqCst);
    window.get_by_label(&format!("Ask the {failed} failed again")).click();
    window.run_steps(2);
    wait(&mut window, "the run to begin", |app| app.run.is_active());
    wait(&mut window, "the run to end", |app| !app.run.is_active());
    let live = window.state().run.live().unwrap();
    assert_eq!((live.done, live.report.overall.failed), (30, 0));
    let record = Record::open(&live.about.folder).unwrap();
    assert_eq!((record.len(), record.tally()), (30, live.report.overall));
}
