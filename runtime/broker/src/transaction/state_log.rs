//! The log behind all transactional ids: partition 0 of `__transaction_state`.
//!
//! Every change of state is appended; see `log::replay` for how it is read and kept short. As with
//! `__consumer_offsets`, one partition where Kafka has 50.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::record;
use super::state::Transaction;
use crate::log::batch_builder::BatchBuilder;
use crate::log::records::RecordView;
use crate::log::replay::{Replayed, is_overgrown, replay};
use crate::log::{AppendError, Log};
use crate::topic::TRANSACTION_STATE;

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
        loaded.skipped = replay(&self.log, TRANSACTION_STATE, |replayed| match replayed {
            Replayed::Record { record, .. } => loaded.take(&record),
            Replayed::Marker { .. } => Ok(()),
        })?;
        Ok(loaded)
    }

    /// True when the log is much larger than `alive_bytes` of living state.
    pub(super) fn is_overgrown(&self, alive_bytes: u64) -> bool {
        is_overgrown(&self.log, alive_bytes)
    }
}

/// Bytes that an id's last record takes in the log, about.
pub(super) fn record_bytes(id: &str, transaction: &Transaction) -> u64 {
    (id.len() + record::encode_value(transaction).len()) as u64 + RECORD_OVERHEAD_BYTES
}

impl Loaded {
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
