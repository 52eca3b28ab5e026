//! What `produce` sends: lines of a file or of standard input, or generated orders.
//!
//! A file is read line by line, unpacked if it is gzip; nothing but the lines on their way is kept
//! in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use gristmill_orders::{Orders, SEED};
use indicatif::ProgressBar;

use crate::user_error::UserError;

mod headers;
mod key;
mod pace;

pub use headers::{Header, parse as parse_headers};
pub use key::KeyRule;
pub use pace::{Pace, Rate};

/// Longest line that is taken, in bytes; brokers refuse records far below this.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// First bytes of a gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 256 << 10;

/// One record to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// A stream of records.
pub enum Records {
    Generated {
        orders: Orders,
        left: u64,
    },
    Lines(Lines),
    /// A file from the beginning again, whenever it is at its end.
    Repeated(Repeated),
}

impl Records {
    /// `count` orders of the generator, keyed by their customer.
    pub fn generated(count: u64) -> Records {
        Records::Generated { orders: Orders::new(SEED), left: count }
    }

    /// The lines of a file; `progress` is moved by the bytes that are read of it.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub fn file(path: &Path, key: KeyRule, progress: &ProgressBar) -> Result<Records> {
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| cannot_read(&name, &error))?;
        if metadata.is_dir() {
            return Err(UserError::new(format!("cannot read `{name}`: it is a folder")).into());
        }
        progress.set_length(metadata.len());
        let input = BufReader::with_capacity(READ_BYTES, progress.wrap_read(file));
        let input = unpacked(input).map_err(|error| cannot_read(&name, &error))?;
        Ok(Records::Lines(Lines { input, name, number: 0, key }))
    }

    /// As [`file`](Self::file), again and again.
    ///
    /// # Errors
    /// As those, and a pipe: it is read once.
    pub fn repeated(path: &Path, key: KeyRule, progress: &ProgressBar) -> Result<Records> {
        let lines = Records::file(path, key.clone(), progress)?;
        if !path.is_file() {
            let name = path.display();
            return Err(UserError::new(format!(
                "`{name}` cannot be read again: --loop takes a file"
            ))
            .into());
        }
        let Records::Lines(lines) = lines else { bail!("a file has lines") };
        let progress = progress.clone();
        Ok(Records::Repeated(Repeated {
            path: path.to_owned(),
            key,
            progress,
            lines,
            rounds: 0,
            any: false,
        }))
    }

    /// How often the whole input has been read to its end.
    pub fn rounds(&self) -> u64 {
        match self {
            Records::Repeated(repeated) => repeated.rounds,
            _ => 0,
        }
    }

    /// The lines of standard input.
    pub fn stdin(key: KeyRule) -> Records {
        let input = Box::new(BufReader::new(io::stdin()));
        Records::Lines(Lines { input, name: "standard input".to_owned(), number: 0, key })
    }

    /// The next record; None after the last.
    ///
    /// # Errors
    /// A line that cannot be read or has no key; the message names it by its number.
    pub fn next(&mut self) -> Result<Option<Record>> {
        match self {
            Records::Lines(lines) => lines.next(),
            Records::Repeated(repeated) => repeated.next(),
            Records::Generated { left: 0, .. } => Ok(None),
            Records::Generated { orders, left } => {
                *left -= 1;
                Ok(orders.next().map(|order| Record {
                    key: Some(order.customer_id.to_string().into_bytes()),
                    value: order.json.into_bytes(),
                }))
            }
        }
    }
}

/// A file, and where in it we are.
pub struct Repeated {
    path: PathBuf,
    key: KeyRule,
    progress: ProgressBar,
    lines: Lines,
    rounds: u64,
    /// Whether this round has had a record.
    any: bool,
}

impl Repeated {
    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.lines.next()? {
                self.any = true;
                return Ok(Some(record));
            }
            if !std::mem::take(&mut self.any) {
                // Without records there would be no end to looking for some.
                return Ok(None);
            }
            self.progress.set_position(0);
            if let Records::Lines(lines) =
                Records::file(&self.path, self.key.clone(), &self.progress)?
            {
                self.lines = lines;
            }
            self.rounds += 1;
        }
    }
}

/// The lines of one input that are not empty.
pub struct Lines {
    input: Box<dyn BufRead + Send>,
    name: String,
    /// Number of the line read last; the first is 1.
    number: u64,
    key: KeyRule,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            let mut line = Vec::with_capacity(1_024);
            let read = (&mut self.input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            read.with_context(|| format!("cannot read {}", self.name))?;
            if line.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if line.len() as u64 > LINE_BYTES_MAX {
                bail!("{}:{}: line above {LINE_BYTES_MAX} bytes", self.name, self.number);
            }
            trim_line_end(&mut line);
            if !line.is_empty() {
                return self.record(line).map(Some);
            }
        }
    }

    fn record(&self, line: Vec<u8>) -> Result<Record> {
        let record = self.key.record(line);
        record.map_err(|reason| {
            UserError::new(format!("{}:{}: {reason}", self.name, self.number)).into()
        })
    }
}

fn trim_line_end(line: &mut Vec<u8>) {
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
}

fn unpacked(mut input: impl BufRead + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    if input.fill_buf()?.starts_with(&GZIP_MAGIC) {
        let unpacked = MultiGzDecoder::new(input);
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, unpacked)));
    }
    Ok(Box::new(input))
}

fn cannot_read(name: &str, error: &io::Error) -> UserError {
    UserError::new(format!("cannot read `{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(bytes: &'static [u8]) -> Records {
        let (name, key) = ("orders.jsonl".to_owned(), KeyRule::Field("id".to_owned()));
        let input = unpacked(bytes).unwrap();
        Records::Lines(Lines { input, name, number: 0, key })
    }

    fn values(mut records: Records) -> Vec<String> {
        let mut values = Vec::new();
        while let Some(record) = records.next().unwrap() {
            values.push(String::from_utf8(record.value).unwrap());
        }
        values
    }

    #[test]
    fn every_line_that_is_not_empty_is_a_record() {
        let read = values(lines(b"{\"id\":1}\n\r\n{\"id\":2}\r\n\n{\"id\":3}"));
        assert_eq!(read, [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]);
        assert!(values(lines(b"")).is_empty());
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let mut records = lines(b"{\"id\":1}\n\n{}\n");
        records.next().unwrap();
        let error = records.next().unwrap_err();
        assert_eq!(error.to_string(), "orders.jsonl:3: no field `id`");
    }

    #[test]
    fn gzip_is_unpacked_in_all_its_members() {
        let mut packed = Vec::new();
        for line in ["{\"id\":1}\n", "{\"id\":2}\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut packed, Default::default());
            encoder.write_all(line.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        assert_eq!(values(lines(packed.leak())).len(), 2);
    }

    #[test]
    fn generated_orders_are_keyed_by_their_customer() {
        let mut records = Records::generated(2);
        let record = records.next().unwrap().unwrap();
        let expected = KeyRule::Field("customer_id".to_owned()).record(record.value.clone());
        assert_eq!(Ok(record), expected);
        assert!(records.next().unwrap().is_some());
        assert_eq!(records.next().unwrap(), None);
    }

    #[test]
    fn a_file_is_read_again_and_again_unless_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.jsonl");
        std::fs::write(&file, "1\n2\n").unwrap();
        let read = |count: usize| {
            let mut records =
                Records::repeated(&file, KeyRule::None, &ProgressBar::hidden()).unwrap();
            let values = (0..count).map_while(|_| records.next().unwrap());
            let values: Vec<_> = values.map(|record| record.value).collect();
            (values, records.rounds())
        };
        let (values, rounds) = read(5);
        assert_eq!(values.concat(), b"12121");
        assert_eq!(rounds, 2);
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(read(5), (vec![], 0));
    }

    #[test]
    fn a_file_that_is_not_there_is_the_users_mistake() {
        let path = Path::new("no-such-orders.jsonl");
        let opened = Records::file(path, KeyRule::None, &ProgressBar::hidden());
        let error = opened.err().unwrap();
        assert!(error.is::<UserError>());
        assert!(error.to_string().starts_with("cannot read `no-such-orders.jsonl`: "));
    }
}
