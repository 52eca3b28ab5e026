//! A topic at the end of a pipeline. When its records count is decided by the store that it shares
//! with the pipeline's other topics (`topic_store`).

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use async_trait::async_trait;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::plan::RecordValue;
use gristmill_engine::sink::{Sink, SinkRows, SinkWriter};

use crate::kafka_producer::TopicProducer;
use crate::record_json::RecordJson;
use crate::topic_store::TopicStore;

/// One topic of a store.
pub(crate) struct KafkaSink {
    pub(crate) store: Arc<TopicStore>,
    /// Which output of the store this is.
    pub(crate) output: usize,
    pub(crate) topic: String,
    /// The first column of the rows is the record's key.
    pub(crate) key: bool,
    /// What the columns after the key become.
    pub(crate) value: RecordValue,
}

#[async_trait]
impl Sink for KafkaSink {
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        self.store.cursors(self.output, partitions).await
    }

    fn writer(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(KafkaSinkWriter {
            store: self.store.clone(),
            output: self.output,
            producer: self.store.topic(&self.topic)?,
            key: self.key,
            value: self.value,
            json: Vec::new(),
        }))
    }
}

/// Sends the rows of one lane.
struct KafkaSinkWriter {
    store: Arc<TopicStore>,
    output: usize,
    producer: TopicProducer,
    key: bool,
    value: RecordValue,
    /// One record's JSON, kept for its room.
    json: Vec<u8>,
}

impl SinkWriter for KafkaSinkWriter {
    fn write(&mut self, rows: &SinkRows) -> Result<()> {
        let range = 0..rows.rows.num_rows();
        self.store.sending(self.output, range.len() as u64)?;
        self.send(&rows.rows, range)
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
