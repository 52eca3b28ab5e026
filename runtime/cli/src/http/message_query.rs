//! Which records of a topic are asked for: the query of the Messages tab and of its API.

use std::collections::BTreeMap;

use gristmill_connectors::message_page::{Filter, Page, PageRequest, RangeEnd};
use gristmill_connectors::viewer::{OffsetRange, PartitionView, Viewer};
use gristmill_engine::offsets::TopicPartition;
use serde::Deserialize;

use super::failure::Failure;
use super::time_text;

/// Records of a page, unless asked for otherwise, and at most.
const ROWS: usize = 50;
const ROWS_MAX: usize = 500;

/// Everything may be left out: then the newest records of all partitions. Empty text counts as left out, as forms send
/// it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MessageQuery {
    pub partition: String,
    /// The newest record shown is the one at this offset, or the first below it. Needs a partition.
    pub offset: String,
    /// The newest record shown is the last at or before this time, UTC: `2026-11-01T12:00:00Z`, or ms since 1970.
    pub time: String,
    /// Only records from this time on.
    pub since: String,
    /// Only records with this key.
    pub key: String,
    /// Only records that hold this in key, value or headers.
    pub text: String,
    /// Go on below these offsets: `0:17,1:4`.
    pub before: String,
    /// Go on from these offsets upwards.
    pub after: String,
    pub limit: String,
}

/// The answer, with what it is an answer about.
pub struct Messages {
    pub page: Page,
    pub partitions: Vec<PartitionView>,
}

impl MessageQuery {
    /// # Errors
    /// Something is no number or no time; there is no such topic or partition.
    pub async fn read(
        &self,
        viewer: &std::sync::Arc<Viewer>,
        topic: &str,
    ) -> Result<Messages, Failure> {
        let partitions = super::api::existing(viewer, topic).await?;
        let request = self.request(viewer, topic, &partitions).await?;
        let page = viewer.page(request).await?;
        Ok(Messages { page, partitions })
    }

    async fn request(
        &self,
        viewer: &Viewer,
        topic: &str,
        partitions: &[PartitionView],
    ) -> Result<PageRequest, Failure> {
        let partition = number::<i32>(&self.partition, "partition")?;
        let chosen = partitions.iter().filter(|it| partition.is_none_or(|p| p == it.partition));
        let mut ranges: BTreeMap<i32, OffsetRange> =
            chosen.map(|view| (view.partition, view.offsets)).collect();
        if ranges.is_empty() {
            let last = partitions.len().saturating_sub(1);
            let message =
                format!("`{topic}` has no partition {}: it has 0 to {last}", self.partition);
            return Err(Failure::bad_request(message));
        }
        self.narrow(viewer, topic, &mut ranges).await?;
        let limit = number::<usize>(&self.limit, "limit")?.unwrap_or(ROWS);
        Ok(PageRequest {
            topic: topic.to_string(),
            ranges,
            from: if self.after.is_empty() { RangeEnd::Newest } else { RangeEnd::Oldest },
            rows_max: limit.clamp(1, ROWS_MAX),
            filter: self.filter()?,
        })
    }

    pub fn filter(&self) -> Result<Filter, Failure> {
        let given = |text: &'_ str| (!text.is_empty()).then(|| text.to_string());
        let filter = Filter::new(given(&self.key).as_deref(), given(&self.text).as_deref());
        filter.map_err(|error| Failure::bad_request(format!("{error:#}")))
    }

    /// To offset, times, and where the page before ended.
    async fn narrow(
        &self,
        viewer: &Viewer,
        topic: &str,
        ranges: &mut BTreeMap<i32, OffsetRange>,
    ) -> Result<(), Failure> {
        if let Some(offset) = number::<i64>(&self.offset, "offset")? {
            if self.partition.is_empty() {
                return Err(Failure::bad_request("an offset is of one partition: choose which"));
            }
            lower_ends(ranges, |_| Some(offset.saturating_add(1)));
        }
        let places: Vec<_> = ranges.keys().map(|it| TopicPartition::new(topic, *it)).collect();
        let at = |offsets: &gristmill_engine::offsets::Offsets, partition: i32| {
            offsets.get(&TopicPartition::new(topic, partition)).copied()
        };
        if let Some(time_ms) = time(&self.time, "time")? {
            let ends = viewer.offsets_at(places.clone(), time_ms.saturating_add(1)).await?;
            lower_ends(ranges, |partition| at(&ends, partition));
        }
        if let Some(since_ms) = time(&self.since, "since")? {
            let begins = viewer.offsets_at(places, since_ms).await?;
            raise_begins(ranges, |partition| at(&begins, partition));
        }
        let (before, after) = (bound(&self.before)?, bound(&self.after)?);
        lower_ends(ranges, |partition| before.get(&partition).copied());
        raise_begins(ranges, |partition| after.get(&partition).copied());
        Ok(())
    }

    /// `0:17,1:4`.
    pub fn bound_text(offsets: &BTreeMap<i32, i64>) -> String {
        let pairs = offsets.iter().map(|(partition, offset)| format!("{partition}:{offset}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// The query's parts but for `before` and `after`, for links to other pages of the same.
    pub fn parts(&self) -> Vec<(&'static str, &str)> {
        let parts = [
            ("partition", self.partition.as_str()),
            ("offset", &self.offset),
            ("time", &self.time),
            ("since", &self.since),
            ("key", &self.key),
            ("text", &self.text),
            ("limit", &self.limit),
        ];
        parts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

fn lower_ends(ranges: &mut BTreeMap<i32, OffsetRange>, end: impl Fn(i32) -> Option<i64>) {
    for (partition, range) in ranges {
        range.end = end(*partition).map_or(range.end, |end| range.end.min(end)).max(range.begin);
    }
}

fn raise_begins(ranges: &mut BTreeMap<i32, OffsetRange>, begin: impl Fn(i32) -> Option<i64>) {
    for (partition, range) in ranges {
        let raised = begin(*partition).map_or(range.begin, |begin| range.begin.max(begin));
        range.begin = raised.min(range.end);
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.trim().parse();
    parsed
        .map(Some)
        .map_err(|_| Failure::bad_request(format!("{name}: `{text}` is no number here")))
}

fn time(text: &str, name: &str) -> Result<Option<i64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    time_text::parse_ms(text).map(Some).ok_or_else(|| {
        Failure::bad_request(format!(
            "{name}: `{text}` is no time; write it as 2026-11-01T12:00:00Z (UTC)"
        ))
    })
}

fn bound(text: &str) -> Result<BTreeMap<i32, i64>, Failure> {
    let pair = |pair: &str| {
        let (partition, offset) = pair.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let pairs = text.split(',').filter(|it| !it.is_empty()).map(pair).collect::<Option<_>>();
    pairs.ok_or_else(|| Failure::bad_request("`before` and `after` are PARTITION:OFFSET,…"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        let bounds = BTreeMap::from([(0, 17), (12, 4)]);
        assert_eq!(MessageQuery::bound_text(&bounds), "0:17,12:4");
        assert_eq!(bound("0:17,12:4").unwrap(), bounds);
        assert!(bound("0").is_err() && bound("a:1").is_err());
        assert!(bound("").unwrap().is_empty());
    }

    #[test]
    fn ranges_are_narrowed_and_never_turned_around() {
        let mut ranges = BTreeMap::from([(0, OffsetRange { begin: 5, end: 9 })]);
        lower_ends(&mut ranges, |_| Some(2));
        assert_eq!(ranges[&0], OffsetRange { begin: 5, end: 5 });
        raise_begins(&mut ranges, |_| Some(99));
        assert_eq!(ranges[&0], OffsetRange { begin: 5, end: 5 });
    }

    #[test]
    fn what_is_no_number_or_time_is_named() {
        let error = number::<i64>("x", "offset").unwrap_err();
        assert_eq!(error.message(), "offset: `x` is no number here");
        assert!(time("noon", "time").unwrap_err().message().contains("2026-11-01T12:00:00Z"));
        assert_eq!(time("", "time").unwrap(), None);
    }
}
