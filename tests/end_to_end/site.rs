//! Just enough of HTTP/1.1 to ask the page and its API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::DEADLINE;

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Where the page of a process is, and how to come there.
#[derive(Clone)]
pub struct Site {
    pub address: String,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

impl Site {
    pub fn new(address: &str) -> Site {
        Site { address: address.to_string(), headers: Vec::new() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None)
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path, &[("content-type", "application/json")], Some(&body.to_string()))
    }

    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut reader = self.open(method, path, headers, body);
        let (status, headers) = head(&mut reader);
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = chunk(&mut reader) {
                answer.body.extend(chunk);
            }
        } else {
            reader.read_to_end(&mut answer.body).expect("the answer comes whole");
        }
        answer
    }

    /// The first event of that name on a stream of events.
    pub fn event(&self, path: &str, name: &str) -> Value {
        let mut reader = self.open("GET", path, &[], None);
        let (status, _) = head(&mut reader);
        assert_eq!(status, 200, "{path}");
        let mut text = String::new();
        while let Some(chunk) = chunk(&mut reader) {
            text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
            for event in text.split("\n\n") {
                let mut lines = event.lines();
                if lines.next() == Some(&format!("event: {name}"))
                    && let Some(data) = lines.next().and_then(|line| line.strip_prefix("data: "))
                    && let Ok(data) = serde_json::from_str(data)
                {
                    return data;
                }
            }
        }
        panic!("{path} ended without an event {name}: {text}");
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("the page listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket has a time-out");
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = headers.iter().copied().chain(own).collect();
        let host = headers.iter().find(|(name, _)| *name == "host");
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if host.is_none() {
            text += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let body = body.unwrap_or_default();
        text += &format!("content-length: {}\r\n\r\n", body.len());
        stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .expect("sent");
        BufReader::new(stream)
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let first = line(reader);
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut headers = Vec::new();
    loop {
        let line = line(reader);
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    (status.unwrap_or_else(|| panic!("no status: {first}")), headers)
}

fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(&line(reader), 16).ok()?;
    let mut bytes = vec![0; size];
    reader.read_exact(&mut bytes).expect("a chunk comes whole");
    line(reader);
    (size > 0).then_some(bytes)
}

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the server answers");
    line.trim_end().to_string()
}

/// As HTTP Basic writes a key and its secret.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            out.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    out
}
