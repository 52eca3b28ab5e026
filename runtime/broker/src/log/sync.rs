//! From the page cache to the medium: waiting, syncing, telling, and what follows a failed sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::LogError;
use super::flusher::{Durability, Flush};
use super::segment::Segment;
use super::shared::{Shared, Synced, Writer};

impl Shared {
    pub(super) async fn durable(self: Arc<Self>, end_offset: i64) -> Result<(), LogError> {
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
    pub(super) fn ask_for_sync(self: &Arc<Self>) {
        if !self.queued_now.swap(true, Ordering::AcqRel) {
            self.flusher.flush_now(Arc::clone(self) as Arc<dyn Flush>);
        }
    }

    /// After an append: a sync soon, or now if much has gathered.
    pub(super) fn note_unsynced(self: &Arc<Self>, active: &Segment) {
        let synced = *self.synced.borrow();
        let unsynced_bytes = active.size_bytes().saturating_sub(synced.position);
        if unsynced_bytes > self.flusher.unsynced_bytes_max() {
            self.ask_for_sync();
        } else if self.flusher.durability() == Durability::Fsync
            && !self.queued_later.swap(true, Ordering::AcqRel)
        {
            self.flusher.flush_later(Arc::clone(self) as Arc<dyn Flush>);
        }
    }

    /// Publishes a successful sync. Called with the sync lock held.
    pub(super) fn announce_synced(&self, now: Synced) {
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

    pub(super) fn raise_high_watermark(&self, to: i64) {
        self.high_watermark.send_if_modified(|high_watermark| {
            let moved = to > *high_watermark;
            if moved {
                *high_watermark = to;
            }
            moved
        });
    }

    /// Syncs the active segment with the writer's lock held, so that nothing is appended meanwhile.
    pub(super) fn sync_all(&self, writer: &mut Writer) -> Result<(), LogError> {
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

    /// After a failed sync: the kernel may have dropped the unsynced pages while the cache still
    /// shows them, so that a later recovery would take them for durable. They are cut off, unless
    /// durability was never promised.
    pub(super) fn fall_back(&self, writer: &mut Writer) {
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
}

impl Flush for Shared {
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
