//! `gristmill produce` and `topic produce`: lines of a file, generated orders, or standard input
//! into a topic.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gristmill_connectors::Cluster;
use indicatif::ProgressBar;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::records::{self, Header, KeyRule, Pace, Rate, Records};
use crate::user_error::UserError;

mod answers;
mod progress;
mod pump;

use pump::{Sent, Shipment};

/// The field that orders are keyed by.
const ORDER_KEY: &str = "customer_id";

/// Slowest and fastest replay of records by their own times.
const SPEED_UP_MIN: f64 = 0.001;
const SPEED_UP_MAX: f64 = 1e9;

#[derive(clap::Args)]
pub struct ProduceFlags {
    /// One record a line, plain or gzip; without this and --orders: standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["file", "orders"])]
    input: Option<PathBuf>,

    /// The topic that gets the records
    #[arg(long, value_name = "TOPIC", default_value = "orders")]
    topic: String,

    #[command(flatten)]
    records: RecordFlags,
}

#[derive(clap::Args)]
pub struct TopicProduceFlags {
    topic: String,

    #[command(flatten)]
    records: RecordFlags,
}

impl From<TopicProduceFlags> for ProduceFlags {
    fn from(flags: TopicProduceFlags) -> ProduceFlags {
        ProduceFlags { input: None, topic: flags.topic, records: flags.records }
    }
}

/// Which records are sent, and how fast.
#[derive(clap::Args)]
struct RecordFlags {
    /// One record a line, plain or gzip; without this and --orders: standard input
    #[arg(long, value_name = "FILE", conflicts_with = "orders")]
    file: Option<PathBuf>,

    /// Generate this many retail orders, keyed by customer_id
    #[arg(long, value_name = "N")]
    orders: Option<u64>,

    /// The key is the text of this field of the line's JSON object
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["parse_key", "orders"])]
    key: Option<String>,

    /// Each line is key, delimiter, value
    #[arg(long, conflicts_with = "orders")]
    parse_key: bool,

    /// What stands between key and value with --parse-key [default: :]
    #[arg(long, value_name = "TEXT", requires = "parse_key", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    delimiter: Option<String>,

    /// Headers that every record gets; may be given again
    #[arg(long, value_name = "NAME:VALUE[,…]", value_parser = headers)]
    headers: Vec<Headers>,

    /// Most records per second; as fast as the broker takes them if absent
    #[arg(long, value_name = "N[/s]")]
    rate: Option<Rate>,

    /// Send the file again and again, until Ctrl-C
    #[arg(long = "loop", conflicts_with = "orders")]
    again: bool,

    /// Send the records as far apart as the times in this field of their JSON objects
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["rate", "orders"])]
    time: Option<String>,

    /// So many times as fast as --time says
    #[arg(long, value_name = "X", requires = "time", value_parser = speed_up)]
    speed_up: Option<f64>,

    /// Answer every record with its partition and offset
    #[arg(long)]
    print_offset: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Those of one `--headers`.
#[derive(Debug, Clone)]
struct Headers(Vec<Header>);

fn headers(text: &str) -> Result<Headers, String> {
    records::parse_headers(text).map(Headers)
}

fn speed_up(text: &str) -> Result<f64, String> {
    match text.strip_suffix('x').unwrap_or(text).parse() {
        Ok(factor) if (SPEED_UP_MIN..=SPEED_UP_MAX).contains(&factor) => Ok(factor),
        _ => {
            Err(format!("expected a number between {SPEED_UP_MIN} and {SPEED_UP_MAX}, such as 10"))
        }
    }
}

impl RecordFlags {
    fn key_rule(&self) -> KeyRule {
        match &self.key {
            Some(field) => KeyRule::Field(field.clone()),
            None if self.parse_key => {
                KeyRule::Before(self.delimiter.clone().unwrap_or_else(|| ":".to_owned()))
            }
            None => KeyRule::None,
        }
    }

    fn pace(&self) -> Pace {
        match (&self.time, self.rate) {
            (Some(field), _) => Pace::recorded(field, self.speed_up.unwrap_or(1.0)),
            (None, Some(rate)) => Pace::Even(rate),
            (None, None) => Pace::Free,
        }
    }

    fn bar(&self, file: Option<&Path>, output: Output) -> ProgressBar {
        match (self.orders, file) {
            _ if output == Output::Json || self.print_offset => ProgressBar::hidden(),
            (Some(count), _) => progress::of_records(count),
            (None, Some(_)) => progress::of_bytes(),
            (None, None) => ProgressBar::hidden(),
        }
    }

    fn records(&self, file: Option<&Path>, bar: &ProgressBar, output: Output) -> Result<Records> {
        match (self.orders, file) {
            (Some(count), _) => Ok(Records::generated(count)),
            (None, Some(file)) if self.again => Records::repeated(file, self.key_rule(), bar),
            (None, Some(file)) => Records::file(file, self.key_rule(), bar),
            (None, None) if self.again => {
                let message = "standard input is read once: --loop takes a file";
                Err(UserError::new(message).into())
            }
            (None, None) => {
                if stdin().is_terminal() {
                    output.remark("one record a line; Ctrl-D ends")?;
                }
                Ok(Records::stdin(self.key_rule()))
            }
        }
    }
}

/// Sends the records and prints how many arrived, and how fast.
///
/// # Errors
/// A record was not delivered; the others were sent all the same.
pub async fn run(flags: &ProduceFlags, output: Output) -> Result<()> {
    let ProduceFlags { input, topic, records: flags } = flags;
    let file = input.as_deref().or(flags.file.as_deref());
    let cluster = flags.broker.cluster()?;
    let bar = flags.bar(file, output);
    let shipment = Shipment {
        records: flags.records(file, &bar, output)?,
        headers: flags.headers.iter().flat_map(|headers| headers.0.clone()).collect(),
        pace: flags.pace(),
        counts_records: flags.orders.is_some(),
        bar,
    };
    let sent = match flags.print_offset {
        true => answers::send(&cluster, topic, shipment, output).await?,
        false => pump::send(&cluster, topic, shipment).await?,
    };
    report(topic, &sent, output)
}

fn report(topic: &str, sent: &Sent, output: Output) -> Result<()> {
    let Sent { records, failed, .. } = sent;
    let seconds = sent.time.as_secs_f64();
    output.answer(
        format!("{records} records into topic `{topic}` in {seconds:.1} s, {:.0}/s", sent.rate()),
        &json!({ "topic": topic, "records": records, "failed": failed, "seconds": seconds }),
    )?;
    if *failed > 0 {
        let reason = sent.reason.as_deref().unwrap_or("no reason was given");
        bail!("{failed} records were not delivered to topic `{topic}`; the first: {reason}");
    }
    Ok(())
}

/// Where orders come from: `--orders N|FILE` of `gristmill demo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orders {
    /// This many of the generator's.
    Generated(u64),
    /// Those in a file of JSON lines, plain or gzip.
    File(PathBuf),
}

impl Orders {
    /// Reads a number such as `20000` or `20_000`, or the name of a file.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Orders> {
        if let Ok(count) = text.replace('_', "").parse() {
            return Ok(Orders::Generated(count));
        }
        let file = PathBuf::from(text);
        if !file.is_file() {
            let message = format!("--orders {text}: neither a number nor a file that exists");
            return Err(UserError::new(message).into());
        }
        Ok(Orders::File(file))
    }
}

/// Sends orders keyed by their customer, with a progress bar; returns how many arrived.
pub async fn orders(bootstrap: &str, topic: &str, orders: Orders) -> Result<u64> {
    let (records, bar, counts_records) = match orders {
        Orders::Generated(count) => (Records::generated(count), progress::of_records(count), true),
        Orders::File(file) => {
            let (bar, key) = (progress::of_bytes(), KeyRule::Field(ORDER_KEY.to_owned()));
            (Records::file(&file, key, &bar)?, bar, false)
        }
    };
    let shipment = Shipment { records, headers: Vec::new(), pace: Pace::Free, counts_records, bar };
    let sent = pump::send(&Cluster::new(bootstrap), topic, shipment).await?;
    match sent.failed {
        0 => Ok(sent.records),
        failed => bail!("{failed} orders were not delivered: {}", sent.reason.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_a_number_or_a_file() {
        assert_eq!(Orders::parse("20_000").unwrap(), Orders::Generated(20_000));
        assert_eq!(Orders::parse("7").unwrap(), Orders::Generated(7));
        let error = Orders::parse("no-such-file.jsonl").unwrap_err();
        assert!(error.is::<UserError>());
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(Orders::parse(here).unwrap(), Orders::File(here.into()));
    }

    #[test]
    fn a_speed_up_is_a_number_within_bounds() {
        assert_eq!(speed_up("10"), Ok(10.0));
        assert_eq!(speed_up("0.5x"), Ok(0.5));
        for wrong in ["0", "-1", "fast", "inf", "nan", ""] {
            assert!(speed_up(wrong).is_err(), "{wrong}");
        }
    }
}
