//! `gristmill topic consume`: the records of a topic, one a line, as they come.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use gristmill_connectors::admin::{self, TopicDescription};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::flags::BootstrapFlags;
use crate::local::stop_signal;
use crate::output::Output;
use crate::user_error::UserError;

/// How often the loop looks whether it is to stop.
const POLL_TIME_MAX: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub struct TopicConsumeFlags {
    topic: String,

    /// Begin with the oldest record instead of the next one to come
    #[arg(long, short = 'b')]
    from_beginning: bool,

    /// Print each record's key, the delimiter, its value
    #[arg(long)]
    print_key: bool,

    /// What stands between key and value with --print-key
    #[arg(long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    delimiter: String,

    /// Read this partition alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// End after this many records
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,

    /// End when everything that is there has been printed
    #[arg(long)]
    exit_at_end: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints records until Ctrl-C, or as the flags say. Keeps no offset anywhere.
pub async fn run(flags: &TopicConsumeFlags, output: Output) -> Result<()> {
    let described = admin::describe_topic(&flags.broker.cluster(), &flags.topic).await;
    let described = described.map_err(UserError::from_error)?;
    let partitions = partitions(flags, &described)?;
    let consumer = assigned(flags, &partitions)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        stop_signal().await;
        signal.cancel();
    });
    tokio::task::block_in_place(|| print_all(flags, output, &consumer, partitions, &stop))
}

fn partitions(flags: &TopicConsumeFlags, topic: &TopicDescription) -> Result<BTreeSet<i32>> {
    let all: BTreeSet<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
    match flags.partition {
        None => Ok(all),
        Some(partition) if all.contains(&partition) => Ok(BTreeSet::from([partition])),
        Some(partition) => {
            let (name, count) = (&topic.name, all.len());
            let message = format!("topic `{name}` has {count} partitions, from 0: no {partition}");
            Err(UserError::new(message).into())
        }
    }
}

/// Leaves what librdkafka reports to the loop, which gets it as the result of a poll: the end of a
/// partition is no error here.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

fn assigned(flags: &TopicConsumeFlags, partitions: &BTreeSet<i32>) -> Result<BaseConsumer<Quiet>> {
    let cluster = flags.broker.cluster();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &cluster.bootstrap)
        .set("client.id", "gristmill")
        // librdkafka asks for a group even where none is used.
        .set("group.id", "gristmill-consume")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    for (key, value) in &cluster.properties {
        config.set(key, value);
    }
    let consumer: BaseConsumer<Quiet> =
        config.create_with_context(Quiet).context("cannot make a consumer")?;
    let start = if flags.from_beginning { Offset::Beginning } else { Offset::End };
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        assignment.add_partition_offset(&flags.topic, *partition, start)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn print_all(
    flags: &TopicConsumeFlags,
    output: Output,
    consumer: &BaseConsumer<Quiet>,
    mut unfinished: BTreeSet<i32>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut left = flags.max_messages.unwrap_or(u64::MAX);
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    while left > 0 && !stop.is_cancelled() && !(flags.exit_at_end && unfinished.is_empty()) {
        let next = match consumer.poll(Duration::ZERO) {
            // Nothing at hand: show what was printed, then wait.
            None => {
                stdout.flush()?;
                consumer.poll(POLL_TIME_MAX)
            }
            some => some,
        };
        match next {
            None => {}
            Some(Ok(record)) => {
                print(flags, output, &mut stdout, &record)?;
                left -= 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            Some(Err(error)) if is_transient(&error) => tracing::warn!("{error}"),
            Some(Err(error)) => {
                return Err(error).with_context(|| format!("cannot read topic `{}`", flags.topic));
            }
        }
    }
    Ok(stdout.flush()?)
}

/// Whether librdkafka goes on by itself.
fn is_transient(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut)
    )
}

/// Bytes go out as they are; as JSON they are text, with U+FFFD for what is not UTF-8.
fn print(
    flags: &TopicConsumeFlags,
    output: Output,
    stdout: &mut impl Write,
    record: &BorrowedMessage<'_>,
) -> io::Result<()> {
    if output == Output::Json {
        let document = json!({
            "partition": record.partition(),
            "offset": record.offset(),
            "timestamp": record.timestamp().to_millis(),
            "key": text(record.key()),
            "value": text(record.payload()),
        });
        return writeln!(stdout, "{document}");
    }
    if flags.print_key {
        stdout.write_all(record.key().unwrap_or(b"null"))?;
        stdout.write_all(flags.delimiter.as_bytes())?;
    }
    stdout.write_all(record.payload().unwrap_or(b"null"))?;
    stdout.write_all(b"\n")
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}
