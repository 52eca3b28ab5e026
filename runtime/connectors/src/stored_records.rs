//! The records that a topic holds at this moment, for people and for tools: read once, without a group.
//!
//! Not here: records on their way through a pipeline (`kafka_source`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use gristmill_engine::dead_letter::Headers;
use gristmill_engine::offsets::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::{self, TopicDescription};
use crate::kafka_client::{self, ClientEvents, Cluster};

/// One wait for a record; in between, the deadline is looked at.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// A topic that gives nothing for so long, although it should, is given up.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(60);

/// The group that librdkafka asks for; never joined.
const GROUP: &str = "gristmill-reader";

/// A record with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub partition: TopicPartition,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// Reads one topic up to the end that it had at the beginning. Of each partition the records come in order; committed
/// records only.
pub struct StoredRecords {
    consumer: BaseConsumer<ClientEvents>,
    topic: String,
    /// Partitions not yet read to their end, with that end.
    ends: BTreeMap<i32, i64>,
}

/// Where a partition is begun: at an offset, or so many before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    Earliest,
    At(i64),
    /// Offsets, of which some may hold no record.
    BeforeEnd(i64),
}

impl StoredRecords {
    /// `begin` says for each partition where to begin.
    ///
    /// Errors: no broker answers; there is no such topic.
    pub async fn open(
        cluster: &Cluster,
        topic: &str,
        begin: impl Fn(i32) -> Begin,
    ) -> Result<StoredRecords> {
        let described = admin::describe_topic(cluster, topic).await?;
        let mut config = cluster.client_config(&[
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("allow.auto.create.topics", "false"),
        ]);
        config.set("group.id", GROUP);
        let consumer: BaseConsumer<ClientEvents> = config
            .create_with_context(ClientEvents::default())
            .map_err(|error| cluster.misconfigured(&error))?;
        let ends = assign(&consumer, &described, begin)?;
        Ok(StoredRecords { consumer, topic: topic.to_string(), ends })
    }

    /// The next record; `None` after the last. Blocks.
    ///
    /// Errors: the topic cannot be read to its end.
    pub fn read(&mut self) -> Result<Option<StoredRecord>> {
        let begun = Instant::now();
        while !self.ends.is_empty() {
            match self.consumer.poll(POLL_WAIT) {
                None => {}
                Some(Ok(message)) => {
                    let record = stored(&message);
                    if take(&mut self.ends, &record) {
                        return Ok(Some(record));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                }
                Some(Err(error)) if passes(&error) => tracing::debug!(target: "kafka", "{error}"),
                Some(Err(error)) => {
                    let reason = kafka_client::describe(&error);
                    return Err(anyhow!("{reason}"))
                        .with_context(|| format!("cannot read topic `{}`", self.topic));
                }
            }
            if begun.elapsed() >= SILENCE_TIME_MAX {
                let trouble = self.consumer.context().last_trouble();
                let seconds = begun.elapsed().as_secs();
                bail!("no record of topic `{}` for {seconds} s{trouble}", self.topic);
            }
        }
        Ok(None)
    }
}

/// Whether the record was there at the beginning; forgets the partition with its last one.
fn take(ends: &mut BTreeMap<i32, i64>, record: &StoredRecord) -> bool {
    let partition = record.partition.partition;
    let end = ends.get(&partition).copied();
    if end.is_some_and(|end| record.offset + 1 >= end) {
        ends.remove(&partition);
    }
    end.is_some_and(|end| record.offset < end)
}

/// Answers the ends of the partitions that hold something.
fn assign(
    consumer: &BaseConsumer<ClientEvents>,
    topic: &TopicDescription,
    begin: impl Fn(i32) -> Begin,
) -> Result<BTreeMap<i32, i64>> {
    let (mut list, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in &topic.partitions {
        let (earliest, end) = (partition.earliest, partition.end);
        let first = match begin(partition.partition) {
            Begin::Earliest => earliest,
            Begin::At(offset) => offset.max(earliest),
            Begin::BeforeEnd(count) => end.saturating_sub(count).max(earliest),
        };
        if first < end {
            let number = partition.partition;
            list.add_partition_offset(&topic.name, number, Offset::Offset(first))?;
            ends.insert(number, end);
        }
    }
    consumer.assign(&list)?;
    Ok(ends)
}

pub(crate) fn stored(message: &BorrowedMessage<'_>) -> StoredRecord {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers =
        headers.map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec))).collect();
    StoredRecord {
        partition: TopicPartition::new(message.topic(), message.partition()),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

fn passes(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(kafka_client::may_pass)
}
