//! What a partition knows of its idempotent and transactional producers (KIP-98): which batches
//! came last, so that a retry is not stored twice and a gap is refused, and which transactions are
//! open.
//!
//! Pure state: a decoded header goes in, a verdict comes out. The rules are those of Kafka's
//! ProducerAppendInfo and ProducerStateManager. One difference: the time of a producer's last batch
//! is the broker's, not the records', so that a producer that replays old records is not forgotten
//! between two batches.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::error::AppendError;
use super::record_batch::Header;

/// Batches remembered per producer: as many as a client may have in flight.
pub(super) const BATCHES_PER_PRODUCER_MAX: usize = 5;
/// "No sequence" in a producer's last batch.
const NO_SEQUENCE: i32 = -1;

/// Where a batch of a producer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredBatch {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub first_offset: i64,
    pub last_offset: i64,
    /// The batch's `maxTimestamp`; under LogAppendTime a duplicate answers with it.
    pub timestamp_ms: i64,
}

/// One producer id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    /// Grows with each new incarnation; older ones are refused.
    pub epoch: i16,
    /// The last batches of this epoch, oldest first, at most [`BATCHES_PER_PRODUCER_MAX`].
    pub batches: VecDeque<StoredBatch>,
    /// When the broker last heard of it, ms since 1970.
    pub last_seen_ms: i64,
    /// Of the transaction coordinator that wrote the last marker; -1: none yet.
    pub coordinator_epoch: i32,
    /// The first record of the open transaction.
    pub transaction_first_offset: Option<i64>,
}

impl Producer {
    fn new(epoch: i16, now_ms: i64) -> Producer {
        Producer {
            epoch,
            batches: VecDeque::new(),
            last_seen_ms: now_ms,
            coordinator_epoch: -1,
            transaction_first_offset: None,
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it.
    New,
    /// It is there already.
    Duplicate(StoredBatch),
}

/// The end of a transaction as its marker says it (control record, KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub aborted: bool,
    pub coordinator_epoch: i32,
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompletedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The marker's offset.
    pub last_offset: i64,
    pub aborted: bool,
    /// The first offset of another open transaction, or the offset behind the marker.
    pub last_stable_offset: i64,
}

/// All producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offset → producer id of each open transaction.
    open: BTreeMap<i64, i64>,
}

impl Producers {
    /// Judges a client's batch before it is appended. Batches without a producer id are always new.
    pub(super) fn check(&self, header: &Header) -> Result<Verdict, AppendError> {
        if !header.has_producer() {
            return Ok(Verdict::New);
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            return Ok(Verdict::New); // any sequence may follow state that has expired (KIP-360)
        };
        if let Some(stored) = duplicate(producer, header) {
            return Ok(Verdict::Duplicate(stored));
        }
        check_epoch(producer, header)?;
        check_sequence(producer, header)?;
        if producer.transaction_first_offset.is_some() && !header.is_transactional() {
            return Err(AppendError::InvalidTransactionState { producer_id: header.producer_id });
        }
        Ok(Verdict::New)
    }

    /// Judges a marker of the transaction coordinator: neither producer nor coordinator may be of
    /// the past.
    pub(super) fn check_marker(&self, header: &Header, marker: &Marker) -> Result<(), AppendError> {
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Ok(()) };
        check_epoch(producer, header)?;
        let (current, got) = (producer.coordinator_epoch, marker.coordinator_epoch);
        if got < current {
            return Err(AppendError::CoordinatorFenced { current, got });
        }
        Ok(())
    }

    /// Takes note of a batch that is in the log, with its final offsets.
    pub(super) fn apply(&mut self, header: &Header, now_ms: i64) {
        if !header.has_producer() {
            return;
        }
        let producer = self.producer(header, now_ms);
        if producer.batches.len() == BATCHES_PER_PRODUCER_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(StoredBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp_ms: header.max_timestamp_ms,
        });
        if header.is_transactional() && producer.transaction_first_offset.is_none() {
            producer.transaction_first_offset = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    /// Takes note of a marker that is in the log. None: there was no transaction to end.
    pub(super) fn apply_marker(
        &mut self,
        header: &Header,
        marker: &Marker,
        now_ms: i64,
    ) -> Option<CompletedTransaction> {
        let producer = self.producer(header, now_ms);
        producer.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = producer.transaction_first_offset.take()?;
        self.open.remove(&first_offset);
        let last_offset = header.base_offset;
        Some(CompletedTransaction {
            producer_id: header.producer_id,
            first_offset,
            last_offset,
            aborted: marker.aborted,
            last_stable_offset: self.first_open_offset().unwrap_or(last_offset + 1),
        })
    }

    /// The first record of the oldest open transaction.
    pub(super) fn first_open_offset(&self) -> Option<i64> {
        self.open.first_key_value().map(|(first_offset, _)| *first_offset)
    }

    /// Forgets producers that were silent for `expiration_ms`, never one with an open transaction.
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer.transaction_first_offset.is_some()
                || now_ms.saturating_sub(producer.last_seen_ms) < expiration_ms
        });
    }

    /// Every producer, in the order of the ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        let mut all: Vec<_> = self.by_id.iter().map(|(id, producer)| (*id, producer)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
    }

    /// Puts back a producer from a snapshot.
    pub(super) fn restore(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.transaction_first_offset {
            self.open.insert(first_offset, producer_id);
        }
        self.by_id.insert(producer_id, producer);
    }

    /// The producer of a batch, brought to the epoch of the batch.
    fn producer(&mut self, header: &Header, now_ms: i64) -> &mut Producer {
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch, now_ms));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_seen_ms = now_ms;
        producer
    }
}

/// The stored batch with the same sequence range, if it is among the last ones of the same epoch.
fn duplicate(producer: &Producer, header: &Header) -> Option<StoredBatch> {
    if producer.epoch != header.producer_epoch {
        return None;
    }
    let (first, last) = (header.base_sequence, header.last_sequence());
    let same = |batch: &&StoredBatch| batch.first_sequence == first && batch.last_sequence == last;
    producer.batches.iter().find(same).copied()
}

fn check_epoch(producer: &Producer, header: &Header) -> Result<(), AppendError> {
    let (current, got) = (producer.epoch, header.producer_epoch);
    if got < current {
        return Err(AppendError::InvalidProducerEpoch {
            producer_id: header.producer_id,
            current,
            got,
        });
    }
    Ok(())
}

/// A new epoch begins at 0; else the sequence goes on where the last batch ended, 0 following
/// `i32::MAX`.
fn check_sequence(producer: &Producer, header: &Header) -> Result<(), AppendError> {
    let expected = if producer.epoch != header.producer_epoch {
        0
    } else {
        match producer.last_sequence() {
            i32::MAX => 0,
            last => last + 1,
        }
    };
    if header.base_sequence != expected {
        return Err(AppendError::OutOfOrderSequence {
            producer_id: header.producer_id,
            expected,
            got: header.base_sequence,
        });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record_batch::tests::header;
    use super::*;

    const PRODUCER: i64 = 7;

    /// A batch of `count` records of the producer at `base_offset`.
    fn batch(base_offset: i64, epoch: i16, base_sequence: i32, count: i32) -> Header {
        Header {
            base_offset,
            producer_id: PRODUCER,
            producer_epoch: epoch,
            base_sequence,
            last_offset_delta: count - 1,
            record_count: count,
            ..header()
        }
    }

    fn appended(batches: &[Header]) -> Producers {
        let mut producers = Producers::default();
        for batch in batches {
            assert_eq!(producers.check(batch).unwrap(), Verdict::New);
            producers.apply(batch, 0);
        }
        producers
    }

    fn transactional(mut header: Header) -> Header {
        header.attributes |= 1 << 4;
        header
    }

    fn marker(base_offset: i64, epoch: i16) -> Header {
        let mut header = batch(base_offset, epoch, -1, 1);
        header.attributes |= 1 << 4 | 1 << 5;
        header
    }

    #[test]
    fn each_of_the_last_five_batches_is_recognised_and_older_ones_are_out_of_order() {
        let batches: Vec<_> = (0..7).map(|n| batch(n * 10, 0, n as i32 * 10, 10)).collect();
        let producers = appended(&batches);
        for again in &batches[2..] {
            match producers.check(again).unwrap() {
                Verdict::Duplicate(stored) => assert_eq!(stored.first_offset, again.base_offset),
                Verdict::New => panic!("{again:?} taken for new"),
            }
        }
        for gone in &batches[..2] {
            let error = producers.check(gone).unwrap_err();
            assert!(matches!(error, AppendError::OutOfOrderSequence { expected: 70, .. }));
        }
    }

    #[test]
    fn a_gap_is_refused_and_so_is_an_overlap() {
        let producers = appended(&[batch(0, 0, 0, 10)]);
        for sequence in [9, 11, 5, 100] {
            let error = producers.check(&batch(10, 0, sequence, 10)).unwrap_err();
            assert!(matches!(error, AppendError::OutOfOrderSequence { expected: 10, .. }));
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let producers = appended(&[batch(0, 0, i32::MAX - 1, 2)]);
        assert_eq!(producers.check(&batch(2, 0, 0, 1)).unwrap(), Verdict::New);
        let inside = batch(0, 0, i32::MAX - 1, 4);
        assert_eq!(inside.last_sequence(), 1);
        let producers = appended(&[inside]);
        assert_eq!(producers.check(&batch(4, 0, 2, 1)).unwrap(), Verdict::New);
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_and_a_new_epoch_only_at_zero() {
        let producers = appended(&[batch(0, 3, 42, 1)]);
        let error = producers.check(&batch(1, 4, 43, 1)).unwrap_err();
        assert!(matches!(error, AppendError::OutOfOrderSequence { expected: 0, .. }));
        assert_eq!(producers.check(&batch(1, 4, 0, 1)).unwrap(), Verdict::New);
        let error = producers.check(&batch(1, 2, 0, 1)).unwrap_err();
        assert!(matches!(error, AppendError::InvalidProducerEpoch { current: 3, got: 2, .. }));
    }

    #[test]
    fn a_marker_ends_the_transaction_and_fences_what_is_older() {
        let mut producers = appended(&[transactional(batch(5, 0, 0, 2))]);
        producers.apply(&transactional(batch(7, 0, 2, 2)), 0);
        assert_eq!(producers.first_open_offset(), Some(5));
        let outside = producers.check(&batch(9, 0, 4, 1)).unwrap_err();
        assert!(matches!(outside, AppendError::InvalidTransactionState { .. }));

        let abort = Marker { aborted: true, coordinator_epoch: 2 };
        producers.check_marker(&marker(9, 0), &abort).unwrap();
        let ended = producers.apply_marker(&marker(9, 0), &abort, 0).unwrap();
        assert_eq!((ended.first_offset, ended.last_offset, ended.aborted), (5, 9, true));
        assert_eq!(ended.last_stable_offset, 10);
        assert_eq!(producers.first_open_offset(), None);

        let older = Marker { aborted: true, coordinator_epoch: 1 };
        let fenced = producers.check_marker(&marker(10, 0), &older).unwrap_err();
        assert!(matches!(fenced, AppendError::CoordinatorFenced { current: 2, got: 1 }));
        assert_eq!(producers.apply_marker(&marker(10, 0), &abort, 0), None);
    }

    #[test]
    fn a_silent_producer_is_forgotten_unless_its_transaction_is_open() {
        let mut producers = appended(&[batch(0, 0, 0, 1)]);
        let mut open = transactional(batch(1, 0, 0, 1));
        open.producer_id = 8;
        producers.apply(&open, 0);
        producers.expire(999, 1000);
        assert_eq!(producers.iter().count(), 2);
        producers.expire(1000, 1000);
        assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [8]);
    }
}
