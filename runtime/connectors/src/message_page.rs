//! A page of a topic's records for people: so many, newest first, found by their offsets, so that it makes no difference
//! how many others there are.
//!
//! Records are cut to what can be shown as they come; whole ones are read one at a time ([`PageReader::record`]).
//! Only committed records are shown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gristmill_engine::offsets::OffsetRange;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use regex::bytes::{Regex, RegexBuilder};

use crate::kafka_client::{self, ATTEMPT_TIME_MAX, ClientEvents, Cluster};

/// Bytes of a value that are kept of it for a page.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a key, a header's name or a header's value that are kept.
const SMALL_BYTES_MAX: usize = 1 << 10;
/// Headers of a record that are kept.
const HEADERS_MAX: usize = 64;
/// A search that has taken so long is answered with what it has found.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(3);
/// How long the cluster may take to give one window of records.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Records that a search looks at before it answers.
const SEARCHED_MAX: u64 = 500_000;
/// Offsets of each partition that are searched at one go at first; and of all partitions together at most, where records
/// are small.
const SEARCH_STEP: i64 = 100;
const SEARCH_STEP_MAX: i64 = 100_000;
/// A window that took less makes the next one twice as large; one that took much more, smaller.
const WINDOW_TIME: Duration = Duration::from_millis(250);
/// One wait for a record; in between, the deadline is looked at.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// The group that librdkafka asks for; never joined.
const GROUP: &str = "gristmill-viewer";

/// Which records a page is made of.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub topic: String,
    /// Offsets of each partition among which to look.
    pub ranges: BTreeMap<i32, OffsetRange>,
    /// From which end of the ranges.
    pub from: RangeEnd,
    pub rows_max: usize,
    pub filter: Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeEnd {
    /// The last records of the ranges.
    Newest,
    /// The first records of the ranges.
    Oldest,
}

/// Absent parts let everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The whole key.
    pub key: Option<Vec<u8>>,
    text: Option<Regex>,
}

impl Filter {
    /// `text` may stand anywhere in key, value or headers, in letters of either case.
    pub fn new(key: Option<&str>, text: Option<&str>) -> Result<Filter> {
        let pattern =
            |text: &str| RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        let text = text.map(pattern).transpose().context("this text cannot be searched for")?;
        Ok(Filter { key: key.map(|key| key.as_bytes().to_vec()), text })
    }

    fn is_open(&self) -> bool {
        self.key.is_none() && self.text.is_none()
    }

    fn lets(&self, message: &BorrowedMessage<'_>) -> bool {
        let key_fits = self.key.as_ref().is_none_or(|key| message.key() == Some(key.as_slice()));
        key_fits && self.text.as_ref().is_none_or(|text| holds(message, text))
    }
}

fn holds(message: &BorrowedMessage<'_>, text: &Regex) -> bool {
    let found = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| text.is_match(bytes));
    found(message.payload())
        || found(message.key())
        || message.headers().is_some_and(|headers| {
            headers.iter().any(|it| found(Some(it.key.as_bytes())) || found(it.value))
        })
}

/// The records found, newest first, and how to go on.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub records: Vec<ShownRecord>,
    /// Where older records end and newer ones begin, by partition: exclusive and inclusive.
    pub older_end: BTreeMap<i32, i64>,
    pub newer_begin: BTreeMap<i32, i64>,
    /// Records looked at.
    pub searched: u64,
    /// The ranges were looked through to their end.
    pub is_complete: bool,
}

/// A record, cut to what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Cut>,
    pub value: Option<Cut>,
    pub headers: Vec<(String, Option<Cut>)>,
    /// Headers beyond those that are kept.
    pub headers_left_out: usize,
}

/// The beginning of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub bytes: Vec<u8>,
    /// Of the whole.
    pub size: usize,
}

impl Cut {
    pub fn new(bytes: &[u8], bytes_max: usize) -> Cut {
        Cut { bytes: bytes[..bytes.len().min(bytes_max)].to_vec(), size: bytes.len() }
    }

    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.size
    }
}

/// A client that reads pages, one after the other.
pub struct PageReader {
    consumer: BaseConsumer<ClientEvents>,
}

impl PageReader {
    /// Makes the client; does not wait for the cluster.
    pub fn open(cluster: &Cluster) -> Result<PageReader> {
        // A fetch that waits at the end of a partition holds up the next one.
        PageReader::open_with(cluster, ("fetch.wait.max.ms", "10"))
    }

    /// As [`open`](Self::open), for one that reads what comes: records wait for nothing, and the broker is asked seldom.
    pub fn open_to_follow(cluster: &Cluster) -> Result<PageReader> {
        PageReader::open_with(cluster, ("fetch.wait.max.ms", "500"))
    }

    fn open_with(cluster: &Cluster, fetch_wait: (&str, &str)) -> Result<PageReader> {
        let mut config = cluster.client_config(&[
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("allow.auto.create.topics", "false"),
            // A page is small: what lies behind it is not fetched in advance.
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            // One batch of small records fills the queue: by default the partition would rest for a second then.
            ("fetch.queue.backoff.ms", "5"),
            fetch_wait,
        ]);
        config.set("group.id", GROUP);
        let consumer = config
            .create_with_context(ClientEvents::default())
            .map_err(|error| cluster.misconfigured(&error))?;
        Ok(PageReader { consumer })
    }

    /// Reads a page. Blocks, at most for [`SEARCH_TIME_MAX`] and [`READ_TIME_MAX`].
    ///
    /// Errors: the topic cannot be read.
    pub fn page(&self, request: &PageRequest) -> Result<Page> {
        let begun = Instant::now();
        let mut search = Search::begin(request);
        while let Some(windows) = search.next_windows() {
            let mut found = Vec::new();
            let mut searched = 0;
            let window_begun = Instant::now();
            self.read(&request.topic, &windows, |message| {
                searched += 1;
                if request.filter.lets(message) {
                    found.push(shown(message));
                }
            })?;
            search.add(&windows, found, searched);
            search.pace(window_begun.elapsed());
            if begun.elapsed() >= SEARCH_TIME_MAX {
                break;
            }
        }
        Ok(search.page())
    }

    /// One record, its key and value whole; `None`: there is none at this place. Blocks.
    pub fn record(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<WholeRecord>> {
        let range = OffsetRange { begin: offset, end: offset + 1 };
        let mut found = None;
        self.read(topic, &BTreeMap::from([(partition, range)]), |message| {
            found = Some(whole(message));
        })?;
        Ok(found)
    }

    /// Gives the records of the windows, each window in its order.
    ///
    /// Errors: not all of them in time.
    fn read(
        &self,
        topic: &str,
        windows: &BTreeMap<i32, OffsetRange>,
        mut give: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<()> {
        let begun = Instant::now();
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for (partition, window) in windows.iter().filter(|(_, window)| !window.is_empty()) {
            list.add_partition_offset(topic, *partition, Offset::Offset(window.begin))?;
            ends.insert(*partition, window.end);
        }
        self.know(topic);
        self.consumer.assign(&list)?;
        while !ends.is_empty() {
            if begun.elapsed() >= READ_TIME_MAX {
                let trouble = self.consumer.context().last_trouble();
                bail!("the cluster did not give the records of topic `{topic}` in time{trouble}");
            }
            match self.consumer.poll(POLL_WAIT) {
                None => {}
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = ends.get(&partition).copied() else { continue };
                    if offset < end {
                        give(&message);
                    }
                    if offset + 1 >= end {
                        ends.remove(&partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
                Some(Err(error)) if passes(&error) => tracing::debug!(target: "kafka", "{error}"),
                Some(Err(error)) => {
                    return Err(unreadable(topic, &error));
                }
            }
        }
        Ok(self.consumer.unassign()?)
    }

    /// librdkafka looks for the leaders of topics that are new to a client once a second: a page of one would wait for
    /// that. What is wrong is told by the reading.
    fn know(&self, topic: &str) {
        if let Err(error) = self.consumer.fetch_metadata(Some(topic), ATTEMPT_TIME_MAX) {
            tracing::debug!(target: "kafka", topic, "{error}");
        }
    }

    /// Gives every record from `begins` on as it comes, until `give` says that nobody listens. Blocks.
    pub fn follow(
        &self,
        topic: &str,
        begins: &BTreeMap<i32, i64>,
        filter: &Filter,
        mut give: impl FnMut(Option<ShownRecord>) -> bool,
    ) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, begin) in begins {
            list.add_partition_offset(topic, *partition, Offset::Offset(*begin))?;
        }
        self.consumer.assign(&list)?;
        loop {
            let record = match self.consumer.poll(4 * POLL_WAIT) {
                Some(Ok(message)) => filter.lets(&message).then(|| shown(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) | None => None,
                Some(Err(error)) if passes(&error) => None,
                Some(Err(error)) => {
                    return Err(unreadable(topic, &error));
                }
            };
            if !give(record) {
                return Ok(());
            }
        }
    }
}

fn unreadable(topic: &str, error: &KafkaError) -> anyhow::Error {
    let words = format!("cannot read topic `{topic}`: {}", kafka_client::describe(error));
    kafka_client::refusal(error.rdkafka_error_code(), words)
}

/// A record with all that belongs to it.
pub type WholeRecord = crate::stored_records::StoredRecord;

fn whole(message: &BorrowedMessage<'_>) -> WholeRecord {
    crate::stored_records::stored(message)
}

/// Goes through the ranges in windows until there are rows enough.
struct Search<'a> {
    request: &'a PageRequest,
    /// What of the ranges is not yet looked at.
    rest: BTreeMap<i32, OffsetRange>,
    step: i64,
    found: Vec<ShownRecord>,
    searched: u64,
}

impl<'a> Search<'a> {
    fn begin(request: &'a PageRequest) -> Search<'a> {
        let rows = i64::try_from(request.rows_max).unwrap_or(i64::MAX);
        // Without a filter the first windows hold the page, unless offsets are without records.
        let step = if request.filter.is_open() { rows } else { SEARCH_STEP };
        let rest = request.ranges.clone();
        Search { request, rest, step, found: Vec::new(), searched: 0 }
    }

    /// `None`: there are rows enough, or nothing is left.
    fn next_windows(&mut self) -> Option<BTreeMap<i32, OffsetRange>> {
        let enough = self.found.len() >= self.request.rows_max || self.searched >= SEARCHED_MAX;
        let windows: BTreeMap<_, _> = self
            .rest
            .iter()
            .filter(|(_, range)| !range.is_empty())
            .map(|(partition, range)| (*partition, self.window(*range)))
            .collect();
        (!enough && !windows.is_empty()).then_some(windows)
    }

    /// Large records make small windows, so that a search ends in time.
    fn pace(&mut self, took: Duration) {
        if took < WINDOW_TIME {
            let partitions = i64::try_from(self.rest.len()).unwrap_or(i64::MAX);
            self.step = (2 * self.step).min(SEARCH_STEP_MAX / partitions.max(1)).max(1);
        } else if took > 4 * WINDOW_TIME {
            self.step = (self.step / 4).max(1);
        }
    }

    fn window(&self, range: OffsetRange) -> OffsetRange {
        match self.request.from {
            RangeEnd::Newest => {
                OffsetRange { begin: range.begin.max(range.end - self.step), end: range.end }
            }
            RangeEnd::Oldest => {
                OffsetRange { begin: range.begin, end: range.end.min(range.begin + self.step) }
            }
        }
    }

    fn add(
        &mut self,
        windows: &BTreeMap<i32, OffsetRange>,
        found: Vec<ShownRecord>,
        searched: u64,
    ) {
        for (partition, window) in windows {
            let Some(rest) = self.rest.get_mut(partition) else { continue };
            match self.request.from {
                RangeEnd::Newest => rest.end = window.begin,
                RangeEnd::Oldest => rest.begin = window.end,
            }
        }
        self.searched += searched;
        self.found.extend(found);
        // Only so many are shown; the others need not be held.
        self.found.sort_by_key(newest_first);
        let surplus = self.found.len().saturating_sub(self.request.rows_max);
        match self.request.from {
            RangeEnd::Newest => self.found.truncate(self.request.rows_max),
            RangeEnd::Oldest => drop(self.found.drain(..surplus)),
        }
        if surplus > 0 {
            // What was left out lies beyond the rows that are shown: the next page begins there.
            self.bring_back();
        }
    }

    /// The rest of each partition begins at what is shown of it.
    fn bring_back(&mut self) {
        for (partition, range) in &self.request.ranges {
            let shown = self.found.iter().filter(|record| record.partition == *partition);
            let offsets = shown.map(|record| record.offset);
            let rest = match self.request.from {
                RangeEnd::Newest => {
                    OffsetRange { begin: range.begin, end: offsets.min().unwrap_or(range.end) }
                }
                RangeEnd::Oldest => OffsetRange {
                    begin: offsets.max().map_or(range.begin, |offset| offset + 1),
                    end: range.end,
                },
            };
            self.rest.insert(*partition, rest);
        }
    }

    fn page(self) -> Page {
        let is_complete = self.rest.values().all(OffsetRange::is_empty);
        let range = |partition: &i32| {
            let asked = &self.request.ranges[partition];
            let rest = self.rest.get(partition).unwrap_or(asked);
            match self.request.from {
                RangeEnd::Newest => (rest.end, asked.end),
                RangeEnd::Oldest => (asked.begin, rest.begin),
            }
        };
        let partitions: Vec<i32> = self.request.ranges.keys().copied().collect();
        Page {
            older_end: partitions.iter().map(|it| (*it, range(it).0)).collect(),
            newer_begin: partitions.iter().map(|it| (*it, range(it).1)).collect(),
            records: self.found,
            searched: self.searched,
            is_complete,
        }
    }
}

/// By time; of one partition by offset, which goes with time but where producers' clocks do not.
fn newest_first(record: &ShownRecord) -> (std::cmp::Reverse<(i64, i64)>, i32) {
    let time = record.timestamp_ms.unwrap_or(i64::MIN);
    (std::cmp::Reverse((time, record.offset)), record.partition)
}

fn shown(message: &BorrowedMessage<'_>) -> ShownRecord {
    let small = |bytes: &[u8]| Cut::new(bytes, SMALL_BYTES_MAX);
    let count = message.headers().map_or(0, |headers| headers.count());
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.take(HEADERS_MAX).map(|header| {
        let name = header.key.chars().take(SMALL_BYTES_MAX).collect();
        (name, header.value.map(small))
    });
    ShownRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(small),
        value: message.payload().map(|value| Cut::new(value, VALUE_BYTES_MAX)),
        headers: headers.collect(),
        headers_left_out: count.saturating_sub(HEADERS_MAX),
    }
}

fn passes(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(kafka_client::may_pass)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, timestamp_ms: i64) -> ShownRecord {
        let (key, value, headers) = (None, None, Vec::new());
        let timestamp_ms = Some(timestamp_ms);
        ShownRecord { partition, offset, timestamp_ms, key, value, headers, headers_left_out: 0 }
    }

    fn request(ranges: &[(i64, i64)], from: RangeEnd, rows_max: usize) -> PageRequest {
        let range = |(begin, end): &(i64, i64)| OffsetRange { begin: *begin, end: *end };
        let ranges = (0..).zip(ranges.iter().map(range)).collect();
        PageRequest { topic: "t".into(), ranges, from, rows_max, filter: Filter::default() }
    }

    /// As if every offset had a record, of that time.
    fn run(request: &PageRequest, time: impl Fn(i32, i64) -> Option<i64>) -> Page {
        let mut search = Search::begin(request);
        while let Some(windows) = search.next_windows() {
            let mut found = Vec::new();
            for (partition, window) in &windows {
                let record = |offset| Some(record(*partition, offset, time(*partition, offset)?));
                found.extend((window.begin..window.end).filter_map(record));
            }
            search.add(&windows, found, 1);
            search.pace(Duration::ZERO);
        }
        search.page()
    }

    fn places(page: &Page) -> Vec<(i32, i64)> {
        page.records.iter().map(|record| (record.partition, record.offset)).collect()
    }

    #[test]
    fn pages_follow_one_another_without_gap_or_overlap() {
        let mut request = request(&[(3, 10), (0, 4)], RangeEnd::Newest, 3);
        let time = |partition: i32, offset: i64| Some(offset * 10 + i64::from(partition));
        let mut seen = Vec::new();
        loop {
            let page = run(&request, time);
            seen.extend(places(&page));
            if page.is_complete {
                break;
            }
            for (partition, end) in &page.older_end {
                request.ranges.get_mut(partition).unwrap().end = *end;
            }
        }
        let expected = [
            (0, 9),
            (0, 8),
            (0, 7),
            (0, 6),
            (0, 5),
            (0, 4),
            (1, 3),
            (0, 3),
            (1, 2),
            (1, 1),
            (1, 0),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_search_takes_larger_steps_through_small_records_and_smaller_ones_through_large() {
        let mut request = request(&[(0, 1 << 40), (0, 1 << 40)], RangeEnd::Newest, 3);
        request.filter = Filter::new(None, Some("x")).unwrap();
        let mut search = Search::begin(&request);
        search.pace(Duration::ZERO);
        assert_eq!(search.step, 2 * SEARCH_STEP);
        (0..50).for_each(|_| search.pace(Duration::ZERO));
        assert_eq!(search.step, SEARCH_STEP_MAX / 2, "over all partitions");
        search.pace(2 * WINDOW_TIME);
        assert_eq!(search.step, SEARCH_STEP_MAX / 2);
        (0..50).for_each(|_| search.pace(9 * WINDOW_TIME));
        assert_eq!(search.step, 1);
    }

    #[test]
    fn newer_records_are_those_right_above() {
        let request = request(&[(5, 100)], RangeEnd::Oldest, 3);
        let page = run(&request, |_, offset| Some(offset));
        assert_eq!(places(&page), [(0, 7), (0, 6), (0, 5)]);
        assert_eq!((page.older_end[&0], page.newer_begin[&0]), (5, 8));
    }

    #[test]
    fn offsets_without_records_are_looked_through() {
        let request = request(&[(0, 1_000)], RangeEnd::Newest, 2);
        let page = run(&request, |_, offset| (offset < 2).then_some(offset));
        assert_eq!(places(&page), [(0, 1), (0, 0)]);
        assert!(page.is_complete);
    }

    #[test]
    fn long_bytes_are_cut_and_say_so() {
        let cut = Cut::new(&[7; 100], 10);
        assert_eq!((cut.bytes.len(), cut.size, cut.is_whole()), (10, 100, false));
        assert!(Cut::new(b"", 10).is_whole());
    }
}
