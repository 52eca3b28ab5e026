//! A store that speaks S3, in memory: moto of PyPI.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{self, Process};

/// The key that everybody comes with.
pub const KEY: &str = "key";
pub const SECRET: &str = "secret";

/// A store with one bucket, `lake`.
pub struct ObjectStore {
    _process: Process,
    pub address: String,
}

impl ObjectStore {
    /// `guarded`: once the bucket is made nobody comes in but with a key that the store has given,
    /// and it gives none.
    pub fn start(guarded: bool) -> ObjectStore {
        let address = support::free_address();
        let port = address.rsplit(':').next().unwrap();
        let mut command = Command::new(support::python_program());
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", port]);
        if guarded {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1");
        }
        let store = ObjectStore { _process: Process::spawn(&mut command), address };
        support::wait_for("the store", || TcpStream::connect(&store.address).ok());
        assert!(store.ask("PUT", "/lake").starts_with("HTTP/1.1 200"));
        store
    }

    /// The answer to a request without a body.
    pub fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n").unwrap();
        write!(stream, "Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As the reader of PyPI wants them.
    pub fn options(&self) -> Value {
        json!({
            "aws_endpoint_url": self.endpoint(), "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET, "aws_region": "us-east-1", "aws_allow_http": "true",
            "aws_conditional_put": "etag",
        })
    }
}

/// What a command must know of a store behind this address, in its environment.
pub fn told(command: &mut Command, endpoint: &str) {
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
}
