//! `gristmill produce` and `topic produce`: lines of a file, generated orders, or standard input
//! into a topic.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_connectors::Cluster;
use gristmill_connectors::admin::RecordProducer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::flags::BootstrapFlags;
use crate::local::stop_signal;
use crate::output::Output;
use crate::records::{KeyRule, Record, Records};
use crate::user_error::UserError;

/// How often the progress bar is moved.
const BAR_EVERY_RECORDS: u64 = 256;

/// How often a slow rate looks whether it is to stop.
const RATE_WAIT_MAX: Duration = Duration::from_millis(100);

/// The progress bars: of records, and of the bytes of a file.
const RECORDS_TEMPLATE: &str = "{bar:30} {human_pos}/{human_len} records  {rate}  {eta} left";
const BYTES_TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";

/// The field that orders are keyed by.
const ORDER_KEY: &str = "customer_id";

#[derive(clap::Args)]
pub struct ProduceFlags {
    #[arg(default_value = "orders")]
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
        ProduceFlags { topic: flags.topic, records: flags.records }
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
    #[arg(long, value_name = "TEXT", requires = "parse_key")]
    delimiter: Option<String>,

    /// Most records per second; as fast as the broker takes them if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Sends the records and prints how many arrived, and how fast.
pub async fn run(flags: &ProduceFlags, output: Output) -> Result<()> {
    let ProduceFlags { topic, records: flags } = flags;
    let bar = match (flags.orders, output) {
        (_, Output::Json) => ProgressBar::hidden(),
        (Some(count), _) => records_bar(count),
        (None, _) if flags.file.is_some() => bytes_bar(),
        _ => ProgressBar::hidden(),
    };
    let records = match (flags.orders, &flags.file) {
        (Some(count), _) => Records::generated(count),
        (None, Some(file)) => Records::file(file, key_rule(flags), &bar)?,
        (None, None) => {
            if stdin().is_terminal() {
                output.remark("one record a line; Ctrl-D ends")?;
            }
            Records::stdin(key_rule(flags))
        }
    };
    let sent = send(&flags.broker.cluster(), topic, records, flags.rate, &bar).await?;
    let (count, seconds) = (sent.records, sent.time.as_secs_f64());
    output.answer(
        format!("{count} records into topic `{topic}` in {seconds:.1} s, {:.0}/s", sent.rate()),
        &json!({ "topic": topic, "records": count, "seconds": seconds }),
    )
}

fn key_rule(flags: &RecordFlags) -> KeyRule {
    match &flags.key {
        Some(field) => KeyRule::Field(field.clone()),
        None if flags.parse_key => {
            KeyRule::Before(flags.delimiter.clone().unwrap_or_else(|| ":".to_owned()))
        }
        None => KeyRule::None,
    }
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
    let (records, bar) = match orders {
        Orders::Generated(count) => (Records::generated(count), records_bar(count)),
        Orders::File(file) => {
            let (bar, key) = (bytes_bar(), KeyRule::Field(ORDER_KEY.to_owned()));
            (Records::file(&file, key, &bar)?, bar)
        }
    };
    Ok(send(&Cluster::new(bootstrap), topic, records, None, &bar).await?.records)
}

struct Sent {
    records: u64,
    time: Duration,
}

impl Sent {
    fn rate(&self) -> f64 {
        self.records as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Sends everything, or what came before Ctrl-C; returns when the cluster has acknowledged it.
async fn send(
    cluster: &Cluster,
    topic: &str,
    records: Records,
    rate: Option<u64>,
    bar: &ProgressBar,
) -> Result<Sent> {
    let producer = RecordProducer::open(cluster, topic).await;
    let producer = Arc::new(producer.map_err(UserError::from_error)?);
    let began = Instant::now();
    let (sent, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let pump = Pump {
        bar: matches!(records, Records::Generated { .. }).then(|| bar.clone()),
        records,
        producer: producer.clone(),
        rate,
        began,
        sent: sent.clone(),
        stop: stop.clone(),
    };
    let result = tokio::select! {
        result = pump.start()? => result.context("the thread that sends has panicked")?,
        () = stop_signal() => Ok(()),
    };
    stop.cancel();
    let flushed = producer.flush().await;
    bar.finish_and_clear();
    let records = sent.load(Ordering::Relaxed);
    flushed.and(result).with_context(|| format!("stopped after {records} records"))?;
    Ok(Sent { records, time: began.elapsed() })
}

/// Reads and sends on a thread of its own: reading waits for the input (a terminal), sending waits
/// for room.
struct Pump {
    records: Records,
    producer: Arc<RecordProducer>,
    rate: Option<u64>,
    began: Instant,
    /// Counts records, where the input itself doesn't move the bar.
    bar: Option<ProgressBar>,
    sent: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Pump {
    fn start(self) -> Result<oneshot::Receiver<Result<()>>> {
        let (done, result) = oneshot::channel();
        let run = move || {
            // The receiver is gone after Ctrl-C.
            let _ = done.send(self.run());
        };
        std::thread::Builder::new().name("records".into()).spawn(run)?;
        Ok(result)
    }

    fn run(mut self) -> Result<()> {
        while let Some(Record { key, value }) = self.records.next()? {
            let count = self.sent.load(Ordering::Relaxed);
            self.wait_until_due(count);
            if self.stop.is_cancelled() {
                return Ok(());
            }
            self.producer.send(key.as_deref(), Some(&value), &[])?;
            self.sent.store(count + 1, Ordering::Relaxed);
            if count.is_multiple_of(BAR_EVERY_RECORDS)
                && let Some(bar) = &self.bar
            {
                bar.set_position(count);
            }
        }
        Ok(())
    }

    fn wait_until_due(&self, count: u64) {
        let Some(rate) = self.rate else { return };
        while let Some(early) = due(count, rate).checked_sub(self.began.elapsed())
            && !early.is_zero()
            && !self.stop.is_cancelled()
        {
            std::thread::park_timeout(early.min(RATE_WAIT_MAX));
        }
    }
}

/// When the record after `count` others may leave, from the beginning.
fn due(count: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rate as f64)
}

fn records_bar(count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    bar.set_style(style(RECORDS_TEMPLATE));
    bar
}

/// The length is set when the file is open.
fn bytes_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(style(BYTES_TEMPLATE));
    bar
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", records_per_second)
}

fn records_per_second(state: &ProgressState, text: &mut dyn std::fmt::Write) {
    let _ = write!(text, "{:.0}/s", state.per_sec());
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
    fn a_rate_spreads_records_evenly() {
        assert_eq!(due(0, 500), Duration::ZERO);
        assert_eq!(due(1, 500), Duration::from_millis(2));
        assert_eq!(due(1_500, 500), Duration::from_secs(3));
    }

    #[test]
    fn every_template_is_valid() {
        for bar in [RECORDS_TEMPLATE, BYTES_TEMPLATE] {
            assert!(ProgressStyle::with_template(bar).is_ok());
        }
    }
}
