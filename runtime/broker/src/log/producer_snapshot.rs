//! The file `<offset>.snapshot`: the producers of a partition as they were before that offset, so
//! that recovery need not read the log from its beginning.
//!
//! Kafka's own format (ProducerStateManager, version 1) followed by what Kafka doesn't keep. Its
//! reader stops after the array and checksums to the end of the file, so it takes ours as its own.
//! All numbers are big endian.
//!
//! ```text
//! version i16 = 1 | crc u32, CRC-32C of all that follows | count i32 | count times:
//!   producerId i64 | epoch i16 | lastSequence i32 | lastOffset i64 | offsetDelta i32 | timestamp i64
//!   coordinatorEpoch i32 | currentTxnFirstOffset i64 (-1: none)
//! then ours, per producer in the same order: batches u8, that many times, oldest first:
//!   firstSequence i32 | lastSequence i32 | firstOffset i64 | lastOffset i64 | timestamp i64
//! ```
//!
//! Without our part (a file of Kafka's) only the last batch of each producer is known, as in Kafka.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::producer_state::{BATCHES_PER_PRODUCER_MAX, Producer, Producers, StoredBatch};

/// How the file names end.
pub(super) const SUFFIX: &str = "snapshot";
/// Largest file that is read: over a million producers.
pub(super) const FILE_BYTES_MAX: usize = 256 << 20;
const VERSION: i16 = 1;
const CRC_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;

/// The file of the state before `offset`.
pub(super) fn path(directory: &Path, offset: i64) -> PathBuf {
    directory.join(format!("{offset:020}.{SUFFIX}"))
}

/// The bytes of the file.
pub(super) fn encode(producers: &Producers) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let count = producers.iter().count();
    bytes.extend_from_slice(&(count as u32).to_be_bytes());
    for (producer_id, producer) in producers.iter() {
        encode_producer(producer_id, producer, &mut bytes);
    }
    for (_, producer) in producers.iter() {
        bytes.push(producer.batches.len() as u8);
        producer.batches.iter().for_each(|batch| encode_batch(batch, &mut bytes));
    }
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn encode_producer(producer_id: i64, producer: &Producer, bytes: &mut Vec<u8>) {
    let last = producer.batches.back();
    let last_sequence = last.map_or(-1, |batch| batch.last_sequence);
    let last_offset = last.map_or(-1, |batch| batch.last_offset);
    let offset_delta = last.map_or(0, |batch| (batch.last_offset - batch.first_offset) as i32);
    bytes.extend_from_slice(&producer_id.to_be_bytes());
    bytes.extend_from_slice(&producer.epoch.to_be_bytes());
    bytes.extend_from_slice(&last_sequence.to_be_bytes());
    bytes.extend_from_slice(&last_offset.to_be_bytes());
    bytes.extend_from_slice(&offset_delta.to_be_bytes());
    bytes.extend_from_slice(&producer.last_seen_ms.to_be_bytes());
    bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
    bytes.extend_from_slice(&producer.transaction_first_offset.unwrap_or(-1).to_be_bytes());
}

fn encode_batch(batch: &StoredBatch, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&batch.first_sequence.to_be_bytes());
    bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
    bytes.extend_from_slice(&batch.first_offset.to_be_bytes());
    bytes.extend_from_slice(&batch.last_offset.to_be_bytes());
    bytes.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
}

/// Reads a file. None: another version, a wrong checksum, or lengths that don't fit.
pub(super) fn decode(bytes: &[u8]) -> Option<Producers> {
    let mut reader = Reader(bytes);
    if reader.i16()? != VERSION {
        return None;
    }
    let crc = reader.i32()? as u32;
    if crc32c::crc32c(bytes.get(CRC_FROM..)?) != crc {
        return None;
    }
    let count = usize::try_from(reader.i32()?).ok()?;
    if reader.0.len() / ENTRY_BYTES < count {
        return None;
    }
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(decode_producer(&mut reader)?);
    }
    if !reader.0.is_empty() {
        for (_, producer) in &mut all {
            producer.batches = decode_batches(&mut reader)?;
        }
    }
    let mut producers = Producers::default();
    all.into_iter().for_each(|(producer_id, producer)| producers.restore(producer_id, producer));
    Some(producers)
}

fn decode_producer(reader: &mut Reader<'_>) -> Option<(i64, Producer)> {
    let producer_id = reader.i64()?;
    let epoch = reader.i16()?;
    let last_sequence = reader.i32()?;
    let last_offset = reader.i64()?;
    let offset_delta = reader.i32()?;
    let last_seen_ms = reader.i64()?;
    let coordinator_epoch = reader.i32()?;
    let transaction_first_offset = Some(reader.i64()?).filter(|offset| *offset >= 0);
    let mut batches = VecDeque::new();
    if last_sequence >= 0 {
        batches.push_back(StoredBatch {
            first_sequence: sequence_before(last_sequence, offset_delta),
            last_sequence,
            first_offset: last_offset.checked_sub(i64::from(offset_delta))?,
            last_offset,
            timestamp_ms: last_seen_ms,
        });
    }
    let producer =
        Producer { epoch, batches, last_seen_ms, coordinator_epoch, transaction_first_offset };
    Some((producer_id, producer))
}

fn decode_batches(reader: &mut Reader<'_>) -> Option<VecDeque<StoredBatch>> {
    let count = usize::from(reader.take(1)?[0]);
    if count > BATCHES_PER_PRODUCER_MAX {
        return None;
    }
    let mut batches = VecDeque::with_capacity(count);
    for _ in 0..count {
        batches.push_back(StoredBatch {
            first_sequence: reader.i32()?,
            last_sequence: reader.i32()?,
            first_offset: reader.i64()?,
            last_offset: reader.i64()?,
            timestamp_ms: reader.i64()?,
        });
    }
    Some(batches)
}

/// The sequence `delta` steps back; before 0 comes `i32::MAX`.
fn sequence_before(sequence: i32, delta: i32) -> i32 {
    let before = i64::from(sequence) - i64::from(delta);
    if before < 0 { (before + i64::from(i32::MAX) + 1) as i32 } else { before as i32 }
}

/// Takes numbers off the front of bytes that may end anywhere.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn producers() -> Producers {
        let mut producers = Producers::default();
        let batch = |n: i64| StoredBatch {
            first_sequence: n as i32,
            last_sequence: n as i32,
            first_offset: n,
            last_offset: n,
            timestamp_ms: 1000 + n,
        };
        let busy = Producer {
            epoch: 3,
            batches: (0..5).map(batch).collect(),
            last_seen_ms: 77,
            coordinator_epoch: -1,
            transaction_first_offset: Some(4),
        };
        producers.restore(9, busy.clone());
        let quiet = Producer { batches: VecDeque::new(), transaction_first_offset: None, ..busy };
        producers.restore(10, quiet);
        producers
    }

    #[test]
    fn a_snapshot_reads_back_whole() {
        assert_eq!(decode(&encode(&producers())).unwrap(), producers());
        assert_eq!(decode(&encode(&Producers::default())).unwrap(), Producers::default());
    }

    #[test]
    fn the_front_is_kafkas_and_reads_without_our_part() {
        let ours = encode(&producers());
        let kafkas_len = 10 + 2 * ENTRY_BYTES;
        assert_eq!(ours[..2], [0, 1]);
        assert_eq!(ours[6..10], [0, 0, 0, 2]);
        assert_eq!(ours[10..18], 9i64.to_be_bytes());
        assert_eq!(ours[18..20], [0, 3]);
        assert_eq!(ours[20..24], 4i32.to_be_bytes(), "last sequence");
        assert_eq!(ours[24..32], 4i64.to_be_bytes(), "last offset");
        assert_eq!(ours[32..36], 0i32.to_be_bytes(), "offset delta");
        assert_eq!(ours[36..44], 77i64.to_be_bytes(), "timestamp");
        assert_eq!(ours[44..48], (-1i32).to_be_bytes(), "coordinator epoch");
        assert_eq!(ours[48..56], 4i64.to_be_bytes(), "first offset of the transaction");

        let mut kafkas = ours[..kafkas_len].to_vec();
        let crc = crc32c::crc32c(&kafkas[CRC_FROM..]);
        kafkas[2..6].copy_from_slice(&crc.to_be_bytes());
        let read = decode(&kafkas).unwrap();
        let busy = read.iter().next().unwrap().1;
        assert_eq!(busy.batches.len(), 1);
        assert_eq!(busy.batches[0].first_offset, 4);
        assert_eq!(read.first_open_offset(), Some(4));
    }

    #[test]
    fn damage_and_cuts_are_noticed() {
        let bytes = encode(&producers());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_none(), "cut to {len}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_none(), "flipped at {at}");
        }
    }

    #[test]
    fn sequences_step_back_over_the_wrap() {
        assert_eq!(sequence_before(1, 3), i32::MAX - 1);
        assert_eq!(sequence_before(5, 3), 2);
    }
}
