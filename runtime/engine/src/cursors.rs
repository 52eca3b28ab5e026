//! Where a pipeline stands in its source: the next offset to read of every partition, and what each sink still wants.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Start;
use crate::offsets::{OffsetRange, Offsets, TopicPartition};

/// The partitions that this process reads at present.
#[derive(Debug, Default)]
pub struct Cursors {
    partitions: BTreeMap<TopicPartition, Standing>,
}

#[derive(Debug)]
struct Standing {
    /// Everything below has been through the stages and is with the sinks.
    next: i64,
    /// Per sink of the plan: below this offset the sink wants nothing, it has it or begins later.
    sinks: Vec<i64>,
    /// Dead letters of records below this offset are stored already.
    letters: i64,
}

/// What the stores say about partitions that are taken up, and what is there.
pub struct Stored<'a> {
    /// Per sink of the plan: the cursors of all partitions of the topics.
    pub sinks: &'a [Offsets],
    /// Per sink of the plan: partitions that were there before it.
    pub older: &'a [BTreeSet<TopicPartition>],
    pub letters: &'a Offsets,
    /// Where `start` says that a sink without any cursor begins.
    pub starts: &'a Offsets,
    pub available: &'a BTreeMap<TopicPartition, OffsetRange>,
}

impl Cursors {
    /// Every one of `sinks` sinks, and the dead letters, stand where the pipeline does.
    pub fn of(next: &Offsets, sinks: usize) -> Cursors {
        let standing = |next: i64| Standing { next, sinks: vec![next; sinks], letters: next };
        let partitions = next.iter().map(|(partition, next)| (partition.clone(), standing(*next)));
        Cursors { partitions: partitions.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub fn holds(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// The next offset to read of every partition.
    pub fn next(&self) -> Offsets {
        self.each(|standing| standing.next)
    }

    /// The next offset that a sink has not got, per partition; `sink` as in the plan.
    pub fn of_sink(&self, sink: usize) -> Offsets {
        self.each(|standing| standing.next.max(standing.sinks[sink]))
    }

    /// The offset below which every dead letter is with its topic, per partition.
    pub fn of_letters(&self) -> Offsets {
        self.each(|standing| standing.next.max(standing.letters))
    }

    fn each(&self, offset: impl Fn(&Standing) -> i64) -> Offsets {
        let each = self.partitions.iter();
        each.map(|(partition, standing)| (partition.clone(), offset(standing))).collect()
    }

    /// The next offset to read of a partition that is [held](Cursors::holds).
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition).map(|standing| standing.next)
    }

    pub fn advance(&mut self, partition: &TopicPartition, next: i64) {
        if let Some(standing) = self.partitions.get_mut(partition) {
            standing.next = next;
        }
    }

    /// Below which offset each sink, and the dead letters, want nothing of a partition.
    pub fn stored_below(&self, partition: &TopicPartition) -> (&[i64], i64) {
        let standing = self.partitions.get(partition);
        standing.map_or((&[], i64::MIN), |standing| (&standing.sinks, standing.letters))
    }

    /// Takes a partition up, at the smallest cursor of the sinks. A sink that has no cursor at all begins where `start`
    /// says, and so in partitions that were there before it; one that knows other partitions begins a new one at the
    /// earliest offset.
    pub fn begin(&mut self, partition: &TopicPartition, stored: &Stored<'_>) {
        let earliest = stored.available.get(partition).map_or(0, |range| range.begin);
        let start = stored.starts.get(partition).copied().unwrap_or(earliest);
        let begin = |(cursors, older): (&Offsets, &BTreeSet<_>)| match cursors.get(partition) {
            Some(cursor) => *cursor,
            None if cursors.is_empty() || older.contains(partition) => start,
            None => earliest,
        };
        let sinks: Vec<i64> = stored.sinks.iter().zip(stored.older).map(begin).collect();
        let next = sinks.iter().copied().min().unwrap_or(earliest);
        let letters = stored.letters.get(partition).copied().unwrap_or(i64::MIN);
        tracing::debug!(%partition, next, ?sinks, "partition taken up");
        self.partitions.insert(partition.clone(), Standing { next, sinks, letters });
    }

    pub fn give_up(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    pub fn clear(&mut self) {
        self.partitions.clear();
    }
}

/// Whether a beginning that `start` chose would be another one later, so that it has to be written down at once.
pub fn moves_with_time(start: &Start) -> bool {
    *start != Start::Earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn offsets(of: &[(i32, i64)]) -> Offsets {
        of.iter().map(|(partition, offset)| (at(*partition), *offset)).collect()
    }

    fn begun(sinks: &[Offsets], starts: &Offsets) -> Cursors {
        begun_with(sinks, &vec![BTreeSet::new(); sinks.len()], starts)
    }

    fn begun_with(
        sinks: &[Offsets],
        older: &[BTreeSet<TopicPartition>],
        starts: &Offsets,
    ) -> Cursors {
        let ranges = (0..2).map(|partition| (at(partition), OffsetRange { begin: 5, end: 100 }));
        let (available, letters) = (ranges.collect(), offsets(&[(0, 40)]));
        let mut cursors = Cursors::default();
        for partition in 0..2 {
            let stored = Stored { sinks, older, letters: &letters, starts, available: &available };
            cursors.begin(&at(partition), &stored);
        }
        cursors
    }

    #[test]
    fn a_pipeline_begins_at_the_smallest_cursor_and_no_sink_goes_back() {
        let cursors = begun(&[offsets(&[(0, 30), (1, 9)]), offsets(&[(0, 20)])], &Offsets::new());
        assert_eq!(cursors.next(), offsets(&[(0, 20), (1, 5)]));
        assert_eq!(cursors.of_sink(0), offsets(&[(0, 30), (1, 9)]));
        assert_eq!(cursors.of_sink(1), offsets(&[(0, 20), (1, 5)]));
        assert_eq!(cursors.of_letters(), offsets(&[(0, 40), (1, 5)]));
    }

    #[test]
    fn start_holds_for_a_sink_without_cursors_and_not_for_new_partitions() {
        let starts = offsets(&[(0, 77), (1, 88)]);
        let cursors = begun(&[Offsets::new(), offsets(&[(0, 30)])], &starts);
        assert_eq!(cursors.of_sink(0), offsets(&[(0, 77), (1, 88)]));
        assert_eq!(cursors.next(), offsets(&[(0, 30), (1, 5)]));
    }

    /// Another process had written down where the added sink begins in its partitions, and this one took its own for
    /// newer than the sink: it got records from before it was there.
    #[test]
    fn start_holds_for_partitions_that_were_there_before_the_sink() {
        let (starts, older) = (offsets(&[(0, 77), (1, 88)]), [[at(1)].into(), [].into()]);
        let sinks = [offsets(&[(0, 80)]), offsets(&[(0, 30), (1, 40)])];
        let cursors = begun_with(&sinks, &older, &starts);
        assert_eq!(cursors.of_sink(0), offsets(&[(0, 80), (1, 88)]));
        assert_eq!(cursors.next(), offsets(&[(0, 30), (1, 40)]));
    }

    #[test]
    fn a_sink_follows_once_the_pipeline_has_passed_its_cursor() {
        let mut cursors = begun(&[offsets(&[(0, 30), (1, 9)])], &Offsets::new());
        cursors.advance(&at(0), 50);
        assert_eq!(cursors.of_sink(0), offsets(&[(0, 50), (1, 9)]));
    }
}
