//! HTTP, as little as it takes to talk to Connect.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take: a worker asks the other one first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What came back: the status, and the body, which is null when there is none.
pub type Answer = (u16, Value);

/// Asks; an error where nobody answers, or not as HTTP does.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    ask(port, "GET", path, "")
}

/// Gives something new.
pub fn post(port: u16, path: &str, body: &Value) -> io::Result<Answer> {
    ask(port, "POST", path, &body.to_string())
}

fn ask(port: u16, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("localhost", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Of HTTP 1.0 the end of an answer is the end of its connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, serde_json::from_str(body).unwrap_or_default()))
}
