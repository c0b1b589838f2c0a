//! Where the operator calls: an endpoint of an action, a webhook, a chat.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What calls are signed with.
pub const SECRET: &[u8] = b"a secret of the tests, long enough";

/// A call that has come in.
#[derive(Clone, Debug)]
pub struct Call {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// An endpoint. What it answers is in the path: `/flaky` 500 twice for each id, then 200; `/bad` 400; `/hang` nothing;
/// `/away` a redirect; `/slow-once` nothing at the first call of each id, then 200.
pub struct Endpoint {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Endpoint {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = calls.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || answer(&stream, &seen));
            }
        });
        Self { address, calls }
    }

    /// The calls of a path so far.
    pub fn calls(&self, path: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.line.contains(&format!(" /hooks{path} "))).cloned().collect()
    }
}

fn answer(mut stream: &TcpStream, seen: &Mutex<Vec<Call>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let line = lines.first()?.clone();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let call = Call { line: line.clone(), headers, body: String::from_utf8_lossy(&body).into_owned() };
    let id = call.headers.get("webhook-id").cloned();
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(call);
        seen.iter().filter(|other| other.line == line && other.headers.get("webhook-id") == id.as_ref()).count()
    };
    let (status, extra) = match line.split(' ').nth(1)? {
        path if path.starts_with("/hooks/flaky") && before <= 2 => ("500 Internal Server Error", ""),
        path if path.starts_with("/hooks/bad") => ("400 Bad Request", ""),
        path if path.starts_with("/hooks/away") => ("302 Found", "location: /hooks/arrived\r\n"),
        path if path.starts_with("/hooks/hang") || path.starts_with("/hooks/slow-once") && before == 1 => {
            std::thread::sleep(Duration::from_mins(2));
            return None;
        }
        _ => ("200 OK", ""),
    };
    let answer = format!("HTTP/1.1 {status}\r\n{extra}content-length: 9\r\nconnection: close\r\n\r\nsays\nthis");
    stream.write_all(answer.as_bytes()).ok()
}
