//! The log behind all groups: partition 0 of `__consumer_offsets`.
//!
//! Every commit and every change of a group is appended; a start reads the log from its beginning
//! and has the state again, since the last record of a key counts. Kafka compacts this topic. Here
//! the log is kept short another way: once it has outgrown the living state, that state is written
//! again at the end, synced, and all before it is dropped. The records stay Kafka's own.
//!
//! Offsets that are part of a transaction are in batches marked as such; they count from the commit
//! marker of their producer on, and not at all after an abort marker.
//!
//! One partition where Kafka has 50: those exist to share the load of many brokers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::member::SavedGroup;
use super::record::{self, CommittedOffset, Key};
use crate::log::batch_builder::{BatchBuilder, BatchProducer};
use crate::log::record_batch::Header;
use crate::log::records::{self, RecordView};
use crate::log::{AppendError, Isolation, Log};

/// Bytes per read while the log is loaded.
const LOAD_BYTES: usize = 1 << 20;
/// A record batch that we write is ended after so many bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A log smaller than this is never rewritten.
pub(crate) const REWRITE_BYTES_MIN: u64 = 16 << 20;
/// A log this many times larger than what is alive is rewritten.
const REWRITE_FACTOR: u64 = 4;

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
        let mut offset = self.log.log_start_offset();
        while offset < self.log.high_watermark() {
            let fetched = self
                .log
                .read(offset, LOAD_BYTES, true, Isolation::ReadUncommitted)
                .with_context(|| format!("cannot read `__consumer_offsets` at offset {offset}"))?;
            if fetched.records.is_empty() {
                break;
            }
            offset = loaded.take_batches(fetched.records)?;
        }
        Ok(loaded)
    }

    /// True when the log is much larger than `alive_bytes` of living state.
    pub(crate) fn is_overgrown(&self, alive_bytes: u64) -> bool {
        let size_bytes = self.log.size_bytes();
        size_bytes > REWRITE_BYTES_MIN.max(alive_bytes.saturating_mul(REWRITE_FACTOR))
    }
}

impl Loaded {
    /// Applies whole batches; returns the offset after the last.
    fn take_batches(&mut self, mut batches: Bytes) -> Result<i64> {
        let mut next_offset = 0;
        while !batches.is_empty() {
            let header = Header::parse_whole(&batches)
                .map_err(|why| anyhow!("a damaged batch in `__consumer_offsets`: {why}"))?;
            next_offset = header.next_offset();
            let batch = batches.split_to(header.size_bytes);
            let at = format!("__consumer_offsets-0 from offset {}", header.base_offset);
            if header.is_control() {
                match records::commits(&header, &batch) {
                    Ok(Some(commit)) => self.end_transaction(header.producer_id, commit),
                    Ok(None) => {}
                    Err(why) => self.skipped.push(format!("{at}: {why}")),
                }
                continue;
            }
            let producer_id = header.is_transactional().then_some(header.producer_id);
            match records::payload(&header, &batch) {
                Ok(payload) => self.take_records(&payload, producer_id, &at),
                Err(why) => self.skipped.push(format!("{at}: {why}")),
            }
        }
        Ok(next_offset)
    }

    fn take_records(&mut self, payload: &[u8], producer_id: Option<i64>, at: &str) {
        for record in records::iter(payload) {
            let record = record.map_err(|why| anyhow!("{why}"));
            let taken = record.and_then(|it| match producer_id {
                Some(producer_id) => self.take_pending(producer_id, &it),
                None => self.take(&it),
            });
            if let Err(error) = taken {
                self.skipped.push(format!("{at}: {error:#}"));
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

    fn take(&mut self, record: &RecordView<'_>) -> Result<()> {
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
