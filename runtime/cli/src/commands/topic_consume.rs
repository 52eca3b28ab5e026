//! `gristmill topic consume`: the records of a topic, one a line, as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use gristmill_connectors::Cluster;
use gristmill_connectors::admin::{self, TopicDescription};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::flags::BootstrapFlags;
use crate::local::stop_signal;
use crate::output::Output;
use crate::time;
use crate::user_error::UserError;

/// How often the loop looks whether it is to stop.
const POLL_TIME_MAX: Duration = Duration::from_millis(100);

/// How long the cluster may take to find the offsets of a time.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct TopicConsumeFlags {
    topic: String,

    #[command(flatten)]
    start: StartFlags,

    /// Share the topic with the other members of this consumer group, and commit what was printed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["partition", "offset", "timestamp"])]
    group: Option<String>,

    /// Print each record's key, the delimiter, its value
    #[arg(long)]
    print_key: bool,

    /// Print each record's headers before everything else, as name:value with commas between
    #[arg(long)]
    print_headers: bool,

    /// What stands between headers, key and value [default: a tab]
    #[arg(long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    delimiter: String,

    /// Read this partition alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// End after this many records
    #[arg(long, visible_alias = "max-messages", value_name = "N")]
    max: Option<u64>,

    /// End when everything that is there has been printed
    #[arg(long)]
    exit_at_end: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Where reading begins; with none of them, at the next record to come.
#[derive(clap::Args)]
#[group(multiple = false)]
struct StartFlags {
    /// Begin with the oldest record; a group: where it has read nothing yet
    #[arg(long, short = 'b')]
    from_beginning: bool,

    /// Begin with this offset of --partition
    #[arg(long, value_name = "N", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,

    /// Begin with the first record of this time or later, such as 2026-11-01T09:30:00Z, or in ms since 1970
    #[arg(long, value_name = "TIME", value_parser = time::parse_ms)]
    timestamp: Option<i64>,
}

impl StartFlags {
    fn offset(&self) -> Offset {
        match self.offset {
            Some(offset) => Offset::Offset(offset),
            None if self.from_beginning => Offset::Beginning,
            None => Offset::End,
        }
    }
}

/// Prints records until Ctrl-C, or as the flags say. Keeps no offset anywhere but in a group that was named.
pub async fn run(flags: &TopicConsumeFlags, output: Output) -> Result<()> {
    let cluster = flags.broker.cluster()?;
    let described = admin::describe_topic(&cluster, &flags.topic).await;
    let described = described.map_err(UserError::from_error)?;
    let partitions = partitions(flags, &described)?;
    check_offset(flags, &described)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        stop_signal().await;
        signal.cancel();
    });
    tokio::task::block_in_place(|| {
        let consumer = consumer(flags, &cluster)?;
        match &flags.group {
            Some(_) => consumer.subscribe(&[&flags.topic])?,
            None => assign(flags, &consumer, &partitions)?,
        }
        let printed = print_all(flags, output, &consumer, partitions, &stop);
        if flags.group.is_some() {
            leave(&consumer)?;
        }
        printed
    })
}

fn partitions(flags: &TopicConsumeFlags, topic: &TopicDescription) -> Result<BTreeSet<i32>> {
    let all: BTreeSet<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
    match flags.partition {
        None => Ok(all),
        Some(partition) if all.contains(&partition) => Ok(BTreeSet::from([partition])),
        Some(partition) => {
            let (name, last) = (&topic.name, all.len().saturating_sub(1));
            let message =
                format!("topic `{name}` has no partition {partition}: they are 0 to {last}");
            Err(UserError::new(message).into())
        }
    }
}

fn check_offset(flags: &TopicConsumeFlags, topic: &TopicDescription) -> Result<()> {
    let Some((offset, partition)) = flags.start.offset.zip(flags.partition) else { return Ok(()) };
    let mut partitions = topic.partitions.iter();
    match partitions.find(|found| found.partition == partition) {
        Some(found) if !(found.earliest..=found.end).contains(&offset) => {
            let (name, earliest, end) = (&topic.name, found.earliest, found.end);
            Err(UserError::new(format!(
                "partition {partition} of topic `{name}` has no offset {offset}: it holds {earliest} to {end} (the \
                 next one)"
            ))
            .into())
        }
        _ => Ok(()),
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

fn consumer(flags: &TopicConsumeFlags, cluster: &Cluster) -> Result<BaseConsumer<Quiet>> {
    let mut config = ClientConfig::new();
    let reset = if flags.start.from_beginning { "earliest" } else { "latest" };
    config
        .set("bootstrap.servers", &cluster.bootstrap)
        .set("client.id", "gristmill")
        // librdkafka asks for a group even where none is used.
        .set("group.id", flags.group.as_deref().unwrap_or("gristmill-consume"))
        .set("auto.offset.reset", reset)
        // What was printed is committed, and nothing else: see `leave`.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", if flags.group.is_some() { "true" } else { "false" })
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    for (key, value) in &cluster.properties {
        config.set(key, value);
    }
    config.create_with_context(Quiet).context("cannot make a consumer")
}

fn assign(
    flags: &TopicConsumeFlags,
    consumer: &BaseConsumer<Quiet>,
    partitions: &BTreeSet<i32>,
) -> Result<()> {
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        let start = match flags.start.timestamp {
            // `offsets_for_times` takes times as offsets.
            Some(time_ms) => Offset::Offset(time_ms),
            None => flags.start.offset(),
        };
        assignment.add_partition_offset(&flags.topic, *partition, start)?;
    }
    if flags.start.timestamp.is_some() {
        assignment = consumer
            .offsets_for_times(assignment, LOOK_UP_TIME_MAX)
            .context("cannot look up the time")?;
    }
    Ok(consumer.assign(&assignment)?)
}

/// Commits what was printed. That there is nothing to commit is fine.
fn leave(consumer: &BaseConsumer<Quiet>) -> Result<()> {
    match consumer.commit_consumer_state(CommitMode::Sync) {
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        Err(error) => Err(error).context("cannot commit what was printed: it will be read again"),
    }
}

fn print_all(
    flags: &TopicConsumeFlags,
    output: Output,
    consumer: &BaseConsumer<Quiet>,
    mut unfinished: BTreeSet<i32>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut left = flags.max.unwrap_or(u64::MAX);
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut printed = Printed::default();
    while left > 0 && !stop.is_cancelled() {
        if flags.exit_at_end && at_end(flags, consumer, &unfinished)? {
            break;
        }
        let next = match consumer.poll(Duration::ZERO) {
            // Nothing at hand: show what was printed, then wait.
            None => {
                printed.flush(flags, &mut stdout, consumer)?;
                consumer.poll(POLL_TIME_MAX)
            }
            some => some,
        };
        match next {
            None => {}
            Some(Ok(record)) => {
                print(flags, output, &mut stdout, &record)?;
                printed.next.insert(record.partition(), record.offset() + 1);
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
    printed.flush(flags, &mut stdout, consumer)
}

/// A member of a group is at the end when it is at that of its own partitions.
fn at_end(
    flags: &TopicConsumeFlags,
    consumer: &BaseConsumer<Quiet>,
    unfinished: &BTreeSet<i32>,
) -> Result<bool> {
    if flags.group.is_none() || unfinished.is_empty() {
        return Ok(unfinished.is_empty());
    }
    let assignment = consumer.assignment()?;
    let own = assignment.elements();
    Ok(!own.is_empty() && own.iter().all(|element| !unfinished.contains(&element.partition())))
}

/// Next offsets of what was printed and may still be in the buffer.
#[derive(Default)]
struct Printed {
    next: BTreeMap<i32, i64>,
}

impl Printed {
    /// Shows what was printed; only then may a group commit it.
    fn flush(
        &mut self,
        flags: &TopicConsumeFlags,
        stdout: &mut impl Write,
        consumer: &BaseConsumer<Quiet>,
    ) -> Result<()> {
        stdout.flush()?;
        let next = std::mem::take(&mut self.next);
        if flags.group.is_none() || next.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset(&flags.topic, partition, Offset::Offset(offset))?;
        }
        match consumer.store_offsets(&offsets) {
            // A partition that went to another member meanwhile: that one reads on from its offset.
            Ok(()) | Err(KafkaError::StoreOffset(RDKafkaErrorCode::State)) => Ok(()),
            Err(error) => Err(error).context("cannot remember what was printed"),
        }
    }
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
            "headers": headers(record),
        });
        return writeln!(stdout, "{document}");
    }
    if flags.print_headers {
        let headers: Vec<String> = headers(record).iter().map(header_text).collect();
        write!(stdout, "{}{}", headers.join(","), flags.delimiter)?;
    }
    if flags.print_key {
        stdout.write_all(record.key().unwrap_or(b"null"))?;
        stdout.write_all(flags.delimiter.as_bytes())?;
    }
    stdout.write_all(record.payload().unwrap_or(b"null"))?;
    stdout.write_all(b"\n")
}

/// In their order: a name may come twice.
fn headers(record: &BorrowedMessage<'_>) -> Vec<(String, Value)> {
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), text(header.value))).collect()
}

fn header_text((name, value): &(String, Value)) -> String {
    format!("{name}:{}", value.as_str().unwrap_or("null"))
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}
