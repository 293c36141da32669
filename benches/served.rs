//! What asking a served model costs on this side: ten thousand questions with a picture each, sixty-four in flight, against a
//! server in another process that answers at once. Tells this process's CPU time a question and its memory at the peak
//! (Linux alone says them).
//!
//! `cargo bench --bench served [-- QUESTIONS IN_FLIGHT]`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A bench that cannot go on ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use shardscope::dataset::Dataset;
use shardscope::endpoint::{Address, Endpoint, Health, Limits};
use shardscope::engine::Event;
use shardscope::engine::served::{self, Service};
use shardscope::evaluation::Choices;
use shardscope::evaluation::served::ServedEvaluation;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "serve") {
        return serve();
    }
    let number = |place: usize, otherwise| args.get(place).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (questions, in_flight) = (number(0, 10_000), number(1, 64));
    let mut server =
        Command::new(std::env::current_exe().unwrap()).arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("questions.tsv");
    std::fs::write(&file, tsv(questions)).unwrap();
    let dataset = Arc::new(Dataset::open(&file).unwrap());
    let address = Address::new(address.trim(), false).unwrap();
    let endpoint = Endpoint::new(address, "fast", None, Limits::default());
    let health = Health { models: Vec::new(), server: None, version: None, seconds: 0.0, problem: None };
    let service = Service { concurrency: in_flight, ..Service::default() };
    let evaluation =
        ServedEvaluation::prepare(endpoint, service, &health, dataset, Choices::default(), &mut |_| true)
            .unwrap();
    let (order, _) = evaluation.begin(&dir.path().join("session"), false, false).unwrap();

    let (cpu, start) = (cpu_seconds(), Instant::now());
    let run = served::start(order).unwrap();
    let mut answered = 0;
    for event in &run.events {
        match event {
            Event::Answered { answer, .. } => {
                assert_eq!(answer.response, "B");
                answered += 1;
            }
            Event::Failed(problem) => println!("{problem}"),
            _ => {}
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{answered} of {questions} answered, {in_flight} in flight, in {seconds:.1} s");
    if let (Some(before), Some(after)) = (cpu, cpu_seconds()) {
        let each = 1e3 * (after - before) / f64::from(answered.max(1));
        println!("CPU time of this process: {each:.3} ms a question");
    }
    if let Some(peak) = peak_memory() {
        println!("memory at the peak: {peak} MiB");
    }
    let _ = server.kill();
    let _ = server.wait();
}

/// Questions with sixty-four pictures of about 40 kB among them.
fn tsv(questions: usize) -> String {
    let mut text = String::from("index\timage\tquestion\tA\tB\tanswer\n");
    let mut state = 1u64;
    for index in 0..questions {
        let image = match index {
            0..64 => {
                let picture = image::RgbImage::from_fn(140, 100, |_, _| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    image::Rgb([(state >> 40) as u8, (state >> 48) as u8, (state >> 56) as u8])
                });
                let mut png = std::io::Cursor::new(Vec::new());
                picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
                base64::engine::general_purpose::STANDARD.encode(png.into_inner())
            }
            // The picture of another row.
            _ => (index % 64).to_string(),
        };
        text.push_str(&format!(
            "{index}\t{image}\tWhich of the two is it in picture {index}?\tone\tother\tB\n"
        ));
    }
    text
}

/// Answers every request at once, in three events.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        std::thread::spawn(move || answer(stream.unwrap()));
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let piece = r#"{"choices":[{"index":0,"delta":{"content":"B"},"finish_reason":null}]}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1800,"completion_tokens":2}}"#;
    let body = format!("data: {piece}\n\ndata: {end}\n\ndata: [DONE]\n\n");
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().ok()?);
    let mut sink = Vec::new();
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        sink.resize(length, 0);
        reader.read_exact(&mut sink).ok()?;
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

/// User and system time of this process: the 14th and 15th field of `/proc/self/stat`, in hundredths.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Most memory that was resident, in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}
