//! The way in: checks, offsets, one write.
//!
//! The checks that need the bytes alone come before the lock; under it stand the producer's
//! sequence, the roll and the write. Records are not decoded, decompressed or copied: the first
//! bytes of each batch are written from a patch, the rest from where the request was read to.

use std::io::IoSlice;
use std::sync::{Arc, PoisonError};

use super::config::{LogConfig, TimestampType};
use super::error::{AppendError, LogError};
use super::flusher::Durability;
use super::producer_state::{CompletedTransaction, Marker, StoredBatch, Verdict};
use super::recompress::recompress;
use super::record_batch::{self, HEADER_BYTES, Header, NO_TIMESTAMP, Patch};
use super::records;
use super::segment::Segment;
use super::shared::{Shared, Synced, Writer};
use super::transaction_index::AbortedTransaction;

/// The one leader that a log of a single node ever has.
const LEADER_EPOCH: i32 = 0;

/// Who made the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Checked as hostile.
    Client,
    /// Group offsets, markers.
    Broker,
}

/// Where records went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record; what the producer is told.
    pub first_offset: i64,
    /// Of the last record.
    pub last_offset: i64,
    /// To be given to [`super::Log::durable`].
    pub end_offset: i64,
    /// The broker's time in the records, under LogAppendTime; else -1.
    pub log_append_time_ms: i64,
    /// What the producer is told as well.
    pub log_start_offset: i64,
    /// The batch was there already; nothing was written.
    pub duplicate: bool,
}

impl Shared {
    pub(super) fn append(
        self: &Arc<Self>,
        records: &[u8],
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let config = self.config();
        let size_max = match origin {
            Origin::Client => config.message_bytes_max,
            Origin::Broker => u32::MAX,
        };
        let records = match config.compression.filter(|_| origin == Origin::Client) {
            Some(codec) => &*recompress(records, codec, size_max)?,
            None => records,
        };
        let mut headers = record_batch::split(records, size_max)?;
        let markers = check_batches(records, &headers, origin, &config, self.clock.now_ms())?;
        if records.len() as u64 > config.segment_bytes() {
            let (size_bytes, size_max) = (records.len(), config.segment_bytes());
            return Err(AppendError::RequestTooLarge { size_bytes, size_max });
        }

        let mut writer = self.writer()?;
        self.check_writable()?;
        if let Some(stored) = check_producers(&writer, &headers, &markers, origin)? {
            return Ok(self.answer_duplicate(&stored, &config));
        }
        let now_ms = self.clock.now_ms();
        self.roll_if_due(&mut writer, records.len() as u64, &headers, &config, now_ms)?;
        let patches = assign(records, &mut headers, writer.next_offset, &config, now_ms);
        self.write(&mut writer, records, &headers, &patches, &config)?;
        let appended = self.publish(&mut writer, &headers, &markers, &config, now_ms);
        let active = Arc::clone(&writer.active);
        drop(writer);
        self.note_unsynced(&active);
        Ok(appended)
    }

    fn answer_duplicate(&self, stored: &StoredBatch, config: &LogConfig) -> Appended {
        Appended {
            first_offset: stored.first_offset,
            last_offset: stored.last_offset,
            end_offset: stored.last_offset + 1,
            log_append_time_ms: match config.timestamp_type {
                TimestampType::CreateTime => NO_TIMESTAMP,
                TimestampType::LogAppendTime => stored.timestamp_ms,
            },
            log_start_offset: self.log_start_offset(),
            duplicate: true,
        }
    }

    /// One write call for all batches. After a failure the file is cut back. If the disk was full
    /// the log is then as before, and the next append tries again; after anything else it takes no
    /// more.
    fn write(
        &self,
        writer: &mut Writer,
        records: &[u8],
        headers: &[Header],
        patches: &[Patch],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let mut slices = Vec::with_capacity(2 * headers.len());
        let mut rest = records;
        for (header, patch) in headers.iter().zip(patches) {
            let (batch, behind) = rest.split_at(header.size_bytes);
            slices.push(IoSlice::new(patch.as_bytes()));
            slices.push(IoSlice::new(&batch[patch.len()..]));
            rest = behind;
        }
        let active = &writer.active;
        active.append(&mut slices, headers, config.index_interval_bytes).map_err(|error| {
            // What can't be cut is found by recovery as a torn batch.
            let is_cut = active.truncate(active.size_bytes()).is_ok();
            let error = LogError::io("cannot append to", active.path(), error);
            if !(is_cut && error.is_full_disk()) {
                let _ = self.write_failure.set(Arc::from(error.to_string()));
            }
            error
        })
    }

    /// Makes written batches part of the log.
    fn publish(
        &self,
        writer: &mut Writer,
        headers: &[Header],
        markers: &[Option<Marker>],
        config: &LogConfig,
        now_ms: i64,
    ) -> Appended {
        let mut ended = Vec::new();
        for (header, marker) in headers.iter().zip(markers) {
            match marker {
                Some(marker) => {
                    let completed = writer.producers.apply_marker(header, marker, now_ms);
                    completed.iter().for_each(|completed| note_aborted(&writer.active, completed));
                    ended.extend(completed.map(|ended| (ended.first_offset, ended.last_offset)));
                }
                None if header.is_control() => {}
                None => writer.producers.apply(header, now_ms),
            }
        }
        let first_offset = headers.first().map_or(writer.next_offset, |header| header.base_offset);
        let end_offset = headers.last().map_or(writer.next_offset, Header::next_offset);
        if headers.iter().any(Header::is_transactional) {
            let mut unstable = self.unstable.lock().unwrap_or_else(PoisonError::into_inner);
            unstable.first_open_offset = writer.producers.first_open_offset();
            unstable.ended.append(&mut ended);
        }
        writer.next_offset = end_offset;
        self.log_end_offset.store(end_offset, std::sync::atomic::Ordering::Release);
        if self.flusher.durability() == Durability::PageCache {
            self.raise_high_watermark(end_offset);
        }
        Appended {
            first_offset,
            last_offset: end_offset - 1,
            end_offset,
            log_append_time_ms: match config.timestamp_type {
                TimestampType::CreateTime => NO_TIMESTAMP,
                TimestampType::LogAppendTime => now_ms,
            },
            log_start_offset: self.log_start_offset(),
            duplicate: false,
        }
    }

    /// Begins a new segment when the active one is full, too old, or its 31 bits of relative offset
    /// would not suffice.
    fn roll_if_due(
        &self,
        writer: &mut Writer,
        len: u64,
        headers: &[Header],
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let size_bytes = writer.active.size_bytes();
        if size_bytes == 0 {
            return Ok(());
        }
        let count: i64 = headers.iter().map(|header| i64::from(header.last_offset_delta) + 1).sum();
        let largest_ms = headers.iter().map(|header| header.max_timestamp_ms).max();
        let newest_ms = match (config.timestamp_type, largest_ms) {
            (TimestampType::CreateTime, Some(largest_ms)) => largest_ms,
            _ => now_ms,
        };
        let age_ms = match writer.active.indexes().first_timestamp_ms {
            Some(first_ms) if first_ms >= 0 => newest_ms.saturating_sub(first_ms),
            _ => now_ms.saturating_sub(writer.active_since_ms),
        };
        let last_relative = writer.next_offset + count - 1 - writer.active.base_offset;
        let full = size_bytes + len > config.segment_bytes();
        // A marker has the time of now: behind old records, written again in transactions, each
        // would begin a segment.
        let only_markers = headers.iter().all(Header::is_control);
        let old = age_ms > config.segment_age_ms() && !only_markers;
        if full || old || last_relative > i64::from(i32::MAX) {
            self.roll(writer, now_ms)?;
        }
        Ok(())
    }

    /// Seals the active segment and begins the next. Everything of the old one is durable before
    /// the new one can hold a record, so that after any crash only the last segment can be torn.
    pub(super) fn roll(&self, writer: &mut Writer, now_ms: i64) -> Result<(), LogError> {
        self.sync_all(writer)?;
        let next = self.seal_and_create(writer).inspect_err(|error| {
            if !error.is_full_disk() {
                let _ = self.write_failure.set(Arc::from(error.to_string()));
            }
        })?;
        writer.active.use_index_files(&self.disk, &self.directory);
        writer.active = Arc::clone(&next);
        writer.active_since_ms = now_ms;
        self.change_segments(|segments| segments.push(Arc::clone(&next)));
        let _sync = self.sync_lock();
        let (offset, segment_base_offset) = (writer.next_offset, next.base_offset);
        self.announce_synced(Synced { offset, segment_base_offset, position: 0 });
        Ok(())
    }

    fn seal_and_create(&self, writer: &Writer) -> Result<Arc<Segment>, LogError> {
        let disk = &*self.disk;
        writer.active.write_indexes(disk, &self.directory, true)?;
        self.write_snapshot(writer, true)?;
        let next = Segment::create(disk, &self.directory, writer.next_offset)?;
        let sync = || {
            let synced = disk.sync_directory(&self.directory);
            synced.map_err(|error| LogError::io("cannot sync", &self.directory, error))
        };
        if let Err(error) = sync() {
            // Were its name to outlive a power cut while the old segment grows on, a start would
            // take it for the last one and what was acknowledged since for gone.
            let removed = next.remove_files(disk, &self.directory).and_then(|()| sync());
            if removed.is_err() {
                let _ = self.write_failure.set(Arc::from(error.to_string()));
            }
            return Err(error);
        }
        let _ = self.remove_old_snapshots(); // the next roll tries again
        Ok(Arc::new(next))
    }
}

/// Puts an aborted transaction into the index of the segment that holds its marker.
pub(super) fn note_aborted(segment: &Segment, completed: &CompletedTransaction) {
    if completed.aborted {
        segment.indexes_mut().aborted.push(AbortedTransaction {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: completed.last_stable_offset,
        });
    }
}

/// The rules that need no state. Returns, per batch, what its marker says.
fn check_batches(
    records: &[u8],
    headers: &[Header],
    origin: Origin,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Vec<Option<Marker>>, AppendError> {
    let mut markers = Vec::with_capacity(headers.len());
    let mut rest = records;
    for header in headers {
        let (batch, behind) = rest.split_at(header.size_bytes);
        rest = behind;
        let mut marker = None;
        if header.is_control() {
            if origin == Origin::Client {
                return Err(AppendError::Invalid("only the broker writes control batches".into()));
            }
            marker = records::marker(header, batch)
                .map_err(|error| AppendError::Invalid(error.to_string()))?;
        }
        markers.push(marker);
        if origin == Origin::Client {
            check_client_batch(header, config, now_ms)?;
        }
        if config.cleanup_compact && !header.is_control() {
            check_keys(header, batch)?;
        }
    }
    let has_producer = headers.iter().any(Header::has_producer);
    if origin == Origin::Client && has_producer && headers.len() > 1 {
        let text = "a producer with an id sends one batch per partition and request";
        return Err(AppendError::Invalid(text.into()));
    }
    Ok(markers)
}

fn check_client_batch(header: &Header, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        let text = format!("producer {} without a sequence or epoch", header.producer_id);
        return Err(AppendError::Invalid(text));
    }
    if header.is_transactional() && !header.has_producer() {
        return Err(AppendError::Invalid("a transaction without a producer id".into()));
    }
    if config.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    if header.is_log_append_time() {
        let text = "LogAppendTime is set by the broker";
        return Err(AppendError::InvalidTimestamp(text.into()));
    }
    let (first_ms, last_ms) = (header.base_timestamp_ms, header.max_timestamp_ms);
    let behind = first_ms >= 0
        && now_ms.saturating_sub(first_ms.min(last_ms)) > config.timestamp_before_ms_max;
    if behind || last_ms.saturating_sub(now_ms) > config.timestamp_after_ms_max {
        let text = format!("record time {last_ms} ms is too far from the broker's {now_ms} ms");
        return Err(AppendError::InvalidTimestamp(text));
    }
    Ok(())
}

/// A compacted topic keeps the last record of each key, so each record needs one.
fn check_keys(header: &Header, batch: &[u8]) -> Result<(), AppendError> {
    let invalid = |error: records::Undecodable| AppendError::Invalid(error.to_string());
    let payload = records::payload(header, batch).map_err(invalid)?;
    let mut places = Vec::new();
    for (place, record) in (0..).zip(records::iter(&payload)) {
        if record.map_err(invalid)?.key.is_none() {
            places.push(place);
        }
    }
    if places.is_empty() { Ok(()) } else { Err(AppendError::WithoutKey { places }) }
}

/// The rules of idempotence and transactions. Some: the one batch is there already.
fn check_producers(
    writer: &Writer,
    headers: &[Header],
    markers: &[Option<Marker>],
    origin: Origin,
) -> Result<Option<StoredBatch>, AppendError> {
    for (header, marker) in headers.iter().zip(markers) {
        match (marker, origin) {
            (Some(marker), _) => writer.producers.check_marker(header, marker)?,
            (None, Origin::Broker) => {}
            (None, Origin::Client) => {
                if let Verdict::Duplicate(stored) = writer.producers.check(header)? {
                    return Ok(Some(stored));
                }
            }
        }
    }
    Ok(None)
}

/// Gives the batches their offsets, and the broker's time where the topic says so.
fn assign(
    records: &[u8],
    headers: &mut [Header],
    next_offset: i64,
    config: &LogConfig,
    now_ms: i64,
) -> Vec<Patch> {
    let mut patches = Vec::with_capacity(headers.len());
    let mut rest = records;
    let mut next_offset = next_offset;
    for header in headers {
        let (batch, behind) = rest.split_at(header.size_bytes);
        rest = behind;
        header.base_offset = next_offset;
        next_offset = header.next_offset();
        let mut fixed = [0; HEADER_BYTES];
        fixed.copy_from_slice(&batch[..HEADER_BYTES]);
        let mut patch = Patch::offset(&fixed, header.base_offset, LEADER_EPOCH);
        if config.timestamp_type == TimestampType::LogAppendTime && !header.is_control() {
            header.max_timestamp_ms = now_ms;
            patch = patch.append_time(batch, now_ms);
        }
        patches.push(patch);
    }
    patches
}
