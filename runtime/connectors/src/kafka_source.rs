//! Topics of a Kafka cluster as the source of a pipeline. The built-in broker is such a cluster.
//!
//! - Partitions are read from explicit offsets and nothing is committed here: the cursors live in
//!   the sinks. Which partitions are ours is told by the group (`kafka_group`), if there is one.
//! - One consumer for all partitions, a queue for each: librdkafka fetches ahead while the stages
//!   work.
//! - Committed records only, unless the user says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use gristmill_engine::config::{OnDataLoss, Start, Topics};
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{OffsetRange, Offsets, TopicPartition};
use gristmill_engine::source::{Rebalance, Source, SourceBatch, SourceReader};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;

use crate::kafka_client::{self, ATTEMPT_TIME_MAX, Cluster, KafkaConsumer, REACH_TIME_MAX};
use crate::kafka_group::Membership;
use crate::message_queue::{Event, Message, MessageQueue};
use crate::question;
use crate::record_columns::RecordColumns;

/// Topics and partitions are looked for anew after this long.
const TOPICS_KNOWN_FOR: Duration = Duration::from_secs(2);

/// A partition counts as gone if it is not there for so long.
const GONE_TIME_MIN: Duration = Duration::from_secs(5);

/// Earliest offsets change by retention only; a reader that meets a gap says so by itself.
const EARLIEST_KNOWN_FOR: Duration = Duration::from_secs(1);

/// A reader that gets nothing, although there should be something, gives up after this long.
/// Spark's `kafkaConsumer.pollTimeoutMs`.
pub const READ_TIME_MAX: Duration = kafka_client::AWAY_TIME_MAX;

/// One wait for records; in between, the deadline is looked at.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Records taken from a queue at a time at most, whatever the caller asks for.
const TAKE_MAX: usize = 10_000;

/// What we set of librdkafka, and why.
const SETTINGS: [(&str, &str); 9] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    // The end of a partition whose last records are control records shows only in an empty fetch:
    // keep it short.
    ("fetch.wait.max.ms", "50"),
    // A queue that was full is filled again at once; the default pause is a second.
    ("fetch.queue.backoff.ms", "2"),
    ("queued.min.messages", "100000"),
];

/// Memory for records fetched ahead, over all partitions, and the share of one partition.
const AHEAD_BYTES_MAX: usize = 128 << 20;
const PARTITION_AHEAD_BYTES_MIN: usize = 1 << 20;
const PARTITION_AHEAD_BYTES_MAX: usize = 32 << 20;

/// Most bytes of one partition in one fetch.
const FETCH_BYTES_MAX: usize = 4 << 20;

/// What a Kafka source is made from.
#[derive(Debug, Clone)]
pub struct KafkaSourceSetup {
    pub cluster: Cluster,
    pub topics: Topics,
    /// Names this reader to the cluster; not joined here.
    pub group: String,
    pub on_data_loss: OnDataLoss,
    /// [`READ_TIME_MAX`] unless a test says otherwise.
    pub read_time_max: Duration,
}

/// See the module documentation.
pub struct KafkaSource {
    client: Arc<SourceClient>,
    /// Absent: every partition is ours.
    member: Option<Arc<Membership>>,
}

/// What the source shares with its readers and with the threads that ask the cluster.
struct SourceClient {
    setup: KafkaSourceSetup,
    pattern: Option<Regex>,
    consumer: Arc<KafkaConsumer>,
    known: Mutex<Known>,
}

/// What the cluster has said, and when.
#[derive(Default)]
struct Known {
    layout: Arc<Layout>,
    layout_at: Option<Instant>,
    earliest: Offsets,
    earliest_at: Option<Instant>,
}

/// The topics that are read.
#[derive(Default)]
struct Layout {
    topics: BTreeSet<String>,
    /// All of them, sorted.
    partitions: Vec<TopicPartition>,
}

impl KafkaSource {
    /// Makes the client and looks for the topics.
    ///
    /// Errors: no broker answers, a topic does not exist, a setting is wrong. With a pattern, no
    /// topic need exist yet.
    pub async fn open(setup: KafkaSourceSetup) -> Result<KafkaSource> {
        let pattern = match &setup.topics {
            Topics::Pattern(pattern) => Some(whole_name(pattern)?),
            Topics::Names(_) => None,
        };
        let reset = match setup.on_data_loss {
            OnDataLoss::Stop => "error",
            OnDataLoss::Continue => "earliest",
        };
        let open = move || {
            let mut settings = SETTINGS.to_vec();
            settings.push(("auto.offset.reset", reset));
            let consumer = setup.cluster.consumer(&setup.group, &settings)?;
            let mut client = SourceClient { setup, pattern, consumer, known: Mutex::default() };
            let (ahead_kib, fetch_bytes) = shares(client.layout()?.partitions.len());
            settings.push(("queued.max.messages.kbytes", &ahead_kib));
            settings.push(("fetch.message.max.bytes", &fetch_bytes));
            client.consumer = client.setup.cluster.consumer(&client.setup.group, &settings)?;
            Ok(KafkaSource { client: Arc::new(client), member: None })
        };
        tokio::task::spawn_blocking(open).await?
    }

    /// Reads only what the group gives to this process.
    pub(crate) fn shared_with(self, member: Arc<Membership>) -> KafkaSource {
        KafkaSource { member: Some(member), ..self }
    }

    /// The topics, from memory or from the cluster.
    async fn layout(&self) -> Result<Arc<Layout>> {
        match self.client.fresh_layout() {
            Some(layout) => Ok(layout),
            None => self.ask(SourceClient::layout).await,
        }
    }

    /// Asks the cluster on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&SourceClient) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = self.client.clone();
        question::ask(move || question(&client)).await
    }
}

#[async_trait]
impl Source for KafkaSource {
    /// Asked before every micro-batch: one question on another thread, most of the time.
    async fn available(&self) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        let layout = self.layout().await?;
        let mut partitions = layout.partitions.clone();
        if let Some(member) = &self.member {
            let assigned = member.assigned(&layout.topics).await?;
            partitions.retain(|partition| assigned.contains(partition));
        }
        self.ask(move |client| {
            let ends = client.offsets(&partitions, Offset::End)?;
            let earliest = client.earliest(&partitions)?;
            let range = |partition: TopicPartition| {
                let end = ends.get(&partition).copied().unwrap_or(0);
                let begin = earliest.get(&partition).copied().unwrap_or(0).min(end);
                (partition, OffsetRange { begin, end })
            };
            Ok(partitions.into_iter().map(range).collect())
        })
        .await
    }

    async fn partitions(&self) -> Result<Vec<TopicPartition>> {
        Ok(self.layout().await?.partitions.clone())
    }

    fn rebalance(&self) -> Option<Rebalance> {
        self.member.as_ref().and_then(|member| member.rebalance())
    }

    fn released(&self) {
        if let Some(member) = &self.member {
            member.released();
        }
    }

    async fn start_offsets(&self, start: &Start, partitions: &[TopicPartition]) -> Result<Offsets> {
        let (start, partitions) = (start.clone(), partitions.to_vec());
        self.ask(move |client| client.start_offsets(&start, &partitions)).await
    }

    async fn reader(
        &self,
        partition: &TopicPartition,
        begin: i64,
        columns: &[&'static str],
    ) -> Result<Box<dyn SourceReader>> {
        let columns = RecordColumns::new(columns)?;
        let (client, partition) = (self.client.clone(), partition.clone());
        let open = move || KafkaReader::open(client, partition, begin, columns);
        Ok(Box::new(question::ask(open).await?))
    }
}

impl SourceClient {
    /// What the cluster has said about the topics, if that is not too long ago.
    fn fresh_layout(&self) -> Option<Arc<Layout>> {
        let known = self.known();
        let fresh = known.layout_at.is_some_and(|at| at.elapsed() < TOPICS_KNOWN_FOR);
        fresh.then(|| known.layout.clone())
    }

    fn layout(&self) -> Result<Arc<Layout>> {
        if let Some(layout) = self.fresh_layout() {
            return Ok(layout);
        }
        let found = self.partitions_or_loss()?;
        let topics = found.iter().map(|at| at.topic.to_string()).collect();
        let layout = Arc::new(Layout { topics, partitions: found.into_iter().collect() });
        let mut known = self.known();
        known.layout = layout.clone();
        known.layout_at = Some(Instant::now());
        Ok(layout)
    }

    /// So that the cluster is asked again.
    fn forget_layout(&self) {
        self.known().layout_at = None;
    }

    /// The partitions that are there. One that is gone had records that nobody will read, as far as we know; but it may
    /// also be unknown for a moment to a broker that has just started.
    fn partitions_or_loss(&self) -> Result<BTreeSet<TopicPartition>> {
        let known = self.known().layout.clone();
        let begun = Instant::now();
        loop {
            let found = self.partitions()?;
            let gone = known.partitions.iter().find(|partition| !found.contains(partition));
            let Some(gone) = gone else { return Ok(found) };
            if begun.elapsed() < GONE_TIME_MIN.min(self.setup.read_time_max) {
                std::thread::park_timeout(Duration::from_millis(100));
                continue;
            }
            if self.setup.on_data_loss == OnDataLoss::Stop {
                bail!(
                    "partition {gone} is no longer there: its topic was deleted, and what was not yet read with it (set \
                     `on_data_loss = \"continue\"` under [source] to go on with the others)"
                );
            }
            tracing::warn!(partition = %gone, "a partition is gone with its topic; going on");
            return Ok(found);
        }
    }

    fn partitions(&self) -> Result<BTreeSet<TopicPartition>> {
        match &self.setup.topics {
            Topics::Names(names) => {
                let each = names.iter().map(|name| self.partitions_of(name));
                Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
            Topics::Pattern(_) => Ok(self.partitions_by_pattern()?.into_iter().collect()),
        }
    }

    fn partitions_of(&self, name: &str) -> Result<Vec<TopicPartition>> {
        let cluster = &self.setup.cluster;
        let begun = Instant::now();
        loop {
            let metadata = self.metadata(Some(name))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            let error = topic.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
            match (topic, error) {
                (Some(topic), None) if !topic.partitions().is_empty() => {
                    let ids = topic.partitions().iter().map(|partition| partition.id());
                    return Ok(ids.map(|id| TopicPartition::new(name, id)).collect());
                }
                // A topic that was made just now has no leader yet.
                (_, Some(error))
                    if kafka_client::may_pass(error) && begun.elapsed() < self.patience() =>
                {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
                (_, Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                    bail!(
                        "the Kafka cluster at {} does not let us read topic `{name}`",
                        cluster.bootstrap
                    )
                }
                _ => return Err(kafka_client::no_topic(&self.consumer, cluster, name)),
            }
        }
    }

    fn partitions_by_pattern(&self) -> Result<Vec<TopicPartition>> {
        let metadata = self.metadata(None)?;
        let matches = |name: &str| {
            !kafka_client::is_internal(name)
                && self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
        };
        let topics = metadata.topics().iter().filter(|topic| matches(topic.name()));
        let partitions = topics.flat_map(|topic| {
            topic
                .partitions()
                .iter()
                .map(|partition| TopicPartition::new(topic.name(), partition.id()))
        });
        Ok(partitions.collect())
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        kafka_client::asked(&self.consumer, &self.setup.cluster, self.patience(), || {
            self.consumer.fetch_metadata(topic, ATTEMPT_TIME_MAX)
        })
    }

    /// How long to wait for an answer: short at the start, longer for a cluster that has answered
    /// before.
    fn patience(&self) -> Duration {
        match self.known().layout_at {
            Some(_) => self.setup.read_time_max,
            None => REACH_TIME_MAX.min(self.setup.read_time_max),
        }
    }

    /// The earliest offsets, asked for anew from time to time and for partitions not met before.
    fn earliest(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        {
            let known = self.known();
            let fresh = known.earliest_at.is_some_and(|at| at.elapsed() < EARLIEST_KNOWN_FOR);
            if fresh && partitions.iter().all(|partition| known.earliest.contains_key(partition)) {
                return Ok(known.earliest.clone());
            }
        }
        let earliest = self.offsets(partitions, Offset::Beginning)?;
        let mut known = self.known();
        known.earliest = earliest.clone();
        known.earliest_at = Some(Instant::now());
        Ok(earliest)
    }

    /// The offsets that ListOffsets answers for the earliest, the end or a time (as an offset, in
    /// ms): one request per broker, whatever the number of partitions. A partition without an
    /// answer has no record at or after that time.
    fn offsets(&self, partitions: &[TopicPartition], asked: Offset) -> Result<Offsets> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let cluster = &self.setup.cluster;
        let begun = Instant::now();
        loop {
            let answer = kafka_client::asked(&self.consumer, cluster, self.patience(), || {
                let mut list = TopicPartitionList::with_capacity(partitions.len());
                for at in partitions {
                    list.add_partition_offset(&at.topic, at.partition, asked)?;
                }
                match self.consumer.offsets_for_times(list, 3 * ATTEMPT_TIME_MAX) {
                    Err(error) if error.rdkafka_error_code().is_some_and(is_unknown) => Ok(None),
                    answer => answer.map(Some),
                }
            })?;
            let Some(answer) = answer else {
                return Err(self.gone(&format!("one of {} partitions", partitions.len())));
            };
            let mut found = Offsets::new();
            let mut trouble = None;
            for element in answer.elements() {
                let partition = TopicPartition::new(element.topic(), element.partition());
                match (element.error(), element.offset()) {
                    (Ok(()), Offset::Offset(offset)) => drop(found.insert(partition, offset)),
                    (Ok(()), _) => {}
                    (Err(error), _) => trouble = Some((partition, error)),
                }
            }
            let Some((partition, error)) = trouble else { return Ok(found) };
            if error.rdkafka_error_code().is_some_and(is_unknown) {
                return Err(self.gone(&format!("partition {partition}")));
            }
            let passing = error.rdkafka_error_code().is_some_and(kafka_client::may_pass);
            if !passing || begun.elapsed() >= self.patience() {
                let reason = kafka_client::describe(&error);
                bail!(
                    "the Kafka cluster does not tell the offsets of partition {partition}: {reason}"
                );
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// As Spark's `startingOffsets` and `startingTimestamp`, but that a partition without a record
    /// at or after the time begins at its end: what comes later is later.
    fn start_offsets(&self, start: &Start, partitions: &[TopicPartition]) -> Result<Offsets> {
        match start {
            Start::Earliest => self.offsets(partitions, Offset::Beginning),
            Start::Latest => self.offsets(partitions, Offset::End),
            Start::Timestamp(time_ms) => {
                // A time below zero would mean something else to the cluster; no record is older
                // than 1970.
                let mut found = self.offsets(partitions, Offset::Offset((*time_ms).max(0)))?;
                let without: Vec<_> =
                    partitions.iter().filter(|at| !found.contains_key(at)).cloned().collect();
                found.extend(self.offsets(&without, Offset::End)?);
                Ok(found)
            }
            Start::Offsets(chosen) => self.chosen_offsets(chosen, partitions),
        }
    }

    fn chosen_offsets(
        &self,
        chosen: &BTreeMap<String, BTreeMap<i32, i64>>,
        partitions: &[TopicPartition],
    ) -> Result<Offsets> {
        let (earliest, ends) =
            (self.offsets(partitions, Offset::Beginning)?, self.offsets(partitions, Offset::End)?);
        let layout = self.layout()?;
        for (topic, numbers) in chosen {
            for number in numbers.keys() {
                if !layout.partitions.contains(&TopicPartition::new(topic.as_str(), *number)) {
                    bail!(
                        "start names partition {number} of topic `{topic}`, which the source does \
                         not have"
                    );
                }
            }
        }
        let offset = |at: &TopicPartition| {
            let begin = earliest.get(at).copied().unwrap_or(0);
            let end = ends.get(at).copied().unwrap_or(begin);
            let wanted =
                chosen.get(at.topic.as_ref()).and_then(|numbers| numbers.get(&at.partition));
            let offset = match wanted {
                None | Some(-2) => begin,
                Some(-1) => end,
                Some(offset) if (begin..=end).contains(offset) => *offset,
                Some(offset) if self.setup.on_data_loss == OnDataLoss::Continue => {
                    (*offset).clamp(begin, end)
                }
                Some(offset) => {
                    bail!(
                        "start says offset {offset} for partition {at}, which holds {begin} to \
                         {end}"
                    )
                }
            };
            Ok((at.clone(), offset))
        };
        partitions.iter().map(offset).collect()
    }

    /// The cluster does not know a partition that it had: whether that is a loss shows when the topics are looked for
    /// again.
    fn gone(&self, what: &str) -> anyhow::Error {
        self.forget_layout();
        anyhow!("the cluster does not know {what} any more").context(Rewind::MayPass)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_unknown(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}

/// What one of so many partitions gets: KiB fetched ahead, bytes in one fetch.
fn shares(partitions: usize) -> (String, String) {
    let share = AHEAD_BYTES_MAX / partitions.max(1);
    let ahead = share.clamp(PARTITION_AHEAD_BYTES_MIN, PARTITION_AHEAD_BYTES_MAX);
    ((ahead >> 10).to_string(), ahead.min(FETCH_BYTES_MAX).to_string())
}

/// A pattern that matches whole names.
fn whole_name(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| anyhow!("topic_pattern `{pattern}`: {error}"))
}

/// Reads one partition in order. Messages are dropped before the queue: fields drop in this order.
struct KafkaReader {
    /// Taken from the queue and not handed out yet.
    fetched: Vec<Message>,
    queue: MessageQueue,
    client: Arc<SourceClient>,
    partition: TopicPartition,
    columns: RecordColumns,
    /// Everything below has been handed out or is in `fetched`.
    position: i64,
}

impl KafkaReader {
    /// Assigns the partition. Blocks shortly.
    fn open(
        client: Arc<SourceClient>,
        partition: TopicPartition,
        begin: i64,
        columns: RecordColumns,
    ) -> Result<KafkaReader> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(begin))?;
        // Split off before it is assigned: records would else go to the consumer's own queue.
        let queue = MessageQueue::split(&client.consumer, &partition.topic, partition.partition)?;
        client
            .consumer
            .incremental_assign(&list)
            .map_err(|error| anyhow!("cannot begin to read partition {partition}: {error}"))?;
        Ok(KafkaReader { fetched: Vec::new(), queue, client, partition, columns, position: begin })
    }

    /// Waits until there is something below `end`, or nothing more can come. `false`: nothing more.
    fn fetch(&mut self, end: i64, rows_max: usize) -> Result<bool> {
        let begun = Instant::now();
        loop {
            if let Some(first) = self.fetched.first() {
                return Ok(first.offset() < end);
            }
            if self.position >= end {
                return Ok(false);
            }
            let mut taken = Vec::new();
            self.queue.take(rows_max.clamp(1, TAKE_MAX), POLL_WAIT, &mut taken);
            for message in taken {
                self.accept(message)?;
            }
            if begun.elapsed() >= self.client.setup.read_time_max {
                let error = anyhow!(
                    "no record of partition {} for {} s, although offsets {} to {end} are to be \
                     read{}",
                    self.partition,
                    begun.elapsed().as_secs(),
                    self.position,
                    self.client.consumer.context().last_trouble()
                );
                return Err(error.context(Rewind::MayPass));
            }
        }
    }

    fn accept(&mut self, message: Message) -> Result<()> {
        match message.event() {
            // Below the position: what was fetched before an assignment to a later offset.
            None if message.offset() < self.position => {}
            None => {
                self.position = message.offset() + 1;
                self.fetched.push(message);
            }
            Some(Event::EndOfPartition) => self.position = self.position.max(message.offset()),
            Some(Event::Error(code)) if kafka_client::may_pass(code) => {
                tracing::debug!(partition = %self.partition, "{}", message.error_text());
            }
            Some(Event::Error(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            )) => bail!(
                "offset {} of partition {} is no longer there: retention has deleted it or the \
                 topic was made anew; set on_data_loss = \"continue\" to go on with what is \
                 left",
                self.position,
                self.partition
            ),
            Some(Event::Error(code)) if is_unknown(code) => {
                return Err(self.client.gone(&format!("partition {}", self.partition)));
            }
            Some(Event::Error(code)) => {
                let reason = message.error_text();
                return Err(anyhow!("{code}: {reason}"))
                    .with_context(|| format!("cannot read partition {}", self.partition));
            }
        }
        Ok(())
    }
}

impl SourceReader for KafkaReader {
    fn next(&mut self, end: i64, rows_max: usize, bytes_max: usize) -> Result<Option<SourceBatch>> {
        if !self.fetch(end, rows_max)? {
            return Ok(None);
        }
        let messages = &self.fetched;
        let count = count_within(messages, end, rows_max, bytes_max);
        let offsets: Vec<i64> = messages[..count].iter().map(Message::offset).collect();
        let records = self.columns.batch(&self.partition, &messages[..count], &offsets)?;
        self.fetched.drain(..count);
        Ok(Some(SourceBatch { records, offsets }))
    }

    fn choose_columns(&mut self, columns: &[&'static str]) -> Result<()> {
        self.columns = RecordColumns::new(columns)?;
        Ok(())
    }
}

/// How many of the messages make the next batch: at least one.
fn count_within(messages: &[Message], end: i64, rows_max: usize, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        let first = bytes == 0;
        bytes += message.value().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len) + 1;
        message.offset() < end && (first || bytes <= bytes_max)
    };
    messages.iter().take(rows_max.max(1)).take_while(fits).count()
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.partition.topic, self.partition.partition);
        if let Err(error) = self.client.consumer.incremental_unassign(&list) {
            tracing::debug!(partition = %self.partition, "cannot give the partition back: {error}");
        }
    }
}
