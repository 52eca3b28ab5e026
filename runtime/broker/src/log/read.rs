//! The way out: stored batches as they are, by position, without a lock against appends.

use bytes::Bytes;

use super::Log;
use super::error::{LogError, ReadError};
use super::read_buffers;
use super::record_batch::{HEADER_BYTES, Header};
use super::segment::Segment;
use super::shared::Shared;
use super::transaction_index::AbortedTransaction;

/// Read in front of the wanted batch at once: what lies between two index entries, and a header.
const LOOKUP_BYTES: usize = 8 * 1024;
/// Batches of this size and more are measured by their headers before they are read; of smaller ones
/// as many are read as may be sent, and the last may be read in vain.
const MEASURED_BYTES_MIN: usize = 32 * 1024;
/// One read returns no more than this (or one batch), whatever the client asks for.
const READ_BYTES_MAX: usize = 64 << 20;

/// Which records a consumer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset; the client leaves out the aborted transactions of
    /// [`Fetched::aborted`].
    ReadCommitted,
}

/// What a fetch gets.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole record batches as stored; empty at the end.
    pub records: Bytes,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// Producer id and first offset of the aborted transactions that overlap `records`; only for
    /// read_committed.
    pub aborted: Vec<(i64, i64)>,
}

/// Batches of one segment.
struct Found {
    records: Bytes,
    /// Behind the last of them.
    next_offset: i64,
}

impl Shared {
    pub(super) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        min_one: bool,
        isolation: Isolation,
    ) -> Result<Fetched, ReadError> {
        self.check_open()?;
        let last_stable_offset = self.last_stable_offset();
        let mut fetched = Fetched {
            records: Bytes::new(),
            high_watermark: self.high_watermark().max(last_stable_offset),
            last_stable_offset,
            log_start_offset: self.log_start_offset(),
            aborted: Vec::new(),
        };
        self.check_range(offset)?;
        let limit = match isolation {
            Isolation::ReadUncommitted => fetched.high_watermark,
            Isolation::ReadCommitted => fetched.last_stable_offset,
        };
        if offset >= limit || (max_bytes == 0 && !min_one) {
            return Ok(fetched);
        }
        let found = match self.find(offset, limit, max_bytes.min(READ_BYTES_MAX), min_one) {
            Ok(found) => found,
            Err(error) => {
                self.check_range(offset)?; // retention may have removed the segment meanwhile
                return Err(error.into());
            }
        };
        if let Some(found) = found {
            if isolation == Isolation::ReadCommitted {
                fetched.aborted = self.aborted(offset, found.next_offset);
            }
            fetched.records = found.records;
        }
        Ok(fetched)
    }

    fn check_range(&self, offset: i64) -> Result<(), ReadError> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset(), self.log_end_offset());
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// The batches from the one that holds `offset`, or from the next one if compaction has removed
    /// it.
    fn find(
        &self,
        offset: i64,
        limit: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<Found>, LogError> {
        let segments = self.segments();
        let behind = segments.partition_point(|segment| segment.base_offset <= offset);
        for segment in &segments[behind.saturating_sub(1)..] {
            if segment.base_offset >= limit {
                break;
            }
            match segment.read(offset, limit, max_bytes, min_one)? {
                Read::Found(found) => return Ok(Some(found)),
                Read::TooLarge => return Ok(None),
                Read::Behind => {}
            }
        }
        Ok(None)
    }

    /// The aborted transactions with records in `from..to`, as Kafka collects them: each once, in
    /// the order of the markers.
    fn aborted(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let segments = self.segments();
        let behind = segments.partition_point(|segment| segment.base_offset <= from);
        let mut aborted = Vec::new();
        for segment in &segments[behind.saturating_sub(1)..] {
            for entry in &segment.indexes().aborted {
                if entry.last_offset >= from && entry.first_offset < to {
                    aborted.push((entry.producer_id, entry.first_offset));
                }
                if entry.last_stable_offset >= to {
                    return aborted; // whatever ended later began later
                }
            }
        }
        aborted
    }
}

impl Log {
    /// The aborted transactions that the log remembers, for tools.
    pub fn aborted_transactions(&self) -> Vec<AbortedTransaction> {
        let segments = self.shared.segments();
        segments.iter().flat_map(|segment| segment.indexes().aborted.clone()).collect()
    }
}

/// What a segment has at an offset.
enum Read {
    Found(Found),
    /// The first batch is larger than asked for.
    TooLarge,
    /// All of the segment lies below the offset.
    Behind,
}

/// Where the walk over a buffer got to.
enum Walk {
    /// The batch that holds the offset begins here in the buffer.
    At(usize, Header),
    /// Not in the buffer; so many bytes lie below the offset, perhaps more than the buffer has.
    Below(usize),
}

impl Segment {
    fn read(
        &self,
        offset: i64,
        limit: i64,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Read, LogError> {
        let mut position = self.floor_position(offset)?;
        let size_bytes = self.size_bytes();
        while position < size_bytes {
            let buffer = self.buffer(position, size_bytes, LOOKUP_BYTES)?;
            match self.walk(&buffer, position, offset)? {
                Walk::Below(0) => break, // a stray end of less than a header
                Walk::Below(bytes) => position += bytes as u64,
                Walk::At(at, first) => {
                    if first.base_offset >= limit {
                        return Ok(Read::Behind);
                    }
                    let from = position + at as u64;
                    if first.size_bytes > max_bytes {
                        return self.read_one(from, &first, size_bytes, min_one);
                    }
                    if position + buffer.len() as u64 == size_bytes {
                        return self.cut(buffer, at, from, limit, max_bytes); // there is no more
                    }
                    let len = self.measure(from, &first, limit, max_bytes, size_bytes)?;
                    let buffer = self.buffer(from, size_bytes, len)?;
                    return self.cut(buffer, 0, from, limit, max_bytes);
                }
            }
        }
        Ok(Read::Behind)
    }

    /// How many bytes to read for the batches from `from` on, the first of which fits.
    fn measure(
        &self,
        from: u64,
        first: &Header,
        limit: i64,
        max_bytes: usize,
        end: u64,
    ) -> Result<usize, LogError> {
        let mut len = first.size_bytes;
        let mut last_bytes = first.size_bytes;
        while last_bytes >= MEASURED_BYTES_MIN {
            let next = self.buffer(from + len as u64, end, HEADER_BYTES)?;
            let Ok(next) = Header::parse(&next) else { return Ok(len) };
            if next.base_offset >= limit || len + next.size_bytes > max_bytes {
                return Ok(len);
            }
            last_bytes = next.size_bytes;
            len += next.size_bytes;
        }
        Ok(max_bytes)
    }

    /// The whole batches at `at` in what was read, the first of which begins at `from` and fits.
    fn cut(
        &self,
        buffer: Vec<u8>,
        at: usize,
        from: u64,
        limit: i64,
        max_bytes: usize,
    ) -> Result<Read, LogError> {
        let (len, next_offset) = whole_batches(&buffer[at..], limit, max_bytes);
        if len == 0 {
            let (have, need) = (buffer.len() - at, HEADER_BYTES);
            let why = super::record_batch::Malformed::Short { have, need };
            return Err(LogError::Damaged { path: self.path().to_owned(), position: from, why });
        }
        let records = read_buffers::share(buffer).slice(at..at + len);
        Ok(Read::Found(Found { records, next_offset }))
    }

    /// The bytes at `position`, at most `len_max` and none behind the end.
    fn buffer(&self, position: u64, end: u64, len_max: usize) -> Result<Vec<u8>, LogError> {
        let len = (end - position).min(len_max as u64) as usize;
        let mut buffer = read_buffers::take(len);
        self.file()
            .read_at(position, len, &mut buffer)
            .map_err(|error| LogError::io("cannot read", self.path(), error))?;
        Ok(buffer)
    }

    /// Looks for the first batch that does not lie below `offset`.
    fn walk(&self, buffer: &[u8], position: u64, offset: i64) -> Result<Walk, LogError> {
        let mut at = 0;
        while buffer.len().saturating_sub(at) >= HEADER_BYTES {
            let header = Header::parse(&buffer[at..]).map_err(|why| LogError::Damaged {
                path: self.path().to_owned(),
                position: position + at as u64,
                why,
            })?;
            if header.last_offset() >= offset {
                return Ok(Walk::At(at, header));
            }
            at += header.size_bytes;
        }
        Ok(Walk::Below(at))
    }

    /// One batch that is larger than the buffer or than asked for.
    fn read_one(
        &self,
        position: u64,
        header: &Header,
        end: u64,
        wanted: bool,
    ) -> Result<Read, LogError> {
        if !wanted {
            return Ok(Read::TooLarge);
        }
        let buffer = self.buffer(position, end, header.size_bytes)?;
        if buffer.len() < header.size_bytes {
            let (have, need) = (buffer.len(), header.size_bytes);
            let why = super::record_batch::Malformed::Short { have, need };
            return Err(LogError::Damaged { path: self.path().to_owned(), position, why });
        }
        let next_offset = header.next_offset();
        Ok(Read::Found(Found { records: read_buffers::share(buffer), next_offset }))
    }
}

/// Length of the whole batches at the front of `buffer` that lie below `limit`, at most
/// `max_bytes`, and the offset behind them.
fn whole_batches(buffer: &[u8], limit: i64, max_bytes: usize) -> (usize, i64) {
    let (mut len, mut next_offset) = (0, 0);
    while let Ok(header) = Header::parse(&buffer[len..]) {
        let end = len + header.size_bytes;
        if header.base_offset >= limit || end > max_bytes || end > buffer.len() {
            break;
        }
        len = end;
        next_offset = header.next_offset();
    }
    (len, next_offset)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn an_offset_inside_a_batch_gets_the_whole_batch() {
        // T39: whoever skips it leaves the client waiting for ever.
        let fixture = Fixture::new();
        let log = fixture.open();
        fixture.append(&log, 10);
        fixture.append(&log, 10);
        for (offset, first) in [(0, 0), (5, 0), (9, 0), (10, 10), (15, 10), (19, 10)] {
            let fetched = log.read(offset, 1, true, Isolation::ReadUncommitted).unwrap();
            let header = Header::parse_whole(&fetched.records).unwrap();
            assert_eq!(header.base_offset, first, "offset {offset}");
            assert_eq!(fetched.records.len(), header.size_bytes);
        }
    }

    #[test]
    fn max_bytes_holds_except_for_the_first_batch_when_wanted() {
        let fixture = Fixture::new();
        let log = fixture.open();
        let size = fixture.append(&log, 3);
        (0..9).for_each(|_| assert_eq!(fixture.append(&log, 3), size));
        let read = |max_bytes, min_one| {
            log.read(0, max_bytes, min_one, Isolation::ReadUncommitted).unwrap().records.len()
        };
        assert_eq!(read(0, false), 0);
        assert_eq!(read(0, true), size);
        assert_eq!(read(size - 1, false), 0);
        assert_eq!(read(size - 1, true), size);
        assert_eq!(read(size, false), size);
        assert_eq!(read(3 * size + 1, false), 3 * size);
        assert_eq!(read(usize::MAX, false), 10 * size);
    }

    #[test]
    fn measured_and_unmeasured_batches_end_at_the_same_limits() {
        let fixture = Fixture::new();
        let log = fixture.open();
        let values: [usize; 8] = [100, 40_000, 50_000, 100, 100, 90_000, 40_000, 20_000];
        let sizes = values.map(|len| {
            let before = log.size_bytes();
            fixture.append_value(&log, &vec![7; len]);
            (log.size_bytes() - before) as usize
        });
        let total: usize = sizes.iter().sum();
        for first in 0..sizes.len() {
            for max_bytes in (0..total + 10_000).step_by(997) {
                let fetched =
                    log.read(first as i64, max_bytes, false, Isolation::ReadUncommitted).unwrap();
                let ends = sizes[first..].iter().scan(0, |end, size| {
                    *end += size;
                    Some(*end)
                });
                let expected = ends.take_while(|end| *end <= max_bytes).last().unwrap_or(0);
                assert_eq!(fetched.records.len(), expected, "from {first}, {max_bytes} bytes");
            }
        }
    }

    #[test]
    fn a_batch_larger_than_the_look_up_buffer_comes_whole_and_what_follows_is_found() {
        let fixture = Fixture::new();
        let log = fixture.open();
        fixture.append(&log, 1);
        fixture.append_value(&log, &[7; 500_000]);
        fixture.append(&log, 1);
        let fetched = log.read(1, 100, true, Isolation::ReadUncommitted).unwrap();
        assert!(fetched.records.len() > 500_000);
        Header::parse_whole(&fetched.records).unwrap();
        let fetched = log.read(2, 100, true, Isolation::ReadUncommitted).unwrap();
        assert_eq!(Header::parse_whole(&fetched.records).unwrap().base_offset, 2);
    }

    #[test]
    fn offsets_outside_are_refused_and_the_end_is_empty() {
        let fixture = Fixture::new();
        let log = fixture.open();
        fixture.append(&log, 2);
        let read = |offset| log.read(offset, 1000, true, Isolation::ReadUncommitted);
        assert!(read(2).unwrap().records.is_empty());
        assert!(matches!(read(3), Err(ReadError::OffsetOutOfRange { .. })));
        assert!(matches!(read(-1), Err(ReadError::OffsetOutOfRange { .. })));
    }
}
