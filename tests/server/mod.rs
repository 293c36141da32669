//! A server that does with each request whatever the test says, many at once, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its first line and headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// A request and the way back.
pub struct Exchange {
    /// What was asked.
    pub request: Request,
    stream: TcpStream,
}

/// The server; it ends with the test's process.
pub struct Server {
    /// Where it is.
    pub address: String,
    kept: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server; `serve` is given the number of each request.
    pub fn new(serve: impl Fn(usize, &mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (requests, serve) = (kept.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, serve) = (requests.clone(), serve.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let Some(request) = read(&stream) else { return };
                    let number = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request.clone());
                        requests.len() - 1
                    };
                    serve(number, &mut Exchange { request, stream });
                });
            }
        });
        Self { address, kept }
    }

    /// A server that says these bytes to each request.
    pub fn saying(reply: String) -> Self {
        Self::new(move |_, exchange| {
            exchange.raw(&reply);
        })
    }

    /// An address where nobody is.
    pub fn nobody() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { address: format!("http://127.0.0.1:{port}"), kept: Arc::default() }
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.kept.lock().unwrap().clone()
    }
}

impl Exchange {
    /// The path that was asked for.
    pub fn path(&self) -> &str {
        self.request.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The end of the first picture of the request, which tells it from others.
    pub fn picture(&self) -> String {
        let body: Value = serde_json::from_str(&self.request.body).unwrap();
        let url =
            body["messages"][0]["content"][0]["image_url"]["url"].as_str().unwrap_or_default().to_owned();
        url[url.len().saturating_sub(600)..].to_owned()
    }

    /// Says bytes; `false` where the client has hung up.
    pub fn raw(&mut self, bytes: &str) -> bool {
        self.stream.write_all(bytes.as_bytes()).is_ok()
    }

    /// A whole reply.
    pub fn say_with(&mut self, status: &str, headers: &str, body: &str) {
        self.raw(&http(status, headers, body));
    }

    /// The head of a stream and these events; the stream stays open until the exchange is dropped.
    pub fn stream(&mut self, events: &str) {
        self.raw(&sse(events));
    }

    /// A whole stream.
    pub fn stream_all(&mut self, values: &[Value]) {
        self.raw(&events(values));
    }

    /// Says nothing more until the client hangs up.
    pub fn hang(&mut self) {
        let _ = self.stream.set_read_timeout(Some(Duration::from_secs(600)));
        let _ = self.stream.read(&mut [0]);
    }

    /// Closes at once, with a reset where the system allows it: what the client sent last was not read.
    pub fn reset(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).unwrap() })
}

/// A reply.
pub fn http(status: &str, headers: &str, body: &str) -> String {
    let mime = match headers.contains("Content-Type") {
        true => "",
        false => "Content-Type: application/json\r\n",
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}{mime}\r\n{body}")
}

/// A reply of JSON.
pub fn json(value: &Value) -> String {
    http("200 OK", "", &value.to_string())
}

/// The head of a stream, and what follows.
pub fn sse(events: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n{events}"
    )
}

/// One event of a stream.
pub fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A whole stream.
pub fn events(values: &[Value]) -> String {
    let events: String = values.iter().map(event).collect();
    sse(&format!("{events}data: [DONE]\n\n"))
}

/// A completion in one piece.
pub fn completion(text: &str) -> Value {
    json!({
        "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 120, "completion_tokens": 3 },
    })
}
