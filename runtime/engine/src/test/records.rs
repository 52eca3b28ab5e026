//! Written records as the source would read them.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;

use crate::config::{SourceConfig, TestRecord, Topics};
use crate::offsets::TopicPartition;
use crate::source::{self, SourceBatch};

/// Spark's number for a time that the producer has set.
const TIMESTAMP_OF_PRODUCER: i32 = 0;

/// A record with its defaults filled in.
struct Placed<'r> {
    partition: TopicPartition,
    offset: i64,
    record: &'r TestRecord,
}

/// Batches in the order of the records: one for each run of records of the same partition.
pub(super) fn batches<'r>(
    source: &SourceConfig,
    input: &'r [TestRecord],
) -> Result<Vec<(TopicPartition, SourceBatch)>> {
    let default: Arc<str> = match &source.topics {
        Topics::Names(names) => names.first().map_or("", String::as_str).into(),
        Topics::Pattern(pattern) => pattern.as_str().into(),
    };
    let place = |(index, record): (usize, &'r TestRecord)| {
        let topic = record.topic.as_deref().map_or_else(|| default.clone(), Arc::from);
        let partition = TopicPartition::new(topic, record.partition.unwrap_or(0));
        Placed { partition, offset: record.offset.unwrap_or(index as i64), record }
    };
    let placed: Vec<Placed<'r>> = input.iter().enumerate().map(place).collect();
    let runs = placed.chunk_by(|one, next| one.partition == next.partition);
    runs.map(|run| Ok((run[0].partition.clone(), batch(run)?))).collect()
}

fn batch(run: &[Placed<'_>]) -> Result<SourceBatch> {
    let offsets: Vec<i64> = run.iter().map(|placed| placed.offset).collect();
    let records = || run.iter().map(|placed| placed.record);
    let time_us = |record: &TestRecord| record.timestamp_ms.unwrap_or(0).saturating_mul(1_000);
    let times = TimestampMicrosecondArray::from_iter_values(records().map(time_us));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(records().map(|record| record.key.as_deref()).collect::<BinaryArray>()),
        Arc::new(records().map(|record| record.value.as_deref()).collect::<BinaryArray>()),
        Arc::new(StringArray::from_iter_values(run.iter().map(|placed| &placed.partition.topic))),
        Arc::new(Int32Array::from_iter_values(run.iter().map(|placed| placed.partition.partition))),
        Arc::new(Int64Array::from(offsets.clone())),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Int32Array::from_value(TIMESTAMP_OF_PRODUCER, run.len())),
        Arc::new(headers(run)?),
    ];
    Ok(SourceBatch { records: RecordBatch::try_new(source::schema(), columns)?, offsets })
}

fn headers(run: &[Placed<'_>]) -> Result<ListArray> {
    let schema = source::schema();
    let DataType::List(element) = schema.field_with_name("headers")?.data_type() else {
        anyhow::bail!("headers are a list")
    };
    let DataType::Struct(fields) = element.data_type() else {
        anyhow::bail!("a header is a struct")
    };
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    for (name, value) in run.iter().flat_map(|placed| &placed.record.headers) {
        names.append_value(name);
        values.append_value(value);
    }
    let entries: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let entries = StructArray::try_new(fields.clone(), entries, None)?;
    let ends = OffsetBuffer::from_lengths(run.iter().map(|placed| placed.record.headers.len()));
    Ok(ListArray::try_new(element.clone(), ends, Arc::new(entries), None)?)
}
