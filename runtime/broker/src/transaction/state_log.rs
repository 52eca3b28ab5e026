//! The log behind all transactional ids: partition 0 of `__transaction_state`.
//!
//! Every change of state is appended; a start reads the log from its beginning and has the state
//! again, since the last record of an id counts. As with `__consumer_offsets`, one partition where
//! Kafka has 50, and the log is kept short by writing the living state again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::record;
use super::state::Transaction;
use crate::log::batch_builder::BatchBuilder;
use crate::log::record_batch::Header;
use crate::log::records::{self, RecordView};
use crate::log::{AppendError, Isolation, Log};
use crate::topic::TRANSACTION_STATE;

/// Bytes per read while the log is loaded.
const LOAD_BYTES: usize = 1 << 20;
/// A log smaller than this is never rewritten.
const REWRITE_BYTES_MIN: u64 = 16 << 20;
/// A log this many times larger than what is alive is rewritten.
const REWRITE_FACTOR: u64 = 4;
/// What a record costs in the log beside its key and value: a batch of its own.
const RECORD_OVERHEAD_BYTES: u64 = 80;

#[derive(Debug)]
pub(super) struct StateLog {
    log: Log,
}

/// What the log held: the last word on every id.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) transactions: BTreeMap<String, Transaction>,
    /// Records that could not be read, as sentences.
    pub(super) skipped: Vec<String>,
}

impl StateLog {
    pub(super) fn new(log: Log) -> StateLog {
        StateLog { log }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Appends a state, or that the id is forgotten (None). Returns the offset behind it, for
    /// [`Log::durable`].
    pub(super) fn append(
        &self,
        now_ms: i64,
        id: &str,
        transaction: Option<&Transaction>,
    ) -> Result<i64, AppendError> {
        let mut batch = BatchBuilder::new();
        let value = transaction.map(record::encode_value);
        batch.push(now_ms, Some(&record::encode_key(id)), value.as_deref());
        self.log.append_internal(batch.build()).map(|appended| appended.end_offset)
    }

    /// Reads everything. Records of unknown kinds are skipped, so that a newer Kafka's log loads.
    pub(super) fn load(&self) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut offset = self.log.log_start_offset();
        while offset < self.log.high_watermark() {
            let fetched = self
                .log
                .read(offset, LOAD_BYTES, true, Isolation::ReadUncommitted)
                .with_context(|| format!("cannot read `{TRANSACTION_STATE}` at offset {offset}"))?;
            if fetched.records.is_empty() {
                break;
            }
            offset = loaded.take_batches(fetched.records)?;
        }
        Ok(loaded)
    }

    /// True when the log is much larger than `alive_bytes` of living state.
    pub(super) fn is_overgrown(&self, alive_bytes: u64) -> bool {
        let limit_bytes = REWRITE_BYTES_MIN.max(alive_bytes.saturating_mul(REWRITE_FACTOR));
        self.log.size_bytes() > limit_bytes
    }
}

/// Bytes that an id's last record takes in the log, about.
pub(super) fn record_bytes(id: &str, transaction: &Transaction) -> u64 {
    (id.len() + record::encode_value(transaction).len()) as u64 + RECORD_OVERHEAD_BYTES
}

impl Loaded {
    /// Applies whole batches; returns the offset after the last.
    fn take_batches(&mut self, mut batches: Bytes) -> Result<i64> {
        let mut next_offset = 0;
        while !batches.is_empty() {
            let header = Header::parse_whole(&batches)
                .map_err(|why| anyhow!("a damaged batch in `{TRANSACTION_STATE}`: {why}"))?;
            next_offset = header.next_offset();
            let batch = batches.split_to(header.size_bytes);
            if header.is_control() {
                continue;
            }
            let at = format!("{TRANSACTION_STATE}-0 from offset {}", header.base_offset);
            match records::payload(&header, &batch) {
                Ok(payload) => self.take_records(&payload, &at),
                Err(why) => self.skipped.push(format!("{at}: {why}")),
            }
        }
        Ok(next_offset)
    }

    fn take_records(&mut self, payload: &[u8], at: &str) {
        for record in records::iter(payload) {
            let taken = record.map_err(|why| anyhow!("{why}")).and_then(|it| self.take(&it));
            if let Err(error) = taken {
                self.skipped.push(format!("{at}: {error:#}"));
            }
        }
    }

    fn take(&mut self, record: &RecordView<'_>) -> Result<()> {
        let key = record.key.context("a record without a key")?;
        let Some(id) = record::decode_key(key)? else { return Ok(()) };
        match record.value {
            Some(value) => {
                self.transactions.insert(id, record::decode_value(value)?);
            }
            None => {
                self.transactions.remove(&id);
            }
        }
        Ok(())
    }
}
