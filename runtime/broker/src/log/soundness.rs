//! Looks at the ends of a segment: does an index speak of the batches that are there, and does a
//! damaged place have whole batches behind it?

use std::io;

use crate::disk::DiskFile;

use super::error::LogError;
use super::index::{OffsetEntry, TimeEntry};
use super::record_batch::Header;
use super::scan::{LOOK_BYTES, Scan, Step};
use super::segment::Segment;

/// Behind a bad batch the next whole one is looked for within this distance.
const RESYNC_BYTES_MAX: usize = 16 << 20;

/// The offset behind the batches from `position` to exactly `end`; None when these are not whole
/// batches.
pub(super) fn next_offset_at(
    file: &dyn DiskFile,
    position: u64,
    end: u64,
) -> io::Result<Option<i64>> {
    let mut next_offset = None;
    let mut scan = Scan::new(file, position, end, Some(LOOK_BYTES));
    loop {
        match scan.next()? {
            Step::Batch { header, .. } => next_offset = Some(header.next_offset()),
            Step::Bad { .. } => return Ok(None),
            Step::End => return Ok(next_offset),
        }
    }
}

/// True if the last entries of both indexes speak of batches that are there. A wrong largest time
/// would make retention delete records that are young.
pub(super) fn ends_fit(
    segment: &Segment,
    last: Option<OffsetEntry>,
    largest: Option<TimeEntry>,
) -> Result<bool, LogError> {
    let batch_at = |position: u64, wanted: Option<i64>| {
        let mut scan = Scan::new(segment.file(), position, segment.size_bytes(), Some(LOOK_BYTES));
        loop {
            match scan.next().map_err(|e| LogError::io("cannot read", segment.path(), e))? {
                Step::Batch { header, .. } if wanted.is_none_or(|w| header.last_offset() >= w) => {
                    return Ok::<_, LogError>(Some(header));
                }
                Step::Batch { .. } => {}
                Step::Bad { .. } | Step::End => return Ok(None),
            }
        }
    };
    if let Some(entry) = last {
        let expected = segment.base_offset + i64::from(entry.relative_offset);
        let found = batch_at(u64::from(entry.position), None)?;
        if found.is_none_or(|header| header.last_offset() != expected) {
            return Ok(false);
        }
    }
    let Some(largest) = largest else {
        // No record has a time, then, or compaction has left none.
        let first = batch_at(0, None)?;
        return Ok(first.is_none_or(|it| it.max_timestamp_ms < 0 || it.record_count == 0));
    };
    let expected = segment.base_offset + i64::from(largest.relative_offset);
    let found = batch_at(segment.floor_position(expected)?, Some(expected))?;
    Ok(found.is_some_and(|header| {
        (header.last_offset(), header.max_timestamp_ms) == (expected, largest.timestamp_ms)
    }))
}

/// True if a whole batch of this log lies somewhere behind the bad one at `from`: then it is not
/// the end that was torn.
pub(super) fn has_batch_behind(
    file: &dyn DiskFile,
    from: u64,
    to: u64,
    next_offset: i64,
) -> io::Result<bool> {
    let len = (to - from).min(RESYNC_BYTES_MAX as u64) as usize;
    let mut buffer = Vec::new();
    file.read_at(from, len, &mut buffer)?;
    let is_batch = |at: &usize| {
        Header::parse(&buffer[*at..]).is_ok_and(|header| {
            header.base_offset > next_offset
                && header.base_offset - next_offset <= i64::from(i32::MAX)
                && Header::parse_whole(&buffer[*at..]).is_ok()
        })
    };
    Ok((1..buffer.len()).any(|at| is_batch(&at)))
}
