//! One partition's log: records in, records out, and the promise that what was acknowledged is there after a crash.
//!
//! - [`Log::append`] checks record batches, gives them offsets and writes them to the page cache (`append`).
//! - [`Log::durable`] resolves when they are on the medium (`flusher`: one sync serves everybody who waits).
//! - [`Log::read`] gives stored batches back, byte for byte (`read`); [`Log::offset_for_timestamp`] finds a place (`lookup`).
//! - [`Log::open`] repairs what a crash has left behind and says so (`recovery`).
//!
//! The files are Kafka's: `docs/log-format.md` draws them. Invariants:
//! 1. Only the last segment may hold unsynced records: a roll syncs the old one first.
//! 2. A consumer sees records below the high watermark only. With [`Durability::Fsync`] that is what is synced, so that no
//!    consumer has seen what a power cut takes back, and its cursor never points past the end of the log.
//! 3. Offsets have no gap in the active segment; in sealed ones only compaction makes gaps.
//! 4. After a failed write or sync the log is read-only until it is opened again. A sync is never repeated.
//!
//! Not here: topics, quotas, and who may do what. Calls block on the disk, all but `durable`.

mod append;
pub mod batch_builder;
mod checkpoint;
pub mod compression;
mod config;
mod error;
mod flusher;
mod index;
mod lookup;
mod producer_snapshot;
mod producer_state;
mod read;
pub mod record_batch;
pub mod records;
mod recovery;
mod retention;
mod scan;
mod segment;
mod transaction_index;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fixture;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::disk::Disk;

use checkpoint::{Checkpoint, RecoveryPoint};
use producer_state::Producers;
use segment::Segment;

pub use append::Appended;
pub use config::{LogConfig, TimestampType};
pub use error::{AppendError, LogError, ReadError};
pub use flusher::{Durability, Flusher, FlusherConfig, FlusherHandle};
pub use read::{Fetched, Isolation};
pub use recovery::{Recovery, Repair};
pub use retention::Retained;
pub use transaction_index::AbortedTransaction;

/// Snapshots of the producers kept per log; the second is for the case that the first is damaged.
const SNAPSHOTS_KEPT: usize = 2;
/// How the name of a folder ends whose partition is deleted, until it is gone.
const DELETED_SUFFIX: &str = "-delete";

/// One partition's log. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

/// A producer as `DescribeProducers` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// -1: none.
    pub last_sequence: i32,
    /// When the broker last heard of it, ms since 1970.
    pub last_timestamp_ms: i64,
    /// -1: no marker so far.
    pub coordinator_epoch: i32,
    /// -1: no transaction open.
    pub transaction_start_offset: i64,
}

impl Log {
    /// Opens the log in `directory`, creating it when there is none, and repairs what a crash left behind.
    ///
    /// `was_clean` says that the broker stopped in good order: then indexes are trusted after a look at their ends. Without
    /// it they are read and checked. Records are scanned from the recovery point on in both cases.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        directory: PathBuf,
        config: LogConfig,
        flusher: FlusherHandle,
        was_clean: bool,
    ) -> Result<(Log, Recovery), LogError> {
        let opened = recovery::open(&disk, &*clock, &directory, &config, was_clean)?;
        let recovery = opened.recovery.clone();
        let shared = Shared::new(disk, clock, directory, config, flusher, opened);
        Ok((Log { shared: Arc::new(shared) }, recovery))
    }

    /// Checks a producer's records, assigns their offsets and writes them to the page cache. `records` is one or more
    /// record batches of format 2, one behind the other; all are appended or none.
    ///
    /// A batch that an idempotent producer sent before, if it is among its last 5, is answered with its first offsets and
    /// not written again.
    pub fn append(&self, records: Bytes) -> Result<Appended, AppendError> {
        self.shared.append(&records, append::Origin::Client)
    }

    /// The same for batches that the broker makes: control batches are allowed, sequence numbers not checked, and
    /// `max.message.bytes` does not apply.
    pub fn append_internal(&self, records: Bytes) -> Result<Appended, AppendError> {
        self.shared.append(&records, append::Origin::Broker)
    }

    /// Resolves when everything below `end_offset` ([`Appended::end_offset`]) is as durable as the flusher was told to
    /// make it. Err: it is not and will not be; whether the records survive is unknown.
    pub async fn durable(&self, end_offset: i64) -> Result<(), LogError> {
        self.shared.clone().durable(end_offset).await
    }

    /// Whole record batches, beginning with the one that holds `offset`: its first record may lie below, the client
    /// skips it. At most `max_bytes`, but always one batch when `min_one`. Empty at the end of what may be seen.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        isolation: Isolation,
    ) -> Result<Fetched, ReadError> {
        self.shared.read(offset, max_bytes, min_one, isolation)
    }

    /// Time and offset of the first record, in the order of the offsets, whose time is `timestamp_ms` or later.
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<(i64, i64)>, LogError> {
        self.shared.offset_for_timestamp(timestamp_ms)
    }

    /// Time and offset of the first record that has the largest time.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<(i64, i64)>, LogError> {
        self.shared.offset_of_max_timestamp()
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.shared.log_start_offset()
    }

    /// The first offset that a consumer can't see yet.
    pub fn high_watermark(&self) -> i64 {
        self.shared.high_watermark()
    }

    /// The offset of the next record. Above the high watermark while records wait for their sync.
    pub fn log_end_offset(&self) -> i64 {
        self.shared.log_end_offset()
    }

    /// The first offset that a read_committed consumer can't see yet: that of the oldest open transaction or the high
    /// watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.shared.last_stable_offset()
    }

    /// Changes whenever the high watermark moves, and when the log is closed or deleted; long polls wait on it.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.shared.high_watermark.subscribe()
    }

    /// Deletes the records below `offset` (-1: below the high watermark) and returns the new log start offset. Durable on
    /// return; the space comes back as whole segments fall below.
    pub fn delete_records_before(&self, offset: i64) -> Result<i64, LogError> {
        self.shared.delete_records_before(offset)
    }

    /// Deletes the segments that are too old or too many, and forgets producers that were long silent.
    pub fn apply_retention(&self) -> Result<Retained, LogError> {
        self.shared.apply_retention()
    }

    /// Bytes of records in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments().iter().map(|segment| segment.size_bytes()).sum()
    }

    /// The settings in force.
    pub fn config(&self) -> LogConfig {
        self.shared.config()
    }

    /// Replaces the settings.
    pub fn set_config(&self, config: LogConfig) {
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The producers that the log remembers, in the order of their ids.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        let Ok(writer) = self.shared.writer() else { return Vec::new() };
        let info = |(producer_id, producer): (i64, &producer_state::Producer)| ProducerInfo {
            producer_id,
            producer_epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp_ms: producer.last_seen_ms,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start_offset: producer.transaction_first_offset.unwrap_or(-1),
        };
        writer.producers.iter().map(info).collect()
    }

    /// Why the log takes no more records; None while it does.
    pub fn storage_failure(&self) -> Option<String> {
        self.shared.failure().map(|why| why.to_string())
    }

    /// Syncs and notes how far the log is good, so that the next [`Log::open`] reads only what comes after. Does nothing
    /// when nothing came since the last time.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        self.shared.checkpoint()
    }

    /// The folder of the partition.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Syncs, notes how far the log is good, and takes no more calls. Whoever waits is told.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.close()
    }

    /// Closes without syncing and removes the folder. A crash in between leaves a folder that [`remove_deleted`] clears.
    pub fn delete(&self) -> Result<(), LogError> {
        self.shared.delete()
    }
}

/// Removes the folders in `data_dir` of partitions whose deletion was cut short. Returns their names.
pub fn remove_deleted(disk: &dyn Disk, data_dir: &Path) -> Result<Vec<String>, LogError> {
    let entries =
        disk.list(data_dir).map_err(|error| LogError::io("cannot list", data_dir, error))?;
    let mut removed = Vec::new();
    for entry in entries {
        if entry.is_directory && entry.name.ends_with(DELETED_SUFFIX) {
            let path = data_dir.join(&entry.name);
            disk.remove_directory(&path)
                .map_err(|error| LogError::io("cannot remove", &path, error))?;
            removed.push(entry.name);
        }
    }
    Ok(removed)
}

/// What the clones of a [`Log`] share.
///
/// Order of the locks: `writer`, then `sync`, then one of the others; none of the others while taking those two.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    directory: PathBuf,
    flusher: FlusherHandle,
    config: RwLock<LogConfig>,
    /// In the order of the base offsets; the last is the active one; never empty.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// Held by whoever changes the log.
    writer: Mutex<Writer>,
    /// Held during a sync. The kernel reports a lost write to one caller only, so two must not sync at once.
    sync: Mutex<()>,
    log_start_offset: AtomicI64,
    log_end_offset: AtomicI64,
    high_watermark: watch::Sender<i64>,
    synced: watch::Sender<Synced>,
    unstable: Mutex<Unstable>,
    /// An append failed; what was written before can still be synced.
    write_failure: OnceLock<Arc<str>>,
    /// A sync failed; nothing unsynced counts any more.
    sync_failure: OnceLock<Arc<str>>,
    closed: AtomicBool,
    /// Queued at the flusher, so that it is not queued again.
    queued_now: AtomicBool,
    queued_later: AtomicBool,
}

/// What only the holder of the lock changes.
#[derive(Debug)]
struct Writer {
    active: Arc<Segment>,
    next_offset: i64,
    producers: Producers,
    /// As last stored.
    checkpoint: Checkpoint,
    /// When the active segment was made, for rolling by time if records carry none.
    active_since_ms: i64,
}

/// How far the log is on the medium.
#[derive(Clone, Copy, Debug)]
struct Synced {
    /// The first offset that is not.
    offset: i64,
    segment_base_offset: i64,
    /// Bytes of that segment that are.
    position: u64,
}

/// Transactions that read_committed consumers wait for.
#[derive(Debug, Default)]
struct Unstable {
    first_open_offset: Option<i64>,
    /// Ended by a marker that is not below the high watermark yet: (first offset, the marker's offset).
    ended: Vec<(i64, i64)>,
}

impl Shared {
    fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        directory: PathBuf,
        config: LogConfig,
        flusher: FlusherHandle,
        opened: recovery::Opened,
    ) -> Shared {
        let recovery::Opened { segments, active, producers, next_offset, checkpoint, .. } = opened;
        let first_open_offset = producers.first_open_offset();
        let synced = Synced {
            offset: next_offset,
            segment_base_offset: active.base_offset,
            position: active.size_bytes(),
        };
        let log_start_offset = checkpoint.log_start_offset;
        let active_since_ms = clock.now_ms();
        let writer = Writer { active, next_offset, producers, checkpoint, active_since_ms };
        Shared {
            disk,
            clock,
            directory,
            flusher,
            config: RwLock::new(config),
            segments: RwLock::new(Arc::new(segments)),
            writer: Mutex::new(writer),
            sync: Mutex::new(()),
            log_start_offset: AtomicI64::new(log_start_offset),
            log_end_offset: AtomicI64::new(next_offset),
            high_watermark: watch::Sender::new(next_offset),
            synced: watch::Sender::new(synced),
            unstable: Mutex::new(Unstable { first_open_offset, ended: Vec::new() }),
            write_failure: OnceLock::new(),
            sync_failure: OnceLock::new(),
            closed: AtomicBool::new(false),
            queued_now: AtomicBool::new(false),
            queued_later: AtomicBool::new(false),
        }
    }

    fn config(&self) -> LogConfig {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_segments(&self, segments: Vec<Arc<Segment>>) {
        debug_assert!(!segments.is_empty());
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }

    /// The writer's lock. A panic while it was held may have left half a change: the log stays shut then.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, LogError> {
        self.writer
            .lock()
            .map_err(|_| LogError::StorageFailed(Arc::from("an append was cut short by a panic")))
    }

    fn sync_lock(&self) -> MutexGuard<'_, ()> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    fn log_end_offset(&self) -> i64 {
        self.log_end_offset.load(Ordering::Acquire)
    }

    fn high_watermark(&self) -> i64 {
        *self.high_watermark.borrow()
    }

    fn last_stable_offset(&self) -> i64 {
        // The watermark first: a transaction that begins later begins above it.
        let high_watermark = self.high_watermark();
        let mut unstable = self.unstable.lock().unwrap_or_else(PoisonError::into_inner);
        unstable.ended.retain(|(_, marker_offset)| *marker_offset >= high_watermark);
        let ended = unstable.ended.iter().map(|(first_offset, _)| *first_offset).min();
        let first = [unstable.first_open_offset, ended].into_iter().flatten().min();
        first.map_or(high_watermark, |first| first.min(high_watermark))
    }

    fn failure(&self) -> Option<&Arc<str>> {
        self.sync_failure.get().or_else(|| self.write_failure.get())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.is_closed() { Err(LogError::Closed) } else { Ok(()) }
    }

    fn check_writable(&self) -> Result<(), LogError> {
        self.check_open()?;
        match self.failure() {
            Some(why) => Err(LogError::StorageFailed(Arc::clone(why))),
            None => Ok(()),
        }
    }

    async fn durable(self: Arc<Self>, end_offset: i64) -> Result<(), LogError> {
        if self.flusher.durability() == Durability::PageCache {
            // What was appended is in the page cache.
            return if end_offset <= self.log_end_offset() {
                Ok(())
            } else {
                self.check_writable()
            };
        }
        let mut synced = self.synced.subscribe();
        loop {
            if synced.borrow_and_update().offset >= end_offset {
                return Ok(());
            }
            if let Some(why) = self.sync_failure.get() {
                return Err(LogError::StorageFailed(Arc::clone(why)));
            }
            self.check_open()?;
            if end_offset > self.log_end_offset() {
                return Err(LogError::StorageFailed(Arc::from("the records were never written")));
            }
            self.ask_for_sync();
            if synced.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
    }

    /// Queues the log at the flusher unless it is.
    fn ask_for_sync(self: &Arc<Self>) {
        if !self.queued_now.swap(true, Ordering::AcqRel) {
            self.flusher.flush_now(Arc::clone(self) as Arc<dyn flusher::Flush>);
        }
    }

    /// After an append: a sync soon, or now if much has gathered.
    fn note_unsynced(self: &Arc<Self>, active: &Segment) {
        let synced = *self.synced.borrow();
        let unsynced_bytes = active.size_bytes().saturating_sub(synced.position);
        if unsynced_bytes > self.flusher.unsynced_bytes_max() {
            self.ask_for_sync();
        } else if self.flusher.durability() == Durability::Fsync
            && !self.queued_later.swap(true, Ordering::AcqRel)
        {
            self.flusher.flush_later(Arc::clone(self) as Arc<dyn flusher::Flush>);
        }
    }

    /// Publishes a successful sync. Called with the sync lock held.
    fn announce_synced(&self, now: Synced) {
        // Visible first: who is told that a record is durable may read it at once.
        if self.flusher.durability() == Durability::Fsync {
            self.raise_high_watermark(now.offset);
        }
        self.synced.send_if_modified(|synced| {
            let moved =
                now.offset > synced.offset || now.segment_base_offset > synced.segment_base_offset;
            if moved {
                *synced = now;
            }
            moved
        });
    }

    fn raise_high_watermark(&self, to: i64) {
        self.high_watermark.send_if_modified(|high_watermark| {
            let moved = to > *high_watermark;
            if moved {
                *high_watermark = to;
            }
            moved
        });
    }

    /// Syncs the active segment with the writer's lock held, so that nothing is appended meanwhile.
    fn sync_all(&self, writer: &mut Writer) -> Result<(), LogError> {
        let sync = self.sync_lock();
        if let Some(why) = self.sync_failure.get() {
            return Err(LogError::StorageFailed(Arc::clone(why)));
        }
        if self.synced.borrow().offset == writer.next_offset {
            return Ok(());
        }
        let result = writer.active.sync();
        match &result {
            Ok(()) => self.announce_synced(Synced {
                offset: writer.next_offset,
                segment_base_offset: writer.active.base_offset,
                position: writer.active.size_bytes(),
            }),
            Err(error) => {
                let _ = self.sync_failure.set(Arc::from(error.to_string()));
                drop(sync);
                self.fall_back(writer);
            }
        }
        result
    }

    /// After a failed sync: the kernel may have dropped the unsynced pages while the cache still shows them, so that a later
    /// recovery would take them for durable. They are cut off, unless durability was never promised.
    fn fall_back(&self, writer: &mut Writer) {
        if self.flusher.durability() == Durability::Fsync {
            let synced = *self.synced.borrow();
            if synced.segment_base_offset == writer.active.base_offset {
                let _ = writer.active.truncate(synced.position);
            }
            writer.next_offset = synced.offset;
            self.log_end_offset.store(synced.offset, Ordering::Release);
        }
        self.synced.send_modify(|_| ()); // wakes those who wait, to find the failure
    }

    fn checkpoint(&self) -> Result<(), LogError> {
        self.check_open()?;
        let mut writer = self.writer()?;
        self.store_checkpoint(&mut writer)
    }

    /// Syncs, then writes the indexes and producers of the active segment and the recovery point, unless they stand as they are.
    fn store_checkpoint(&self, writer: &mut Writer) -> Result<(), LogError> {
        self.sync_all(writer)?;
        if let Some(why) = self.failure() {
            return Err(LogError::StorageFailed(Arc::clone(why)));
        }
        let active = Arc::clone(&writer.active);
        let (offset, position) = (writer.next_offset, active.size_bytes());
        let stored = writer.checkpoint.recovery_point;
        let same = |point: RecoveryPoint| {
            (point.segment_base_offset, point.offset, point.position)
                == (active.base_offset, offset, position)
        };
        if stored.is_some_and(same) || (stored.is_none() && offset == 0) {
            return Ok(());
        }
        // These need no sync: the checkpoint holds a checksum of the indexes and the snapshot its own.
        let index_crc = active.write_indexes(&*self.disk, &self.directory, false)?;
        self.write_snapshot(writer, false)?;
        let segment_base_offset = active.base_offset;
        let recovery_point =
            Some(RecoveryPoint { segment_base_offset, offset, position, index_crc });
        writer.checkpoint.recovery_point = recovery_point;
        self.write_checkpoint(&writer.checkpoint)?;
        self.remove_old_snapshots()
    }

    fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        checkpoint.store(&*self.disk, &self.directory).map_err(|error| {
            LogError::io("cannot write", &Checkpoint::path(&self.directory), error)
        })
    }

    fn write_snapshot(&self, writer: &Writer, sync: bool) -> Result<(), LogError> {
        let path = producer_snapshot::path(&self.directory, writer.next_offset);
        let content = producer_snapshot::encode(&writer.producers);
        segment::write_file(&*self.disk, &path, &content, sync)
    }

    fn remove_old_snapshots(&self) -> Result<(), LogError> {
        let offsets = recovery::snapshot_offsets(&*self.disk, &self.directory)?;
        for offset in offsets.iter().rev().skip(SNAPSHOTS_KEPT) {
            let path = producer_snapshot::path(&self.directory, *offset);
            self.disk
                .remove_file(&path)
                .map_err(|error| LogError::io("cannot remove", &path, error))?;
        }
        Ok(())
    }

    fn close(&self) -> Result<(), LogError> {
        self.check_open()?;
        let mut writer = self.writer()?;
        let result = self.store_checkpoint(&mut writer);
        self.shut();
        result
    }

    fn delete(&self) -> Result<(), LogError> {
        let _writer = self.writer()?;
        self.shut();
        let _sync = self.sync_lock();
        let mut target = self.directory.as_os_str().to_owned();
        target.push(DELETED_SUFFIX);
        let target = PathBuf::from(target);
        let remove = || {
            if self.disk.list(&target).is_ok() {
                self.disk.remove_directory(&target)?; // of an earlier partition of the same name
            }
            self.disk.rename(&self.directory, &target)?;
            if let Some(parent) = target.parent() {
                self.disk.sync_directory(parent)?;
            }
            self.disk.remove_directory(&target)
        };
        remove().map_err(|error| LogError::io("cannot remove", &self.directory, error))
    }

    /// Refuses all further calls and wakes whoever waits.
    fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        self.synced.send_modify(|_| ());
        self.high_watermark.send_modify(|_| ());
    }
}

impl flusher::Flush for Shared {
    fn flush(&self) {
        let (active, target) = {
            let Ok(writer) = self.writer() else { return };
            let synced = Synced {
                offset: writer.next_offset,
                segment_base_offset: writer.active.base_offset,
                position: writer.active.size_bytes(),
            };
            (Arc::clone(&writer.active), synced)
        };
        let sync = self.sync_lock();
        let done = self.synced.borrow().offset >= target.offset;
        if done || self.sync_failure.get().is_some() || self.is_closed() {
            return;
        }
        match active.sync() {
            Ok(()) => self.announce_synced(target),
            Err(error) => {
                let _ = self.sync_failure.set(Arc::from(error.to_string()));
                drop(sync); // the writer's lock comes before
                if let Ok(mut writer) = self.writer() {
                    self.fall_back(&mut writer);
                }
            }
        }
    }

    fn dequeued(&self) {
        self.queued_now.store(false, Ordering::Release);
        self.queued_later.store(false, Ordering::Release);
    }
}
