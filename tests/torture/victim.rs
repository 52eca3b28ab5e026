//! The broker that is killed.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::PARTITIONS;
use crate::dice::Dice;
use crate::support::{self, Process, gristmill};

/// ApiVersions of version 0 without a client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

pub struct Victim {
    process: Process,
    folder: PathBuf,
    /// From the start of the process to its first answer.
    pub started_in: Duration,
}

impl Victim {
    pub fn start(folder: &Path, address: &str) -> Victim {
        let since = Instant::now();
        let place = folder.to_str().expect("a plain path");
        let arguments = ["broker", "--data-dir", place, "--listen", address];
        let process = Process::spawn(&mut gristmill(arguments));
        support::wait_for("the broker's first answer", || answers(address));
        let started_in = since.elapsed();
        Victim { process, folder: folder.join("broker"), started_in }
    }

    pub fn kill(&mut self) {
        self.process.kill_now();
    }

    /// Writes bytes of no meaning behind the end of a log, and returns the name of the file.
    pub fn tear_a_tail(&self, dice: &mut Dice) -> String {
        let partition = dice.below(PARTITIONS as usize);
        let topic = ["plain", "committed"][dice.below(2)];
        let folder = self.folder.join(format!("{topic}-{partition}"));
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let logs = names.map(|name| name.into_string().unwrap()).filter(|it| it.ends_with(".log"));
        let last = logs.max().expect("a log has a segment");
        let bytes: Vec<u8> = (0..dice.below(300) + 1).map(|_| dice.below(256) as u8).collect();
        let mut file = OpenOptions::new().append(true).open(folder.join(&last)).unwrap();
        file.write_all(&bytes).unwrap();
        format!("{topic}-{partition}/{last}")
    }

    pub fn must_say(&mut self, text: &str) {
        self.process.wait_until_said(text);
    }

    pub fn stop(self) {
        support::stop(self.process);
    }
}

fn answers(address: &str) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(&API_VERSIONS).ok()?;
    stream.read_exact(&mut [0; 8]).ok()
}
