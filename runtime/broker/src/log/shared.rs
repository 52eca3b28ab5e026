//! The state of a log that its clones share, and its end: checkpoints, closing, deleting.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::disk::Disk;

use super::checkpoint::{Checkpoint, RecoveryPoint};
use super::config::LogConfig;
use super::error::LogError;
use super::flusher::FlusherHandle;
use super::producer_state::Producers;
use super::segment::{self, Segment};
use super::{DELETED_SUFFIX, producer_snapshot, recovery};

/// Snapshots of the producers kept per log; the second is for the case that the first is damaged.
const SNAPSHOTS_KEPT: usize = 2;

/// What the clones of a [`Log`] share.
///
/// Order of the locks: `compacting`, then `writer`, then `sync` or `swap`, then one of the others;
/// none of the others while taking those.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) directory: PathBuf,
    pub(super) flusher: FlusherHandle,
    pub(super) config: RwLock<LogConfig>,
    /// In the order of the base offsets; the last is the active one; never empty.
    pub(super) segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// Held by whoever changes the log.
    pub(super) writer: Mutex<Writer>,
    /// Held during a sync. The kernel reports a lost write to one caller only, so two must not sync
    /// at once.
    pub(super) sync: Mutex<()>,
    /// Held for a whole compaction: there is one at a time, and none in a folder that is removed.
    pub(super) compacting: Mutex<()>,
    /// Held while files of sealed segments are replaced or removed.
    pub(super) swap: Mutex<()>,
    /// The log is about to close: a compaction under way ends.
    pub(super) closing: AtomicBool,
    /// Why the log is not compacted any more until it is opened again.
    pub(super) compaction_failure: OnceLock<Arc<str>>,
    pub(super) log_start_offset: AtomicI64,
    pub(super) log_end_offset: AtomicI64,
    pub(super) high_watermark: watch::Sender<i64>,
    pub(super) synced: watch::Sender<Synced>,
    pub(super) unstable: Mutex<Unstable>,
    /// An append failed; what was written before can still be synced.
    pub(super) write_failure: OnceLock<Arc<str>>,
    /// A sync failed; nothing unsynced counts any more.
    pub(super) sync_failure: OnceLock<Arc<str>>,
    pub(super) closed: AtomicBool,
    /// Queued at the flusher, so that it is not queued again.
    pub(super) queued_now: AtomicBool,
    pub(super) queued_later: AtomicBool,
}

/// What only the holder of the lock changes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) active: Arc<Segment>,
    pub(super) next_offset: i64,
    pub(super) producers: Producers,
    /// As last stored.
    pub(super) checkpoint: Checkpoint,
    /// When the active segment was made, for rolling by time if records carry none.
    pub(super) active_since_ms: i64,
}

/// How far the log is on the medium.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    /// The first offset that is not.
    pub(super) offset: i64,
    pub(super) segment_base_offset: i64,
    /// Bytes of that segment that are.
    pub(super) position: u64,
}

/// Transactions that read_committed consumers wait for.
#[derive(Debug, Default)]
pub(super) struct Unstable {
    pub(super) first_open_offset: Option<i64>,
    /// Ended by a marker that is not below the high watermark yet: (first offset, the marker's
    /// offset).
    pub(super) ended: Vec<(i64, i64)>,
}

impl Shared {
    pub(super) fn new(
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
            compacting: Mutex::new(()),
            swap: Mutex::new(()),
            closing: AtomicBool::new(false),
            compaction_failure: OnceLock::new(),
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

    pub(super) fn config(&self) -> LogConfig {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the list in one step. Appends change its end, retention its front and compaction its
    /// middle, each in its own time.
    pub(super) fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = segments.to_vec();
        change(&mut changed);
        debug_assert!(!changed.is_empty());
        *segments = Arc::new(changed);
    }

    /// The writer's lock. A panic while it was held may have left half a change: the log stays shut
    /// then.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, LogError> {
        self.writer
            .lock()
            .map_err(|_| LogError::StorageFailed(Arc::from("an append was cut short by a panic")))
    }

    pub(super) fn sync_lock(&self) -> MutexGuard<'_, ()> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    pub(super) fn log_end_offset(&self) -> i64 {
        self.log_end_offset.load(Ordering::Acquire)
    }

    pub(super) fn high_watermark(&self) -> i64 {
        *self.high_watermark.borrow()
    }

    pub(super) fn last_stable_offset(&self) -> i64 {
        // The watermark first: a transaction that begins later begins above it.
        let high_watermark = self.high_watermark();
        let mut unstable = self.unstable.lock().unwrap_or_else(PoisonError::into_inner);
        unstable.ended.retain(|(_, marker_offset)| *marker_offset >= high_watermark);
        let ended = unstable.ended.iter().map(|(first_offset, _)| *first_offset).min();
        let first = [unstable.first_open_offset, ended].into_iter().flatten().min();
        first.map_or(high_watermark, |first| first.min(high_watermark))
    }

    pub(super) fn failure(&self) -> Option<&Arc<str>> {
        self.sync_failure.get().or_else(|| self.write_failure.get())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if self.is_closed() { Err(LogError::Closed) } else { Ok(()) }
    }

    pub(super) fn check_writable(&self) -> Result<(), LogError> {
        self.check_open()?;
        match self.failure() {
            Some(why) => Err(LogError::StorageFailed(Arc::clone(why))),
            None => Ok(()),
        }
    }

    pub(super) fn checkpoint(&self) -> Result<(), LogError> {
        self.check_open()?;
        let mut writer = self.writer()?;
        self.store_checkpoint(&mut writer)
    }

    /// Syncs, then writes the indexes and producers of the active segment and the recovery point,
    /// unless they stand as they are.
    pub(super) fn store_checkpoint(&self, writer: &mut Writer) -> Result<(), LogError> {
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
        // These need no sync: the checkpoint holds a checksum of the indexes and the snapshot its
        // own.
        let index_crc = active.write_indexes(&*self.disk, &self.directory, false)?;
        self.write_snapshot(writer, false)?;
        let segment_base_offset = active.base_offset;
        let recovery_point =
            Some(RecoveryPoint { segment_base_offset, offset, position, index_crc });
        writer.checkpoint.recovery_point = recovery_point;
        self.write_checkpoint(&writer.checkpoint)?;
        self.remove_old_snapshots()
    }

    pub(super) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        checkpoint.store(&*self.disk, &self.directory).map_err(|error| {
            LogError::io("cannot write", &Checkpoint::path(&self.directory), error)
        })
    }

    pub(super) fn write_snapshot(&self, writer: &Writer, sync: bool) -> Result<(), LogError> {
        let path = producer_snapshot::path(&self.directory, writer.next_offset);
        let content = producer_snapshot::encode(&writer.producers);
        segment::write_file(&*self.disk, &path, &content, sync)
    }

    pub(super) fn remove_old_snapshots(&self) -> Result<(), LogError> {
        let offsets = recovery::snapshot_offsets(&*self.disk, &self.directory)?;
        for offset in offsets.iter().rev().skip(SNAPSHOTS_KEPT) {
            let path = producer_snapshot::path(&self.directory, *offset);
            self.disk
                .remove_file(&path)
                .map_err(|error| LogError::io("cannot remove", &path, error))?;
        }
        Ok(())
    }

    pub(super) fn close(&self) -> Result<(), LogError> {
        self.check_open()?;
        let _compacting = self.end_compaction();
        let mut writer = self.writer()?;
        let result = self.store_checkpoint(&mut writer);
        self.shut();
        result
    }

    pub(super) fn delete(&self) -> Result<(), LogError> {
        let _compacting = self.end_compaction();
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

    /// Waits until a compaction under way has noticed that it must end, and lets no other begin.
    fn end_compaction(&self) -> MutexGuard<'_, ()> {
        self.closing.store(true, Ordering::Release);
        self.compacting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses all further calls and wakes whoever waits.
    pub(super) fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        self.synced.send_modify(|_| ());
        self.high_watermark.send_modify(|_| ());
    }
}
