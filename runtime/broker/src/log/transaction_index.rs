//! The aborted transactions of a segment, in Kafka's `.txnindex` format: what read_committed
//! consumers leave out.
//!
//! ```text
//! 34 bytes an entry, big endian, in the order of the abort markers:
//! version i16 = 0 | producerId i64 | firstOffset i64 | lastOffset i64 (the marker's) | lastStableOffset i64
//! ```

use std::io;
use std::path::Path;

use crate::disk::Disk;

/// Size of an entry in the file.
const ENTRY_BYTES: usize = 34;
/// The only version of the entries.
const VERSION: i16 = 0;
/// Largest file that is read: some two million aborted transactions in one segment.
const FILE_BYTES_MAX: usize = 64 << 20;

/// One transaction that ended with an abort marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: i64,
    /// Its first record in this partition.
    pub first_offset: i64,
    /// The abort marker.
    pub last_offset: i64,
    /// The last stable offset at the time the marker was written.
    pub last_stable_offset: i64,
}

/// The bytes of a file with these entries.
pub(super) fn encode(aborted: &[AbortedTransaction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(aborted.len() * ENTRY_BYTES);
    for entry in aborted {
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        for number in
            [entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset]
        {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    bytes
}

/// Decodes a file. None: not a whole number of entries, another version, or entries out of order.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let mut aborted = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        if entry[..2] != VERSION.to_be_bytes() {
            return None;
        }
        let mut numbers = [0i64; 4];
        for (number, field) in numbers.iter_mut().zip(entry[2..].chunks_exact(8)) {
            *number = field.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        }
        let [producer_id, first_offset, last_offset, last_stable_offset] = numbers;
        aborted.push(AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        });
    }
    aborted.is_sorted_by_key(|entry| entry.last_offset).then_some(aborted)
}

/// What a file holds.
pub(super) enum Loaded {
    /// Kafka writes the file only when there is an aborted transaction.
    Absent,
    /// The entries.
    Entries(Vec<AbortedTransaction>),
    /// Not a transaction index.
    Bad,
}

/// Reads a file.
pub(super) fn load(disk: &dyn Disk, path: &Path) -> io::Result<Loaded> {
    match disk.read_small(path, FILE_BYTES_MAX) {
        Ok(None) => Ok(Loaded::Absent),
        Ok(Some(bytes)) => Ok(decode(&bytes).map_or(Loaded::Bad, Loaded::Entries)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Loaded::Bad),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_34_bytes_as_kafka_writes_it() {
        let entry = AbortedTransaction {
            producer_id: 1,
            first_offset: 2,
            last_offset: 3,
            last_stable_offset: 0x0405,
        };
        let bytes = encode(&[entry]);
        let mut expected = vec![0, 0];
        for number in [1u64, 2, 3, 0x0405] {
            expected.extend_from_slice(&number.to_be_bytes());
        }
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes).unwrap(), [entry]);
        assert!(decode(&bytes[..33]).is_none());
    }
}
