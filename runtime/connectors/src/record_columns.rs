//! Records into Arrow columns, straight from the fetch buffers: one copy per value, no allocation
//! per row.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_engine::offsets::TopicPartition;
use gristmill_engine::source;

use crate::message_queue::Message;

/// Spark's numbers for who set a record's time.
const TIMESTAMP_OF_PRODUCER: i32 = 0;
const TIMESTAMP_OF_BROKER: i32 = 1;
const TIMESTAMP_ABSENT: i32 = -1;

/// Makes batches of chosen columns of one partition.
pub(crate) struct RecordColumns {
    schema: SchemaRef,
    /// Columns that are the same in every row, grown to the largest batch so far and sliced.
    topic: StringArray,
    partition: Int32Array,
}

impl RecordColumns {
    /// `columns` are names of [`source::COLUMNS`]; `offset` is added if it is not among them.
    pub(crate) fn new(columns: &[&str]) -> Result<RecordColumns> {
        if let Some(unknown) = columns.iter().find(|name| !source::COLUMNS.contains(name)) {
            bail!("the source has no column `{unknown}`");
        }
        let all = source::schema();
        let wanted = |field: &&Arc<Field>| {
            field.name() == "offset" || columns.contains(&field.name().as_str())
        };
        let fields: Vec<_> = all.fields().iter().filter(wanted).cloned().collect();
        Ok(RecordColumns {
            schema: Arc::new(Schema::new(fields)),
            topic: StringArray::new_null(0),
            partition: Int32Array::new_null(0),
        })
    }

    /// One row per message; `messages` are records, not events.
    pub(crate) fn batch(
        &mut self,
        at: &TopicPartition,
        messages: &[Message],
        offsets: &[i64],
    ) -> Result<RecordBatch> {
        let schema = self.schema.clone();
        let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
            Ok(match field.name().as_str() {
                "key" => Arc::new(binary(messages, Message::key)?),
                "value" => Arc::new(binary(messages, Message::value)?),
                "topic" => self.topic_column(at, messages.len()),
                "partition" => self.partition_column(at, messages.len()),
                "offset" => Arc::new(Int64Array::from(offsets.to_vec())),
                "timestamp" => Arc::new(timestamps(messages)),
                "timestampType" => Arc::new(timestamp_types(messages)),
                _ => Arc::new(headers(messages, field.data_type())?),
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    fn topic_column(&mut self, at: &TopicPartition, rows: usize) -> ArrayRef {
        if self.topic.len() < rows {
            self.topic = StringArray::from(vec![at.topic.as_ref(); rows]);
        }
        Arc::new(self.topic.slice(0, rows))
    }

    fn partition_column(&mut self, at: &TopicPartition, rows: usize) -> ArrayRef {
        if self.partition.len() < rows {
            self.partition = Int32Array::from(vec![at.partition; rows]);
        }
        Arc::new(self.partition.slice(0, rows))
    }
}

/// Keys or values. The buffers are made once, at their final size.
fn binary(messages: &[Message], part: impl Fn(&Message) -> Option<&[u8]>) -> Result<BinaryArray> {
    let total: usize = messages.iter().filter_map(&part).map(<[u8]>::len).sum();
    if i32::try_from(total).is_err() {
        bail!("{total} bytes in one batch, more than an Arrow column holds");
    }
    let mut values = MutableBuffer::with_capacity(total);
    let mut ends = Vec::with_capacity(messages.len() + 1);
    ends.push(0);
    let mut valid = BooleanBufferBuilder::new(messages.len());
    for message in messages {
        let bytes = part(message);
        valid.append(bytes.is_some());
        values.extend_from_slice(bytes.unwrap_or_default());
        ends.push(values.len() as i32);
    }
    let nulls = NullBuffer::new(valid.finish());
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let ends = OffsetBuffer::new(ends.into());
    Ok(BinaryArray::try_new(ends, Buffer::from(values), nulls)?)
}

fn timestamps(messages: &[Message]) -> TimestampMicrosecondArray {
    let time_us = |message: &Message| Some(message.timestamp()?.0.saturating_mul(1_000));
    messages.iter().map(time_us).collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}

fn timestamp_types(messages: &[Message]) -> Int32Array {
    let kind = |message: &Message| match message.timestamp() {
        Some((_, true)) => TIMESTAMP_OF_BROKER,
        Some((_, false)) => TIMESTAMP_OF_PRODUCER,
        None => TIMESTAMP_ABSENT,
    };
    Int32Array::from_iter_values(messages.iter().map(kind))
}

/// An empty list for a record without headers.
fn headers(messages: &[Message], data_type: &DataType) -> Result<ListArray> {
    let DataType::List(element) = data_type else { bail!("headers are a list") };
    let DataType::Struct(fields) = element.data_type() else { bail!("a header is a struct") };
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    let mut lengths = Vec::with_capacity(messages.len());
    for message in messages {
        let mut count = 0;
        for (name, value) in message.headers() {
            names.append_value(name);
            values.append_option(value);
            count += 1;
        }
        lengths.push(count);
    }
    let entries: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let entries = StructArray::try_new(fields.clone(), entries, None)?;
    let ends = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(element.clone(), ends, Arc::new(entries), None)?)
}
