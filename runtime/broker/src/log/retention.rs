//! The end of records: segments that are too old or too many, and DeleteRecords.
//!
//! The new log start offset is durable before a file goes, and files go oldest first: whatever a
//! crash leaves behind is a gapless rest of the log, and records that were deleted stay deleted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::checkpoint::Checkpoint;
use super::config::LogConfig;
use super::error::LogError;
use super::segment::Segment;
use super::shared::{Shared, Writer};

/// A retention pass stores a checkpoint when more than this was written since the last one.
const UNCHECKED_BYTES_MAX: u64 = 1 << 20;

/// What a retention pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub segments_deleted: usize,
    pub bytes_deleted: u64,
    pub log_start_offset: i64,
}

impl Shared {
    pub(super) fn delete_records_before(&self, offset: i64) -> Result<i64, LogError> {
        self.check_open()?;
        let mut writer = self.writer()?;
        let high_watermark = self.high_watermark();
        let log_start_offset = self.log_start_offset();
        let target = if offset == -1 { high_watermark } else { offset };
        if target < 0 || target > high_watermark {
            return Err(LogError::OffsetOutOfRange { offset, log_start_offset, high_watermark });
        }
        if target > log_start_offset {
            self.raise_log_start(&mut writer, target)?;
        }
        Ok(self.log_start_offset())
    }

    /// Bytes that a start after a kill would read.
    pub(super) fn unchecked_bytes(&self) -> Result<u64, LogError> {
        Ok(unchecked_bytes(&*self.writer()?))
    }

    pub(super) fn apply_retention(self: &Arc<Self>) -> Result<Retained, LogError> {
        self.check_writable()?;
        let config = self.config();
        let now_ms = self.clock.now_ms();
        let mut writer = self.writer()?;
        writer.producers.expire(now_ms, config.producer_expiration_ms);
        if unchecked_bytes(&writer) > UNCHECKED_BYTES_MAX {
            self.store_checkpoint(&mut writer)?;
        }
        if !config.cleanup_delete {
            let log_start_offset = self.log_start_offset();
            return Ok(Retained { log_start_offset, ..Retained::default() });
        }
        let keep_from = self.keep_from(&config, now_ms);
        if keep_from > writer.active.base_offset {
            // Every record is too old: the active segment goes too, so a new one takes its place.
            if writer.active.size_bytes() > 0 {
                self.roll(&mut writer, now_ms)?;
            }
        }
        if keep_from > self.log_start_offset() {
            return self.raise_log_start(&mut writer, keep_from);
        }
        Ok(Retained { log_start_offset: self.log_start_offset(), ..Retained::default() })
    }

    /// The offset from which records are kept: that of a segment, or the high watermark when none
    /// is.
    fn keep_from(&self, config: &LogConfig, now_ms: i64) -> i64 {
        let segments = self.segments();
        let high_watermark = self.high_watermark();
        let mut surplus_bytes = match u64::try_from(config.retention_bytes) {
            Ok(bytes_max) => self.total_bytes(&segments).saturating_sub(bytes_max),
            Err(_) => 0, // -1: no limit
        };
        let mut keep_from = self.log_start_offset();
        for (number, segment) in segments.iter().enumerate() {
            let end_offset = match segments.get(number + 1) {
                Some(next) => next.base_offset,
                None => self.log_end_offset(),
            };
            let size_bytes = segment.size_bytes();
            let is_sealed = number + 1 < segments.len();
            if end_offset > high_watermark || (size_bytes == 0 && !is_sealed) {
                break;
            }
            // Of a sealed segment without a byte compaction has left nothing to keep.
            let surplus = surplus_bytes >= size_bytes && is_sealed || size_bytes == 0;
            if !surplus && !self.is_expired(segment, config, now_ms) {
                break;
            }
            surplus_bytes = surplus_bytes.saturating_sub(size_bytes);
            keep_from = keep_from.max(end_offset);
        }
        keep_from
    }

    fn total_bytes(&self, segments: &[Arc<Segment>]) -> u64 {
        segments.iter().map(|segment| segment.size_bytes()).sum()
    }

    /// A segment is as old as its youngest record, or as its file if no record has a time.
    fn is_expired(&self, segment: &Segment, config: &LogConfig, now_ms: i64) -> bool {
        if config.retention_ms < 0 {
            return false;
        }
        let youngest_ms = match segment.largest_timestamp() {
            Some((timestamp_ms, _)) => timestamp_ms,
            None => self.disk.modified_ms(segment.path()).unwrap_or(now_ms),
        };
        now_ms.saturating_sub(youngest_ms) > config.retention_ms
    }

    /// Moves the log start offset up, then removes the segments that lie wholly below.
    fn raise_log_start(&self, writer: &mut Writer, to: i64) -> Result<Retained, LogError> {
        let mut checkpoint: Checkpoint = writer.checkpoint;
        checkpoint.log_start_offset = to;
        self.write_checkpoint(&checkpoint)?;
        writer.checkpoint = checkpoint;
        self.log_start_offset.store(to, Ordering::Release);

        let _swap = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.segments();
        let next_bases = segments.iter().skip(1).map(|next| next.base_offset);
        let below = next_bases.take_while(|next_base| *next_base <= to).count();
        let gone = &segments[..below];
        if !gone.is_empty() {
            self.change_segments(|segments| drop(segments.drain(..below)));
        }
        let mut retained = Retained { log_start_offset: to, ..Retained::default() };
        for segment in gone {
            segment.remove_files(&*self.disk, &self.directory)?;
            retained.segments_deleted += 1;
            retained.bytes_deleted += segment.size_bytes();
        }
        Ok(retained)
    }
}

/// Bytes that recovery would have to read.
fn unchecked_bytes(writer: &Writer) -> u64 {
    let active = &writer.active;
    let point = writer.checkpoint.recovery_point;
    let point = point.filter(|point| point.segment_base_offset == active.base_offset);
    active.size_bytes().saturating_sub(point.map_or(0, |point| point.position))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::{Isolation, Log, ReadError};
    use super::*;

    /// Segments of one batch each.
    fn small_segments() -> LogConfig {
        LogConfig { segment_bytes_max: 150, retention_ms: 1000, ..LogConfig::default() }
    }

    fn segment_count(log: &Log) -> usize {
        log.shared.segments().len()
    }

    #[test]
    fn segments_go_when_their_youngest_record_is_too_old() {
        let fixture = Fixture::with(small_segments());
        let log = fixture.open();
        for _ in 0..4 {
            fixture.append(&log, 5);
            fixture.clock.advance(400);
        }
        // Ages: 1600, 1200, 800, 400 ms.
        assert_eq!(segment_count(&log), 4);
        let retained = log.apply_retention().unwrap();
        assert_eq!((retained.segments_deleted, retained.log_start_offset), (2, 10));
        assert_eq!(log.log_start_offset(), 10);
        let below = log.read(9, 1000, true, Isolation::ReadUncommitted);
        assert!(matches!(below, Err(ReadError::OffsetOutOfRange { .. })));

        fixture.clock.advance(10_000);
        let retained = log.apply_retention().unwrap();
        assert_eq!(retained.log_start_offset, 20, "the active segment goes as well");
        assert_eq!((log.size_bytes(), log.log_end_offset()), (0, 20));
        log.close().unwrap();
        let (log, recovery) = fixture.open_and_tell(true);
        assert_eq!((recovery.repairs.len(), log.log_end_offset()), (0, 20));
        fixture.append(&log, 1);
        assert_eq!(log.log_end_offset(), 21);
        drop(log);
        let log = fixture.open();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (20, 21));
    }

    #[test]
    fn the_oldest_segments_go_when_the_log_is_too_large() {
        let fixture = Fixture::with(small_segments());
        let log = fixture.open();
        let size = fixture.append(&log, 5) as i64;
        for _ in 0..5 {
            fixture.append(&log, 5);
        }
        log.set_config(LogConfig { retention_bytes: 3 * size + 1, ..small_segments() });
        assert_eq!(log.apply_retention().unwrap().segments_deleted, 2);
        log.set_config(LogConfig { retention_bytes: 3 * size, ..small_segments() });
        assert_eq!(log.apply_retention().unwrap().segments_deleted, 1);
        assert_eq!(log.size_bytes(), 3 * size as u64);
    }

    #[test]
    fn deleted_records_stay_deleted_after_a_restart() {
        let fixture = Fixture::with(small_segments());
        let log = fixture.open();
        for _ in 0..3 {
            fixture.append(&log, 5);
        }
        assert_eq!(log.delete_records_before(7).unwrap(), 7);
        assert_eq!(log.delete_records_before(3).unwrap(), 7, "never backwards");
        assert_eq!(segment_count(&log), 2);
        assert!(matches!(log.delete_records_before(16), Err(LogError::OffsetOutOfRange { .. })));
        let fetched = log.read(7, 1, true, Isolation::ReadUncommitted).unwrap();
        assert!(!fetched.records.is_empty());
        drop(log);
        let log = fixture.open();
        assert_eq!(log.log_start_offset(), 7);
        assert_eq!(log.delete_records_before(-1).unwrap(), 15);
        drop(log);
        assert_eq!(fixture.open().log_start_offset(), 15);
    }

    #[test]
    fn a_pass_notes_how_far_the_log_is_good() {
        let fixture = Fixture::new();
        let log = fixture.open();
        fixture.append_value(&log, &[1; 700_000]);
        log.apply_retention().unwrap();
        assert_ne!(fixture.open_and_tell(false).1.bytes_scanned, 0);
        fixture.append_value(&log, &[1; 700_000]);
        log.apply_retention().unwrap();
        assert_eq!(fixture.open_and_tell(false).1.bytes_scanned, 0);
    }
}
