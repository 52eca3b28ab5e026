//! Topic partitions, offsets and how a limit is shared out over partitions.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::sync::Arc;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The entries of one topic.
pub fn of_topic<'a, T>(
    all: &'a BTreeMap<TopicPartition, T>,
    topic: &str,
) -> btree_map::Range<'a, TopicPartition, T> {
    let topic: Arc<str> = topic.into();
    let first = TopicPartition::new(topic.clone(), i32::MIN);
    all.range(first..=TopicPartition::new(topic, i32::MAX))
}

/// Per partition the *next* offset: everything below it is meant.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// Offsets `begin..end` of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    pub begin: i64,
    pub end: i64,
}

impl OffsetRange {
    pub fn len(&self) -> i64 {
        (self.end - self.begin).max(0)
    }

    pub fn is_empty(&self) -> bool {
        self.end <= self.begin
    }
}

/// Shares `limit` records out over the partitions in proportion to what each has, as Spark's
/// `maxOffsetsPerTrigger` does: a small share is rounded up, so that every partition gets on, a larger one down.
/// The sum may differ slightly from the limit. No limit: everything.
pub fn share_out(
    available: &BTreeMap<TopicPartition, OffsetRange>,
    limit: Option<u64>,
) -> BTreeMap<TopicPartition, OffsetRange> {
    let wanted = available.iter().filter(|(_, range)| !range.is_empty());
    let total: i64 = wanted.clone().map(|(_, range)| range.len()).sum();
    let share = |range: &OffsetRange| match limit {
        Some(limit) if (limit as i128) < total as i128 => {
            let prorated = limit as f64 * range.len() as f64 / total as f64;
            if prorated < 1.0 { prorated.ceil() as i64 } else { prorated.floor() as i64 }
        }
        _ => range.len(),
    };
    wanted
        .map(|(partition, range)| {
            let end = range.begin.saturating_add(share(range)).min(range.end);
            (partition.clone(), OffsetRange { begin: range.begin, end })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(sizes: &[i64], limit: u64) -> Vec<i64> {
        let available = (0..)
            .zip(sizes)
            .map(|(p, size)| {
                (TopicPartition::new("t", p), OffsetRange { begin: 10, end: 10 + size })
            })
            .collect();
        let shares = share_out(&available, Some(limit));
        (0..sizes.len() as i32)
            .map(|p| shares.get(&TopicPartition::new("t", p)).map_or(0, OffsetRange::len))
            .collect()
    }

    #[test]
    fn a_limit_is_prorated_as_spark_does() {
        assert_eq!(shared(&[100, 100], 50), [25, 25]);
        assert_eq!(shared(&[1000, 1], 10), [9, 1]);
        assert_eq!(shared(&[0, 7], 3), [0, 3]);
    }

    #[test]
    fn a_limit_above_what_is_there_takes_everything() {
        assert_eq!(shared(&[3, 4], 100), [3, 4]);
    }
}
