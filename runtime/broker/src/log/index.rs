//! The sparse indexes of a segment, in Kafka's file formats. All numbers are big endian.
//!
//! ```text
//! .index      8 bytes an entry:  last offset of a batch - base offset  u32 | where that batch begins  u32
//! .timeindex 12 bytes an entry:  largest time so far, ms  i64 | last offset of its batch - base offset  u32
//! ```
//!
//! About one entry per `index.interval.bytes` of log. Both columns of `.index` and the times of
//! `.timeindex` rise strictly. The indexes of the active segment are in memory and reach the file
//! at a checkpoint, a roll and a close; those of sealed segments are read from the file where a
//! search needs them, so that memory does not grow with the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::disk::{Disk, DiskFile, OpenHow};

/// Largest index file that is read whole: entries of a full segment of 4 GiB and more.
pub(super) const INDEX_BYTES_MAX: usize = 64 << 20;

/// An entry of fixed size.
pub(super) trait IndexEntry: Copy + Send + Sync + std::fmt::Debug {
    /// Size in the file.
    const BYTES: usize;
    /// Appends the entry as it stands in the file.
    fn encode(&self, into: &mut Vec<u8>);
    /// Reads one entry from exactly `BYTES` bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// True if `self` may stand after `before`.
    fn rises_from(&self, before: &Self) -> bool;
}

/// One line of `.index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { relative_offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn rises_from(&self, before: &OffsetEntry) -> bool {
        self.relative_offset > before.relative_offset && self.position > before.position
    }
}

/// One line of `.timeindex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub timestamp_ms: i64,
    pub relative_offset: u32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> TimeEntry {
        let high = u64::from(u32_at(bytes, 0)) << 32;
        let timestamp_ms = (high | u64::from(u32_at(bytes, 4))) as i64;
        TimeEntry { timestamp_ms, relative_offset: u32_at(bytes, 8) }
    }

    fn rises_from(&self, before: &TimeEntry) -> bool {
        self.timestamp_ms > before.timestamp_ms && self.relative_offset >= before.relative_offset
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An index, in memory or in its file.
#[derive(Debug)]
pub(super) enum Index<E> {
    /// The active segment's.
    Memory(Vec<E>),
    /// A sealed segment's; opened by the first search.
    File { disk: Arc<dyn Disk>, path: PathBuf, count: usize, file: OnceLock<Arc<dyn DiskFile>> },
}

impl<E: IndexEntry> Index<E> {
    /// The index in a file that holds `count` entries.
    pub(super) fn in_file(disk: Arc<dyn Disk>, path: PathBuf, count: usize) -> Index<E> {
        Index::File { disk, path, count, file: OnceLock::new() }
    }

    /// The index in a file that is open already, whatever its name is now.
    pub(super) fn in_open_file(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        count: usize,
        file: Arc<dyn DiskFile>,
    ) -> Index<E> {
        Index::File { disk, path, count, file: OnceLock::from(file) }
    }

    /// Opens the file now, so that a later search finds this one although another may have taken
    /// its name.
    pub(super) fn pin(&self) -> io::Result<()> {
        self.get(0).map(|_| ())
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        match self {
            Index::Memory(entries) => entries.len(),
            Index::File { count, .. } => *count,
        }
    }

    /// Entry `at`, counted from 0.
    pub(super) fn get(&self, at: usize) -> io::Result<Option<E>> {
        match self {
            Index::Memory(entries) => Ok(entries.get(at).copied()),
            Index::File { count, .. } if at >= *count => Ok(None),
            Index::File { disk, path, file, .. } => {
                let opened = match file.get() {
                    Some(opened) => opened,
                    None => {
                        let opened = disk.open(path, OpenHow::Read)?;
                        file.get_or_init(|| opened)
                    }
                };
                let mut bytes = Vec::with_capacity(E::BYTES);
                opened.read_at((at * E::BYTES) as u64, E::BYTES, &mut bytes)?;
                if bytes.len() < E::BYTES {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Some(E::decode(&bytes)))
            }
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> io::Result<Option<E>> {
        match self.len() {
            0 => Ok(None),
            len => self.get(len - 1),
        }
    }

    /// The last entry for which `below` holds; `below` must hold for a front part of the entries
    /// and no other.
    pub(super) fn floor(&self, below: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        let (mut low, mut high) = (0, self.len());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)? {
                Some(entry) if below(&entry) => {
                    found = Some(entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }

    /// Adds an entry at the end. Only the index of an active segment grows.
    pub(super) fn push(&mut self, entry: E) {
        match self {
            Index::Memory(entries) => entries.push(entry),
            Index::File { .. } => debug_assert!(false, "a sealed segment's index never grows"),
        }
    }

    /// The bytes of the file, when the entries are in memory.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Index::Memory(entries) = self {
            bytes.reserve_exact(entries.len() * E::BYTES);
            entries.iter().for_each(|entry| entry.encode(&mut bytes));
        }
        bytes
    }
}

/// Decodes the bytes of an index file. None: not a whole number of entries, or entries that don't
/// rise.
pub(super) fn decode_all<E: IndexEntry>(bytes: &[u8]) -> Option<Vec<E>> {
    if !bytes.len().is_multiple_of(E::BYTES) {
        return None;
    }
    let entries: Vec<E> = bytes.chunks_exact(E::BYTES).map(E::decode).collect();
    entries.windows(2).all(|pair| pair[1].rises_from(&pair[0])).then_some(entries)
}

/// Reads an index file whole. `Ok(None)`: absent, or its bytes are no index.
pub(super) fn load<E: IndexEntry>(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<E>>> {
    match disk.read_small(path, INDEX_BYTES_MAX) {
        Ok(bytes) => Ok(bytes.and_then(|bytes| decode_all(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

/// The length of an index file; None: absent.
pub(super) fn file_bytes(disk: &dyn Disk, path: &Path) -> io::Result<Option<usize>> {
    match disk.open(path, OpenHow::Read) {
        Ok(file) => Ok(usize::try_from(file.len()?).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_in_the_file_as_kafka_writes_them() {
        let mut bytes = Vec::new();
        OffsetEntry { relative_offset: 0x0102_0304, position: 0x0506_0708 }.encode(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.clear();
        TimeEntry { timestamp_ms: 0x0102_0304_0506_0708, relative_offset: 9 }.encode(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
        assert_eq!(TimeEntry::decode(&bytes).timestamp_ms, 0x0102_0304_0506_0708);
    }

    #[test]
    fn a_file_of_zeros_or_of_half_an_entry_is_no_index() {
        assert!(decode_all::<OffsetEntry>(&[0; 16]).is_none());
        assert!(decode_all::<OffsetEntry>(&[0; 12]).is_none());
        assert!(decode_all::<TimeEntry>(&[0; 24]).is_none());
        assert_eq!(decode_all::<TimeEntry>(&[]).unwrap().len(), 0);
    }

    #[test]
    fn floor_finds_the_last_entry_below() {
        let entries =
            (1..=5).map(|n| OffsetEntry { relative_offset: n * 10, position: n }).collect();
        let index = Index::Memory(entries);
        let floor =
            |offset| index.floor(|entry: &OffsetEntry| entry.relative_offset <= offset).unwrap();
        assert_eq!(floor(9), None);
        assert_eq!(floor(10).unwrap().position, 1);
        assert_eq!(floor(39).unwrap().position, 3);
        assert_eq!(floor(99).unwrap().position, 5);
    }
}
