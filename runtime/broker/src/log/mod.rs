//! One partition's log: records in, records out, and the promise that what was acknowledged is
//! there after a crash.
//!
//! - [`Log::append`] checks record batches, gives them offsets and writes them to the page cache
//!   (`append`).
//! - [`Log::durable`] resolves when they are on the medium (`flusher`: one sync serves everybody
//!   who waits).
//! - [`Log::read`] gives stored batches back, byte for byte (`read`); [`Log::offset_for_timestamp`]
//!   finds a place (`lookup`).
//! - [`Log::open`] repairs what a crash has left behind and says so (`recovery`).
//!
//! The files are Kafka's: `docs/log-format.md` draws them. Invariants:
//! 1. Only the last segment may hold unsynced records: a roll syncs the old one first.
//! 2. A consumer sees records below the high watermark only. With [`Durability::Fsync`] that is
//!    what is synced, so that no consumer has seen what a power cut takes back, and its cursor
//!    never points past the end of the log.
//! 3. Offsets have no gap in the active segment; in sealed ones only compaction makes gaps.
//! 4. After a failed write or sync the log is read-only until it is opened again, but for a full
//!    disk: an append that found no room is taken back, and the next one tries again. A sync is
//!    never repeated.
//!
//! Not here: topics, quotas, and who may do what. Calls block on the disk, all but `durable`.

mod append;
pub mod batch_builder;
mod checkpoint;
mod compaction;
pub mod compression;
mod config;
mod error;
mod flusher;
mod index;
mod lookup;
pub(crate) mod message_set;
mod producer_snapshot;
mod producer_state;
mod read;
mod read_buffers;
mod recompress;
pub mod record_batch;
pub mod records;
mod recovery;
mod repair;
pub(crate) mod replay;
mod retention;
mod scan;
mod segment;
mod shared;
mod soundness;
mod sync;
mod transaction_index;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod restart_tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::disk::Disk;

use shared::Shared;

pub use append::Appended;
pub use compaction::{Compacted, CompactionLimits, Dirt};
pub use config::{LogConfig, TimestampType};
pub use error::{AppendError, LogError, ReadError};
pub use flusher::{Durability, Flusher, FlusherConfig, FlusherHandle};
pub use read::{Fetched, Isolation};
pub use repair::{Recovery, Repair};
pub use retention::Retained;
pub use transaction_index::AbortedTransaction;

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
    /// Opens the log in `directory`, creating it when there is none, and repairs what a crash left
    /// behind.
    ///
    /// `was_clean` says that the broker stopped in good order: then indexes are trusted after a
    /// look at their ends. Without it they are read and checked. Records are scanned from the
    /// recovery point on in both cases.
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

    /// Checks a producer's records, assigns their offsets and writes them to the page cache.
    /// `records` is one or more record batches of format 2, one behind the other; all are appended
    /// or none.
    ///
    /// A batch that an idempotent producer sent before, if it is among its last 5, is answered with
    /// its first offsets and not written again.
    pub fn append(&self, records: Bytes) -> Result<Appended, AppendError> {
        self.shared.append(&records, append::Origin::Client)
    }

    /// The same for batches that the broker makes: control batches are allowed, sequence numbers
    /// not checked, and `max.message.bytes` does not apply.
    pub fn append_internal(&self, records: Bytes) -> Result<Appended, AppendError> {
        self.shared.append(&records, append::Origin::Broker)
    }

    /// Resolves when everything below `end_offset` ([`Appended::end_offset`]) is as durable as the
    /// flusher was told to make it. Err: it is not and will not be; whether the records survive is
    /// unknown.
    pub async fn durable(&self, end_offset: i64) -> Result<(), LogError> {
        self.shared.clone().durable(end_offset).await
    }

    /// Whole record batches, beginning with the one that holds `offset`: its first record may lie
    /// below, the client skips it. At most `max_bytes`, but always one batch when `min_one`. Empty
    /// at the end of what may be seen.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        isolation: Isolation,
    ) -> Result<Fetched, ReadError> {
        self.shared.read(offset, max_bytes, min_one, isolation)
    }

    /// Time and offset of the first record, in the order of the offsets, whose time is
    /// `timestamp_ms` or later.
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

    /// The first offset that a read_committed consumer can't see yet: that of the oldest open
    /// transaction or the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.shared.last_stable_offset()
    }

    /// Changes whenever the high watermark moves, and when the log is closed or deleted; long polls
    /// wait on it.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.shared.high_watermark.subscribe()
    }

    /// Deletes the records below `offset` (-1: below the high watermark) and returns the new log
    /// start offset. Durable on return; the space comes back as whole segments fall below.
    pub fn delete_records_before(&self, offset: i64) -> Result<i64, LogError> {
        self.shared.delete_records_before(offset)
    }

    /// Deletes the segments that are too old or too many, and forgets producers that were long
    /// silent.
    pub fn apply_retention(&self) -> Result<Retained, LogError> {
        self.shared.apply_retention()
    }

    /// How much compaction has to do, and whether it is time; None when the topic isn't compacted,
    /// when nothing can be compacted, or when the log can't be any more.
    pub fn dirt(&self) -> Result<Option<Dirt>, LogError> {
        self.shared.dirt()
    }

    /// Removes what `cleanup.policy=compact` doesn't keep, in as many passes as the limits ask for.
    /// Blocks; appends and reads go on beside it. Err([`LogError::Closed`]) when it was told to
    /// stop.
    pub fn compact(&self, limits: &CompactionLimits<'_>) -> Result<Compacted, LogError> {
        self.shared.compact(limits)
    }

    /// Why the log is not compacted until it is opened again; None while it is.
    pub fn compaction_failure(&self) -> Option<String> {
        self.shared.compaction_failure.get().map(|why| why.to_string())
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

    /// Syncs and notes how far the log is good, so that the next [`Log::open`] reads only what
    /// comes after. Does nothing when nothing came since the last time.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        self.shared.checkpoint()
    }

    /// Bytes that the next start would read and check if the process were killed now.
    pub fn unchecked_bytes(&self) -> Result<u64, LogError> {
        self.shared.unchecked_bytes()
    }

    /// The folder of the partition.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Syncs, notes how far the log is good, and takes no more calls. Whoever waits is told.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.close()
    }

    /// Closes without syncing and removes the folder. A crash in between leaves a folder that
    /// [`remove_deleted`] clears.
    pub fn delete(&self) -> Result<(), LogError> {
        self.shared.delete()
    }
}

/// Removes the folders in `data_dir` of partitions whose deletion was cut short. Returns their
/// names.
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
