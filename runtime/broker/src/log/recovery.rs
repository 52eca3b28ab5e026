//! Opening a log: what lies in the folder becomes a log again, whatever the last process left
//! behind.
//!
//! 1. A compaction that had reached its turning point is finished. Unfinished and orphaned files go; segments below the log start offset go.
//! 2. Sealed segments are complete (a roll syncs them). Their indexes are checked, and made again
//!    from the records if they are missing or bad. Damage found in doing so is reported; nothing is
//!    cut out of the middle of a log.
//! 3. The last segment is read from the recovery point on, every checksum checked. It ends at the
//!    first batch that is torn, damaged or out of place; the file is cut there. If whole batches
//!    lie behind that place it is no torn write but damage: the bytes are kept beside the log in
//!    `<base offset>.damaged-<position>`.
//! 4. Producers come from the newest snapshot that holds, and the batches after it.
//!
//! What was done stands in [`Recovery`]; nothing is repaired in silence.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::{Disk, DiskFile, OpenHow};

use super::checkpoint::{Checkpoint, RecoveryPoint};
use super::config::LogConfig;
use super::error::LogError;
use super::index::{self, Index, IndexEntry, OffsetEntry, TimeEntry};
use super::producer_state::{CompletedTransaction, Producers};
use super::record_batch::{Header, Malformed};
use super::repair::{Recovery, Repair};
use super::scan::{LOOK_BYTES, Scan, Step};
use super::segment::{
    self, Indexes, LOG, OFFSET_INDEX, Segment, TIME_INDEX, TRANSACTION_INDEX, file_path,
};
use super::soundness::{ends_fit, has_batch_behind, next_offset_at};
use super::transaction_index::{self, AbortedTransaction, Loaded};
use super::{append, compaction, producer_snapshot, records};

/// Bytes copied at once when damaged ones are put aside.
const COPY_BYTES: usize = 1 << 20;

/// A log in parts.
pub(super) struct Opened {
    /// In the order of the base offsets, the active one last.
    pub segments: Vec<Arc<Segment>>,
    pub active: Arc<Segment>,
    pub producers: Producers,
    pub next_offset: i64,
    pub checkpoint: Checkpoint,
    pub recovery: Recovery,
}

/// Opens or creates the log in `directory`.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    directory: &Path,
    config: &LogConfig,
    was_clean: bool,
) -> Result<Opened, LogError> {
    let opener = Opener {
        disk,
        directory,
        config,
        now_ms: clock.now_ms(),
        was_clean,
        recovery: Recovery::default(),
    };
    opener.open()
}

/// The offsets of the snapshots in a folder, rising.
pub(super) fn snapshot_offsets(disk: &dyn Disk, directory: &Path) -> Result<Vec<i64>, LogError> {
    let entries = list(disk, directory)?;
    let offset = |name: &String| segment::base_offset_of(name, producer_snapshot::SUFFIX);
    let mut offsets: Vec<i64> = entries.iter().filter_map(offset).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>, LogError> {
    let entries =
        disk.list(directory).map_err(|error| LogError::io("cannot list", directory, error))?;
    Ok(entries.into_iter().filter(|entry| !entry.is_directory).map(|entry| entry.name).collect())
}

/// An index in its file, and its last entry.
type EndedIndex<E> = (Index<E>, Option<E>);

/// The work in hand.
struct Opener<'a> {
    disk: &'a Arc<dyn Disk>,
    directory: &'a Path,
    config: &'a LogConfig,
    now_ms: i64,
    was_clean: bool,
    recovery: Recovery,
}

/// Producers as they are before `offset`.
struct Replay {
    producers: Producers,
    offset: i64,
}

impl Opener<'_> {
    fn open(mut self) -> Result<Opened, LogError> {
        self.create_directory()?;
        if compaction::finish_interrupted(&**self.disk, self.directory)? {
            let path = self.directory.to_owned();
            self.recovery.repairs.push(Repair::CompactionFinished { path });
        }
        let mut checkpoint = self.load_checkpoint()?;
        let bases = self.clear_up(checkpoint.log_start_offset)?;
        let Some((last_base, sealed_bases)) = bases.split_last() else {
            return self.create(checkpoint);
        };
        checkpoint.log_start_offset = checkpoint.log_start_offset.max(bases[0]);

        let mut segments = Vec::with_capacity(bases.len());
        let mut transactions_unknown = false;
        for base in sealed_bases {
            let (segment, unknown) = self.open_sealed(*base)?;
            transactions_unknown |= unknown;
            segments.push(Arc::new(segment));
        }
        let (active, scan_from) = self.open_last(*last_base, checkpoint.recovery_point)?;
        let mut replay = self.load_producers(scan_from.1, transactions_unknown)?;
        for (segment, next_base) in segments.iter().zip(&bases[1..]) {
            if *next_base > replay.offset {
                self.replay_sealed(segment, &mut replay, transactions_unknown)?;
            }
        }
        self.replay_known(&active, &mut replay, scan_from)?;
        self.scan_last(&active, &mut replay, scan_from)?;
        self.remove_snapshots_above(replay.offset)?;
        if checkpoint.log_start_offset > replay.offset {
            checkpoint.log_start_offset = replay.offset; // the records above it were never synced
        }
        // Nothing of the last segment is compacted, whatever was cut off it.
        checkpoint.compacted_to = checkpoint.compacted_to.min(*last_base);
        checkpoint.recovery_point = checkpoint.recovery_point.filter(|point| {
            (point.segment_base_offset, point.position) == (*last_base, scan_from.0)
        });

        let active = Arc::new(active);
        segments.push(Arc::clone(&active));
        Ok(Opened {
            segments,
            active,
            producers: replay.producers,
            next_offset: replay.offset,
            checkpoint,
            recovery: self.recovery,
        })
    }

    fn create_directory(&self) -> Result<(), LogError> {
        if self.disk.list(self.directory).is_ok() {
            return Ok(());
        }
        let create = || {
            self.disk.create_directory(self.directory)?;
            match self.directory.parent() {
                Some(parent) => self.disk.sync_directory(parent),
                None => Ok(()),
            }
        };
        create().map_err(|error| LogError::io("cannot create", self.directory, error))
    }

    fn load_checkpoint(&mut self) -> Result<Checkpoint, LogError> {
        let path = Checkpoint::path(self.directory);
        let loaded = Checkpoint::load(&**self.disk, self.directory)
            .map_err(|error| LogError::io("cannot read", &path, error))?;
        if let Some(checkpoint) = loaded {
            return Ok(checkpoint);
        }
        if list(&**self.disk, self.directory)?.iter().any(|name| path.ends_with(name)) {
            self.recovery.repairs.push(Repair::CheckpointIgnored { path });
        }
        Ok(Checkpoint::default())
    }

    /// A log without a segment: new, or one whose first segment never became durable.
    fn create(self, mut checkpoint: Checkpoint) -> Result<Opened, LogError> {
        let next_offset = checkpoint.log_start_offset;
        checkpoint.recovery_point = None;
        let active = Segment::create(&**self.disk, self.directory, next_offset)?;
        self.disk
            .sync_directory(self.directory)
            .map_err(|error| LogError::io("cannot sync", self.directory, error))?;
        let active = Arc::new(active);
        Ok(Opened {
            segments: vec![Arc::clone(&active)],
            active,
            producers: Producers::default(),
            next_offset,
            checkpoint,
            recovery: self.recovery,
        })
    }

    /// Removes what does not belong and returns the base offsets of the segments, rising.
    fn clear_up(&mut self, log_start_offset: i64) -> Result<Vec<i64>, LogError> {
        let names = list(&**self.disk, self.directory)?;
        let base = |name: &String| segment::base_offset_of(name, LOG);
        let mut bases: Vec<i64> = names.iter().filter_map(base).collect();
        bases.sort_unstable();
        // A crash between the checkpoint of a deletion and the deletion itself.
        let behind = bases.partition_point(|base| *base <= log_start_offset);
        let kept = bases.split_off(behind.saturating_sub(1));
        for name in &names {
            let indexes = [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];
            let index_of = indexes.iter().find_map(|s| segment::base_offset_of(name, s));
            let log_of = segment::base_offset_of(name, LOG);
            let orphaned = index_of.or(log_of).is_some_and(|b| kept.binary_search(&b).is_err());
            if orphaned || [".tmp", compaction::CLEANED_SUFFIX].iter().any(|s| name.ends_with(s)) {
                let path = self.directory.join(name);
                self.remove(&path)?;
                self.recovery.repairs.push(Repair::Removed { path });
            }
        }
        Ok(kept)
    }

    fn remove(&self, path: &Path) -> Result<(), LogError> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LogError::io("cannot remove", path, error))
            }
            _ => Ok(()),
        }
    }

    fn open_log_file(&self, base: i64) -> Result<(PathBuf, Arc<dyn DiskFile>, u64), LogError> {
        let path = file_path(self.directory, base, LOG);
        let open = || {
            let file = self.disk.open(&path, OpenHow::ReadWrite)?;
            let len = file.len()?;
            Ok((file, len))
        };
        let (file, len) =
            open().map_err(|error| LogError::io("cannot open segment", &path, error))?;
        Ok((path, file, len))
    }

    /// A segment that is not the last. The flag says that its aborted transactions are unknown.
    fn open_sealed(&mut self, base: i64) -> Result<(Segment, bool), LogError> {
        let (path, file, len) = self.open_log_file(base)?;
        let offsets = self.sealed_index::<OffsetEntry>(base, OFFSET_INDEX)?;
        let times = self.sealed_index::<TimeEntry>(base, TIME_INDEX)?;
        let aborted = self.load_aborted(base)?;
        if let (Some((offsets, last)), Some((times, largest)), Some(aborted)) =
            (offsets, times, &aborted)
            && last.is_none_or(|entry| u64::from(entry.position) < len)
        {
            let aborted = aborted.clone();
            let indexes = Indexes { offsets, times, aborted, largest, ..Indexes::default() };
            let segment = Segment::new(base, path.clone(), Arc::clone(&file), len, indexes);
            if ends_fit(&segment, last, largest)? {
                return Ok((segment, false));
            }
        }
        let segment = Segment::new(base, path, file, len, Indexes::default());
        let has_markers = self.rebuild_sealed(&segment)?;
        Ok((segment, has_markers || aborted.is_none()))
    }

    /// Makes the indexes of a sealed segment from its records. True when it holds markers.
    fn rebuild_sealed(&mut self, segment: &Segment) -> Result<bool, LogError> {
        let mut has_markers = false;
        let mut scan = Scan::new(segment.file(), 0, segment.size_bytes(), None);
        let interval = self.config.index_interval_bytes;
        let mut next_offset = segment.base_offset;
        loop {
            match scan.next().map_err(|e| LogError::io("cannot read", segment.path(), e))? {
                Step::Batch { position, header, .. } => {
                    let relative = header.last_offset() - segment.base_offset;
                    if header.base_offset < next_offset || relative > i64::from(i32::MAX) {
                        let why = Malformed::Offset(header.base_offset);
                        let path = segment.path().to_owned();
                        self.recovery.repairs.push(Repair::Damaged { path, position, why });
                        break;
                    }
                    next_offset = header.next_offset();
                    has_markers |= header.is_control();
                    let mut indexes = segment.indexes_mut();
                    indexes.note(segment.base_offset, &header, position, interval);
                    self.recovery.bytes_scanned += header.size_bytes as u64;
                }
                Step::Bad { position, why } => {
                    let path = segment.path().to_owned();
                    self.recovery.repairs.push(Repair::Damaged { path, position, why });
                    break;
                }
                Step::End => break,
            }
        }
        segment.write_indexes(&**self.disk, self.directory, true)?;
        segment.use_index_files(self.disk, self.directory);
        for suffix in [OFFSET_INDEX, TIME_INDEX] {
            let path = file_path(self.directory, segment.base_offset, suffix);
            self.recovery.repairs.push(Repair::IndexRebuilt { path });
        }
        Ok(has_markers)
    }

    /// The index of a sealed segment and its last entry; None when the file is missing or bad.
    /// After a clean stop only its length and its end are looked at.
    fn sealed_index<E: IndexEntry>(
        &self,
        base: i64,
        suffix: &str,
    ) -> Result<Option<EndedIndex<E>>, LogError> {
        let path = file_path(self.directory, base, suffix);
        let bytes = match self.was_clean {
            true => index::file_bytes(&**self.disk, &path)
                .map_err(|error| LogError::io("cannot read", &path, error))?,
            false => self.load_index::<E>(base, suffix)?.map(|entries| entries.len() * E::BYTES),
        };
        let Some(bytes) = bytes.filter(|bytes| bytes.is_multiple_of(E::BYTES)) else {
            return Ok(None);
        };
        let index = Index::in_file(Arc::clone(self.disk), path.clone(), bytes / E::BYTES);
        let last = index.last().map_err(|error| LogError::io("cannot read", &path, error))?;
        Ok(Some((index, last)))
    }

    /// The entries of an index file; None when it is missing or bad.
    fn load_index<E: IndexEntry>(
        &self,
        base: i64,
        suffix: &str,
    ) -> Result<Option<Vec<E>>, LogError> {
        let path = file_path(self.directory, base, suffix);
        index::load(&**self.disk, &path).map_err(|error| LogError::io("cannot read", &path, error))
    }

    fn load_aborted(&self, base: i64) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        let path = file_path(self.directory, base, TRANSACTION_INDEX);
        let loaded = transaction_index::load(&**self.disk, &path)
            .map_err(|error| LogError::io("cannot read", &path, error))?;
        Ok(match loaded {
            Loaded::Absent => Some(Vec::new()),
            Loaded::Entries(aborted) => Some(aborted),
            Loaded::Bad => None,
        })
    }

    /// The last segment, and the position and offset from which it must be read: the recovery point
    /// if the files are those that it speaks of, else the beginning.
    fn open_last(
        &mut self,
        base: i64,
        point: Option<RecoveryPoint>,
    ) -> Result<(Segment, (u64, i64)), LogError> {
        let (path, file, len) = self.open_log_file(base)?;
        let point = point.filter(|p| p.segment_base_offset == base && p.position <= len);
        if let Some(point) = point {
            if let Some(indexes) = self.load_last_indexes(&point, &*file)? {
                let segment = Segment::new(base, path, file, len, indexes);
                return Ok((segment, (point.position, point.offset)));
            }
            let path = file_path(self.directory, base, OFFSET_INDEX);
            self.recovery.repairs.push(Repair::IndexRebuilt { path });
        }
        self.remove(&file_path(self.directory, base, TRANSACTION_INDEX))?;
        Ok((Segment::new(base, path, file, len, Indexes::default()), (0, base)))
    }

    /// The index files of the last segment as they were at the checkpoint; None when they are not.
    fn load_last_indexes(
        &self,
        point: &RecoveryPoint,
        log: &dyn DiskFile,
    ) -> Result<Option<Indexes>, LogError> {
        let base = point.segment_base_offset;
        let (Some(offsets), Some(times), Some(aborted)) = (
            self.load_index::<OffsetEntry>(base, OFFSET_INDEX)?,
            self.load_index::<TimeEntry>(base, TIME_INDEX)?,
            self.load_aborted(base)?,
        ) else {
            return Ok(None);
        };
        let last_position = offsets.last().map_or(0, |entry| u64::from(entry.position));
        let mut indexes = Indexes {
            largest: times.last().copied(),
            offsets: Index::Memory(offsets),
            times: Index::Memory(times),
            aborted,
            ..Indexes::default()
        };
        if Indexes::crc(&indexes.encode()) != point.index_crc || last_position > point.position {
            return Ok(None);
        }
        indexes.bytes_since_entry = point.position - last_position;
        let path = file_path(self.directory, base, LOG);
        let io = |error| LogError::io("cannot read", &path, error);
        let next_offset = match point.position {
            0 => Some(base),
            end => next_offset_at(log, last_position, end).map_err(io)?,
        };
        if next_offset != Some(point.offset) {
            return Ok(None);
        }
        if let Step::Batch { header, .. } =
            Scan::new(log, 0, point.position, Some(LOOK_BYTES)).next().map_err(io)?
        {
            indexes.first_timestamp_ms = Some(header.max_timestamp_ms);
        }
        Ok(Some(indexes))
    }

    /// The newest snapshot at or below `offset`, or nothing at the beginning of the log.
    fn load_producers(&mut self, offset: i64, from_the_start: bool) -> Result<Replay, LogError> {
        let offsets = snapshot_offsets(&**self.disk, self.directory)?;
        for at in offsets.into_iter().rev().filter(|at| *at <= offset && !from_the_start) {
            let path = producer_snapshot::path(self.directory, at);
            let bytes = self
                .disk
                .read_small(&path, producer_snapshot::FILE_BYTES_MAX)
                .map_err(|error| LogError::io("cannot read", &path, error))?;
            if let Some(producers) = bytes.and_then(|bytes| producer_snapshot::decode(&bytes)) {
                return Ok(Replay { producers, offset: at });
            }
            self.recovery.repairs.push(Repair::SnapshotIgnored { path });
        }
        Ok(Replay { producers: Producers::default(), offset: 0 })
    }

    /// Takes note of the batches of a sealed segment that are not in the snapshot.
    fn replay_sealed(
        &mut self,
        segment: &Arc<Segment>,
        replay: &mut Replay,
        index_aborted: bool,
    ) -> Result<(), LogError> {
        if index_aborted {
            segment.indexes_mut().aborted.clear();
        }
        let end = segment.size_bytes();
        self.replay(segment, replay, end, index_aborted)?;
        if index_aborted {
            let path = file_path(self.directory, segment.base_offset, TRANSACTION_INDEX);
            self.remove(&path)?;
            let content = transaction_index::encode(&segment.indexes().aborted);
            if !content.is_empty() {
                segment::write_file(&**self.disk, &path, &content, true)?;
            }
        }
        Ok(())
    }

    /// The same for the part of the last segment that needs no check.
    fn replay_known(
        &mut self,
        active: &Segment,
        replay: &mut Replay,
        (position, offset): (u64, i64),
    ) -> Result<(), LogError> {
        if replay.offset < offset {
            self.replay(active, replay, position, false)?;
        }
        replay.offset = offset;
        Ok(())
    }

    fn replay(
        &mut self,
        segment: &Segment,
        replay: &mut Replay,
        end: u64,
        index_aborted: bool,
    ) -> Result<(), LogError> {
        let position = segment.floor_position(replay.offset.max(segment.base_offset))?;
        let mut scan = Scan::new(segment.file(), position, end, None);
        loop {
            match scan.next().map_err(|e| LogError::io("cannot read", segment.path(), e))? {
                Step::Batch { header, bytes, .. } => {
                    self.recovery.bytes_scanned += header.size_bytes as u64;
                    if header.base_offset >= replay.offset {
                        let completed = replay.apply(&header, bytes, self.now_ms);
                        if index_aborted {
                            completed.iter().for_each(|c| append::note_aborted(segment, c));
                        }
                    }
                }
                Step::Bad { position, why } => {
                    let repair = Repair::Damaged { path: segment.path().to_owned(), position, why };
                    if !self.recovery.repairs.contains(&repair) {
                        self.recovery.repairs.push(repair);
                    }
                    return Ok(());
                }
                Step::End => return Ok(()),
            }
        }
    }

    /// Reads the last segment from the recovery point on, indexing and replaying, and cuts it where
    /// it stops being a log.
    fn scan_last(
        &mut self,
        active: &Segment,
        replay: &mut Replay,
        (position, offset): (u64, i64),
    ) -> Result<(), LogError> {
        let len = active.size_bytes();
        let mut end = position;
        let mut bad = None;
        replay.offset = offset;
        let mut scan = Scan::new(active.file(), position, len, None);
        loop {
            match scan.next().map_err(|e| LogError::io("cannot read", active.path(), e))? {
                Step::Batch { position, header, bytes } => {
                    if header.base_offset != replay.offset {
                        // The offset is not covered by the checksum; it must follow from the one
                        // before.
                        bad = Some(Malformed::Offset(header.base_offset));
                        break;
                    }
                    let interval = self.config.index_interval_bytes;
                    active.indexes_mut().note(active.base_offset, &header, position, interval);
                    if let Some(completed) = replay.apply(&header, bytes, self.now_ms) {
                        append::note_aborted(active, &completed);
                    }
                    end = position + header.size_bytes as u64;
                    self.recovery.bytes_scanned += header.size_bytes as u64;
                }
                Step::Bad { why, .. } => {
                    bad = Some(why);
                    break;
                }
                Step::End => break,
            }
        }
        if let Some(why) = bad {
            self.cut(active, end, len, replay.offset, why)?;
        }
        if end > position || bad.is_some() {
            // What a killed process wrote may still be in the page cache only.
            active.sync()?;
        }
        Ok(())
    }

    /// Ends the last segment at `end`.
    fn cut(
        &mut self,
        active: &Segment,
        end: u64,
        len: u64,
        next_offset: i64,
        why: Malformed,
    ) -> Result<(), LogError> {
        let path = active.path().to_owned();
        let io = |error| LogError::io("cannot cut", active.path(), error);
        let repair = if has_batch_behind(active.file(), end, len, next_offset).map_err(io)? {
            let aside = self.put_aside(active, end, len)?;
            Repair::TailPutAside { path, position: end, bytes: len - end, aside, why }
        } else {
            Repair::TornTail { path, position: end, bytes_dropped: len - end, why }
        };
        active.truncate(end).map_err(io)?;
        self.recovery.repairs.push(repair);
        Ok(())
    }

    /// Copies the bytes `from..to` of a segment into a file beside it.
    fn put_aside(&self, segment: &Segment, from: u64, to: u64) -> Result<PathBuf, LogError> {
        let suffix = format!("damaged-{from}");
        let aside = file_path(self.directory, segment.base_offset, &suffix);
        let copy = || {
            let file = self.disk.open(&aside, OpenHow::CreateEmpty)?;
            let mut position = from;
            while position < to {
                let mut buffer = Vec::new();
                let len = (to - position).min(COPY_BYTES as u64) as usize;
                segment.file().read_at(position, len, &mut buffer)?;
                if buffer.is_empty() {
                    break;
                }
                file.write_at(position - from, &mut [IoSlice::new(&buffer)])?;
                position += buffer.len() as u64;
            }
            file.sync_data()?;
            self.disk.sync_directory(self.directory)
        };
        copy().map_err(|error| LogError::io("cannot put damaged bytes into", &aside, error))?;
        Ok(aside)
    }

    /// Snapshots of a state that the log did not keep.
    fn remove_snapshots_above(&mut self, offset: i64) -> Result<(), LogError> {
        for at in snapshot_offsets(&**self.disk, self.directory)? {
            if at > offset {
                let path = producer_snapshot::path(self.directory, at);
                self.remove(&path)?;
                self.recovery.repairs.push(Repair::Removed { path });
            }
        }
        Ok(())
    }
}

impl Replay {
    /// Takes note of a stored batch. The time of the producer is now: it may well come back after
    /// our restart.
    fn apply(
        &mut self,
        header: &Header,
        batch: &[u8],
        now_ms: i64,
    ) -> Option<CompletedTransaction> {
        self.offset = header.next_offset();
        if !header.is_control() {
            self.producers.apply(header, now_ms);
            return None;
        }
        let marker = records::marker(header, batch).ok().flatten()?;
        self.producers.apply_marker(header, &marker, now_ms)
    }
}
