//! What the engine asks of a source. Implemented for Kafka in `connectors`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;

use crate::config::Start;
use crate::offsets::{OffsetRange, Offsets, TopicPartition};

/// The columns of a record, as Spark's Kafka source names and types them, `headers` included.
pub const COLUMNS: [&str; 8] =
    ["key", "value", "topic", "partition", "offset", "timestamp", "timestampType", "headers"];

/// The schema of [`COLUMNS`].
pub fn schema() -> SchemaRef {
    let header = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ]);
    let headers = DataType::List(Arc::new(Field::new("element", DataType::Struct(header), true)));
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("timestamp", timestamp, true),
        Field::new("timestampType", DataType::Int32, true),
        Field::new("headers", headers, true),
    ]))
}

/// Consecutive records of one partition.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The columns that were asked for, in the order of [`COLUMNS`]. Never empty of columns: `offset` is always there.
    pub records: RecordBatch,
    /// The record's own offsets, ascending; one per row (also when `offset` is replaced by a stage later).
    pub offsets: Vec<i64>,
}

/// Partitions that are being taken away from this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// Others get them once we have let go: what was begun may be committed.
    Revoked(BTreeSet<TopicPartition>),
    /// Others may have them already: what is not committed must be dropped.
    Lost(BTreeSet<TopicPartition>),
}

/// A set of topics of one cluster, shared out among the processes of a pipeline.
#[async_trait]
pub trait Source: Send + Sync {
    /// The partitions that this process reads, each with the offsets that are there now (earliest, end).
    /// With read-committed isolation the end is the last stable offset. Waits for the first assignment.
    ///
    /// Errors name the topics that do not exist and those that do.
    async fn available(&self) -> anyhow::Result<BTreeMap<TopicPartition, OffsetRange>>;

    /// All partitions of the topics, those of other processes too.
    async fn partitions(&self) -> anyhow::Result<Vec<TopicPartition>>;

    /// What is to be given up. Asked between two micro-batches; the answer stays until [`released`](Source::released).
    fn rebalance(&self) -> Option<Rebalance>;

    /// Nothing of what [`rebalance`](Source::rebalance) named is held any more.
    fn released(&self);

    /// Where partitions without a cursor begin.
    async fn start_offsets(
        &self,
        start: &Start,
        partitions: &[TopicPartition],
    ) -> anyhow::Result<Offsets>;

    /// A reader of one partition from `begin` on, that yields the columns named in `columns` (of [`COLUMNS`]).
    /// A reader is kept from micro-batch to micro-batch: it goes on fetching ahead.
    async fn reader(
        &self,
        partition: &TopicPartition,
        begin: i64,
        columns: &[&'static str],
    ) -> anyhow::Result<Box<dyn SourceReader>>;
}

/// Reads one partition in order. Used by one lane, on a thread that may block.
pub trait SourceReader: Send {
    /// The next records below `end`: at most about `rows_max` rows or `bytes_max` bytes of values; blocks until there are
    /// some. `None`: everything below `end` has been read (records may be missing in between: compaction, control records).
    ///
    /// Errors: the cluster is gone for good, the offset is no longer there.
    fn next(
        &mut self,
        end: i64,
        rows_max: usize,
        bytes_max: usize,
    ) -> anyhow::Result<Option<SourceBatch>>;

    /// From the next batch on the records have these columns (of [`COLUMNS`]). What was fetched ahead is kept.
    fn choose_columns(&mut self, columns: &[&'static str]) -> anyhow::Result<()>;
}
