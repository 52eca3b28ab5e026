//! A topic at the end of a pipeline. When its records count is decided by the store that it shares
//! with the pipeline's other topics (`topic_store`).

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use async_trait::async_trait;
use gristmill_engine::config::RecordHeaders;
use gristmill_engine::dead_letter::Headers;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::plan::RecordValue;
use gristmill_engine::sink::{Provenance, Sink, SinkRows, SinkWriter};

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
    pub(crate) headers: SharedHeaders,
}

/// Headers of every record; absent: none are wanted.
#[derive(Clone)]
pub(crate) struct SharedHeaders(Option<Arc<RwLock<Arc<Headers>>>>);

/// Which generation made the record.
const GENERATION: &str = "gristmill.generation";
/// Begins the name of the header that holds a module's hash; the stage's name follows.
const MODULE_OF: &str = "gristmill.module.";

impl SharedHeaders {
    pub(crate) fn new(wanted: RecordHeaders) -> SharedHeaders {
        match wanted {
            RecordHeaders::None => SharedHeaders(None),
            RecordHeaders::Modules => SharedHeaders(Some(Arc::default())),
        }
    }

    fn made_by(&self, code: &Provenance) {
        let Some(shared) = &self.0 else { return };
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let mut headers = vec![(GENERATION.to_string(), text(&code.generation.to_string()))];
        for (stage, hash) in &code.modules {
            headers.push((format!("{MODULE_OF}{stage}"), text(hash)));
        }
        *shared.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(headers);
    }

    fn get(&self) -> Option<Arc<Headers>> {
        let shared = self.0.as_ref()?;
        Some(shared.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        self.store.cursors(self.output, partitions).await
    }

    async fn older(&self, partitions: &[TopicPartition]) -> Result<BTreeSet<TopicPartition>> {
        self.store.older(self.output, partitions).await
    }

    /// An offset of the group is its reader's to commit.
    async fn begin(&self, _: &Offsets) -> Result<()> {
        Ok(())
    }

    fn writer(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(KafkaSinkWriter {
            store: self.store.clone(),
            output: self.output,
            producer: self.store.topic(&self.topic)?,
            key: self.key,
            value: self.value,
            headers: self.headers.clone(),
            json: Vec::new(),
        }))
    }

    fn made_by(&self, code: &Arc<Provenance>) {
        self.headers.made_by(code);
    }
}

/// Sends the rows of one lane.
struct KafkaSinkWriter {
    store: Arc<TopicStore>,
    output: usize,
    producer: TopicProducer,
    key: bool,
    value: RecordValue,
    headers: SharedHeaders,
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
        let headers = self.headers.get();
        let producer = &self.producer;
        let send = |key: Option<&[u8]>, value: Option<&[u8]>| match &headers {
            Some(headers) => producer.send_with_headers(key, value, headers),
            None => producer.send(key, value),
        };
        match self.value {
            RecordValue::Column => {
                let last = rows.columns().last().context("a record needs a value column")?;
                let values = byte_column(last)?;
                for row in range {
                    send(key(row), values.get(row))?;
                }
            }
            RecordValue::Json => {
                let objects = RecordJson::new(rows, usize::from(self.key))?;
                for row in range {
                    self.json.clear();
                    objects.write(row, &mut self.json);
                    send(key(row), Some(&self.json))?;
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
