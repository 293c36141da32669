//! An endpoint under every fault that a network and a server can have, and a judge that lives or dies behind it: no
//! answer is lost or invented, memory and time are bounded, and the key is never shown.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use shardscope::Problem;
use shardscope::endpoint::*;
use shardscope::scoring::judge::{Judge, JudgeStep, Outcome};
use shardscope::scoring::{AnswerType, Rule, Verdict};
use shardscope::session::{Record, journal::Answer};

const KEY: &str = "sk-hunter2-never-show-me";

/// A server that does with its n-th request whatever the test says, and keeps what it was asked.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(serve: impl Fn(usize, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = request(&mut stream) else { continue };
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request);
                    kept.len() - 1
                };
                serve(number, &mut stream);
            }
        });
        Self { address, requests }
    }

    /// A server that says these bytes to each request.
    fn saying(reply: String) -> Self {
        Self::new(move |_, stream| say(stream, &reply))
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint_with(limits())
    }

    fn endpoint_with(&self, limits: Limits) -> Endpoint {
        let address = Address::new(&self.address, false).unwrap();
        Endpoint::new(address, "judge-1", Key::new(KEY).unwrap(), limits)
    }

    fn ask(&self) -> Result<Completion, Problem> {
        self.endpoint().complete(&[Message::user("Which?")], 8)
    }

    /// The text of the failure, in which the key must not stand.
    #[track_caller]
    fn failure(&self) -> String {
        let problem = self.ask().unwrap_err();
        let text = format!("{problem} {problem:?}");
        assert!(!text.contains("hunter2"), "{text}");
        text
    }
}

fn request(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        text.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    text.push_str(&String::from_utf8(body).unwrap());
    Some(text)
}

fn say(stream: &mut TcpStream, bytes: &str) {
    // A client may hang up when it has heard enough.
    let _ = stream.write_all(bytes.as_bytes());
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}{}\r\n{body}",
        if headers.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" }
    )
}

fn completion(text: &str) -> String {
    let body = json!({
        "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 120, "completion_tokens": 3 },
    });
    http("200 OK", "", &body.to_string())
}

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        first_token: None,
        bytes: 64 << 10,
        retries: 2,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
    }
}

#[test]
fn a_good_reply_comes_with_its_usage() {
    let server = Server::saying(completion("B"));
    let reply = server.ask().unwrap();
    let usage = Usage { prompt_tokens: Some(120), completion_tokens: Some(3) };
    assert_eq!(reply, Completion { text: "B".into(), is_cut: false, usage });
    let requests = server.requests.lock().unwrap();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("authorization: bearer {KEY}")), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["model"], &body["temperature"]), (&json!("judge-1"), &json!(0)));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "Which?" }]));
}

#[test]
fn the_models_of_a_server_are_listed() {
    let server = Server::saying(http("200 OK", "", r#"{"data":[{"id":"one"},{"id":"two"}]}"#));
    assert_eq!(server.endpoint().models().unwrap(), ["one", "two"]);
    assert!(server.requests.lock().unwrap()[0].starts_with("GET /v1/models "));
    assert!(Server::saying(http("200 OK", "", "[]")).endpoint().models().is_err());
}

#[test]
fn a_busy_server_is_asked_again() {
    for status in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"] {
        let server = Server::new(move |number, stream| match number {
            0 | 1 => say(stream, &http(status, "", "{}")),
            _ => say(stream, &completion("B")),
        });
        assert_eq!(server.ask().unwrap().text, "B", "{status}");
        assert_eq!(server.asked(), 3);
    }
}

#[test]
fn retry_after_is_honoured() {
    let busy = |after: &str| http("429 Too Many Requests", &format!("Retry-After: {after}\r\n"), "{}");
    // The client's own pause is longer than it may be, so only the server's wish lets it go on.
    let patient = Limits { pause: Duration::from_secs(3600), ..limits() };
    let soon = busy("0");
    let server = Server::new(move |number, stream| match number {
        0 => say(stream, &soon),
        _ => say(stream, &completion("B")),
    });
    let endpoint = server.endpoint_with(patient);
    assert_eq!(endpoint.complete(&[Message::user("?")], 8).unwrap().text, "B");
    let server = Server::saying(busy("86400"));
    let failure = server.failure();
    assert!(failure.contains("429") && failure.contains("wait 86400 s"), "{failure}");
    assert_eq!(server.asked(), 1);
}

#[test]
fn a_server_that_stays_ill_is_given_up_with_its_own_words() {
    let server = Server::saying(http("500 Oh", "", r#"{"error":{"message":"out of coffee"}}"#));
    let failure = server.failure();
    assert!(failure.contains("500") && failure.contains("out of coffee"), "{failure}");
    assert_eq!(server.asked(), 3);
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    // Half a reply, then nothing more.
    let whole = completion("B");
    let server = Server::new(move |number, stream| match number {
        0 => say(stream, &whole[..whole.len() - 20]),
        1 => {}
        _ => say(stream, &whole),
    });
    assert_eq!(server.ask().unwrap().text, "B");
    assert_eq!(server.asked(), 3);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Server { address: format!("http://127.0.0.1:{port}"), requests: Arc::default() };
    let failure = nobody.failure();
    assert!(failure.contains("connection failed"), "{failure}");
}

#[test]
fn a_refusal_is_final_and_says_what_to_do() {
    let cases = [
        (
            "401 Unauthorized",
            r#"{"error":{"message":"Incorrect API key provided: sk-hunter2-never-show-me"}}"#,
            "***",
        ),
        ("404 Not Found", r#"{"error":"no such model"}"#, "judge-1"),
        ("400 Bad Request", r#"{"detail":"sk-hunter2-never-show-me is odd"}"#, "*** is odd"),
        ("302 Found", "", "redirects are not followed"),
    ];
    for (status, body, expected) in cases {
        let server = Server::saying(http(status, "Location: http://127.0.0.1:1/elsewhere\r\n", body));
        let failure = server.failure();
        assert!(failure.contains(expected) && failure.contains(&status[..3]), "{failure}");
        assert_eq!(server.asked(), 1, "{status}");
    }
}

#[test]
fn what_is_no_completion_is_said_to_be_none() {
    let page =
        http("200 OK", "Content-Type: text/html\r\n", "<html>Welcome, sk-hunter2-never-show-me</html>");
    let cases = [
        (page, "text/html"),
        (http("200 OK", "", r#"{"choices": [{"message""#), "not JSON"),
        (http("200 OK", "", "\u{0}\u{1}"), "not JSON"),
        (http("200 OK", "", "{}"), "no text"),
        (http("200 OK", "", r#"{"choices": 7, "error": {"message": "model is asleep"}}"#), "model is asleep"),
        (
            http("200 OK", "", r#"{"choices": [{"message": {"content": null, "refusal": "I must not"}}]}"#),
            "I must not",
        ),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".into(), "failed"),
    ];
    for (reply, expected) in cases {
        let failure = Server::saying(reply).failure();
        assert!(failure.contains(expected), "{expected}: {failure}");
    }
}

#[test]
fn a_huge_reply_is_not_taken_in() {
    let server = Server::new(|_, stream| {
        say(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
        let spaces = [b' '; 4096];
        while stream.write_all(&spaces).is_ok() {}
    });
    assert!(server.failure().contains("too large"));
    let server = Server::new(|_, stream| {
        say(stream, "HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
        let words = [b'x'; 4096];
        while stream.write_all(&words).is_ok() {}
    });
    assert!(server.failure().len() < 2000);
}

#[test]
fn a_server_that_hangs_is_left_after_the_time_allowed() {
    let hang = || std::thread::sleep(Duration::from_secs(600));
    let before_the_reply = Server::new(move |_, _| hang());
    let within_the_reply = Server::new(move |_, stream| {
        say(stream, &completion("B")[..60]);
        hang();
    });
    for server in [before_the_reply, within_the_reply] {
        let limits = Limits { answer: Duration::from_millis(150), ..limits() };
        let problem = server.endpoint_with(limits).complete(&[Message::user("?")], 8).unwrap_err();
        assert!(problem.what.contains("no whole answer within 0.15 s"), "{problem}");
        assert_eq!(server.asked(), 1);
    }
}

#[test]
fn a_judges_cost_is_reckoned_and_a_cut_reply_is_none() {
    let server = Server::saying(completion("B"));
    let mut judge = EndpointJudge::new(server.endpoint(), Some(Price { input: 10.0, output: 1000.0 }));
    let reply = judge.ask("?").unwrap();
    assert!((reply.cost.unwrap() - (120.0 * 10.0 + 3.0 * 1000.0) / 1e6).abs() < 1e-12);
    assert!(judge.name().starts_with("judge-1 at 127.0.0.1:"), "{}", judge.name());
    assert!(!format!("{judge:?}").contains("hunter2"));
    let cut = r#"{"choices":[{"message":{"content":"B, because"},"finish_reason":"length"}]}"#;
    let server = Server::saying(http("200 OK", "", cut));
    let problem = EndpointJudge::new(server.endpoint(), None).ask("?").unwrap_err();
    assert!(problem.what.contains("cut"), "{problem}");
}

fn unclear(index: usize) -> Answer {
    let row = json!({
        "index": index.to_string(), "type": "option", "question": "Which animal?",
        "options": { "A": "cat", "B": "dog" }, "response": format!("The one that barks{}", "!".repeat(index)), "answer": "B",
        "verdict": "unparsed", "rule": Rule::Shardscope.name(),
    });
    serde_json::from_value(row).unwrap()
}

#[test]
fn a_judge_that_dies_on_the_way_leaves_the_rule_standing() {
    let server = Server::new(|number, stream| match number {
        0..3 => say(stream, &completion("B")),
        _ => say(stream, &http("400 Bad Request", "", r#"{"error":{"message":"quota"}}"#)),
    });
    let mut step = JudgeStep::new(EndpointJudge::new(server.endpoint(), None));
    for index in 0..12 {
        let mut answer = unclear(index);
        let alone = answer.clone();
        answer.consult(&mut step, &Rule::Shardscope, "demo");
        let record = answer.judge.clone().unwrap();
        let expected = match index {
            0..3 => Outcome::Read,
            3..8 => Outcome::Failed,
            _ => Outcome::NotAsked,
        };
        assert_eq!(record.outcome, expected, "{index}");
        assert_eq!(answer.rule, alone.rule);
        if expected == Outcome::Read {
            assert_eq!((answer.verdict, answer.by.as_str(), answer.score), (Verdict::Right, "judge", 1.0));
            assert_eq!(record.reply.unwrap().text, "B");
            assert_eq!(record.prompt_hash.len(), 64);
        } else {
            assert_eq!((answer.verdict, answer.score, &answer.read), (Verdict::Unparsed, 0.0, &Value::Null));
            assert!(answer.by != "judge" && record.problem.unwrap().contains("quota"));
        }
    }
    assert_eq!(server.asked(), 8);
}

/// The program in a folder, with the key in its environment.
fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardscope"));
    command.current_dir(dir).args(args).env("HOME", dir).env("LMUData", dir).env("HF_HUB_CACHE", dir);
    command.env("SHARDSCOPE_JUDGE_KEY", KEY).env_remove("OPENAI_API_KEY").output().unwrap()
}

/// Everything that the program wrote, in files and to its streams.
fn written(dir: &Path, output: &Output) -> String {
    let mut text: String =
        [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned()).concat();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
            }
        }
    }
    text
}

/// Four questions; a hundredfold temperature makes the built-in checkpoint babble, so that no rule can read it.
const BABBLE: [&str; 11] = [
    "eval",
    "--limit",
    "8",
    "--session",
    "s",
    "--temperature",
    "100",
    "--max-new-tokens",
    "24",
    "--json",
    "--rule=shardscope",
];

fn eval(dir: &Path, server: &Server) -> (Output, Vec<Answer>) {
    let judge = ["--judge", &server.address, "--judge-model", "judge-1", "--judge-price", "1,2"];
    let output = run(dir, &[&BABBLE[..], &judge].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!written(dir, &output).contains("hunter2"));
    let record = Record::open(&dir.join("s")).unwrap();
    let host = server.address.trim_start_matches("http://");
    let settings = &record.manifest().settings.other["judge"];
    assert_eq!(settings["host"], host);
    assert_eq!(settings["model"], "judge-1");
    assert_eq!(settings["price_per_million"], json!({ "input": 1.0, "output": 2.0 }));
    let answers = record.answers().map(Result::unwrap).collect();
    (output, answers)
}

#[test]
fn a_run_asks_the_judge_where_the_rule_could_not_tell() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::saying(completion("A"));
    let (output, answers) = eval(dir.path(), &server);
    let asked: Vec<&Answer> = answers.iter().filter(|answer| answer.judge.is_some()).collect();
    assert_eq!(asked.len(), server.asked());
    // The judge says A, which is an answer only where that is an option.
    let (read, unread): (Vec<&Answer>, _) =
        asked.iter().partition(|answer| answer.answer_type == Some(AnswerType::Option));
    assert!(!read.is_empty() && !unread.is_empty(), "{} read, {} unread", read.len(), unread.len());
    assert!(read.iter().all(|answer| (answer.by.as_str(), &answer.read) == ("judge", &json!("A"))));
    assert!(unread.iter().all(|answer| answer.by != "judge" && answer.verdict == Verdict::Unparsed));
    assert!(answers.iter().all(|answer| answer.rule == Rule::Shardscope.name()));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["judge"]["read"], read.len());
    assert_eq!(result["judge"]["cannot_tell"], unread.len());
    // Scored again without a judge, the rule alone decides.
    let alone = run(dir.path(), &["score", "--session", "s", "--json"]);
    let alone: Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!(alone["changed"], read.len());
}

#[test]
fn a_run_ends_well_without_its_judge_which_can_be_asked_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::saying(http("401 Unauthorized", "", &format!(r#"{{"error":"bad key {KEY}"}}"#)));
    let (_, answers) = eval(dir.path(), &server);
    assert_eq!(answers.len(), 8);
    let unclear = answers.iter().filter(|answer| answer.judge.is_some()).count();
    assert!(unclear > 5, "{unclear} unclear answers show nothing");
    assert_eq!(server.asked(), 5);
    assert!(answers.iter().all(|answer| answer.by != "judge"));
    let events = Record::open(&dir.path().join("s")).unwrap().events().unwrap();
    let stops = events.iter().filter(|event| event.kind == "judge_stopped").count();
    assert_eq!(stops, 1);

    let server = Server::saying(completion("A"));
    let judge = ["--judge", &server.address, "--judge-model", "judge-2"];
    let output = run(dir.path(), &[&["score", "--session", "s", "--json"][..], &judge].concat());
    assert!(!written(dir.path(), &output).contains("hunter2"));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((result["judge"]["asked"].as_u64(), server.asked()), (Some(unclear as u64), unclear));
    assert_eq!(result["changed"], result["judge"]["read"]);
    assert_eq!(result["judge"]["records"].as_object().unwrap().len(), unclear);
}

#[test]
fn what_a_judge_said_later_is_kept_and_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Server::saying(http("401 Unauthorized", "", "{}"));
    eval(dir.path(), &dead);
    let path = |name: &str| dir.path().join("s").join(name);
    let before = std::fs::read(path("answers.jsonl")).unwrap();

    let server = Server::saying(completion("A"));
    let judge = ["--judge", &server.address, "--judge-model", "judge-2", "--judge-price", "1,2", "--json"];
    let result = |args: &[&str]| -> Value {
        let output = run(dir.path(), args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let score = ["score", "--session", "s"];
    let first = result(&[&score[..], &judge].concat());
    let asked = server.asked();
    assert!(asked > 0 && first["judge"]["cost"].as_f64().unwrap() > 0.0);
    let again = result(&[&score[..], &judge].concat());
    assert_eq!(server.asked(), asked);
    assert_eq!((&again["judge"]["asked"], &again["judge"]["reused"]), (&json!(0), &json!(asked)));
    for of in [&first, &again] {
        assert_eq!((&of["accuracy"], &of["changed"]), (&first["accuracy"], &first["judge"]["read"]));
    }

    // Beside the answers, never over them.
    assert_eq!(std::fs::read(path("answers.jsonl")).unwrap(), before);
    let lines = std::fs::read_to_string(path("judge.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), asked);
    let shown = result(&["sessions", "show", "s", "--json"]);
    assert_eq!(shown["judge"]["read"], first["judge"]["read"]);
    assert_ne!(shown["unparsed"], first["unparsed"]);
    let counted = result(&["sessions", "show", "s", "--judged", "--json"]);
    assert_eq!((&counted["accuracy"], &counted["right"]), (&first["accuracy"], &first["right"]));
    assert_eq!(result(&[&score[..], &["--judged", "--json"]].concat())["accuracy"], first["accuracy"]);

    for (format, wanted) in [("csv", "\"judge_reply\""), ("jsonl", "judge-2"), ("html", "judge-2")] {
        let out = format!("out.{format}");
        let output = run(dir.path(), &["sessions", "export", "s", "--format", format, "--out", &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(dir.path().join(out)).unwrap();
        assert!(text.contains(wanted) && text.contains("judge-2"), "{format}");
    }
}

#[test]
fn a_judge_elsewhere_over_plain_http_is_refused_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let judge = ["--judge", "http://example.org", "--judge-model", "judge-1"];
    let output = run(dir.path(), &[&BABBLE[..], &judge].concat());
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-http"));
    assert!(!dir.path().join("s").exists());
}
