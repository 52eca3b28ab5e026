//! One segment: a `.log` file of record batches one behind the other, and its indexes.
//!
//! The writer alone changes a segment, under the log's lock. Readers need no lock against it: they
//! read positions below the published size, which never change, and take the index lock only to
//! look up a place.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::{Disk, DiskFile, OpenHow};

use super::error::LogError;
use super::index::{Index, OffsetEntry, TimeEntry};
use super::record_batch::Header;
use super::transaction_index::{self, AbortedTransaction};

/// The files of a segment, by how their names end.
pub(super) const LOG: &str = "log";
pub(super) const OFFSET_INDEX: &str = "index";
pub(super) const TIME_INDEX: &str = "timeindex";
pub(super) const TRANSACTION_INDEX: &str = "txnindex";

/// `<base offset, 20 digits>.<suffix>`.
pub(super) fn file_path(directory: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    directory.join(format!("{base_offset:020}.{suffix}"))
}

/// The base offset in the name of a segment's file; None for any other name.
pub(super) fn base_offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    /// Offset of its first record, and its name.
    pub base_offset: i64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Bytes written; what lies beyond in the file is not part of the log.
    size_bytes: AtomicU64,
    indexes: RwLock<Indexes>,
}

/// What is known of the records without reading them.
#[derive(Debug)]
pub(super) struct Indexes {
    pub offsets: Index<OffsetEntry>,
    pub times: Index<TimeEntry>,
    /// In the order of their markers.
    pub aborted: Vec<AbortedTransaction>,
    /// The largest time so far and the last offset of the first batch that has it.
    pub largest: Option<TimeEntry>,
    /// Largest time in the first batch; rolling by time counts from it.
    pub first_timestamp_ms: Option<i64>,
    /// Bytes since the last entry of the offset index.
    pub bytes_since_entry: u64,
}

impl Default for Indexes {
    fn default() -> Indexes {
        Indexes {
            offsets: Index::Memory(Vec::new()),
            times: Index::Memory(Vec::new()),
            aborted: Vec::new(),
            largest: None,
            first_timestamp_ms: None,
            bytes_since_entry: 0,
        }
    }
}

impl Indexes {
    /// Takes note of a batch at `position`. The entries are those that Kafka's LogSegment.append
    /// makes.
    pub(super) fn note(
        &mut self,
        base_offset: i64,
        header: &Header,
        position: u64,
        interval_bytes: u32,
    ) {
        let relative_offset = (header.last_offset() - base_offset) as u32;
        let timestamp_ms = header.max_timestamp_ms;
        self.first_timestamp_ms.get_or_insert(timestamp_ms);
        // A batch that compaction has emptied has no record to be found by its time.
        if timestamp_ms >= 0
            && header.record_count > 0
            && self.largest.is_none_or(|largest| timestamp_ms > largest.timestamp_ms)
        {
            self.largest = Some(TimeEntry { timestamp_ms, relative_offset });
        }
        if self.bytes_since_entry > u64::from(interval_bytes) {
            self.offsets.push(OffsetEntry { relative_offset, position: position as u32 });
            self.push_largest();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size_bytes as u64;
    }

    /// Puts the largest time into the time index unless it is there; Kafka does so when a segment
    /// is rolled or closed.
    pub(super) fn push_largest(&mut self) {
        let Some(largest) = self.largest else { return };
        let last = match &self.times {
            Index::Memory(entries) => entries.last().copied(),
            Index::File { .. } => return,
        };
        if last.is_none_or(|last| largest.timestamp_ms > last.timestamp_ms) {
            self.times.push(largest);
        }
    }

    /// The contents of the three index files: `.index`, `.timeindex`, `.txnindex`.
    pub(super) fn encode(&self) -> [Vec<u8>; 3] {
        [self.offsets.encode(), self.times.encode(), transaction_index::encode(&self.aborted)]
    }

    /// One checksum over the three.
    pub(super) fn crc(files: &[Vec<u8>; 3]) -> u32 {
        files.iter().fold(0, |crc, file| crc32c::crc32c_append(crc, file))
    }
}

impl Segment {
    /// A new, empty segment. Its name is durable after the folder is synced.
    pub(super) fn create(
        disk: &dyn Disk,
        directory: &Path,
        base_offset: i64,
    ) -> Result<Segment, LogError> {
        let path = file_path(directory, base_offset, LOG);
        let file = disk
            .open(&path, OpenHow::CreateEmpty)
            .map_err(|error| LogError::io("cannot create segment", &path, error))?;
        Ok(Segment::new(base_offset, path, file, 0, Indexes::default()))
    }

    /// A segment over an open file.
    pub(super) fn new(
        base_offset: i64,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        size_bytes: u64,
        indexes: Indexes,
    ) -> Segment {
        let (size_bytes, indexes) = (AtomicU64::new(size_bytes), RwLock::new(indexes));
        Segment { base_offset, path, file, size_bytes, indexes }
    }

    /// The `.log` file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open `.log` file.
    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Bytes of records.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// The indexes, for reading.
    pub(super) fn indexes(&self) -> RwLockReadGuard<'_, Indexes> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The indexes, for the writer.
    pub(super) fn indexes_mut(&self) -> RwLockWriteGuard<'_, Indexes> {
        self.indexes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes batches at the end, in one call, and publishes them. After an error the size is as
    /// before and the file may hold a part.
    pub(super) fn append(
        &self,
        slices: &mut [IoSlice<'_>],
        batches: &[Header],
        interval_bytes: u32,
    ) -> io::Result<()> {
        let mut position = self.size_bytes();
        self.file.write_at(position, slices)?;
        let mut indexes = self.indexes_mut();
        for header in batches {
            indexes.note(self.base_offset, header, position, interval_bytes);
            position += header.size_bytes as u64;
        }
        drop(indexes);
        self.size_bytes.store(position, Ordering::Release);
        Ok(())
    }

    /// Forgets what lies behind `position` and cuts the file there, if the disk still lets us.
    pub(super) fn truncate(&self, position: u64) -> io::Result<()> {
        self.size_bytes.store(position, Ordering::Release);
        self.file.truncate(position)
    }

    /// Syncs the records.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|error| LogError::io("cannot sync", &self.path, error))
    }

    /// A place at or before the batch that holds `offset`.
    pub(super) fn floor_position(&self, offset: i64) -> Result<u64, LogError> {
        let relative = offset - self.base_offset;
        let floor = self
            .indexes()
            .offsets
            .floor(|entry| i64::from(entry.relative_offset) <= relative)
            .map_err(|error| LogError::io("cannot read the index of", &self.path, error))?;
        Ok(floor.map_or(0, |entry| u64::from(entry.position)))
    }

    /// A place at or before the first batch with a time at or after `timestamp_ms`.
    pub(super) fn floor_position_of_time(&self, timestamp_ms: i64) -> Result<u64, LogError> {
        let floor = self
            .indexes()
            .times
            .floor(|entry| entry.timestamp_ms < timestamp_ms)
            .map_err(|error| LogError::io("cannot read the index of", &self.path, error))?;
        match floor {
            Some(entry) => self.floor_position(self.base_offset + i64::from(entry.relative_offset)),
            None => Ok(0),
        }
    }

    /// The largest time of a record, and the last offset of its batch. None: no record has a time.
    pub(super) fn largest_timestamp(&self) -> Option<(i64, i64)> {
        let largest = self.indexes().largest?;
        Some((largest.timestamp_ms, self.base_offset + i64::from(largest.relative_offset)))
    }

    /// Writes the index files, beside the log. `sync` makes their contents durable, the names are
    /// the folder's matter. Returns the checksum of the contents.
    pub(super) fn write_indexes(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        sync: bool,
    ) -> Result<u32, LogError> {
        let mut indexes = self.indexes_mut();
        indexes.push_largest();
        let contents = indexes.encode();
        drop(indexes);
        for (content, suffix) in contents.iter().zip([OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX])
        {
            if suffix == TRANSACTION_INDEX && content.is_empty() {
                continue; // as Kafka: absent when nothing was aborted
            }
            let path = file_path(directory, self.base_offset, suffix);
            write_file(disk, &path, content, sync)?;
        }
        Ok(Indexes::crc(&contents))
    }

    /// Lets go of the indexes in memory: from now on the files are searched.
    pub(super) fn use_index_files(&self, disk: &Arc<dyn Disk>, directory: &Path) {
        let mut indexes = self.indexes_mut();
        let path = |suffix| file_path(directory, self.base_offset, suffix);
        let (offsets, times) = (indexes.offsets.len(), indexes.times.len());
        indexes.offsets = Index::in_file(Arc::clone(disk), path(OFFSET_INDEX), offsets);
        indexes.times = Index::in_file(Arc::clone(disk), path(TIME_INDEX), times);
    }

    /// Removes all files of the segment. Readers that hold it read on.
    pub(super) fn remove_files(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        for suffix in [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX] {
            let path = file_path(directory, self.base_offset, suffix);
            match disk.remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("cannot remove", &path, error)),
            }
        }
        Ok(())
    }
}

/// Replaces a file's content in place; for files that can be made again.
pub(super) fn write_file(
    disk: &dyn Disk,
    path: &Path,
    content: &[u8],
    sync: bool,
) -> Result<(), LogError> {
    let write = || {
        let file = disk.open(path, OpenHow::CreateEmpty)?;
        if !content.is_empty() {
            file.write_at(0, &mut [IoSlice::new(content)])?;
        }
        if sync { file.sync_data() } else { Ok(()) }
    };
    write().map_err(|error| LogError::io("cannot write", path, error))
}
