//! From old segments to compacted ones, so that a crash at any moment leaves the old or the new.
//!
//! 1. The new segment is written as `<base offset>.log.cleaned` with its index files beside it, and
//!    synced.
//! 2. The file `compaction-swap` says which segments it replaces. Once it is durable the new one
//!    counts.
//! 3. The files take their names, the old ones go, and then `compaction-swap` goes.
//!
//! A start that finds `compaction-swap` does step 3; one that does not removes what ends in
//! `.cleaned`. Step 3 may be done any number of times.
//!
//! Readers that hold an old segment read on: its files are open, and stay so without a name.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::disk::{Disk, DiskFile, OpenHow};

use super::super::config::LogConfig;
use super::super::error::LogError;
use super::super::index::Index;
use super::super::record_batch::Header;
use super::super::segment::{
    self, Indexes, LOG, OFFSET_INDEX, Segment, TIME_INDEX, TRANSACTION_INDEX, file_path,
};
use super::super::shared::Shared;
use super::super::transaction_index::AbortedTransaction;

/// How the names of files end that do not count yet; Kafka's own loader removes them too.
pub(in super::super) const CLEANED_SUFFIX: &str = ".cleaned";
/// The order that is under way.
const ORDER_FILE: &str = "compaction-swap";
/// 100,000 segments and more.
const ORDER_BYTES_MAX: usize = 4 << 20;
const VERSION: &str = "1";
/// Written at once.
const BUFFER_BYTES: usize = 1 << 20;
/// The files of a segment; the log last, so that where it is in place the others are.
const SUFFIXES: [&str; 4] = [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX, LOG];

/// A compacted segment in the making.
pub(super) struct Cleaned {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    base_offset: i64,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Bytes in the file; more are in the buffer.
    written: u64,
    indexes: Indexes,
}

impl Cleaned {
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        base_offset: i64,
    ) -> Result<Cleaned, LogError> {
        // An earlier one that could not be removed would mix with ours.
        discard(&**disk, directory, base_offset);
        let path = cleaned_path(directory, base_offset, LOG);
        let file = disk
            .open(&path, OpenHow::CreateEmpty)
            .map_err(|error| LogError::io("cannot create", &path, error))?;
        Ok(Cleaned {
            disk: Arc::clone(disk),
            directory: directory.to_owned(),
            base_offset,
            file,
            buffer: Vec::new(),
            written: 0,
            indexes: Indexes::default(),
        })
    }

    fn path(&self, suffix: &str) -> PathBuf {
        cleaned_path(&self.directory, self.base_offset, suffix)
    }

    /// Adds a batch.
    pub(super) fn push(
        &mut self,
        header: &Header,
        batch: &[u8],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let position = self.written + self.buffer.len() as u64;
        if position + batch.len() as u64 > u64::from(u32::MAX) {
            let error = io::Error::other("a compacted segment of more than 4 GiB");
            return Err(LogError::io("cannot write", &self.path(LOG), error));
        }
        self.indexes.note(self.base_offset, header, position, config.index_interval_bytes);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(self.written, &mut [IoSlice::new(&self.buffer)])
            .map_err(|error| LogError::io("cannot write", &self.path(LOG), error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all of it durable, but for the names. Returns the size of the log. After an error
    /// nothing is left of it.
    pub(super) fn finish(&mut self, aborted: Vec<AbortedTransaction>) -> Result<u64, LogError> {
        self.indexes.aborted = aborted;
        let finished = self.finish_files();
        if finished.is_err() {
            self.discard();
        }
        finished.map(|()| self.written)
    }

    fn finish_files(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.file
            .sync_data()
            .map_err(|error| LogError::io("cannot sync", &self.path(LOG), error))?;
        self.indexes.push_largest();
        let contents = self.indexes.encode();
        for (content, suffix) in contents.iter().zip([OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX])
        {
            if suffix != TRANSACTION_INDEX || !content.is_empty() {
                segment::write_file(&*self.disk, &self.path(suffix), content, true)?;
            }
        }
        Ok(())
    }

    /// Removes what was written; what can't be removed now is at the next start.
    pub(super) fn discard(&self) {
        discard(&*self.disk, &self.directory, self.base_offset);
    }

    /// The finished segment, under the names that its files will have.
    fn into_segment(self) -> Result<Segment, LogError> {
        let open = |suffix| {
            let path = self.path(suffix);
            let opened = self.disk.open(&path, OpenHow::Read);
            opened.map_err(|error| LogError::io("cannot open", &path, error))
        };
        let (offsets_file, times_file) = (open(OFFSET_INDEX)?, open(TIME_INDEX)?);
        let name = |suffix| file_path(&self.directory, self.base_offset, suffix);
        let (offsets, times) = (self.indexes.offsets.len(), self.indexes.times.len());
        let disk = || Arc::clone(&self.disk);
        let indexes = Indexes {
            offsets: Index::in_open_file(disk(), name(OFFSET_INDEX), offsets, offsets_file),
            times: Index::in_open_file(disk(), name(TIME_INDEX), times, times_file),
            ..self.indexes
        };
        let path = file_path(&self.directory, self.base_offset, LOG);
        Ok(Segment::new(self.base_offset, path, self.file, self.written, indexes))
    }
}

impl Shared {
    /// Puts a finished segment in the place of a group. Does nothing when retention has removed one
    /// of the group meanwhile: the next pass sees what is left.
    pub(super) fn swap_in(&self, group: &[Arc<Segment>], cleaned: Cleaned) -> Result<(), LogError> {
        let _swap = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.segments();
        let first = segments.iter().position(|segment| Arc::ptr_eq(segment, &group[0]));
        let is_there = |at: usize| {
            let present = segments.iter().skip(at).zip(group);
            present.filter(|(one, other)| Arc::ptr_eq(one, other)).count() == group.len()
        };
        let Some(first) = first.filter(|first| is_there(*first)) else {
            cleaned.discard();
            return Ok(());
        };
        for segment in group {
            let indexes = segment.indexes();
            let pinned = indexes.offsets.pin().and_then(|()| indexes.times.pin());
            pinned
                .map_err(|error| LogError::io("cannot open indexes of", segment.path(), error))?;
        }
        let order = Order {
            size_bytes: cleaned.written,
            has_aborted: !cleaned.indexes.aborted.is_empty(),
            replaces: group.iter().map(|segment| segment.base_offset).collect(),
        };
        let new = Arc::new(cleaned.into_segment()?);
        self.give(&order)?;
        let finished = order.carry_out(&*self.disk, &self.directory);
        // From here on the new segment counts, whatever became of the names.
        self.change_segments(|segments| {
            drop(segments.splice(first..first + group.len(), [Arc::clone(&new)]));
        });
        finished.inspect_err(|error| self.end_compactions(error))
    }

    /// Makes the order durable. If that fails it may count or not, and only a start can tell: no
    /// more compactions until then, unless it can be taken back.
    fn give(&self, order: &Order) -> Result<(), LogError> {
        let path = self.directory.join(ORDER_FILE);
        let Err(error) = self.disk.write_small(&path, order.encode().as_bytes()) else {
            return Ok(());
        };
        let error = LogError::io("cannot write", &path, error);
        let taken_back = match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_directory(&self.directory),
        };
        match taken_back {
            Ok(()) => discard(&*self.disk, &self.directory, order.replaces[0]),
            Err(_) => self.end_compactions(&error),
        }
        Err(error)
    }

    fn end_compactions(&self, error: &LogError) {
        let _ = self.compaction_failure.set(Arc::from(error.to_string()));
    }
}

/// Step 2 of the module's list.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// Of the new log.
    size_bytes: u64,
    /// The new segment has a transaction index.
    has_aborted: bool,
    /// Base offsets, rising; the new segment has the first.
    replaces: Vec<i64>,
}

impl Order {
    fn encode(&self) -> String {
        let replaces: Vec<String> = self.replaces.iter().map(i64::to_string).collect();
        format!(
            "version {VERSION}\nsize {}\naborted {}\nreplaces {}\n",
            self.size_bytes,
            self.has_aborted,
            replaces.join(" ")
        )
    }

    fn decode(text: &str) -> Option<Order> {
        let mut lines = text.lines();
        if lines.next()?.strip_prefix("version ")? != VERSION {
            return None;
        }
        let size_bytes = lines.next()?.strip_prefix("size ")?.parse().ok()?;
        let has_aborted = lines.next()?.strip_prefix("aborted ")?.parse().ok()?;
        let bases = lines.next()?.strip_prefix("replaces ")?.split(' ').map(str::parse::<i64>);
        let replaces = bases.collect::<Result<Vec<_>, _>>().ok()?;
        let is_sound = replaces[0] >= 0 && replaces.is_sorted_by(|a, b| a < b);
        is_sound.then_some(Order { size_bytes, has_aborted, replaces })
    }

    /// Step 3. The caller knows that the new files are whole.
    fn carry_out(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let base_offset = self.replaces[0];
        for suffix in SUFFIXES {
            let (from, to) = (
                cleaned_path(directory, base_offset, suffix),
                file_path(directory, base_offset, suffix),
            );
            match disk.rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("cannot rename", &from, error));
                }
                _ => {}
            }
        }
        if !self.has_aborted {
            remove(disk, &file_path(directory, base_offset, TRANSACTION_INDEX))?;
        }
        for other in &self.replaces[1..] {
            for suffix in SUFFIXES {
                remove(disk, &file_path(directory, *other, suffix))?;
            }
        }
        let sync = || {
            let synced = disk.sync_directory(directory);
            synced.map_err(|error| LogError::io("cannot sync", directory, error))
        };
        sync()?;
        remove(disk, &directory.join(ORDER_FILE))?;
        sync()
    }

    /// True if the new log is there, under its old name or its new one.
    fn can_be_carried_out(&self, disk: &dyn Disk, directory: &Path) -> io::Result<bool> {
        let len = |path: &Path| match disk.open(path, OpenHow::Read) {
            Ok(file) => file.len().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let base_offset = self.replaces[0];
        let cleaned = len(&cleaned_path(directory, base_offset, LOG))?;
        let present = len(&file_path(directory, base_offset, LOG))?;
        Ok(cleaned.or(present) == Some(self.size_bytes))
    }
}

/// What a start does about a swap that was cut short. True if there was one to finish.
pub(in super::super) fn finish_interrupted(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<bool, LogError> {
    let path = directory.join(ORDER_FILE);
    let read = |error| LogError::io("cannot read", &path, error);
    let content = match disk.read_small(&path, ORDER_BYTES_MAX) {
        Ok(Some(content)) => content,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
        Err(error) => return Err(read(error)),
    };
    let order = String::from_utf8(content).ok().and_then(|text| Order::decode(&text));
    match order {
        Some(order) if order.can_be_carried_out(disk, directory).map_err(read)? => {
            order.carry_out(disk, directory).map(|()| true)
        }
        // Damaged, or of files that are not there: the old segments count.
        _ => remove(disk, &path).map(|()| false),
    }
}

fn cleaned_path(directory: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    file_path(directory, base_offset, &format!("{suffix}{CLEANED_SUFFIX}"))
}

fn discard(disk: &dyn Disk, directory: &Path, base_offset: i64) {
    for suffix in SUFFIXES {
        let _ = disk.remove_file(&cleaned_path(directory, base_offset, suffix));
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::io("cannot remove", path, error))
        }
        _ => Ok(()),
    }
}
