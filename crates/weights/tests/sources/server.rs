//! A hub on this machine: answers from memory, records what it was asked, misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What to answer for one path.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200, or 206 for a range.
    Body(Vec<u8>),
    /// 200 always, whatever range is asked for.
    NoRanges(Vec<u8>),
    /// Announces all of it, closes the connection after so many bytes: once, or every time.
    CutAfter(usize, Vec<u8>, Times),
    /// Sends this many bytes, then nothing, with the connection open.
    StallAfter(usize, Vec<u8>),
    /// 302 to this address.
    Redirect(String),
    /// A status without content.
    Status(u16),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Times {
    Once,
    Always,
}

/// One request, as far as the tests look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Server {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    address: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, ..Self::default() };
        let shared = server.clone();
        // The thread ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn set(&self, path: impl Into<String>, answer: Answer) {
        self.answers.lock().unwrap().insert(path.into(), answer);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Publishes a repository `org/model` at commit `c0ffee` as branch `main`.
    pub(crate) fn publish(&self, files: &[(&str, &[u8])]) {
        let siblings: Vec<_> = files
            .iter()
            .map(|(name, content)| {
                serde_json::json!({
                    "rfilename": name,
                    "size": content.len(),
                    "lfs": { "sha256": sha256(content), "size": content.len() },
                })
            })
            .collect();
        let listing = serde_json::json!({ "sha": "c0ffee", "siblings": siblings }).to_string();
        for revision in ["main", "c0ffee"] {
            let path = format!("/api/models/org/model/revision/{revision}?blobs=true");
            self.set(path, Answer::Body(listing.clone().into_bytes()));
        }
        for (name, content) in files {
            self.set(resolve(name), Answer::Body(content.to_vec()));
        }
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut request = Request { path: line.split(' ').nth(1)?.to_string(), ..Request::default() };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((key, value)) = line.trim_end().split_once(": ") else { break };
            match key.to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value.to_string()),
                "authorization" => request.authorization = Some(value.to_string()),
                _ => {}
            }
        }
        self.requests.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().get(&request.path).cloned();
        self.answer(stream, &request, answer.unwrap_or(Answer::Status(404)))
    }

    fn answer(&self, mut stream: TcpStream, request: &Request, answer: Answer) -> Option<()> {
        let from =
            request.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let mut send = |from: Option<usize>, body: &[u8], up_to: usize| {
            let start = from.unwrap_or(0);
            let mut head = match from {
                Some(start) if start >= body.len() => "HTTP/1.1 416 x\r\n".to_string(),
                Some(start) => {
                    let (last, all) = (body.len() - 1, body.len());
                    format!("HTTP/1.1 206 x\r\nContent-Range: bytes {start}-{last}/{all}\r\n")
                }
                None => "HTTP/1.1 200 OK\r\n".to_string(),
            };
            let rest = body.get(start..).unwrap_or_default();
            head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&rest[..rest.len().min(up_to)]).ok()?;
            stream.flush().ok()
        };
        match answer {
            Answer::Body(body) => send(from, &body, usize::MAX),
            Answer::NoRanges(body) => send(None, &body, usize::MAX),
            Answer::CutAfter(length, body, times) => {
                if times == Times::Once {
                    self.set(request.path.clone(), Answer::Body(body.clone()));
                }
                send(from, &body, length)
            }
            Answer::StallAfter(length, body) => {
                send(from, &body, length)?;
                loop {
                    thread::park();
                }
            }
            Answer::Redirect(to) => {
                let head =
                    format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).ok()
            }
            Answer::Status(status) => {
                let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).ok()
            }
        }
    }
}

/// Where the hub serves a file of the published repository.
pub(crate) fn resolve(name: &str) -> String {
    format!("/org/model/resolve/c0ffee/{name}")
}

pub(crate) fn sha256(content: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("content");
    std::fs::write(&path, content).unwrap();
    safevlm_weights::sha256_file(&path).unwrap().0
}
