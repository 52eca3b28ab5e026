//! `cleanup.policy=compact`: of each key the last record stays.
//!
//! One compaction is one or more passes. A pass reads the records that no pass has seen (the dirty
//! ones) and notes the last offset of each key, until all are read or the map is full. Then it
//! reads the log from its beginning to there, leaves out what the map or a rule makes superfluous
//! (`filter`), and puts the result in place of the old segments (`swap`). Offsets never change.
//!
//! Never touched: the active segment, segments with records of an open transaction or above the
//! high watermark, and those with records younger than `min.compaction.lag.ms`.
//!
//! Memory: the map ([`CompactionLimits::keys_max`]), one batch and what it holds when decompressed,
//! and the index entries of one segment.

mod filter;
mod offset_map;
mod swap;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::config::LogConfig;
use super::error::LogError;
use super::record_batch::{Header, Malformed};
use super::records;
use super::scan::{LOOK_BYTES, Scan, Step};
use super::segment::Segment;
use super::shared::Shared;

use filter::{Filter, Kept, LastBatches, Transactions};
use offset_map::OffsetMap;
use swap::Cleaned;
pub(super) use swap::{CLEANED_SUFFIX, finish_interrupted};

/// What a compaction may take.
pub struct CompactionLimits<'a> {
    /// Keys remembered at once; more take several passes.
    pub keys_max: usize,
    /// Told of each stretch of bytes read or written. Waits, so that the disk stays free for
    /// others; false ends the compaction.
    pub pace: &'a (dyn Fn(u64) -> bool + 'a),
}

impl CompactionLimits<'_> {
    /// The keys that fit into so much memory.
    pub fn keys_in(bytes: usize) -> usize {
        bytes / offset_map::BYTES_PER_KEY
    }
}

impl std::fmt::Debug for CompactionLimits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactionLimits").field("keys_max", &self.keys_max).finish()
    }
}

/// What a compaction has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirt {
    /// Share of the bytes that no pass has seen, 0 to 1.
    pub ratio: f64,
    /// That is enough, or a record has waited for `max.compaction.lag.ms`.
    pub is_due: bool,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub passes: usize,
    pub records_removed: u64,
    /// Of the segments that were looked at.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A segment that grows no more.
#[derive(Clone)]
struct Sealed {
    segment: Arc<Segment>,
    /// Where the next one begins.
    end_offset: i64,
}

/// The sealed segments that may be compacted, from the first one on.
struct Cleanable {
    segments: Vec<Sealed>,
    dirty_from: i64,
}

impl Cleanable {
    /// Bytes that a pass has seen, and those that none has.
    fn bytes(&self) -> (u64, u64) {
        let (mut clean, mut dirty) = (0, 0);
        for sealed in &self.segments {
            let is_clean = sealed.end_offset <= self.dirty_from;
            let bytes = if is_clean { &mut clean } else { &mut dirty };
            *bytes += sealed.segment.size_bytes();
        }
        (clean, dirty)
    }

    fn dirty(&self) -> impl Iterator<Item = &Sealed> {
        self.segments.iter().filter(|sealed| sealed.end_offset > self.dirty_from)
    }

    fn end_offset(&self) -> i64 {
        self.segments.last().map_or(self.dirty_from, |sealed| sealed.end_offset)
    }

    /// Neighbours that fit into one segment, up to the one that holds `until`.
    fn groups(&self, until: i64, segment_bytes_max: u64) -> Vec<Vec<Sealed>> {
        let mut groups: Vec<Vec<Sealed>> = Vec::new();
        let mut bytes = 0;
        let below = |sealed: &&Sealed| sealed.segment.base_offset < until;
        for sealed in self.segments.iter().take_while(below) {
            bytes += sealed.segment.size_bytes();
            let fits = |group: &&mut Vec<Sealed>| {
                let offsets = sealed.end_offset - group[0].segment.base_offset;
                bytes <= segment_bytes_max && offsets <= i64::from(i32::MAX)
            };
            match groups.last_mut().filter(fits) {
                Some(group) => group.push(sealed.clone()),
                None => {
                    bytes = sealed.segment.size_bytes();
                    groups.push(vec![sealed.clone()]);
                }
            }
        }
        groups
    }
}

impl Shared {
    pub(super) fn dirt(&self) -> Result<Option<Dirt>, LogError> {
        self.check_open()?;
        let config = self.config();
        let failed = self.compaction_failure.get().is_some() || self.failure().is_some();
        if !config.cleanup_compact || failed {
            return Ok(None);
        }
        let cleanable = self.cleanable(&config)?;
        let (clean_bytes, dirty_bytes) = cleanable.bytes();
        if dirty_bytes == 0 {
            return Ok(None);
        }
        let ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        let is_due = ratio > config.dirty_ratio_min || self.is_overdue(&cleanable, &config)?;
        Ok(Some(Dirt { ratio, is_due }))
    }

    fn cleanable(&self, config: &LogConfig) -> Result<Cleanable, LogError> {
        let compacted_to = self.writer()?.checkpoint.compacted_to;
        let stable = self.last_stable_offset();
        let now_ms = self.clock.now_ms();
        let all = self.segments();
        let mut cleanable = Cleanable {
            segments: Vec::new(),
            dirty_from: compacted_to.max(self.log_start_offset()),
        };
        for (segment, next) in all.iter().zip(all.iter().skip(1)) {
            let youngest_ms = segment.largest_timestamp().map_or(i64::MIN, |(time_ms, _)| time_ms);
            let lag_ms = config.compaction_lag_ms_min;
            let too_young = lag_ms > 0 && youngest_ms > now_ms.saturating_sub(lag_ms);
            if next.base_offset > stable || too_young {
                break;
            }
            let (segment, end_offset) = (Arc::clone(segment), next.base_offset);
            cleanable.segments.push(Sealed { segment, end_offset });
        }
        Ok(cleanable)
    }

    /// True when the first record of a dirty segment has waited for `max.compaction.lag.ms`.
    fn is_overdue(&self, cleanable: &Cleanable, config: &LogConfig) -> Result<bool, LogError> {
        if config.compaction_lag_ms_max == i64::MAX {
            return Ok(false);
        }
        let latest_ms = self.clock.now_ms().saturating_sub(config.compaction_lag_ms_max);
        for Sealed { segment, .. } in cleanable.dirty() {
            let mut scan = Scan::new(segment.file(), 0, segment.size_bytes(), Some(LOOK_BYTES));
            let first = scan.next().map_err(|e| LogError::io("cannot read", segment.path(), e))?;
            if let Step::Batch { header, .. } = first
                && header.max_timestamp_ms < latest_ms
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn compact(&self, limits: &CompactionLimits<'_>) -> Result<Compacted, LogError> {
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        if let Some(why) = self.compaction_failure.get() {
            return Err(LogError::StorageFailed(Arc::clone(why)));
        }
        let config = self.config();
        let mut compacted = Compacted::default();
        let target = self.cleanable(&config)?.end_offset();
        loop {
            let cleanable = self.cleanable(&config)?;
            if cleanable.dirty_from >= target || !config.cleanup_compact {
                return Ok(compacted);
            }
            let outcome = self.pass(&cleanable, &config, limits, &mut compacted);
            if let Err(error @ LogError::Damaged { .. }) = &outcome {
                let _ = self.compaction_failure.set(Arc::from(error.to_string()));
            }
            outcome?;
        }
    }

    fn pass(
        &self,
        cleanable: &Cleanable,
        config: &LogConfig,
        limits: &CompactionLimits<'_>,
        compacted: &mut Compacted,
    ) -> Result<(), LogError> {
        let all: Vec<_> =
            self.segments().iter().flat_map(|s| s.indexes().aborted.clone()).collect();
        let transactions = Transactions::new(&all);
        let (map, until) = self.read_dirty(cleanable, &transactions, limits)?;
        let (last_batches, active_base_offset) = {
            let writer = self.writer()?;
            (LastBatches::of(&writer.producers), writer.active.base_offset)
        };
        let mut filter = Filter {
            map: &map,
            transactions,
            last_batches: &last_batches,
            active_base_offset,
            now_ms: self.clock.now_ms(),
            delete_retention_ms: config.delete_retention_ms,
            aborted: Vec::new(),
            records_removed: 0,
        };
        for group in cleanable.groups(until, config.segment_bytes()) {
            self.compact_group(&group, &mut filter, config, limits, compacted)?;
        }
        compacted.passes += 1;
        compacted.records_removed += filter.records_removed;
        let mut writer = self.writer()?;
        writer.checkpoint.compacted_to = until;
        self.write_checkpoint(&writer.checkpoint)
    }

    /// Notes the last offset of each key in the dirty segments. Returns how far it got.
    fn read_dirty(
        &self,
        cleanable: &Cleanable,
        transactions: &Transactions,
        limits: &CompactionLimits<'_>,
    ) -> Result<(OffsetMap, i64), LogError> {
        let mut map = OffsetMap::new(limits.keys_max);
        for sealed in cleanable.dirty() {
            let from = cleanable.dirty_from.max(sealed.segment.base_offset);
            let position = sealed.segment.floor_position(from)?;
            let mut full_at = None;
            self.walk(sealed, position, limits, |header, batch| {
                if !header.is_control() && !transactions.is_aborted(header) {
                    full_at = note_keys(&mut map, header, batch, cleanable.dirty_from);
                }
                Ok(full_at.is_none())
            })?;
            if let Some(offset) = full_at {
                return Ok((map, offset));
            }
        }
        Ok((map, cleanable.end_offset()))
    }

    fn compact_group(
        &self,
        group: &[Sealed],
        filter: &mut Filter<'_>,
        config: &LogConfig,
        limits: &CompactionLimits<'_>,
        compacted: &mut Compacted,
    ) -> Result<(), LogError> {
        let base_offset = group[0].segment.base_offset;
        let before: u64 = group.iter().map(|sealed| sealed.segment.size_bytes()).sum();
        let mut cleaned = Cleaned::create(&self.disk, &self.directory, base_offset)?;
        let mut changed = group.len() > 1;
        let mut written = || {
            for sealed in group {
                self.walk(sealed, 0, limits, |header, batch| {
                    let bytes = match filter.keep(header, batch) {
                        Kept::Whole => return cleaned.push(header, batch, config).map(|()| true),
                        Kept::Part(bytes) => bytes,
                        Kept::Nothing => Vec::new(),
                    };
                    changed = true;
                    if let Ok(header) = Header::parse(&bytes) {
                        cleaned.push(&header, &bytes, config)?;
                    }
                    Ok(true)
                })?;
            }
            Ok(())
        };
        let outcome = written();
        let aborted = std::mem::take(&mut filter.aborted);
        compacted.bytes_before += before;
        match outcome {
            Ok(()) if changed => {
                let after = cleaned.finish(aborted)?;
                compacted.bytes_after += after;
                self.check_pace(limits, after)?;
                let old: Vec<_> = group.iter().map(|sealed| Arc::clone(&sealed.segment)).collect();
                self.swap_in(&old, cleaned)
            }
            Ok(()) => {
                compacted.bytes_after += before;
                cleaned.discard();
                Ok(())
            }
            Err(error) => {
                cleaned.discard();
                Err(error)
            }
        }
    }

    /// Gives each batch of a segment from `position` on to `look`, until that says false. Offsets
    /// are outside of the checksum, and so are checked here: a wrong one would remove what it must
    /// not.
    fn walk(
        &self,
        Sealed { segment, end_offset }: &Sealed,
        position: u64,
        limits: &CompactionLimits<'_>,
        mut look: impl FnMut(&Header, &[u8]) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        let mut scan = Scan::new(segment.file(), position, segment.size_bytes(), None);
        let mut next_offset = segment.base_offset;
        let damaged = |position, why| {
            Err(LogError::Damaged { path: segment.path().to_owned(), position, why })
        };
        loop {
            match scan.next().map_err(|e| LogError::io("cannot read", segment.path(), e))? {
                Step::Batch { position, header, bytes } => {
                    if header.base_offset < next_offset || header.last_offset() >= *end_offset {
                        return damaged(position, Malformed::Offset(header.base_offset));
                    }
                    next_offset = header.next_offset();
                    self.check_pace(limits, bytes.len() as u64)?;
                    if !look(&header, bytes)? {
                        return Ok(());
                    }
                }
                Step::Bad { position, why } => return damaged(position, why),
                Step::End => return Ok(()),
            }
        }
    }

    fn check_pace(&self, limits: &CompactionLimits<'_>, bytes: u64) -> Result<(), LogError> {
        let goes_on = (limits.pace)(bytes) && !self.closing.load(Ordering::Acquire);
        if goes_on { Ok(()) } else { Err(LogError::Closed) }
    }
}

/// Notes the keys of a batch from offset `from` on. Some: the map is full at that offset. A batch
/// that can't be read has no keys that anybody knows.
fn note_keys(map: &mut OffsetMap, header: &Header, batch: &[u8], from: i64) -> Option<i64> {
    let payload = records::payload(header, batch).ok()?;
    for record in records::iter(&payload) {
        let record = record.ok()?;
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        let Some(key) = record.key.filter(|_| offset >= from) else { continue };
        if !map.put(key, offset) {
            return Some(offset);
        }
    }
    None
}
