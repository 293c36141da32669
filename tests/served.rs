//! A served model under every fault that a network and a server can have: no answer is lost or invented, memory and time
//! are bounded, a stop is heard, and the key is never shown or written.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that cannot go on fails.

mod server;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::{Command as Program, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Exchange, Server, completion, event, events};
use shardscope::endpoint::*;
use shardscope::engine::served::{self, Service, Traffic};
use shardscope::engine::{Command, Event, Run};
use shardscope::evaluation::served::ServedEvaluation;
use shardscope::evaluation::{Choices, Questions, named};
use shardscope::scoring::Verdict;
use shardscope::session::{Answer, Finish, Record};

const KEY: &str = "sk-hunter2-never-show-me";

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        first_token: Some(Duration::from_secs(20)),
        answer: Duration::from_secs(20),
        bytes: 1 << 20,
        retries: 2,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
    }
}

fn endpoint_with(server: &Server, limits: Limits) -> Endpoint {
    let address = Address::new(&server.address, false).unwrap();
    Endpoint::new(address, "tiny", Key::new(KEY).unwrap(), limits)
}

/// One try; the pieces that were heard, and what came of it.
fn ask(server: &Server) -> (Vec<String>, Result<Reply, Fault>) {
    ask_with(server, limits())
}

fn ask_with(server: &Server, limits: Limits) -> (Vec<String>, Result<Reply, Fault>) {
    let mut heard = Vec::new();
    let reply = endpoint_with(server, limits).ask(br#"{"model":"tiny"}"#, 64, &mut |more| {
        heard.extend((!more.is_empty()).then(|| more.to_owned()));
        true
    });
    if let Err(fault) = &reply {
        let text = format!("{fault:?} {}", fault.problem);
        assert!(!text.contains("hunter2"), "{text}");
    }
    (heard, reply)
}

fn fault(server: &Server) -> Fault {
    ask(server).1.unwrap_err()
}

fn piece(delta: Value) -> Value {
    json!({ "model": "tiny-2", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn end(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn usage() -> Value {
    json!({ "choices": [], "usage": { "prompt_tokens": 120, "completion_tokens": 3 } })
}

#[test]
fn a_streamed_answer_comes_in_pieces_with_its_usage() {
    let server = Server::saying(events(&[
        piece(json!({ "role": "assistant", "content": "" })),
        piece(json!({ "reasoning_content": "a dog " })),
        piece(json!({ "reasoning_content": "barks", "content": null })),
        piece(json!({ "content": "It is " })),
        piece(json!({ "content": [{ "type": "text", "text": "B" }] })),
        end("stop"),
        usage(),
    ]));
    let (heard, reply) = ask(&server);
    let reply = reply.unwrap();
    assert_eq!(heard, ["It is ", "B"]);
    assert_eq!((reply.text.as_str(), reply.thinking.as_deref()), ("It is B", Some("a dog barks")));
    assert_eq!(reply.usage, Usage { prompt_tokens: Some(120), completion_tokens: Some(3) });
    assert_eq!((reply.finish.as_deref(), reply.model.as_deref()), (Some("stop"), Some("tiny-2")));
    assert!(reply.streamed && reply.first_token <= reply.total);
    let requests = server.requests();
    assert!(requests[0].head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{}", requests[0].head);
    assert!(requests[0].head.to_ascii_lowercase().contains(&format!("authorization: bearer {KEY}")));
}

#[test]
fn a_server_that_does_not_stream_is_heard_all_the_same() {
    for mime in ["Content-Type: application/json\r\n", ""] {
        let server =
            Server::new(move |_, exchange| exchange.say_with("200 OK", mime, &completion("B").to_string()));
        let (heard, reply) = ask(&server);
        let reply = reply.unwrap();
        assert_eq!((heard, reply.text.as_str(), reply.streamed), (vec!["B".to_owned()], "B", false));
    }
    let thinking = json!({ "choices": [{ "finish_reason": "length", "message": { "content": [
        { "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "A" },
    ] } }] });
    let reply = ask(&Server::saying(server::json(&thinking))).1.unwrap();
    assert_eq!((reply.text.as_str(), reply.thinking.as_deref()), ("A", Some("hm")));
    assert_eq!(reply.finish.as_deref(), Some("length"));
}

#[test]
fn half_an_answer_is_none() {
    let begun = || vec![piece(json!({ "content": "B, beca" }))];
    // Cut between two events, and in the middle of one; closed, and reset.
    let whole = events(&[begun().remove(0), end("stop")]);
    for cut in [event(&begun()[0]), whole[..whole.len() - 60].to_owned(), String::new()] {
        let server = Server::new(move |_, exchange| exchange.stream(&cut));
        let (_, reply) = ask(&server);
        let fault = reply.unwrap_err();
        assert_eq!(fault.cause, Cause::Broken, "{fault:?}");
        assert!(fault.problem.what.contains("connection failed"), "{fault:?}");
    }
    let server = Server::new(move |_, exchange| {
        exchange.stream(&event(&piece(json!({ "content": "B" }))));
        exchange.reset();
    });
    assert_eq!(fault(&server).cause, Cause::Broken);
    let server =
        Server::saying(server::json(&completion("B")).replace("Content-Length: ", "Content-Length: 9"));
    assert_eq!(fault(&server).cause, Cause::Broken);
    // Without [DONE] but with a reason to end it is whole.
    let server = Server::saying(events(&[begun().remove(0), end("stop")]).replace("data: [DONE]\n\n", ""));
    assert_eq!(ask(&server).1.unwrap().text, "B, beca");
}

#[test]
fn every_refusal_is_told_from_the_others() {
    let cases = [
        ("429 Too Many Requests", "{}", Cause::Busy),
        ("503 Service Unavailable", "{}", Cause::Busy),
        ("500 Oh", r#"{"error":{"message":"out of coffee, sk-hunter2-never-show-me"}}"#, Cause::Ill),
        ("500 Oh", r#"{"error":{"message":"image input is not supported"}}"#, Cause::Question),
        ("502 Bad Gateway", "<html>", Cause::Ill),
        ("401 Unauthorized", r#"{"error":"sk-hunter2-never-show-me is wrong"}"#, Cause::Refused),
        ("404 Not Found", "{}", Cause::Refused),
        ("302 Found", "", Cause::Refused),
        ("400 Bad Request", r#"{"message":"the context is too short"}"#, Cause::Question),
        ("413 Too Large", "", Cause::Question),
    ];
    for (status, body, cause) in cases {
        let server = Server::new(move |_, exchange| exchange.say_with(status, "Retry-After: 7\r\n", body));
        let fault = fault(&server);
        assert_eq!((fault.cause, fault.after), (cause, Some(Duration::from_secs(7))), "{fault:?}");
        assert!(fault.problem.what.contains(&status[..3]), "{fault:?}");
    }
    let nobody = Server::nobody();
    assert_eq!(fault(&nobody).cause, Cause::Broken);
}

#[test]
fn what_cannot_be_understood_is_no_answer() {
    let good = event(&piece(json!({ "content": "B" })));
    let error = |code: u32| json!({ "error": { "message": "asleep", "code": code } });
    let cases: Vec<(String, Cause)> = vec![
        (server::http("200 OK", "Content-Type: text/html\r\n", "<html>Welcome</html>"), Cause::Refused),
        (server::http("200 OK", "", "{\"choices\": [{\"mess"), Cause::Ill),
        (server::http("200 OK", "", "{}"), Cause::Ill),
        (server::sse(&format!("{good}data: {{\"choices\": [\n\ndata: x\n\n")), Cause::Ill),
        (server::sse("data: [DONE]\n\n"), Cause::Ill),
        (events(&[piece(json!({ "content": "B" })), error(400)]), Cause::Question),
        (events(&[piece(json!({ "content": "B" })), error(503)]), Cause::Busy),
        (events(&[json!({ "error": "asleep" })]), Cause::Ill),
        (events(&[piece(json!({ "content": "B" })), end("content_filter")]), Cause::Question),
        (events(&[end("tool_calls")]), Cause::Question),
        (events(&[piece(json!({ "refusal": "I must not" })), end("stop")]), Cause::Question),
        (events(&[piece(json!({ "content": "B" })), end("abort")]), Cause::Ill),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".into(), Cause::Refused),
    ];
    for (reply, cause) in cases {
        let fault = fault(&Server::saying(reply.clone()));
        assert_eq!(fault.cause, cause, "{reply}: {fault:?}");
    }
}

#[test]
fn an_enormous_reply_is_not_taken_in() {
    let endless = |head: &'static str, more: String| {
        Server::new(move |_, exchange| {
            exchange.raw(head);
            while exchange.raw(&more) {}
        })
    };
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let whole = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let words = event(&piece(json!({ "content": "x".repeat(4096) })));
    for (head, more) in [
        (stream, words),
        (stream, "x".repeat(4096)),
        (stream, ": ping\n".repeat(99)),
        (whole, " ".repeat(4096)),
    ] {
        let fault = fault(&endless(head, more.clone()));
        assert_eq!(fault.cause, Cause::Question, "{fault:?}");
        assert!(fault.problem.what.contains("too large"), "{fault:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let short = Limits { first_token: Some(Duration::from_millis(150)), ..limits() };
    let silent = || Server::new(|_, exchange| exchange.hang());
    let begun = || {
        Server::new(|_, exchange| {
            exchange.stream(&event(&piece(json!({ "content": "B" }))));
            exchange.hang();
        })
    };
    // Signs of life are no words.
    let pinging = Server::new(|_, exchange| {
        exchange.stream("");
        while exchange.raw(": ping\n\n") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for server in [silent(), begun(), pinging] {
        let (_, reply) = ask_with(&server, short);
        let fault = reply.unwrap_err();
        assert_eq!(fault.cause, Cause::Slow, "{fault:?}");
        assert!(fault.problem.what.contains("within 0.15 s"), "{fault:?}");
    }
    let whole = Limits { answer: Duration::from_millis(150), ..limits() };
    for server in [silent(), begun()] {
        let fault = ask_with(&server, whole).1.unwrap_err();
        assert_eq!(fault.cause, Cause::Late, "{fault:?}");
    }
}

#[test]
fn whoever_listens_may_stop_and_a_shut_endpoint_lets_go() {
    let begun = event(&piece(json!({ "content": "B" })));
    let server = Server::new(move |_, exchange| {
        exchange.stream(&begun);
        exchange.hang();
    });
    let endpoint = endpoint_with(&server, limits());
    let fault = endpoint.ask(b"{}", 8, &mut |more| more.is_empty()).unwrap_err();
    assert_eq!(fault.cause, Cause::Stopped);
    let (heard, hears) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn({
        let endpoint = endpoint.clone();
        move || {
            endpoint.ask(b"{}", 8, &mut |more| {
                let _ = heard.send(more.to_owned());
                true
            })
        }
    });
    while hears.recv().unwrap() != "B" {}
    endpoint.shut();
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn a_key_that_the_server_repeats_is_hidden_even_in_pieces() {
    let halves = KEY.split_at(9);
    let server = Server::saying(events(&[
        piece(json!({ "content": "it is " })),
        piece(json!({ "content": halves.0 })),
        piece(json!({ "content": halves.1, "reasoning": KEY })),
        piece(json!({ "content": " sk-hun" })),
        end("stop"),
        json!({ "choices": [], "system_fingerprint": KEY }),
    ]));
    let (heard, reply) = ask(&server);
    let reply = reply.unwrap();
    assert_eq!(reply.text, "it is *** sk-hun");
    assert_eq!(heard.concat(), reply.text);
    assert!(!format!("{reply:?}{heard:?}").contains("hunter2"));
}

#[test]
fn a_server_says_what_it_is() {
    let server = Server::new(|_, exchange| {
        let body = match exchange.path() {
            "/v1/models" => json!({ "data": [
                { "id": "tiny", "owned_by": "vllm", "root": "OpenGVLab/Tiny", "max_model_len": 8192 },
                { "id": "other" },
            ] }),
            "/version" => json!({ "version": "0.11.0" }),
            other => panic!("{other}"),
        };
        exchange.say_with("200 OK", "Server: uvicorn\r\n", &body.to_string());
    });
    let health = endpoint_with(&server, limits()).health().unwrap();
    assert_eq!(health.server.as_deref(), Some("uvicorn"));
    assert_eq!(health.version.as_deref(), Some("0.11.0"));
    let model = health.model("tiny").unwrap();
    assert_eq!((model.context, model.root.as_deref()), (Some(8192), Some("OpenGVLab/Tiny")));
    // A server without a list is there all the same; one that refuses is not.
    let unlisted = Server::new(|_, exchange| exchange.say_with("404 Not Found", "", "{}"));
    let health = endpoint_with(&unlisted, limits()).health().unwrap();
    assert!(health.models.is_empty() && health.problem.unwrap().contains("404"));
    let closed = Server::new(|_, exchange| exchange.say_with("401 No", "", "{}"));
    assert_eq!(endpoint_with(&closed, limits()).health().unwrap_err().cause, Cause::Refused);
}

// ---- runs ----

/// Ready to ask the first questions of the built-in dataset.
fn evaluation(server: &Server, questions: usize, limits: Limits, service: Service) -> ServedEvaluation {
    let dataset = named::open_dataset(None, Default::default(), &mut |_, _| true).unwrap();
    let mut choices = Choices {
        questions: Questions { limit: Some(questions), ..Questions::default() },
        ..Choices::default()
    };
    choices.settings.max_new_tokens = 16;
    let health = Health { models: Vec::new(), server: None, version: None, seconds: 0.0, problem: None };
    let endpoint = endpoint_with(server, limits);
    ServedEvaluation::prepare(endpoint, service, &health, dataset, choices, &mut |_| true).unwrap()
}

struct Ended {
    /// By index.
    answers: BTreeMap<String, Answer>,
    events: Vec<Event>,
    complete: Result<bool, String>,
}

impl Ended {
    fn traffic(&self) -> &Traffic {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::Traffic(traffic) => Some(traffic),
            _ => None,
        });
        last.unwrap()
    }

    fn verdicts(&self, verdict: Verdict) -> usize {
        self.answers.values().filter(|answer| answer.verdict == verdict).count()
    }
}

/// Follows a run to its end; what the session on disk has must be what was said, each question once.
fn follow(run: Run, dir: &Path, mut each: impl FnMut(&Event, &Run)) -> Ended {
    let (mut events, mut said) = (Vec::new(), HashSet::new());
    let mut complete = Err("no word".to_owned());
    for event in run.events.iter() {
        each(&event, &run);
        match &event {
            Event::Answered { answer, .. } => {
                assert!(said.insert(answer.index.clone()), "{} was answered twice", answer.index);
                // On the disk before it counts.
                let journal = std::fs::read_to_string(dir.join("answers.jsonl")).unwrap();
                assert!(journal.contains(&format!("\"index\":\"{}\"", answer.index)));
            }
            Event::Finished { complete: is } => complete = Ok(*is),
            Event::Failed(problem) => complete = Err(problem.to_string()),
            _ => {}
        }
        events.push(event);
    }
    let answers = Record::open(dir).unwrap();
    let answers: BTreeMap<String, Answer> = (0..answers.len())
        .map(|place| answers.answer(place).unwrap())
        .map(|answer| (answer.index.clone(), answer))
        .collect();
    assert!(said.iter().all(|index| answers.contains_key(index)));
    Ended { answers, events, complete }
}

fn run(evaluation: ServedEvaluation, dir: &Path) -> Ended {
    let (order, _) = evaluation.begin(dir, false, false).unwrap();
    follow(served::start(order).unwrap(), dir, |_, _| {})
}

/// The text of a request's question.
fn question(exchange: &Exchange) -> String {
    let body: Value = serde_json::from_str(&exchange.request.body).unwrap();
    let content = &body["messages"].as_array().unwrap().last().unwrap()["content"];
    let parts = content.as_array().cloned().unwrap_or_else(|| vec![json!({ "text": content })]);
    parts.iter().filter_map(|part| part["text"].as_str()).collect()
}

#[test]
fn a_whole_run_is_judged_and_kept() {
    let server = Server::new(|_, exchange| {
        let words = format!("B {}", question(exchange).len());
        exchange.stream_all(&[piece(json!({ "content": words })), end("stop"), usage()]);
    });
    let dir = tempfile::tempdir().unwrap();
    let price = Some(Price { input: 10.0, output: 1000.0 });
    let service = Service { concurrency: 8, price, ..Service::default() };
    let ended = run(evaluation(&server, 60, limits(), service), &dir.path().join("s"));
    assert_eq!(ended.complete, Ok(true));
    assert_eq!((ended.answers.len(), server.requests().len()), (60, 60));
    assert_eq!(ended.verdicts(Verdict::Failed), 0);
    let each = (120.0 * 10.0 + 3.0 * 1000.0) / 1e6;
    for answer in ended.answers.values() {
        // Its own answer, not a neighbour's.
        let asked = answer.prompt.strip_prefix("<image>\n").unwrap().len();
        assert_eq!(answer.response, format!("B {asked}"));
        assert_eq!((answer.prompt_tokens, answer.output_tokens, answer.finish), (120, 3, Finish::Stop));
        assert!((answer.other["served"]["cost"].as_f64().unwrap() - each).abs() < 1e-12);
        assert_eq!(answer.images.len(), 1);
    }
    let traffic = ended.traffic();
    assert_eq!((traffic.answered, traffic.prompt_tokens, traffic.output_tokens), (60, 7200, 180));
    assert!((traffic.cost.unwrap() - 60.0 * each).abs() < 1e-9);
    // What was sent are the dataset's own pictures, and nothing that the manifest does not say.
    let body: Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    let image = body["messages"][0]["content"][0]["image_url"]["url"].as_str().unwrap();
    assert!(image.starts_with("data:image/png;base64,iVBOR"), "{}", &image[..40]);
    assert_eq!(
        (&body["max_tokens"], &body["temperature"], &body["stream"]),
        (&json!(16), &json!(0), &json!(true))
    );
}

#[test]
fn under_every_fault_at_once_nothing_is_lost_or_invented() {
    // Each question meets some faults, then is answered; every seventh is refused for good.
    let seen = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
    let server = Server::new(move |number, exchange| {
        let name = format!("{}{}", question(exchange), exchange.picture());
        let times = {
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            *times
        };
        let fate = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        if fate.is_multiple_of(7) {
            return exchange.say_with("400 Bad Request", "", r#"{"error":{"message":"not this one"}}"#);
        }
        let half = event(&piece(json!({ "content": "half an ans" })));
        match (fate + times as u64) % 9 {
            _ if times > 2 => exchange.stream_all(&[piece(json!({ "content": "whole" })), end("stop")]),
            0 => exchange.say_with("429 Slow down", "Retry-After: 0\r\n", "{}"),
            1 => exchange.say_with("500 Oh", "", "{}"),
            2 => exchange.stream(&half),
            3 => {
                exchange.stream(&half);
                exchange.reset();
            }
            4 => exchange.stream(&format!("{half}data: {{\n\n")),
            5 => exchange.say_with("200 OK", "", "{\"choices\""),
            6 if number.is_multiple_of(2) => exchange.reset(),
            _ => exchange.stream_all(&[piece(json!({ "content": "whole" })), end("stop")]),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let service = Service { concurrency: 6, ..Service::default() };
    let ended = run(evaluation(&server, 120, limits(), service), &dir.path().join("s"));
    assert_eq!(ended.complete, Ok(true), "{:?}", ended.complete);
    assert_eq!(ended.answers.len(), 120);
    for answer in ended.answers.values() {
        match answer.verdict {
            Verdict::Failed => {
                let error = answer.error.as_deref().unwrap();
                assert!(error.contains("not this one") && answer.response.is_empty(), "{error}");
            }
            _ => assert_eq!(answer.response, "whole"),
        }
    }
    assert!(ended.verdicts(Verdict::Failed) > 0 && ended.traffic().retries > 0);
}

#[test]
fn a_stop_breaks_off_and_a_resume_asks_only_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("s");
    // The first twenty are answered, the others hang in the middle of their answers until the server is well again.
    let well = Arc::new(AtomicBool::new(false));
    let server = Server::new({
        let well = well.clone();
        move |number, exchange| match number {
            0..20 => exchange.stream_all(&[piece(json!({ "content": "B" })), end("stop")]),
            _ if well.load(Ordering::Relaxed) => {
                exchange.stream_all(&[piece(json!({ "content": "C" })), end("stop")]);
            }
            _ => {
                exchange.stream(&event(&piece(json!({ "content": "B or" }))));
                exchange.hang();
            }
        }
    });
    let service = Service { concurrency: 4, ..Service::default() };
    let (order, _) = evaluation(&server, 40, limits(), service.clone()).begin(&folder, false, false).unwrap();
    let (mut answered, mut stopped) = (0, None);
    let ended = follow(served::start(order).unwrap(), &folder, |event, run| {
        answered += usize::from(matches!(event, Event::Answered { .. }));
        if answered == 20 && stopped.is_none() {
            stopped = Some(Instant::now());
            run.commands.send(Command::Stop).unwrap();
        }
    });
    assert!(stopped.unwrap().elapsed() < limits().answer, "the stop was not heard");
    assert_eq!((ended.complete.clone(), ended.answers.len()), (Ok(false), 20));
    well.store(true, Ordering::Relaxed);
    let before = server.requests().len();
    let (order, done) = evaluation(&server, 40, limits(), service).begin(&folder, true, false).unwrap();
    assert_eq!((done.len(), order.rows.len()), (20, 20));
    let ended = follow(served::start(order).unwrap(), &folder, |_, _| {});
    assert_eq!((ended.complete.clone(), ended.answers.len()), (Ok(true), 40));
    assert_eq!(server.requests().len(), before + 20);
    assert_eq!(ended.answers.values().filter(|answer| answer.response == "B").count(), 20);
}

#[test]
fn a_session_knows_how_to_go_on() {
    let server = Server::new(|_, exchange| match exchange.path() {
        "/v1/models" => exchange.say_with("200 OK", "", r#"{"data":[{"id":"tiny"}]}"#),
        _ => exchange.stream_all(&[piece(json!({ "content": "B" })), end("stop")]),
    });
    let dir = tempfile::tempdir().unwrap();
    let extra = json!({ "top_k": 4 }).as_object().unwrap().clone();
    let price = Some(Price { input: 1.0, output: 2.5 });
    let images = "jpeg:33".parse().unwrap();
    let service = Service { concurrency: 3, images, image_marks: true, extra, price };
    let begun = evaluation(&server, 12, limits(), service.clone());
    let rows = begun.rows.clone();
    drop(begun.begin(dir.path(), false, false).unwrap());
    let again = ServedEvaluation::of_session(dir.path(), None, &mut |_, _| true).unwrap();
    assert_eq!((again.service.clone(), again.rows.clone()), (service, rows));
    let (order, _) = again.begin(dir.path(), true, false).unwrap();
    assert_eq!(follow(served::start(order).unwrap(), dir.path(), |_, _| {}).answers.len(), 12);
}

#[test]
fn a_question_can_be_left_out() {
    let server = Server::new(|number, exchange| {
        exchange.stream(&event(&piece(json!({ "content": "B" }))));
        while number == 0 && exchange.raw(": ping\n\n") {
            std::thread::sleep(Duration::from_millis(5));
        }
        exchange.raw(&event(&end("stop")));
    });
    let dir = tempfile::tempdir().unwrap();
    let service = Service { concurrency: 2, ..Service::default() };
    let (order, _) = evaluation(&server, 10, limits(), service).begin(dir.path(), false, false).unwrap();
    let (mut open, mut answered) = (HashSet::new(), 0);
    let ended = follow(served::start(order).unwrap(), dir.path(), |event, run| match event {
        Event::Asking { row, .. } => drop(open.insert(*row)),
        Event::Answered { row, .. } => {
            open.remove(row);
            answered += 1;
            if answered == 9 {
                run.commands.send(Command::Skip(*open.iter().next().unwrap())).unwrap();
            }
        }
        _ => {}
    });
    let left = *open.iter().next().unwrap();
    assert!(ended.events.iter().any(|event| matches!(event, Event::Skipped { row } if *row == left)));
    assert_eq!((ended.complete.clone(), ended.answers.len(), open.len()), (Ok(false), 9, 1));
}

/// Against a real server of the built-in model, started as docs/served.md says:
/// `SHARDSCOPE_TEST_ENDPOINT=http://localhost:8000 SHARDSCOPE_TEST_MODEL=$PWD/demo-hf cargo test --test served -- --ignored`
#[test]
#[ignore = "needs a server of the built-in model, see docs/served.md"]
fn a_real_server_is_asked_what_a_local_run_asks() {
    let [url, model] =
        ["SHARDSCOPE_TEST_ENDPOINT", "SHARDSCOPE_TEST_MODEL"].map(|name| std::env::var(name).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let options = ["--endpoint", &url, "--model", &model, "--concurrency", "4"];
    let both: [&[&str]; 2] = [&options, &[]];
    let answers = both.map(|more| {
        let session = if more.is_empty() { "local" } else { "served" };
        let args =
            [&["eval", "--limit", "40", "--max-new-tokens", "32", "--session", session], more].concat();
        let output = program(dir.path(), &args, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let record = Record::open(&dir.path().join(session)).unwrap();
        let answers = record.answers().map(|answer| answer.unwrap());
        answers.map(|it| (it.index.clone(), (it.prompt_tokens, it.output_tokens, it.response))).collect()
    });
    let [served, local]: [BTreeMap<String, (u64, u64, String)>; 2] = answers;
    assert_eq!(served, local);
}

/// Against a real llama.cpp server of the built-in model's decoder, started as docs/served.md says:
/// `SHARDSCOPE_TEST_TEXT_ENDPOINT=http://localhost:8001 cargo test --test served -- --ignored without_eyes`
#[test]
#[ignore = "needs a llama.cpp server of the built-in decoder, see docs/served.md"]
fn a_real_server_without_eyes_answers_text_and_refuses_pictures() {
    let url = std::env::var("SHARDSCOPE_TEST_TEXT_ENDPOINT").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let colours = ["black", "gray", "blue", "teal", "red"];
    let shapes = ["circle", "rectangle", "triangle"];
    let rows = (0..60).map(|index: usize| {
        let (colour, shape) = (colours[index % 5], shapes[index % 3]);
        let question = match index % 4 {
            0 => json!({ "question": format!("What is the {colour} shape?"), "options": shapes }),
            1 => json!({ "question": format!("What color is the {shape}?"), "options": colours }),
            2 => json!({ "question": format!("Is there a {colour} {shape} in the image?"), "answer": "yes" }),
            _ => json!({ "question": format!("Does the image contain a {shape}?"), "answer": "no" }),
        };
        let answer = if index % 4 < 2 { json!("A") } else { question["answer"].clone() };
        json!({ "index": index.to_string(), "question": question["question"], "options": question["options"], "answer": answer })
    });
    let text: String = rows.map(|row| format!("{row}\n").replace("\"options\":null,", "")).collect();
    std::fs::write(dir.path().join("text.jsonl"), text).unwrap();
    let answers = [&["--endpoint", &url, "--concurrency", "4"][..], &[]].map(|more| {
        let session = if more.is_empty() { "local" } else { "served" };
        let args = ["eval", "--dataset", "text.jsonl", "--max-new-tokens", "32", "--session", session];
        let output = program(dir.path(), &[&args, more].concat(), &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let record = Record::open(&dir.path().join(session)).unwrap();
        let answers = record.answers().map(|answer| answer.unwrap());
        answers.map(|it| (it.index.clone(), (it.prompt_tokens, it.output_tokens, it.response))).collect()
    });
    let [served, local]: [BTreeMap<String, (u64, u64, String)>; 2] = answers;
    assert_eq!(served.len(), 60);
    assert_eq!(served, local);
    // The built-in questions have pictures, of which this server wants to hear nothing: none is asked twice.
    let args = ["eval", "--endpoint", &url, "--limit", "6", "--session", "seen"];
    let output = program(dir.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(1));
    let lines = std::fs::read_to_string(dir.path().join("seen/answers.jsonl")).unwrap();
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!((&line["verdict"], &line["served"]["tries"]), (&json!("failed"), &json!(1)), "{line}");
        assert!(line["error"].as_str().unwrap().contains("image input is not supported"), "{line}");
    }
    assert_eq!(lines.lines().count(), 6);
}

#[test]
fn a_pause_lets_nothing_new_out() {
    let server = Server::new(|_, exchange| {
        std::thread::sleep(Duration::from_millis(5));
        exchange.stream_all(&[piece(json!({ "content": "B" })), end("stop")]);
    });
    let dir = tempfile::tempdir().unwrap();
    let service = Service { concurrency: 4, ..Service::default() };
    let (order, _) =
        evaluation(&server, 60, limits(), service).begin(&dir.path().join("s"), false, false).unwrap();
    let (mut answered, mut asked_at_rest) = (0, None);
    let ended = follow(served::start(order).unwrap(), &dir.path().join("s"), |event, run| match event {
        Event::Answered { .. } => {
            answered += 1;
            if answered == 10 {
                run.commands.send(Command::Pause).unwrap();
            }
        }
        // Those in flight are answered; then the server hears nothing more.
        Event::Traffic(traffic) if traffic.in_flight == 0 && (10..60).contains(&answered) => {
            match asked_at_rest {
                None => asked_at_rest = Some(server.requests().len()),
                Some(asked) => {
                    assert_eq!(server.requests().len(), asked);
                    run.commands.send(Command::Resume).unwrap();
                }
            }
        }
        _ => {}
    });
    assert!(asked_at_rest.is_some_and(|asked| asked < 60));
    assert!(ended.events.iter().any(|event| matches!(event, Event::Paused)));
    assert_eq!((ended.complete.clone(), ended.answers.len(), server.requests().len()), (Ok(true), 60, 60));
}

#[test]
fn a_server_that_dies_ends_the_run_and_no_question_counts_as_failed() {
    let server = Server::new(|number, exchange| match number {
        0..10 => exchange.stream_all(&[piece(json!({ "content": "B" })), end("stop")]),
        _ => exchange.say_with("500 Dead", "", r#"{"error":"the GPU fell off the bus"}"#),
    });
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("s");
    let service = Service { concurrency: 2, ..Service::default() };
    let ended = run(evaluation(&server, 60, limits(), service.clone()), &folder);
    let problem = ended.complete.clone().unwrap_err();
    assert!(problem.contains("fell off the bus") && problem.contains("--resume"), "{problem}");
    assert_eq!((ended.answers.len(), ended.verdicts(Verdict::Failed)), (10, 0));
    // Nobody there at all, and a server that refuses everything: likewise, and nothing is written.
    let closed = Server::new(|_, exchange| exchange.say_with("403 No", "", r#"{"error":"no more credit"}"#));
    for server in [Server::nobody(), closed] {
        let folder = dir.path().join(server.address.rsplit(':').next().unwrap());
        let ended = run(evaluation(&server, 30, limits(), service.clone()), &folder);
        assert!(ended.complete.is_err() && ended.answers.is_empty());
    }
}

#[test]
fn what_fails_for_good_is_failed_and_can_be_asked_again() {
    let refuse = |exchange: &mut Exchange| {
        exchange.say_with("400 Bad Request", "", r#"{"error":{"message":"too many tokens"}}"#);
    };
    let server = Server::new(move |number, exchange| match number {
        3 | 5 => refuse(exchange),
        0..20 => exchange.stream_all(&[piece(json!({ "content": "B" })), end("stop")]),
        _ => exchange.stream_all(&[piece(json!({ "content": "C" })), end("stop")]),
    });
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("s");
    let service = Service { concurrency: 2, ..Service::default() };
    let ended = run(evaluation(&server, 20, limits(), service.clone()), &folder);
    assert_eq!((ended.complete.clone(), ended.verdicts(Verdict::Failed)), (Ok(true), 2));
    for retry in [false, true] {
        let (order, done) =
            evaluation(&server, 20, limits(), service.clone()).begin(&folder, true, retry).unwrap();
        assert_eq!((done.len(), order.rows.len()), if retry { (18, 2) } else { (20, 0) });
        drop(done);
        let ended = follow(served::start(order).unwrap(), &folder, |_, _| {});
        assert_eq!((ended.complete.clone(), ended.answers.len()), (Ok(true), 20));
        assert_eq!(ended.verdicts(Verdict::Failed), if retry { 0 } else { 2 });
    }
    assert_eq!(server.requests().len(), 22);
}

// ---- the program ----

/// The program in a folder of its own, with nothing of a key in its environment but what is said.
fn program(dir: &Path, args: &[&str], keys: &[(&str, &str)]) -> Output {
    let mut program = Program::new(env!("CARGO_BIN_EXE_shardscope"));
    program.current_dir(dir).args(args).env("HOME", dir).env("LMUData", dir).env("HF_HUB_CACHE", dir);
    for name in ["SHARDSCOPE_API_KEY", "OPENAI_API_KEY", "SHARDSCOPE_JUDGE_KEY"] {
        program.env_remove(name);
    }
    program.envs(keys.iter().copied()).output().unwrap()
}

/// Everything that the program wrote, in files and to its streams.
fn written(dir: &Path, output: &Output) -> String {
    let mut text: String =
        [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned()).concat();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            text.push_str(&path.to_string_lossy());
            match path.is_dir() {
                true => folders.push(path),
                false => text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap())),
            }
        }
    }
    text
}

/// A server that repeats the key wherever it can.
fn chatty() -> Server {
    Server::new(|number, exchange| match (exchange.path(), number % 3) {
        ("/v1/models", _) => {
            let list = json!({ "data": [{ "id": "tiny", "owned_by": KEY, "root": KEY }] });
            exchange.say_with("200 OK", &format!("Server: {KEY}\r\n"), &list.to_string());
        }
        (_, 1) => exchange.say_with("400 Bad Request", "", &json!({ "error": KEY }).to_string()),
        _ => exchange.stream_all(&[
            json!({ "model": KEY, "system_fingerprint": KEY, "choices": [] }),
            piece(json!({ "content": format!("The key is {KEY}"), "reasoning_content": KEY })),
            end(KEY),
        ]),
    })
}

#[test]
fn the_key_is_in_no_file_however_it_is_given() {
    let server = chatty();
    let url = server.address.as_str();
    let base = ["eval", "--endpoint", url, "--limit", "9", "--session", "s", "--json", "--concurrency", "2"];
    /// Arguments, and variables of the environment.
    type Way<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let ways: [Way<'_>; 4] = [
        (&[], &[("SHARDSCOPE_API_KEY", KEY)]),
        (&["--model", "tiny", "--price-in", "1", "--price-out", "2"], &[("OPENAI_API_KEY", KEY)]),
        (&["--key-header", "api-key", "--header", "X-Team: vision"], &[("SHARDSCOPE_API_KEY", KEY)]),
        (&["--header", &format!("X-Other: {KEY}")], &[("SHARDSCOPE_API_KEY", KEY)]),
    ];
    for (more, keys) in ways {
        let dir = tempfile::tempdir().unwrap();
        let output = program(dir.path(), &[&base[..], more].concat(), keys);
        let text = written(dir.path(), &output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("The key is ***") && !text.contains("hunter2"), "{more:?}: {text}");
        let head = server.requests().last().unwrap().head.to_ascii_lowercase();
        let sent = if more.contains(&"api-key") { "api-key: " } else { "authorization: bearer " };
        assert!(head.contains(&format!("{sent}{KEY}")), "{head}");
        for format in ["csv", "jsonl", "html", "vlmevalkit-tsv", "lmms-eval"] {
            let export = program(dir.path(), &["sessions", "export", "s", "--format", format], keys);
            assert!(export.status.success(), "{}", written(dir.path(), &export));
        }
        assert!(!written(dir.path(), &output).contains("hunter2"));
    }
}

/// On a terminal of its own: what is typed there is sent, and is neither shown nor kept.
#[test]
#[cfg(unix)]
fn a_key_is_asked_for_on_the_terminal() {
    let server = chatty();
    let url = server.address.clone();
    let dir = tempfile::tempdir().unwrap();
    let ask = |typed: &str, session: &str| {
        let mut command = Program::new(env!("CARGO_BIN_EXE_shardscope"));
        command.current_dir(dir.path()).env("HOME", dir.path()).env_remove("SHARDSCOPE_API_KEY");
        command.args([
            "eval",
            "--endpoint",
            &url,
            "--model",
            "tiny",
            "--limit",
            "3",
            "--ask-key",
            "--session",
            session,
        ]);
        let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
        terminal.exp_string("key: ").unwrap();
        terminal.send_line(typed).unwrap();
        let shown = terminal.exp_eof().unwrap();
        let status = format!("{:?}", terminal.process().wait().unwrap());
        (shown, status)
    };
    let (shown, status) = ask(KEY, "asked");
    assert!(!shown.contains("hunter2") && shown.contains("done in"), "{shown}");
    assert!(status.starts_with("Exited(") && status.ends_with(", 0)"), "{status}");
    let head = server.requests().last().unwrap().head.to_ascii_lowercase();
    assert!(head.contains(&format!("authorization: bearer {KEY}")), "{head}");
    let nothing = Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() };
    assert!(!written(dir.path(), &nothing).contains("hunter2"));
    // What is no key is refused before anything is sent, and not repeated.
    let asked = server.requests().len();
    let (shown, status) = ask("sk-hunter2 with a space", "refused");
    assert!(shown.contains("cannot be sent") && !shown.contains("hunter2"), "{shown}");
    assert!(status.starts_with("Exited(") && status.ends_with(", 3)"), "{status}");
    assert_eq!(server.requests().len(), asked);
}

/// Where no key store can be reached, that is said at once, with what to do instead.
#[test]
#[cfg(target_os = "linux")]
fn without_a_key_store_a_sentence_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = [("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus"), ("XDG_RUNTIME_DIR", "/nowhere")];
    for args in [
        &["key", "check"][..],
        &["key", "set", "work"],
        &["key", "delete", "work"],
        &["eval", "--endpoint", "http://127.0.0.1:1", "--model", "x", "--stored-key", "work"],
        &[
            "eval",
            "--limit",
            "1",
            "--judge",
            "http://127.0.0.1:1",
            "--judge-model",
            "x",
            "--judge-stored-key",
            "work",
        ],
    ] {
        let output = program(dir.path(), args, &nowhere);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("no key store") && said.contains("--ask-key"), "{args:?}: {said}");
    }
    // Without a terminal nobody can be asked.
    let output =
        program(dir.path(), &["eval", "--endpoint", "http://127.0.0.1:1", "--model", "x", "--ask-key"], &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no terminal"));
}

#[test]
fn a_key_in_the_wrong_place_is_refused_and_written_nowhere() {
    let server = chatty();
    let url = server.address.as_str();
    let named = url.replace("http://", &format!("http://me:{KEY}@"));
    let query = format!("{url}/v1?key={KEY}");
    let path = format!("{url}/{KEY}");
    let body = json!({ "note": KEY }).to_string();
    let secret = json!({ "api_key": KEY }).to_string();
    let header = format!("Authorization: Bearer {KEY}");
    let broken = format!("{{\"a\": {KEY}");
    let ways: [&[&str]; 8] = [
        &["--endpoint", &named],
        &["--endpoint", &query],
        &["--endpoint", &path, "--model", "tiny"],
        &["--endpoint", url, "--extra-body", &body],
        &["--endpoint", url, "--extra-body", &secret],
        &["--endpoint", url, "--extra-body", &broken],
        &["--endpoint", url, "--header", &header],
        &["--endpoint", url, "--system", KEY],
    ];
    for more in ways {
        let dir = tempfile::tempdir().unwrap();
        let output = program(
            dir.path(),
            &[&["eval", "--limit", "2", "--session", "s"], more].concat(),
            &[("SHARDSCOPE_API_KEY", KEY)],
        );
        let text = written(dir.path(), &output);
        assert_eq!(output.status.code(), Some(3), "{more:?}: {text}");
        assert!(!text.contains("hunter2") && !dir.path().join("s").exists(), "{more:?}: {text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let output = program(dir.path(), &["eval", "--endpoint", "http://example.org", "--model", "x"], &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(written(dir.path(), &output).contains("--allow-http"));
}

#[test]
fn the_manifest_says_who_answered_and_how_it_was_asked() {
    let server = Server::new(|_, exchange| match exchange.path() {
        "/v1/models" => {
            let list = json!({ "data": [{ "id": "tiny", "owned_by": "vllm", "max_model_len": 4096 }] });
            exchange.say_with("200 OK", "Server: uvicorn\r\n", &list.to_string());
        }
        "/version" => exchange.say_with("200 OK", "", r#"{"version":"0.11.0"}"#),
        _ => exchange.stream_all(&[piece(json!({ "content": "B" })), end("length"), usage()]),
    });
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "eval",
        "--endpoint",
        &server.address,
        "--limit",
        "3",
        "--session",
        "s",
        "--json",
        "--image-format",
        "jpeg:80",
        "--extra-body",
        r#"{"top_k": 5}"#,
        "--price-in",
        "1",
        "--price-out",
        "2",
        "--temperature",
        "0.5",
    ];
    let output = program(dir.path(), &args, &[]);
    assert!(output.status.success(), "{}", written(dir.path(), &output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["questions"], &result["served"]["answered"]), (&json!(3), &json!(3)));
    assert!((result["served"]["cost"].as_f64().unwrap() - 3.0 * 126e-6).abs() < 1e-12);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("s/manifest.json")).unwrap()).unwrap();
    let (checkpoint, settings) = (&manifest["checkpoint"], &manifest["settings"]);
    assert_eq!((&checkpoint["name"], &checkpoint["format"]), (&json!("tiny"), &json!("endpoint")));
    assert_eq!(checkpoint["endpoint"]["version"], "0.11.0");
    assert_eq!(checkpoint["endpoint"]["listed"]["context"], 4096);
    assert_eq!(checkpoint["endpoint"]["price_per_million"], json!({ "input": 1.0, "output": 2.0 }));
    assert_eq!(settings["served"]["preprocessing"], "on the server");
    assert_eq!(
        (&settings["served"]["images"], &settings["served"]["extra_body"]),
        (&json!("jpeg:80"), &json!({ "top_k": 5 }))
    );
    let asked: Value = serde_json::from_str(&server.requests().last().unwrap().body).unwrap();
    assert_eq!((&asked["top_k"], &asked["temperature"]), (&json!(5), &json!(0.5)));
    assert!(
        asked["messages"][0]["content"][0]["image_url"]["url"]
            .as_str()
            .unwrap()
            .starts_with("data:image/jpeg;")
    );
    let answers = std::fs::read_to_string(dir.path().join("s/answers.jsonl")).unwrap();
    assert!(answers.lines().all(|line| line.contains(r#""finish":"length""#)), "{answers}");
    // Another way of asking is another session.
    let output = program(
        dir.path(),
        &["eval", "--endpoint", &server.address, "--limit", "3", "--session", "s", "--resume"],
        &[],
    );
    assert_eq!(output.status.code(), Some(3));
}
