//! What compaction keeps of one record batch: the rules of Kafka's LogCleaner. Pure: nothing here
//! reads or writes files.
//!
//! - Of each key the record with the highest offset stays; records without a key go.
//! - A tombstone stays until `delete.retention.ms` after the first pass that kept it, so that a
//!   consumer that reads from the beginning in less than that time learns of it (KIP-534). The time
//!   stands in the batch.
//! - Records of aborted transactions go. Their marker, and any marker, goes once a pass has found no
//!   record of its transaction left, and as long after as tombstones.
//! - The last batch of each producer stays, empty if need be: its sequence number is how a retry is
//!   recognised after a start that has lost the snapshots.
//! - So does the batch in front of the active segment: a consumer that waits behind it can get past
//!   the gap.

use std::collections::{HashMap, HashSet};

use bytes::BytesMut;

use super::super::compression;
use super::super::producer_state::Producers;
use super::super::record_batch::{self, HEADER_BYTES, Header, Remainder};
use super::super::records::{self, RecordView};
use super::super::transaction_index::AbortedTransaction;
use super::offset_map::OffsetMap;

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// As it is.
    Whole,
    /// In this shape.
    Part(Vec<u8>),
    Nothing,
}

/// The aborted transactions of a log, for batches in the order of their offsets.
pub(super) struct Transactions {
    /// By producer.
    aborted: HashMap<i64, Vec<AbortedTransaction>>,
    /// Producers with records since their last marker.
    with_records: HashSet<i64>,
}

impl Transactions {
    pub(super) fn new(aborted: &[AbortedTransaction]) -> Transactions {
        let mut by_producer: HashMap<i64, Vec<AbortedTransaction>> = HashMap::new();
        for entry in aborted {
            by_producer.entry(entry.producer_id).or_default().push(*entry);
        }
        Transactions { aborted: by_producer, with_records: HashSet::new() }
    }

    /// True for the records of a transaction that was aborted.
    pub(super) fn is_aborted(&self, header: &Header) -> bool {
        self.aborted_at(header).is_some() && !header.is_control()
    }

    fn aborted_at(&self, header: &Header) -> Option<&AbortedTransaction> {
        let of_producer = self.aborted.get(&header.producer_id)?;
        let holds = |entry: &&AbortedTransaction| {
            (entry.first_offset..=entry.last_offset).contains(&header.base_offset)
        };
        of_producer.iter().find(holds).filter(|_| header.is_transactional())
    }

    fn note_records(&mut self, header: &Header) {
        if header.is_transactional() {
            self.with_records.insert(header.producer_id);
        }
    }

    /// True if records of the transaction that the marker ends were there.
    fn note_marker(&mut self, header: &Header) -> bool {
        self.with_records.remove(&header.producer_id)
    }
}

/// Where the last word of each producer stands: its last records, or else its epoch alone.
pub(super) struct LastBatches(HashMap<i64, (Option<i64>, i16)>);

impl LastBatches {
    pub(super) fn of(producers: &Producers) -> LastBatches {
        let last = producers.iter().map(|(producer_id, producer)| {
            let last_offset = producer.batches.back().map(|batch| batch.last_offset);
            (producer_id, (last_offset, producer.epoch))
        });
        LastBatches(last.collect())
    }

    fn holds(&self, header: &Header) -> bool {
        match self.0.get(&header.producer_id) {
            _ if !header.has_producer() => false,
            Some((Some(last_offset), _)) => header.last_offset() == *last_offset,
            Some((None, epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }
}

/// What a pass knows.
pub(super) struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub transactions: Transactions,
    pub last_batches: &'a LastBatches,
    /// The batch that ends here stays.
    pub active_base_offset: i64,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    /// Entries of the transaction index that stay, of the segments since it was last taken.
    pub aborted: Vec<AbortedTransaction>,
    pub records_removed: u64,
}

impl Filter<'_> {
    /// Judges the next batch.
    pub(super) fn keep(&mut self, header: &Header, batch: &[u8]) -> Kept {
        let kept = match header.is_control() {
            true => self.keep_of_marker(header, batch),
            false => self.keep_of_records(header, batch),
        };
        let stays = header.next_offset() == self.active_base_offset;
        match kept {
            Kept::Nothing if stays || self.last_batches.holds(header) => {
                if header.record_count == 0 { Kept::Whole } else { emptied(header, batch) }
            }
            kept => kept,
        }
    }

    fn keep_of_marker(&mut self, header: &Header, batch: &[u8]) -> Kept {
        if header.record_count == 0 {
            return Kept::Nothing; // emptied by an earlier pass
        }
        let Ok(Some(_)) = records::marker(header, batch) else { return Kept::Whole };
        if self.transactions.note_marker(header) {
            self.aborted.extend(self.transactions.aborted_at(header));
            return Kept::Whole;
        }
        match header.delete_horizon_ms() {
            Some(horizon_ms) if horizon_ms <= self.now_ms => {
                self.records_removed += 1;
                Kept::Nothing
            }
            Some(_) => Kept::Whole,
            None => self.with_horizon(header, batch),
        }
    }

    /// A marker whose records are gone, with the time from which it may go too.
    fn with_horizon(&self, header: &Header, batch: &[u8]) -> Kept {
        let Ok(payload) = records::payload(header, batch) else { return Kept::Whole };
        let rebuilt = rebuild(header, batch, &payload, self.new_horizon_ms(), |_| true);
        rebuilt.map_or(Kept::Whole, Kept::Part)
    }

    fn new_horizon_ms(&self) -> Option<i64> {
        Some(self.now_ms.saturating_add(self.delete_retention_ms))
    }

    fn keep_of_records(&mut self, header: &Header, batch: &[u8]) -> Kept {
        self.transactions.note_records(header);
        if header.record_count == 0 {
            return Kept::Nothing;
        }
        if self.transactions.is_aborted(header) {
            self.records_removed += u64::from(header.record_count.unsigned_abs());
            return Kept::Nothing;
        }
        let Ok(payload) = records::payload(header, batch) else { return Kept::Whole };
        let Some(survey) = self.survey(header, &payload) else { return Kept::Whole };
        self.records_removed += survey.removed;
        if survey.kept == 0 {
            return Kept::Nothing;
        }
        let needs_horizon = survey.tombstones && header.delete_horizon_ms().is_none();
        if survey.removed == 0 && !needs_horizon {
            return Kept::Whole;
        }
        let horizon_ms = if needs_horizon { self.new_horizon_ms() } else { None };
        let rebuilt =
            rebuild(header, batch, &payload, horizon_ms, |record| self.keeps(header, record));
        rebuilt.map_or(Kept::Whole, Kept::Part)
    }

    /// Counts without keeping: a batch may hold millions of records. None: not what the header
    /// says. Such a batch was stored before the topic was compacted; nobody can say what is in it.
    fn survey(&self, header: &Header, payload: &[u8]) -> Option<Survey> {
        let mut survey = Survey { kept: 0, removed: 0, tombstones: false };
        for record in records::iter(payload) {
            let record = record.ok()?;
            if self.keeps(header, &record) {
                survey.kept += 1;
                survey.tombstones |= record.value.is_none();
            } else {
                survey.removed += 1;
            }
        }
        let is_whole =
            i64::try_from(survey.kept + survey.removed) == Ok(header.record_count.into());
        is_whole.then_some(survey)
    }

    fn keeps(&self, header: &Header, record: &RecordView<'_>) -> bool {
        let Some(key) = record.key else { return false };
        let offset = header.base_offset + i64::from(record.offset_delta);
        if self.map.latest(key).is_some_and(|latest| offset < latest) {
            return false;
        }
        let is_past = || header.delete_horizon_ms().is_some_and(|until| until <= self.now_ms);
        record.value.is_some() || !is_past()
    }
}

/// The batch without its records.
fn emptied(header: &Header, batch: &[u8]) -> Kept {
    let (max_timestamp_ms, delete_horizon_ms) = (header.max_timestamp_ms, None);
    let remainder =
        Remainder { records: &[], record_count: 0, max_timestamp_ms, delete_horizon_ms };
    match batch.first_chunk::<HEADER_BYTES>() {
        Some(fixed) => Kept::Part(record_batch::rebuild(fixed, &remainder)),
        None => Kept::Whole,
    }
}

/// What is in a batch.
struct Survey {
    kept: u64,
    removed: u64,
    /// Among those kept.
    tombstones: bool,
}

/// The batch with those records that `keeps` picks and, if given, a delete horizon. None: it can't
/// be made.
fn rebuild(
    header: &Header,
    batch: &[u8],
    payload: &[u8],
    delete_horizon_ms: Option<i64>,
    keeps: impl Fn(&RecordView<'_>) -> bool,
) -> Option<Vec<u8>> {
    let mut plain = BytesMut::new();
    let mut record_count = 0;
    let mut max_timestamp_ms = i64::MIN;
    for record in records::iter(payload) {
        let record = record.ok()?;
        if !keeps(&record) {
            continue;
        }
        record_count += 1;
        let time_ms = header.base_timestamp_ms.wrapping_add(record.timestamp_delta_ms);
        max_timestamp_ms = max_timestamp_ms.max(time_ms);
        match delete_horizon_ms {
            None => plain.extend_from_slice(record.raw),
            Some(horizon_ms) => {
                records::put_moved(&mut plain, &record, time_ms.wrapping_sub(horizon_ms));
            }
        }
    }
    if header.is_log_append_time() {
        max_timestamp_ms = header.max_timestamp_ms;
    }
    let records = compression::compress(header.codec().ok()?, plain)?;
    let records = &records[..];
    let remainder = Remainder { records, record_count, max_timestamp_ms, delete_horizon_ms };
    Some(record_batch::rebuild(batch.first_chunk::<HEADER_BYTES>()?, &remainder))
}
