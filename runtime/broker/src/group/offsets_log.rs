//! The log behind all groups: partition 0 of `__consumer_offsets`.
//!
//! Every commit and every change of a group is appended; see `log::replay` for how it is read and
//! kept short. The records are Kafka's own.
//!
//! Offsets that are part of a transaction are in batches marked as such; they count from the commit
//! marker of their producer on, and not at all after an abort marker.
//!
//! One partition where Kafka has 50: those exist to share the load of many brokers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;

use super::member::SavedGroup;
use super::record::{self, CommittedOffset, Key};
use crate::log::batch_builder::{BatchBuilder, BatchProducer};
use crate::log::records::RecordView;
use crate::log::replay::{Replayed, is_overgrown, replay};
use crate::log::{AppendError, Log};
use crate::topic::CONSUMER_OFFSETS;

/// A record batch that we write is ended after so many bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// One record to write; `None` removes the key.
pub(crate) type Entry = (Key, Option<Bytes>);

/// Offsets that wait for the end of a transaction, by group and by topic and partition.
pub(crate) type PendingOffsets = BTreeMap<(String, (String, i32)), CommittedOffset>;

/// How a transaction with group offsets ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetsMarker {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) commit: bool,
    pub(crate) coordinator_epoch: i32,
}

#[derive(Debug)]
pub(crate) struct OffsetsLog {
    log: Log,
}

/// What the log held: the last word on every key.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) groups: BTreeMap<String, SavedGroup>,
    pub(crate) offsets: BTreeMap<String, BTreeMap<(String, i32), CommittedOffset>>,
    /// By producer id: offsets of transactions that haven't ended.
    pub(crate) pending: BTreeMap<i64, PendingOffsets>,
    /// Records that could not be read, as sentences.
    pub(crate) skipped: Vec<String>,
}

impl OffsetsLog {
    pub(crate) fn new(log: Log) -> OffsetsLog {
        OffsetsLog { log }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Appends and returns the offset after the last record, for [`Log::durable`]. Nothing to
    /// write: the end of the log.
    pub(crate) fn append(&self, now_ms: i64, entries: &[Entry]) -> Result<i64> {
        self.append_batches(encode_batches(now_ms, entries, None))
    }

    /// The same as part of a producer's transaction.
    pub(crate) fn append_in_transaction(
        &self,
        now_ms: i64,
        producer_id: i64,
        producer_epoch: i16,
        entries: &[Entry],
    ) -> Result<i64> {
        let (base_sequence, is_transactional) = (-1, true);
        let producer =
            BatchProducer { producer_id, producer_epoch, base_sequence, is_transactional };
        self.append_batches(encode_batches(now_ms, entries, Some(producer)))
    }

    /// Ends a producer's transaction in this log. Returns the offset behind the marker.
    pub(crate) fn append_marker(
        &self,
        now_ms: i64,
        marker: &OffsetsMarker,
    ) -> Result<i64, AppendError> {
        let batch = BatchBuilder::marker(
            marker.producer_id,
            marker.producer_epoch,
            marker.commit,
            marker.coordinator_epoch,
            now_ms,
        );
        self.log.append_internal(batch).map(|appended| appended.end_offset)
    }

    fn append_batches(&self, batches: Vec<Bytes>) -> Result<i64> {
        let mut end_offset = self.log.high_watermark();
        for batch in batches {
            let appended = self.log.append_internal(batch);
            let appended = appended.context("cannot write to `__consumer_offsets`")?;
            end_offset = appended.end_offset;
        }
        Ok(end_offset)
    }

    /// Reads everything. Records of unknown kinds are skipped, so that a newer Kafka's log loads.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        loaded.skipped = replay(&self.log, CONSUMER_OFFSETS, |replayed| loaded.take(replayed))?;
        Ok(loaded)
    }

    /// True when the log is much larger than `alive_bytes` of living state.
    pub(crate) fn is_overgrown(&self, alive_bytes: u64) -> bool {
        is_overgrown(&self.log, alive_bytes)
    }
}

impl Loaded {
    fn take(&mut self, replayed: Replayed<'_>) -> Result<()> {
        match replayed {
            Replayed::Record { record, producer_id: None } => self.take_record(&record),
            Replayed::Record { record, producer_id: Some(producer_id) } => {
                self.take_pending(producer_id, &record)
            }
            Replayed::Marker { producer_id, commit } => {
                self.end_transaction(producer_id, commit);
                Ok(())
            }
        }
    }

    fn take_pending(&mut self, producer_id: i64, record: &RecordView<'_>) -> Result<()> {
        let key = record.key.context("a record without a key")?;
        if let (Key::Offset { group, topic, partition }, Some(value)) =
            (Key::decode(key)?, record.value)
        {
            let committed = CommittedOffset::decode(value)?;
            let pending = self.pending.entry(producer_id).or_default();
            pending.insert((group, (topic, partition)), committed);
        }
        Ok(())
    }

    fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let ended = self.pending.remove(&producer_id).unwrap_or_default();
        for ((group, place), committed) in ended.into_iter().filter(|_| commit) {
            self.offsets.entry(group).or_default().insert(place, committed);
        }
    }

    fn take_record(&mut self, record: &RecordView<'_>) -> Result<()> {
        let key = record.key.context("a record without a key")?;
        match (Key::decode(key)?, record.value) {
            (Key::Offset { group, topic, partition }, Some(value)) => {
                let committed = CommittedOffset::decode(value)?;
                self.offsets.entry(group).or_default().insert((topic, partition), committed);
            }
            (Key::Offset { group, topic, partition }, None) => {
                if let Some(offsets) = self.offsets.get_mut(&group) {
                    offsets.remove(&(topic, partition));
                }
            }
            (Key::Group { group }, Some(value)) => {
                self.groups.insert(group, record::decode_group(value)?);
            }
            (Key::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (Key::Unknown { .. }, _) => {}
        }
        Ok(())
    }
}

/// Record batches of little more than [`BATCH_BYTES_MAX`] bytes, in order.
fn encode_batches(now_ms: i64, entries: &[Entry], producer: Option<BatchProducer>) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let begin = || producer.map_or_else(BatchBuilder::new, BatchBuilder::with_producer);
    let mut batch = begin();
    for (key, value) in entries {
        if batch.size_bytes() > BATCH_BYTES_MAX {
            batches.push(std::mem::replace(&mut batch, begin()).build());
        }
        batch.push(now_ms, Some(&key.encode()), value.as_deref());
    }
    if batch.record_count() > 0 {
        batches.push(batch.build());
    }
    batches
}
