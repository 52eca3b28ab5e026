//! Sends the records of dead letters through again: each letter once, whatever happens in between.
//!
//! The records and the progress (offsets of a consumer group, see `replay_progress`) are one Kafka transaction, and the
//! transactional id is the group's name: a second replay at the same time fences the first, a crash leaves nothing half
//! done. The progress is read after the id was taken over: by then what another replay had begun is committed or
//! aborted, and it can commit no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use gristmill_engine::dead_letter::DeadLetter;
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka_client::{ClientEvents, Cluster, describe};
use crate::kafka_producer::{ProducerClient, Transactional};
use crate::replay_progress::ReplayProgress;
use crate::stored_records::{Begin, StoredRecords};
use crate::{admin, transaction};

/// Letters of one transaction.
const TRANSACTION_LETTERS_MAX: usize = 1_000;
/// Bytes of keys and values of one transaction, as a whole in the memory of the producer.
const TRANSACTION_BYTES_MAX: usize = 16 << 20;
/// How long the group may take to tell the progress.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(60);

/// What a replay goes over.
#[derive(Debug, Clone)]
pub struct ReplaySetup {
    pub cluster: Cluster,
    /// The dead letter topic.
    pub topic: String,
    /// Where the progress is kept.
    pub group: String,
    /// Letters of other pipelines are passed over; absent: those of all are meant.
    pub pipeline: Option<String>,
    /// Count what would be sent, and send nothing.
    pub dry_run: bool,
}

/// A letter with its place in the dead letter topic.
#[derive(Debug, Clone)]
pub struct StoredLetter {
    pub partition: i32,
    pub offset: i64,
    /// When it was written, in ms since 1970 UTC.
    pub written_ms: Option<i64>,
    pub letter: DeadLetter,
}

/// What a replay has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records sent, by the topic that they went to.
    pub sent: BTreeMap<String, u64>,
    /// Letters of a record that another letter of this replay has sent: two stages had failed on it.
    pub same_record: u64,
    /// Letters that were not picked.
    pub left: u64,
    /// Letters met that an earlier replay has sent.
    pub sent_before: u64,
    /// Records in the topic that are no letters, or another pipeline's.
    pub passed_over: u64,
    /// The progress was full before the end was reached: replay the letters that were left, then the others.
    pub stopped_full: bool,
}

/// Reads letters, or why a record is none.
pub struct Letters {
    records: StoredRecords,
}

impl Letters {
    /// Errors: no broker answers; there is no such topic.
    pub async fn open(
        cluster: &Cluster,
        topic: &str,
        begin: impl Fn(i32) -> Begin,
    ) -> Result<Letters> {
        Ok(Letters { records: StoredRecords::open(cluster, topic, begin).await? })
    }

    /// The next letter, or the place of a record that is none; `None` after the last. Blocks.
    pub fn read(&mut self) -> Result<Option<Result<StoredLetter, (i32, i64)>>> {
        let Some(record) = self.records.read()? else { return Ok(None) };
        let (partition, offset) = (record.partition.partition, record.offset);
        let read = DeadLetter::of_letter(record.key, record.value, record.headers);
        Ok(Some(match read {
            Ok(letter) => {
                Ok(StoredLetter { partition, offset, written_ms: record.timestamp_ms, letter })
            }
            Err(error) => {
                tracing::debug!(partition, offset, "no dead letter: {error:#}");
                Err((partition, offset))
            }
        }))
    }
}

/// The progress of each partition of the letters' topic, as it was last committed: a replay that is under way, or died
/// with its transaction open, is not waited for. Blocks.
///
/// Errors: no broker answers; somebody else uses the group.
pub fn progress(setup: &ReplaySetup, partitions: &[i32]) -> Result<BTreeMap<i32, ReplayProgress>> {
    read_progress(&group_consumer(setup, "read_uncommitted")?, setup, partitions)
}

/// Sends the records of the letters that `picks` chooses and that were not sent before. Blocks; for a thread of the
/// runtime that may.
///
/// Errors: a topic that a record came from is gone; the cluster does not take the records. What was committed until then
/// stays so.
pub async fn replay(
    setup: &ReplaySetup,
    picks: impl Fn(&StoredLetter) -> bool,
) -> Result<Replayed> {
    let described = admin::describe_topic(&setup.cluster, &setup.topic).await?;
    let partitions: Vec<i32> = described.partitions.iter().map(|at| at.partition).collect();
    let (sender, progress) = tokio::task::block_in_place(|| begin(setup, &partitions))?;
    let begin = |partition: i32| {
        progress.get(&partition).map_or(Begin::Earliest, |progress| Begin::At(progress.next()))
    };
    let letters = Letters::open(&setup.cluster, &setup.topic, begin).await?;
    let topics: BTreeSet<String> =
        admin::list_topics(&setup.cluster).await?.into_iter().map(|topic| topic.name).collect();
    let mut replay = Replay {
        setup,
        topics,
        progress,
        sender,
        seen: Seen::default(),
        done: Replayed::default(),
    };
    let ran = tokio::task::block_in_place(|| replay.run(letters, picks));
    if let (Err(_), Some(sender)) = (&ran, &replay.sender) {
        // Readers must not wait for a transaction that nobody ends.
        let aborted = tokio::task::block_in_place(|| transaction::abort(&sender.producer));
        aborted.unwrap_or_else(|error| tracing::debug!(target: "kafka", "{error:#}"));
    }
    ran.map(|()| replay.done)
}

/// What sends, unless nothing is to be sent, and the progress that it goes on from.
fn begin(
    setup: &ReplaySetup,
    partitions: &[i32],
) -> Result<(Option<Sender>, BTreeMap<i32, ReplayProgress>)> {
    if setup.dry_run {
        return Ok((None, progress(setup, partitions)?));
    }
    let consumer = group_consumer(setup, "read_committed")?;
    let sender = Sender::open(setup, &consumer)?;
    Ok((Some(sender), read_progress(&consumer, setup, partitions)?))
}

impl ReplaySetup {
    /// Whether a letter is of the pipeline that is meant. One without a name may be anybody's.
    pub fn means(&self, letter: &DeadLetter) -> bool {
        let name = letter.pipeline.as_ref();
        name.is_empty() || self.pipeline.as_deref().is_none_or(|pipeline| pipeline == name)
    }
}

/// Records that were sent lately. Letters of one record stand near each other: stages fail on it in the same
/// micro-batch.
#[derive(Default)]
struct Seen {
    records: BTreeSet<(TopicPartition, i64)>,
    order: VecDeque<(TopicPartition, i64)>,
}

impl Seen {
    const RECORDS_MAX: usize = 100_000;

    /// Whether it is new.
    fn insert(&mut self, letter: &DeadLetter) -> bool {
        let record = (letter.partition.clone(), letter.offset);
        if !self.records.insert(record.clone()) {
            return false;
        }
        self.order.push_back(record);
        if self.order.len() > Seen::RECORDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
        true
    }
}

struct Replay<'a> {
    setup: &'a ReplaySetup,
    /// Those that are there.
    topics: BTreeSet<String>,
    progress: BTreeMap<i32, ReplayProgress>,
    sender: Option<Sender>,
    /// Records sent by this replay.
    seen: Seen,
    done: Replayed,
}

impl Replay<'_> {
    fn run(&mut self, mut letters: Letters, picks: impl Fn(&StoredLetter) -> bool) -> Result<()> {
        while let Some(next) = letters.read()? {
            match next {
                Ok(letter) => self.letter(letter, &picks)?,
                Err((partition, offset)) => {
                    self.done.passed_over += 1;
                    self.progress.entry(partition).or_default().mark_sent(offset);
                }
            }
            if self.progress.values().any(ReplayProgress::is_full) {
                self.done.stopped_full = true;
                break;
            }
            if self.sender.as_ref().is_some_and(Sender::is_full) {
                self.commit()?;
            }
        }
        self.commit()
    }

    fn letter(
        &mut self,
        stored: StoredLetter,
        picks: impl Fn(&StoredLetter) -> bool,
    ) -> Result<()> {
        let progress = self.progress.entry(stored.partition).or_default();
        if progress.is_sent(stored.offset) {
            self.done.sent_before += 1;
            progress.mark_sent(stored.offset);
            return Ok(());
        }
        if !self.setup.means(&stored.letter) {
            self.done.passed_over += 1;
            progress.mark_sent(stored.offset);
            return Ok(());
        }
        if !picks(&stored) {
            self.done.left += 1;
            progress.leave_unsent(stored.offset);
            return Ok(());
        }
        let letter = &stored.letter;
        if self.seen.insert(letter) {
            self.send(&stored)?;
            *self.done.sent.entry(letter.partition.topic.to_string()).or_default() += 1;
        } else {
            self.done.same_record += 1;
        }
        self.progress.entry(stored.partition).or_default().mark_sent(stored.offset);
        Ok(())
    }

    fn send(&mut self, stored: &StoredLetter) -> Result<()> {
        let topic = stored.letter.partition.topic.as_ref();
        if !self.topics.contains(topic) {
            bail!(
                "the letter at {}-{} offset {} came from topic `{topic}`, which is no longer there: make it, or leave \
                 the letter out with --stage, --reason or --offset",
                self.setup.topic,
                stored.partition,
                stored.offset
            );
        }
        match &mut self.sender {
            Some(sender) => sender.send(&stored.letter),
            None => Ok(()),
        }
    }

    /// Records and progress become visible together. A transaction without records still keeps the progress.
    fn commit(&mut self) -> Result<()> {
        match &mut self.sender {
            Some(sender) => sender.commit(&self.setup.topic, &self.progress),
            None => Ok(()),
        }
    }
}

/// The producer of a replay.
struct Sender {
    producer: Arc<ProducerClient>,
    group: ConsumerGroupMetadata,
    /// Of the open transaction.
    letters: usize,
    bytes: usize,
}

impl Sender {
    fn open(setup: &ReplaySetup, consumer: &BaseConsumer<ClientEvents>) -> Result<Sender> {
        let transactional =
            Transactional { id: setup.group.clone(), timeout: transaction::TIMEOUT_MIN };
        let producer = ProducerClient::open(&setup.cluster, Some(&transactional))?;
        let group = consumer.group_metadata().context("the consumer has no group")?;
        transaction::init(&producer).map_err(explained)?;
        transaction::begin(&producer).map_err(explained)?;
        Ok(Sender { producer, group, letters: 0, bytes: 0 })
    }

    fn is_full(&self) -> bool {
        self.letters >= TRANSACTION_LETTERS_MAX || self.bytes >= TRANSACTION_BYTES_MAX
    }

    fn send(&mut self, letter: &DeadLetter) -> Result<()> {
        let topic = letter.partition.topic.as_ref();
        let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
        let headers = letter.replay_headers();
        self.producer.send(topic, key, value, &headers, letter.timestamp_ms).map_err(explained)?;
        self.letters += 1;
        self.bytes += [key, value].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
        Ok(())
    }

    fn commit(&mut self, topic: &str, progress: &BTreeMap<i32, ReplayProgress>) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (partition, progress) in progress {
            let mut element = offsets.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(progress.next()))?;
            element.set_metadata(progress.metadata());
        }
        transaction::commit(&self.producer, &offsets, &self.group)
            .map_err(explained)
            .context("cannot commit the replay (nothing of this transaction was sent)")?;
        (self.letters, self.bytes) = (0, 0);
        transaction::begin(&self.producer).map_err(explained)
    }
}

/// Two replays of one group have one transactional id.
fn explained(error: anyhow::Error) -> anyhow::Error {
    match Rewind::of(&error) {
        Some(Rewind::Fenced) => anyhow!("another replay of the same letters has begun"),
        _ => error,
    }
}

/// With `read_committed`, offsets that an open transaction holds are waited for (KIP-447); with `read_uncommitted` the
/// group tells those before.
fn group_consumer(setup: &ReplaySetup, isolation: &str) -> Result<BaseConsumer<ClientEvents>> {
    let mut config = setup.cluster.client_config(&[("enable.auto.commit", "false")]);
    config.set("group.id", &setup.group).set("isolation.level", isolation);
    config
        .create_with_context(ClientEvents::default())
        .map_err(|error| setup.cluster.misconfigured(&error))
}

fn read_progress(
    consumer: &BaseConsumer<ClientEvents>,
    setup: &ReplaySetup,
    partitions: &[i32],
) -> Result<BTreeMap<i32, ReplayProgress>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(&setup.topic, *partition);
    }
    let committed = consumer.committed_offsets(asked, PROGRESS_TIME_MAX).map_err(|error| {
        anyhow!("cannot read the offsets of group `{}`: {}", setup.group, describe(&error))
    })?;
    let mut progress = BTreeMap::new();
    for element in committed.elements() {
        if let Offset::Offset(offset) = element.offset() {
            let read = ReplayProgress::of_commit(offset, element.metadata())
                .with_context(|| format!("group `{}`", setup.group))?;
            progress.insert(element.partition(), read);
        }
    }
    Ok(progress)
}
