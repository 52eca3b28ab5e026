//! Offsets by time (ListOffsets): the time index leads near the place, the headers to the batch,
//! and that one batch is decoded to find the record.

use super::error::LogError;
use super::record_batch::Header;
use super::records;
use super::scan::{Scan, Step};
use super::segment::Segment;
use super::shared::Shared;

/// Read at once while walking from an index entry to the batch.
const CHUNK_BYTES: usize = 64 * 1024;

impl Shared {
    pub(super) fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
    ) -> Result<Option<(i64, i64)>, LogError> {
        self.check_open()?;
        let from = self.log_start_offset();
        for segment in self.segments().iter() {
            let largest = segment.largest_timestamp();
            if largest.is_none_or(|(largest_ms, _)| largest_ms < timestamp_ms) {
                continue;
            }
            let position = segment.floor_position_of_time(timestamp_ms)?;
            let found = segment.first_record(position, from, |header, batch| {
                if header.max_timestamp_ms < timestamp_ms {
                    return None;
                }
                first_at_or_after(header, batch, timestamp_ms, from)
            })?;
            if let Some((timestamp_ms, offset)) = found {
                return Ok((offset < self.high_watermark()).then_some((timestamp_ms, offset)));
            }
        }
        Ok(None)
    }

    pub(super) fn offset_of_max_timestamp(&self) -> Result<Option<(i64, i64)>, LogError> {
        self.check_open()?;
        let from = self.log_start_offset();
        let segments = self.segments();
        let mut largest: Option<(i64, i64, &Segment)> = None;
        for segment in segments.iter() {
            if let Some((timestamp_ms, offset)) = segment.largest_timestamp()
                && largest.is_none_or(|(so_far_ms, _, _)| timestamp_ms > so_far_ms)
            {
                largest = Some((timestamp_ms, offset, segment));
            }
        }
        let Some((timestamp_ms, batch_last_offset, segment)) = largest else { return Ok(None) };
        let position = segment.floor_position(batch_last_offset)?;
        segment.first_record(position, from.max(batch_last_offset), |header, batch| {
            first_at_or_after(header, batch, timestamp_ms, from)
        })
    }
}

impl Segment {
    /// Walks from `position` over the batches that reach up to `from` or beyond; the first answer
    /// of `look` ends it.
    fn first_record(
        &self,
        position: u64,
        from: i64,
        look: impl Fn(&Header, &[u8]) -> Option<(i64, i64)>,
    ) -> Result<Option<(i64, i64)>, LogError> {
        let mut scan = Scan::new(self.file(), position, self.size_bytes(), Some(CHUNK_BYTES));
        loop {
            match scan.next() {
                Ok(Step::Batch { header, bytes, .. }) => {
                    if header.last_offset() < from {
                        continue;
                    }
                    if let Some(found) = look(&header, bytes) {
                        return Ok(Some(found));
                    }
                }
                Ok(Step::End) => return Ok(None),
                Ok(Step::Bad { position, why }) => {
                    return Err(LogError::Damaged { path: self.path().to_owned(), position, why });
                }
                Err(error) => return Err(LogError::io("cannot read", self.path(), error)),
            }
        }
    }
}

/// The first record of a batch with a time at or after `timestamp_ms` and an offset of `from` or
/// above. A batch that cannot be decoded (it was stored as it came) answers with its beginning, so
/// that nothing is passed over.
fn first_at_or_after(
    header: &Header,
    batch: &[u8],
    timestamp_ms: i64,
    from: i64,
) -> Option<(i64, i64)> {
    if header.is_log_append_time() {
        let first = (header.max_timestamp_ms, header.base_offset.max(from));
        return (header.max_timestamp_ms >= timestamp_ms).then_some(first);
    }
    let beginning = (header.max_timestamp_ms, header.base_offset.max(from));
    let Ok(payload) = records::payload(header, batch) else { return Some(beginning) };
    for record in records::iter(&payload) {
        let Ok(record) = record else { return Some(beginning) };
        let time_ms = header.base_timestamp_ms.wrapping_add(record.timestamp_delta_ms);
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if time_ms >= timestamp_ms && offset >= from {
            return Some((time_ms, offset));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Log;
    use super::super::batch_builder::BatchBuilder;
    use super::super::config::{LogConfig, TimestampType};
    use super::super::fixture::Fixture;
    use proptest::prelude::*;

    fn append_times(log: &Log, times_ms: &[i64]) {
        let mut builder = BatchBuilder::new();
        times_ms.iter().for_each(|time_ms| builder.push(*time_ms, None, Some(b"v")));
        log.append(builder.build()).unwrap();
    }

    #[test]
    fn the_first_record_at_or_after_a_time_is_found_inside_its_batch() {
        let fixture = Fixture::new();
        let log = fixture.open();
        append_times(&log, &[100, 300, 200]);
        append_times(&log, &[150, 400]);
        fixture.sync(&log);
        for (asked_ms, found) in [
            (0, Some((100, 0))),
            (101, Some((300, 1))),
            (300, Some((300, 1))),
            (301, Some((400, 4))),
            (401, None),
        ] {
            assert_eq!(log.offset_for_timestamp(asked_ms).unwrap(), found, "time {asked_ms}");
        }
        assert_eq!(log.offset_of_max_timestamp().unwrap(), Some((400, 4)));
    }

    #[test]
    fn an_empty_log_and_records_without_a_time_have_no_answer() {
        let fixture = Fixture::new();
        let log = fixture.open();
        assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
        append_times(&log, &[-1, -1]);
        fixture.sync(&log);
        assert_eq!(log.offset_for_timestamp(0).unwrap(), None);
        assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
    }

    #[test]
    fn under_log_append_time_every_record_has_the_brokers_time() {
        let timestamp_type = TimestampType::LogAppendTime;
        let fixture = Fixture::with(LogConfig { timestamp_type, ..LogConfig::default() });
        let log = fixture.open();
        append_times(&log, &[1, 2, 3]);
        fixture.clock.advance(10);
        append_times(&log, &[1, 2, 3]);
        fixture.sync(&log);
        let now_ms = fixture.now_ms();
        assert_eq!(log.offset_for_timestamp(now_ms).unwrap(), Some((now_ms, 3)));
        assert_eq!(log.offset_for_timestamp(now_ms - 10).unwrap(), Some((now_ms - 10, 0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn look_ups_agree_with_a_plain_search(
            batches in prop::collection::vec(prop::collection::vec(0i64..50, 1..5), 1..60),
            asked_ms in -1i64..55,
        ) {
            let config = LogConfig {
                segment_bytes_max: 1000,
                index_interval_bytes: 200,
                ..LogConfig::default()
            };
            let fixture = Fixture::with(config);
            let log = fixture.open();
            batches.iter().for_each(|times_ms| append_times(&log, times_ms));
            fixture.sync(&log);
            let all: Vec<i64> = batches.concat();
            let at = |n: usize| (all[n], n as i64);
            let first = all.iter().position(|time_ms| *time_ms >= asked_ms).map(at);
            prop_assert_eq!(log.offset_for_timestamp(asked_ms).unwrap(), first);
            let largest = all.iter().max().unwrap();
            let first = all.iter().position(|time_ms| time_ms == largest).map(at);
            prop_assert_eq!(log.offset_of_max_timestamp().unwrap(), first);
        }
    }
}
