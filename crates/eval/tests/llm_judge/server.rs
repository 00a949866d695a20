//! A chat-completions endpoint on this machine that does what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What is sent back.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status, further header lines, and a body.
    Http(u16, &'static str, String),
    /// The head of an answer of so many bytes, less of a body, and the connection's end.
    CutOff(u64, String),
    /// A body without a stated length that never ends.
    Endless,
    /// The same later.
    Late(Duration, Box<Answer>),
}

impl Answer {
    /// A completion with this text, of 1000 tokens in and 10 out.
    pub(crate) fn says(text: &str) -> Self {
        let body = json!({
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
        });
        Self::Http(200, "", body.to_string())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Http(status, "", String::new())
    }

    pub(crate) fn error(status: u16, message: &str, code: &str) -> Self {
        Self::Http(status, "", json!({"error": {"message": message, "code": code}}).to_string())
    }
}

/// A request as it came.
pub(crate) struct Request {
    /// How many came before.
    pub(crate) nth: usize,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

impl Request {
    /// The text of the one turn.
    pub(crate) fn text(&self) -> &str {
        let parts = self.body["messages"][0]["content"].as_array().unwrap();
        parts.iter().find(|part| part["type"] == "text").unwrap()["text"].as_str().unwrap()
    }
}

type Behave = dyn Fn(&Request) -> Answer + Send + Sync;

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Arc<Request>>>,
    now: AtomicUsize,
    most: AtomicUsize,
    done: AtomicBool,
}

/// Listens until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub(crate) fn start(behave: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (shared, behave) = (state.clone(), Arc::new(behave));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.done.load(Ordering::SeqCst) {
                    break;
                }
                let (state, behave) = (shared.clone(), behave.clone());
                thread::spawn(move || serve(stream.unwrap(), &state, &*behave));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Arc<Request>> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The most requests that were open at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.done.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads one request and answers it; each has a connection of its own.
fn serve(stream: TcpStream, state: &State, behave: &Behave) {
    let mut reader = BufReader::new(&stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = {
        let mut requests = state.requests.lock().unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        let request = Arc::new(Request { nth: requests.len(), head, body, at: Instant::now() });
        requests.push(request.clone());
        request
    };
    let now = state.now.fetch_add(1, Ordering::SeqCst) + 1;
    state.most.fetch_max(now, Ordering::SeqCst);
    let answer = behave(&request);
    state.now.fetch_sub(1, Ordering::SeqCst);
    // A client that has enough hangs up; that is its right.
    let _ = send(&stream, answer);
}

fn send(mut stream: &TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Http(status, headers, body) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(body.as_bytes())
        }
        Answer::CutOff(length, body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(head.as_bytes())
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 1 << 16])?;
            }
        }
        Answer::Late(time, answer) => {
            thread::sleep(time);
            send(stream, *answer)
        }
    }
}
