//! A topic at the end of a pipeline, at least once: records are delivered, then the cursors are
//! committed as offsets of the sink's own consumer group. A crash in between sends the micro-batch
//! again.
//!
//! Where Kafka transactions come in: `store` becomes one transaction of records and group offsets.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use async_trait::async_trait;
use gristmill_engine::config::TopicSinkConfig;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::plan::RecordValue;
use gristmill_engine::sink::{Committed, Sink, SinkRows, SinkWriter};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::admin;
use crate::kafka_client::{self, ATTEMPT_TIME_MAX, AWAY_TIME_MAX, Cluster, KafkaConsumer};
use crate::kafka_producer::TopicProducer;
use crate::record_json::RecordJson;

/// A stretch of offsets without records is committed at most this often while the pipeline runs.
const ROWLESS_COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What a topic sink is made from.
#[derive(Debug, Clone)]
pub struct KafkaSinkSetup {
    pub pipeline: String,
    pub sink: String,
    pub config: TopicSinkConfig,
    /// Where the records go.
    pub cluster: Cluster,
    /// Where the source's topics are, and with them the group that keeps the cursors.
    pub source: Cluster,
    /// The first column of the rows is the record's key.
    pub key: bool,
    /// What the columns after the key become.
    pub value: RecordValue,
    /// The cluster is the built-in broker: a topic that is missing is made.
    pub built_in: bool,
}

/// See the module documentation.
pub struct KafkaSink {
    setup: KafkaSinkSetup,
    producer: Arc<TopicProducer>,
    cursors: Arc<KafkaConsumer>,
    written: Arc<Written>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    committed_at: Option<Instant>,
    commits: u64,
}

/// What lanes and commits share.
#[derive(Default)]
struct Written {
    /// Records since the last commit.
    rows: Mutex<u64>,
    /// Cursors that the group holds: rows below them are not sent again.
    stored: RwLock<Offsets>,
}

impl KafkaSink {
    /// Looks for the topic, makes it where that is ours to do, and makes the clients.
    ///
    /// Errors: the topic is missing, no broker answers, a setting is wrong.
    pub async fn open(setup: KafkaSinkSetup) -> Result<KafkaSink> {
        let opened = setup.clone();
        let open = move || -> Result<_> {
            ensure_topic(&opened)?;
            let producer = TopicProducer::open(&opened.cluster, &opened.config.topic)?;
            let group = format!("gristmill-{}-{}", opened.pipeline, opened.sink);
            let cursors = opened.source.consumer(&group, &[("enable.auto.commit", "false")])?;
            Ok((Arc::new(producer), cursors))
        };
        let opened = tokio::task::spawn_blocking(open).await?;
        let (producer, cursors) = opened.with_context(|| format!("sink `{}`", setup.sink))?;
        let (written, state) = (Arc::default(), tokio::sync::Mutex::default());
        Ok(KafkaSink { setup, producer, cursors, written, state })
    }

    /// Delivers the records, then commits the cursors.
    async fn store(&self, moved: &Offsets) -> Result<()> {
        let (producer, consumer) = (self.producer.clone(), self.cursors.clone());
        let (cluster, moved) = (self.setup.source.clone(), moved.clone());
        let note = json!({ "pipeline": self.setup.pipeline, "sink": self.setup.sink }).to_string();
        let store = move || {
            producer.flush()?;
            if moved.is_empty() {
                return Ok(());
            }
            commit_offsets(&consumer, &cluster, &moved, &note)
        };
        tokio::task::spawn_blocking(store).await?
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let (consumer, cluster) = (self.cursors.clone(), self.setup.source.clone());
        let asked = partitions.to_vec();
        let ask = move || committed_offsets(&consumer, &cluster, &asked);
        let found = tokio::task::spawn_blocking(ask).await?;
        let found = found
            .with_context(|| format!("sink `{}`: cannot read its cursors", self.setup.sink))?;
        let mut stored = self.written.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.extend(found.clone());
        Ok(found)
    }

    fn writer(&self) -> Result<Box<dyn SinkWriter>> {
        let (producer, written) = (self.producer.clone(), self.written.clone());
        let (key, value) = (self.setup.key, self.setup.value);
        Ok(Box::new(KafkaSinkWriter { producer, written, key, value, json: Vec::new() }))
    }

    /// Commits every micro-batch that sent something.
    async fn commit(&self, cursors: &Offsets, now: bool) -> Result<Option<Committed>> {
        let mut state = self.state.lock().await;
        let moved: Offsets = {
            let stored = self.written.stored.read().unwrap_or_else(PoisonError::into_inner);
            let ahead = |(partition, next): &(&TopicPartition, &i64)| {
                stored.get(*partition).is_none_or(|stored| stored < next)
            };
            cursors
                .iter()
                .filter(ahead)
                .map(|(partition, next)| (partition.clone(), *next))
                .collect()
        };
        let rows = *self.written.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = state.committed_at.is_some_and(|at| at.elapsed() < ROWLESS_COMMIT_EVERY);
        if !now && rows == 0 && (moved.is_empty() || recent) {
            return Ok(None);
        }
        if rows > 0 || !moved.is_empty() {
            self.store(&moved).await.with_context(|| {
                format!(
                    "sink `{}`: cannot commit to topic `{}`",
                    self.setup.sink, self.setup.config.topic
                )
            })?;
            state.committed_at = Some(Instant::now());
            state.commits += 1;
        }
        *self.written.rows.lock().unwrap_or_else(PoisonError::into_inner) -= rows;
        let mut stored = self.written.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.extend(moved);
        let detail = format!("commit {}", state.commits);
        Ok(Some(Committed { rows, cursors: stored.clone(), detail }))
    }

    fn guarantee(&self) -> String {
        "at least once: records are delivered before the source offsets are committed; a crash in \
         between sends them again"
            .into()
    }
}

/// Sends the rows of one lane.
struct KafkaSinkWriter {
    producer: Arc<TopicProducer>,
    written: Arc<Written>,
    key: bool,
    value: RecordValue,
    /// One record's JSON, kept for its room.
    json: Vec<u8>,
}

impl SinkWriter for KafkaSinkWriter {
    /// Rows below the stored cursor, by their source offset, are left out.
    fn write(&mut self, rows: &SinkRows) -> Result<()> {
        let stored = {
            let stored = self.written.stored.read().unwrap_or_else(PoisonError::into_inner);
            stored.get(&rows.partition).copied().unwrap_or(i64::MIN)
        };
        let known = rows.offsets.partition_point(|offset| *offset < stored);
        let range = known..rows.rows.num_rows();
        let count = range.len() as u64;
        self.send(&rows.rows, range)?;
        *self.written.rows.lock().unwrap_or_else(PoisonError::into_inner) += count;
        Ok(())
    }
}

impl KafkaSinkWriter {
    fn send(&mut self, rows: &RecordBatch, range: std::ops::Range<usize>) -> Result<()> {
        let keys = if self.key { Some(byte_column(rows.column(0))?) } else { None };
        let key = |row: usize| keys.as_ref().and_then(|keys| keys.get(row));
        match self.value {
            RecordValue::Column => {
                let last = rows.columns().last().context("a record needs a value column")?;
                let values = byte_column(last)?;
                for row in range {
                    self.producer.send(key(row), values.get(row))?;
                }
            }
            RecordValue::Json => {
                let objects = RecordJson::new(rows, usize::from(self.key))?;
                for row in range {
                    self.json.clear();
                    objects.write(row, &mut self.json);
                    self.producer.send(key(row), Some(&self.json))?;
                }
            }
        }
        Ok(())
    }
}

/// A column whose values are bytes as they are, or become text.
enum ByteColumn {
    Binary(BinaryArray),
    Text(StringArray),
}

impl ByteColumn {
    fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            ByteColumn::Binary(array) => array.is_valid(row).then(|| array.value(row)),
            ByteColumn::Text(array) => array.is_valid(row).then(|| array.value(row).as_bytes()),
        }
    }
}

/// Cloning an array copies no data.
fn byte_column(array: &ArrayRef) -> Result<ByteColumn> {
    Ok(match array.data_type() {
        DataType::Binary => ByteColumn::Binary(array.as_binary().clone()),
        DataType::Utf8 => ByteColumn::Text(array.as_string().clone()),
        kind if kind.is_nested() => bail!("a {kind} cannot be a record's key or value"),
        _ => ByteColumn::Text(arrow_cast::cast(array, &DataType::Utf8)?.as_string().clone()),
    })
}

/// Makes the topic on the built-in broker, or where the pipeline says how many partitions it is to
/// have. Blocks.
fn ensure_topic(setup: &KafkaSinkSetup) -> Result<()> {
    let (cluster, topic) = (&setup.cluster, &setup.config.topic);
    if admin::topic_blocking(cluster, topic)?.is_some() {
        return Ok(());
    }
    if !setup.built_in && setup.config.partitions.is_none() {
        bail!(
            "topic `{topic}` is not on the Kafka cluster at {}: make it there, or set \
             `partitions` in the sink to have it made with the cluster's own replication",
            cluster.bootstrap
        );
    }
    let partitions = setup.config.partitions.unwrap_or(1);
    admin::create_topic_blocking(cluster, topic, partitions)?;
    tracing::info!(topic, partitions, "topic made");
    Ok(())
}

/// The offsets that a group holds for these partitions. Blocks.
fn committed_offsets(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<Offsets> {
    let answer = kafka_client::asked(consumer, cluster, AWAY_TIME_MAX, || {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&at.topic, at.partition);
        }
        consumer.committed_offsets(list, 3 * ATTEMPT_TIME_MAX)
    })?;
    let mut found = Offsets::new();
    for element in answer.elements() {
        let partition = TopicPartition::new(element.topic(), element.partition());
        if let Err(error) = element.error() {
            let reason = kafka_client::describe(&error);
            bail!("the group does not tell its offset of partition {partition}: {reason}");
        }
        if let Offset::Offset(offset) = element.offset() {
            found.insert(partition, offset);
        }
    }
    Ok(found)
}

/// Commits outside of the group's protocol, as a consumer does that assigns itself. Blocks.
fn commit_offsets(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    cursors: &Offsets,
    note: &str,
) -> Result<()> {
    kafka_client::asked(consumer, cluster, AWAY_TIME_MAX, || {
        let mut list = TopicPartitionList::with_capacity(cursors.len());
        for (at, next) in cursors {
            let mut element = list.add_partition(&at.topic, at.partition);
            element.set_offset(Offset::Offset(*next))?;
            element.set_metadata(note);
        }
        consumer.commit(&list, CommitMode::Sync)
    })
    .context("cannot commit the source offsets")
}
