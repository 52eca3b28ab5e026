//! Which letters of one partition were sent through again: an offset, and what was sent beyond it.
//!
//! A replay may pick letters by stage or reason, so that those it sends need not stand one after the other. The offset
//! of the group is the first letter that was not sent; the ranges of those sent behind it are the commit's metadata, as
//! text: `7,9-12`.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};

/// Kafka's default of `offset.metadata.max.bytes`.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Everything below was sent, or is no letter.
    next: i64,
    /// Sent beyond `next`: ascending, apart from each other.
    sent: Vec<RangeInclusive<i64>>,
    /// Since the reading began, the first letter that was left unsent.
    unsent: Option<i64>,
    /// The letter before, if it is sent and beyond `next`.
    previous_sent: Option<i64>,
}

impl ReplayProgress {
    /// # Errors
    /// `metadata` was written by somebody else.
    pub fn of_commit(next: i64, metadata: &str) -> Result<ReplayProgress> {
        let ranges = metadata.split(',').filter(|text| !text.is_empty()).map(range);
        let sent: Vec<_> = ranges.collect::<Result<_>>().with_context(|| {
            format!(
                "the group's offset {next} carries `{metadata}`, which is no progress of a replay"
            )
        })?;
        let mut before = next - 1;
        for range in &sent {
            ensure!(*range.start() > before, "the ranges `{metadata}` are out of order");
            before = *range.end();
        }
        Ok(ReplayProgress { next, sent, ..ReplayProgress::default() })
    }

    /// Where to begin to read.
    pub fn next(&self) -> i64 {
        self.next
    }

    pub fn is_sent(&self, offset: i64) -> bool {
        offset < self.next || self.sent.iter().any(|range| range.contains(&offset))
    }

    /// The letter at `offset` is sent, or no letter. Letters come ascending.
    pub fn mark_sent(&mut self, offset: i64) {
        if offset < self.next {
            return;
        }
        if self.unsent.is_none() {
            self.next = offset + 1;
            while let Some(first) = self.sent.first().filter(|first| *first.start() <= self.next) {
                self.next = self.next.max(*first.end() + 1);
                self.sent.remove(0);
            }
            return;
        }
        // No letter stands between this one and the one before, so that one range holds both.
        let start = self.previous_sent.replace(offset).unwrap_or(offset);
        let touches = |range: &&RangeInclusive<i64>| {
            *range.start() <= offset + 1 && *range.end() + 1 >= start
        };
        let touched: Vec<_> = self.sent.iter().filter(touches).cloned().collect();
        let start = touched.first().map_or(start, |range| start.min(*range.start()));
        let end = touched.last().map_or(offset, |range| offset.max(*range.end()));
        self.sent.retain(|range| !touched.contains(range));
        let at = self.sent.partition_point(|range| *range.end() < start);
        self.sent.insert(at, start..=end);
    }

    /// The letter at `offset` is left unsent. Letters come ascending.
    pub fn leave_unsent(&mut self, offset: i64) {
        self.previous_sent = None;
        if self.unsent.is_none() {
            self.unsent = Some(offset);
            self.next = offset;
        }
    }

    /// The commit's metadata.
    pub fn metadata(&self) -> String {
        let text = |range: &RangeInclusive<i64>| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        };
        self.sent.iter().map(text).collect::<Vec<_>>().join(",")
    }

    /// Whether one letter more may not fit into a commit.
    pub fn is_full(&self) -> bool {
        /// A comma and a number of 19 digits, on both sides of a range.
        const LETTER_BYTES_MAX: usize = 40;
        self.metadata().len() + LETTER_BYTES_MAX > METADATA_BYTES_MAX
    }
}

fn range(text: &str) -> Result<RangeInclusive<i64>> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (start.parse()?, end.parse()?);
    ensure!(start <= end, "{start} is behind {end}");
    Ok(start..=end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Goes over the letters 0 to 9 and sends those that are picked and were not sent before.
    fn replay(
        progress: &ReplayProgress,
        picked: impl Fn(i64) -> bool,
    ) -> (ReplayProgress, Vec<i64>) {
        let mut now = ReplayProgress::of_commit(progress.next(), &progress.metadata()).unwrap();
        let mut sent = Vec::new();
        for offset in now.next()..10 {
            match (now.is_sent(offset), picked(offset)) {
                (true, _) => now.mark_sent(offset),
                (false, true) => {
                    sent.push(offset);
                    now.mark_sent(offset);
                }
                (false, false) => now.leave_unsent(offset),
            }
        }
        (now, sent)
    }

    #[test]
    fn every_letter_is_sent_once_however_they_are_picked() {
        let (odd, sent) = replay(&ReplayProgress::default(), |offset| offset % 2 == 1);
        assert_eq!(
            (odd.next(), odd.metadata().as_str(), sent),
            (0, "1,3,5,7,9", vec![1, 3, 5, 7, 9])
        );
        let (more, sent) = replay(&odd, |offset| !(2..=6).contains(&offset));
        assert_eq!((more.next(), more.metadata().as_str(), sent), (2, "3,5,7-9", vec![0, 8]));
        let (all, sent) = replay(&more, |_| true);
        assert_eq!((all.next(), all.metadata().as_str(), sent), (10, "", vec![2, 4, 6]));
        assert!(replay(&all, |_| true).1.is_empty());
    }

    /// Between two transactions lies a record that is no letter.
    #[test]
    fn letters_with_gaps_between_them_are_one_range() {
        let mut progress = ReplayProgress::default();
        progress.leave_unsent(3);
        for offset in [5, 7, 9] {
            progress.mark_sent(offset);
        }
        progress.leave_unsent(11);
        progress.mark_sent(13);
        assert_eq!((progress.next(), progress.metadata().as_str()), (3, "5-9,13"));
        let mut again = ReplayProgress::of_commit(3, "5-9,13").unwrap();
        again.mark_sent(3);
        assert_eq!((again.next(), again.metadata().as_str()), (4, "5-9,13"));
        again.mark_sent(5);
        assert_eq!((again.next(), again.metadata().as_str()), (10, "13"));
    }

    #[test]
    fn what_somebody_else_wrote_is_refused() {
        for metadata in ["x", "5-3", "7,6", "3", "5-", "9,9", "-1"] {
            assert!(ReplayProgress::of_commit(5, metadata).is_err(), "{metadata}");
        }
    }

    #[test]
    fn progress_says_when_it_is_full_before_it_is() {
        let mut progress = ReplayProgress::default();
        progress.leave_unsent(0);
        let mut offset = i64::MAX / 2;
        while !progress.is_full() {
            offset += 2;
            progress.leave_unsent(offset);
            progress.mark_sent(offset + 1);
            assert!(progress.metadata().len() <= METADATA_BYTES_MAX);
        }
        assert!(progress.sent.len() > 100);
    }
}
