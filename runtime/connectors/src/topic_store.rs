//! Everything that a pipeline writes to the topics of one cluster, and how it becomes durable:
//! topic sinks, dead letters, and the cursors of both as offsets of the pipeline's consumer group.
//!
//! - Exactly once: one Kafka transaction per micro-batch holds the records, the letters and the
//!   offsets. It begins with the first record, so that a micro-batch that writes nothing has none;
//!   its cursors are committed without, now and then.
//! - At least once: the records are delivered, then the offsets are committed. So it is where the
//!   user asks for it, and for a topic on another cluster than the source.
//!
//! Invariant: between `abort` and the next `cursors` nothing is known about what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use gristmill_engine::cursors::Cursors;
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::{Commit, Committed, When};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer};

use crate::group_cursors::{self, Held, Others, Owner};
use crate::kafka_client::{self, AWAY_TIME_MAX, Cluster, KafkaConsumer};
use crate::kafka_group::Membership;
use crate::kafka_producer::{ProducerClient, TopicProducer, Transactional};
use crate::{question, transaction};

/// A stretch of offsets without records is committed at most this often while the pipeline runs.
const ROWLESS_COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How records and cursors are kept together.
pub(crate) enum Together {
    /// In one transaction, by a member of the group.
    Transaction { transactional: Transactional, member: Arc<Membership> },
    /// Records first; the offsets by a member of the group, or by nobody in particular.
    RecordsFirst { member: Option<Arc<Membership>> },
}

/// What a store is made from.
pub(crate) struct TopicStoreSetup {
    pub pipeline: String,
    /// Where the records go.
    pub cluster: Cluster,
    /// Where the group is that keeps the cursors: the source's.
    pub source: Cluster,
    pub group: String,
    pub together: Together,
    /// What is written, by the index of the sink in the plan; absent for the dead letters.
    pub outputs: Vec<(Option<usize>, Owner)>,
}

/// See the module documentation.
pub(crate) struct TopicStore {
    setup: TopicStoreSetup,
    /// Asks for the group's offsets.
    cursors: Arc<KafkaConsumer>,
    /// Replaced when librdkafka gives it up; absent while that has not worked yet.
    producer: RwLock<Option<Arc<ProducerClient>>>,
    transaction: OpenTransaction,
    outputs: Vec<Output>,
    /// Of the partitions that were asked for last.
    others: RwLock<Others>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct OpenTransaction {
    open: AtomicBool,
    /// Lanes write at the same time: one of them begins it.
    begin: Mutex<()>,
}

/// One sink, or the dead letters.
struct Output {
    sink: Option<usize>,
    owner: Owner,
    /// Records since the last commit.
    sent: AtomicU64,
    /// Cursors that the group holds.
    stored: RwLock<Offsets>,
}

#[derive(Default)]
struct State {
    committed_at: Option<Instant>,
    commits: u64,
}

impl TopicStore {
    /// Makes the clients; with transactions, ends one that an earlier process has left open. Blocks.
    ///
    /// Errors: no broker answers, a setting is wrong, the cluster does not let us.
    pub(crate) fn open(setup: TopicStoreSetup) -> Result<TopicStore> {
        let owners: Vec<_> = setup.outputs.iter().map(|(_, owner)| owner.clone()).collect();
        group_cursors::check_names(&setup.pipeline, &owners)?;
        let settings = [("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let cursors = setup.source.consumer(&setup.group, &settings)?;
        let producer = make_producer(&setup)?;
        let outputs = setup.outputs.iter().map(|(sink, owner)| Output {
            sink: *sink,
            owner: owner.clone(),
            sent: AtomicU64::new(0),
            stored: RwLock::default(),
        });
        Ok(TopicStore {
            cursors,
            producer: RwLock::new(Some(producer)),
            transaction: OpenTransaction::default(),
            outputs: outputs.collect(),
            others: RwLock::default(),
            state: tokio::sync::Mutex::default(),
            setup,
        })
    }

    /// The cursors of one output.
    pub(crate) async fn cursors(
        self: &Arc<Self>,
        output: usize,
        partitions: &[TopicPartition],
    ) -> Result<Offsets> {
        let found = self.held(partitions).await?.of(&self.outputs[output].owner);
        write(&self.outputs[output].stored).extend(found.clone());
        Ok(found)
    }

    /// Partitions of which other outputs have cursors and this one has none.
    pub(crate) async fn older(
        self: &Arc<Self>,
        output: usize,
        partitions: &[TopicPartition],
    ) -> Result<BTreeSet<TopicPartition>> {
        Ok(self.held(partitions).await?.without(&self.outputs[output].owner))
    }

    async fn held(self: &Arc<Self>, partitions: &[TopicPartition]) -> Result<Held> {
        let (store, asked) = (self.clone(), partitions.to_vec());
        let ask = move || group_cursors::held(&store.cursors, &store.setup.source, &asked);
        let held = question::ask(ask).await?;
        let owners: Vec<_> = self.outputs.iter().map(|output| &output.owner).collect();
        write(&self.others).extend(held.others(&self.setup.pipeline, &owners)?);
        Ok(held)
    }

    /// A topic to write to, until the next abort.
    pub(crate) fn topic(&self, name: &str) -> Result<TopicProducer> {
        TopicProducer::new(self.producer()?, name)
    }

    /// To be called before `count` records of an output are sent.
    pub(crate) fn sending(&self, output: usize, count: u64) -> Result<()> {
        if let Together::Transaction { .. } = self.setup.together {
            self.begin()?;
        }
        self.outputs[output].sent.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// So that a test can leave records behind.
    #[cfg(test)]
    pub(crate) fn flush_for_test(&self) {
        self.producer().and_then(|producer| producer.flush()).unwrap_or_default();
    }

    fn begin(&self) -> Result<()> {
        if self.transaction.open.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = self.transaction.begin.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.transaction.open.load(Ordering::Acquire) {
            transaction::begin(&*self.producer()?)?;
            self.transaction.open.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn producer(&self) -> Result<Arc<ProducerClient>> {
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner);
        producer.clone().ok_or_else(|| anyhow!("the producer is gone").context(Rewind::MayPass))
    }

    /// For each partition where any output has moved, the cursor of every output.
    fn moved(&self, cursors: &Cursors) -> BTreeMap<TopicPartition, Vec<(&Owner, i64)>> {
        let mut all: BTreeMap<TopicPartition, Vec<(&Owner, i64)>> = BTreeMap::new();
        let mut moved = BTreeSet::new();
        for output in &self.outputs {
            let stored = read(&output.stored);
            for (partition, next) in output.next(cursors) {
                if stored.get(&partition).is_none_or(|stored| *stored < next) {
                    moved.insert(partition.clone());
                }
                all.entry(partition).or_default().push((&output.owner, next));
            }
        }
        all.retain(|partition, _| moved.contains(partition));
        all
    }

    /// Stores what was sent and the offsets. Blocks.
    fn store(&self, offsets: &TopicPartitionList) -> Result<()> {
        match &self.setup.together {
            Together::Transaction { member, .. } => {
                if !self.transaction.open.load(Ordering::Acquire) {
                    return member.commit(offsets);
                }
                let (group, producer) = (member.metadata()?, self.producer()?);
                let committed = transaction::commit(&producer, offsets, &group);
                // A record that is refused for good says more than the transaction that fails for it.
                committed.map_err(|error| match producer.check() {
                    Err(refused) if Rewind::of(&refused).is_none() => refused,
                    _ => error,
                })?;
                self.transaction.open.store(false, Ordering::Release);
                Ok(())
            }
            Together::RecordsFirst { member } => {
                self.producer()?.flush().context(Rewind::MayPass)?;
                match member {
                    _ if offsets.count() == 0 => Ok(()),
                    Some(member) => member.commit(offsets),
                    None => self.commit_as_nobody(offsets),
                }
            }
        }
    }

    /// Commits outside of the group's protocol, as a consumer does that assigns itself.
    fn commit_as_nobody(&self, offsets: &TopicPartitionList) -> Result<()> {
        let commit = || self.cursors.commit(offsets, CommitMode::Sync);
        kafka_client::asked(&self.cursors, &self.setup.source, AWAY_TIME_MAX, commit)
            .context(Rewind::MayPass)
            .context("cannot commit the source offsets")
    }

    /// Drops what was sent; a producer that cannot go on is replaced. Blocks.
    fn forget(&self) -> Result<()> {
        let aborted = match self.producer() {
            Ok(producer) if self.transaction.open.load(Ordering::Acquire) => {
                transaction::abort(&producer).map(|()| producer.forget_undelivered())
            }
            // Records that were delivered stay: at least once. Those that were not are given up.
            Ok(producer) => producer.check(),
            Err(error) => Err(error),
        };
        if let Err(error) = aborted {
            tracing::debug!(target: "kafka", "producer is replaced: {error:#}");
            let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
            *producer = None;
            *producer = Some(make_producer(&self.setup)?);
        }
        self.transaction.open.store(false, Ordering::Release);
        write(&self.others).clear();
        for output in &self.outputs {
            output.sent.store(0, Ordering::Relaxed);
            write(&output.stored).clear();
        }
        Ok(())
    }
}

fn make_producer(setup: &TopicStoreSetup) -> Result<Arc<ProducerClient>> {
    let Together::Transaction { transactional, .. } = &setup.together else {
        return ProducerClient::open(&setup.cluster, None);
    };
    let producer = ProducerClient::open(&setup.cluster, Some(transactional))?;
    transaction::init(&producer)?;
    Ok(producer)
}

impl Output {
    fn next(&self, cursors: &Cursors) -> Offsets {
        self.sink.map_or_else(|| cursors.of_letters(), |sink| cursors.of_sink(sink))
    }
}

#[async_trait]
impl Commit for SharedTopicStore {
    /// Commits every micro-batch that sent something.
    async fn commit(&self, cursors: &Cursors, when: When) -> Result<Vec<(usize, Committed)>> {
        let store = &self.0;
        let mut state = store.state.lock().await;
        let moved = store.moved(cursors);
        let sent: Vec<u64> =
            store.outputs.iter().map(|output| output.sent.load(Ordering::Relaxed)).collect();
        let nothing_sent = sent.iter().all(|count| *count == 0);
        let recent = state.committed_at.is_some_and(|at| at.elapsed() < ROWLESS_COMMIT_EVERY);
        if nothing_sent && (moved.is_empty() || (recent && when == When::Due)) {
            return Ok(Vec::new());
        }
        let offsets = group_cursors::offsets(&store.setup.pipeline, &moved, &read(&store.others))?;
        let storing = store.clone();
        tokio::task::spawn_blocking(move || storing.store(&offsets))
            .await?
            .with_context(|| format!("cannot commit to {}", store.setup.cluster.bootstrap))?;
        state.committed_at = Some(Instant::now());
        state.commits += 1;
        let mut committed = Vec::new();
        for (output, rows) in store.outputs.iter().zip(sent) {
            output.sent.fetch_sub(rows, Ordering::Relaxed);
            let mut stored = write(&output.stored);
            stored.extend(output.next(cursors));
            if let Some(sink) = output.sink {
                let detail = format!("transaction {}", state.commits);
                committed.push((sink, Committed { rows, cursors: stored.clone(), detail }));
            }
        }
        Ok(committed)
    }

    async fn abort(&self) -> Result<()> {
        let _one = self.0.state.lock().await;
        let store = self.0.clone();
        tokio::task::spawn_blocking(move || store.forget()).await?
    }
}

/// The engine's hold on a store, which its sinks hold too.
pub(crate) struct SharedTopicStore(pub(crate) Arc<TopicStore>);

fn read<T>(value: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    value.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(value: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    value.write().unwrap_or_else(PoisonError::into_inner)
}
