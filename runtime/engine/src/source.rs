//! What the engine asks of a source. Implemented for Kafka in `connectors`.

use std::collections::BTreeMap;
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

/// A set of topics of one cluster.
#[async_trait]
pub trait Source: Send + Sync {
    /// The partitions that this process reads, each with the offsets that are there now (earliest, end).
    /// With read-committed isolation the end is the last stable offset.
    ///
    /// Errors name the topics that do not exist and those that do.
    async fn available(&self) -> anyhow::Result<BTreeMap<TopicPartition, OffsetRange>>;

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
}
