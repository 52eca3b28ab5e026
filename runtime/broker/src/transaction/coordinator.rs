//! All transactional ids of the broker: takes requests to the right [`Transaction`], writes each
//! change to `__transaction_state` before it counts, and carries decided transactions to their end.
//!
//! A transaction, step by step; a crash after any of them is mended at the next start:
//!
//! 1. `Ongoing` with the announced partitions is appended. It is durable before any record of the
//!    transaction is acknowledged; a start aborts what is open in a log and was never announced.
//! 2. `PrepareCommit` is appended and durable: the outcome is decided.
//! 3. The markers are appended to every partition and, for group offsets, `__consumer_offsets`, and
//!    EndTxn is answered.
//! 4. When all of them are durable, `CompleteCommit` is appended. The next transaction of that id
//!    waits for this, so that it never meets CONCURRENT_TRANSACTIONS.
//!
//! So a transaction waits for the disk three times, one behind the other: for its records, beside
//! its offsets and the announcement; for the decision; and, beside whatever the producer does
//! between two transactions, for the markers.
//!
//! Each id has a lock of its own, held for appends and never across a wait. A transactional
//! producer's records are appended under it too: none can slip in behind the marker. What an id
//! does is decided in `state.rs` alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::{join, join_all};
use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::state::{End, Init, Partitions, Producer, State, Transaction};
use super::state_log::{StateLog, record_bytes};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::group::{CommitRequest, Coordinator, OffsetsMarker};
use crate::lock::{lock, read, write};
use crate::log::batch_builder::BatchBuilder;
use crate::log::{AppendError, Log, ProducerInfo};
use crate::producer_ids::ProducerIds;
use crate::refusal::Refusal;
use crate::topic::{CONSUMER_OFFSETS, NewTopic, TRANSACTION_STATE, Topic, Topics};

/// Transactional ids; one more is refused.
const IDS_MAX: usize = 100_000;
/// Longest transactional id in bytes: what a record's key can hold.
const ID_BYTES_MAX: usize = i16::MAX as usize;
/// How often time-outs and unfinished ends are looked for. Kafka looks every 10 s.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The epoch of this coordinator in markers: there is one, and it never moves.
const COORDINATOR_EPOCH: i32 = 0;
/// How long the next transaction waits for the markers of the one before.
const END_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often InitProducerId asks again after it has ended the transaction before.
const INIT_ROUNDS_MAX: usize = 3;

/// Limits of transactions; see [`BrokerConfig`].
#[derive(Debug, Clone)]
pub(crate) struct TransactionSettings {
    timeout_ms_max: i32,
    id_expiration_ms: i64,
}

impl From<&BrokerConfig> for TransactionSettings {
    fn from(config: &BrokerConfig) -> Self {
        TransactionSettings {
            timeout_ms_max: config.transaction_timeout_ms_max,
            id_expiration_ms: config.transactional_id_expiration_ms,
        }
    }
}

/// The transaction coordinator.
#[derive(Debug)]
pub(crate) struct Transactions {
    settings: TransactionSettings,
    clock: Arc<dyn Clock>,
    topics: Arc<Topics>,
    groups: Arc<Coordinator>,
    producer_ids: Arc<ProducerIds>,
    /// Unset until the topic exists.
    log: OnceLock<StateLog>,
    /// Held while the topic is created and loaded.
    opening: Mutex<()>,
    by_id: RwLock<BTreeMap<String, Entry>>,
}

type Entry = Arc<Mutex<Tracked>>;

#[derive(Debug)]
struct Tracked {
    transaction: Transaction,
    /// Everything that the open transaction has announced lies below, in the state's log.
    announced_offset: i64,
    /// Somebody is writing the markers.
    finishing: bool,
    /// Tells that nobody is any more.
    finished: Arc<Notify>,
}

impl Tracked {
    fn new(transaction: Transaction) -> Tracked {
        let finished = Arc::new(Notify::new());
        Tracked { transaction, announced_offset: 0, finishing: false, finished }
    }
}

/// A write into an open transaction. Whoever acknowledges it waits until its announcement is
/// durable too: else a power cut could leave records of a transaction that nobody knows.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) outcome: T,
    /// The state's log, and the offset behind the announcement.
    pub(crate) announcement: (Log, i64),
}

/// A transactional id as tools see it.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) id: String,
    pub(crate) producer: Producer,
    pub(crate) state: State,
    pub(crate) timeout_ms: i32,
    /// -1: no transaction so far.
    pub(crate) started_ms: i64,
    pub(crate) partitions: Partitions,
}

/// What one round of InitProducerId came to. The offset is for waiting until it is durable.
enum Round {
    Ready(Producer, i64),
    /// The transaction of the incarnation before is to be aborted.
    Fenced(Producer),
    /// An end is under way, perhaps since before a restart.
    Ending,
}

impl Transactions {
    pub(crate) fn new(
        settings: TransactionSettings,
        clock: Arc<dyn Clock>,
        topics: Arc<Topics>,
        groups: Arc<Coordinator>,
        producer_ids: Arc<ProducerIds>,
    ) -> Transactions {
        Transactions {
            settings,
            clock,
            topics,
            groups,
            producer_ids,
            log: OnceLock::new(),
            opening: Mutex::new(()),
            by_id: RwLock::new(BTreeMap::new()),
        }
    }

    /// Loads all ids if there are any. Returns what could not be read, in sentences. Blocks.
    pub(crate) fn load(&self) -> Result<Vec<String>> {
        let _opening = lock(&self.opening);
        let Some(log) = self.topics.log(TRANSACTION_STATE, 0).filter(|_| self.log.get().is_none())
        else {
            return Ok(Vec::new());
        };
        let log = StateLog::new(log);
        let loaded = log.load()?;
        let tracked = |(id, transaction)| (id, Arc::new(Mutex::new(Tracked::new(transaction))));
        *write(&self.by_id) = loaded.transactions.into_iter().map(tracked).collect();
        self.log.set(log).ok().context("transactions were loaded twice")?;
        Ok(loaded.skipped)
    }

    /// Aborts what is open in a log and was never announced, or whose announcement a power cut has
    /// taken: nobody else would ever end it. Nothing of it was acknowledged. To be called once, at
    /// the start; returns what was done, in sentences. Blocks.
    pub(crate) fn abort_unannounced(&self) -> Vec<String> {
        let mut announced: BTreeMap<i64, Partitions> = BTreeMap::new();
        for (_, entry) in self.entries() {
            let transaction = lock(&entry).transaction.clone();
            announced.insert(transaction.producer.id, transaction.partitions);
        }
        let mut said = Vec::new();
        for topic in self.topics.all() {
            let logs = (0..).map_while(|partition| Some((partition, topic.partition(partition)?)));
            for (partition, log) in logs {
                let open =
                    log.producers().into_iter().filter(|it| it.transaction_start_offset >= 0);
                for producer in open {
                    let known = announced
                        .get(&producer.producer_id)
                        .and_then(|partitions| partitions.get(topic.name()))
                        .is_some_and(|numbers| numbers.contains(&partition));
                    if !known {
                        said.push(self.abort_one(topic.name(), partition, log, &producer));
                    }
                }
            }
        }
        said
    }

    fn abort_one(&self, topic: &str, partition: i32, log: &Log, producer: &ProducerInfo) -> String {
        let ProducerInfo { producer_id, producer_epoch, .. } = *producer;
        let coordinator_epoch = COORDINATOR_EPOCH.max(producer.coordinator_epoch);
        let written = if topic == CONSUMER_OFFSETS {
            let commit = false;
            let marker = OffsetsMarker { producer_id, producer_epoch, commit, coordinator_epoch };
            self.groups.end_transaction(&marker).map(drop)
        } else {
            let now_ms = self.clock.now_ms();
            let marker =
                BatchBuilder::marker(producer_id, producer_epoch, false, coordinator_epoch, now_ms);
            log.append_internal(marker).map(drop)
        };
        let place = format!("{topic}-{partition}: a transaction of producer {producer_id}");
        match written {
            Ok(()) => format!("{place} was never announced and is aborted"),
            Err(error) => format!("{place} was never announced and cannot be aborted: {error}"),
        }
    }

    /// Makes sure that transactions have a place to be written to. Blocks.
    pub(crate) fn create_topic(&self) -> Result<Arc<Topic>, Refusal> {
        let storage = |error: String| Refusal::new(ResponseError::KafkaStorageError, error);
        // The coordinator keeps the log short itself, in whole segments: hence small ones, that
        // hold a transaction over every partition that a broker can have all the same.
        let configs = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
        let new = NewTopic {
            name: TRANSACTION_STATE.to_owned(),
            partitions: 1,
            configs: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        let created = match self.topics.get(TRANSACTION_STATE) {
            Some(topic) => Ok(topic),
            None => self.topics.create(&new),
        };
        let topic = match created {
            Err(refusal) if refusal.error == ResponseError::TopicAlreadyExists => {
                self.topics.get(TRANSACTION_STATE).ok_or(refusal)?
            }
            created => created?,
        };
        for sentence in self.load().map_err(|error| storage(format!("{error:#}")))? {
            tracing::warn!("{sentence}");
        }
        Ok(topic)
    }

    /// InitProducerId: fences every earlier incarnation, ends what it had open, and gives the
    /// present one its id and epoch.
    pub(crate) async fn init(
        self: &Arc<Self>,
        id: &str,
        timeout_ms: i32,
        mut claimed: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(ResponseError::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.settings.timeout_ms_max {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        self.ready().await?;
        for _ in 0..INIT_ROUNDS_MAX {
            match self.init_round(id, timeout_ms, claimed)? {
                Round::Ready(producer, end_offset) => {
                    self.durable(end_offset).await?;
                    return Ok(producer);
                }
                Round::Fenced(producer) => {
                    claimed = claimed.map(|_| producer);
                    self.finish_apart(id).await?;
                }
                Round::Ending => self.finish_apart(id).await?,
            }
        }
        Err(ResponseError::ConcurrentTransactions)
    }

    async fn ready(self: &Arc<Self>) -> Result<(), ResponseError> {
        if self.log.get().is_some() {
            return Ok(());
        }
        let this = Arc::clone(self);
        let refused = match tokio::task::spawn_blocking(move || this.create_topic()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(refusal)) => refusal.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(error = refused, "cannot create `{TRANSACTION_STATE}`");
        Err(ResponseError::CoordinatorNotAvailable)
    }

    fn init_round(
        &self,
        id: &str,
        timeout_ms: i32,
        claimed: Option<Producer>,
    ) -> Result<Round, ResponseError> {
        let now_ms = self.clock.now_ms();
        let Some(entry) = self.entry(id) else {
            return self.init_first(id, timeout_ms, claimed, now_ms);
        };
        let mut tracked = lock(&entry);
        let exhausted = tracked.transaction.is_epoch_exhausted();
        let fresh_id = exhausted.then(|| self.next_producer_id()).transpose()?;
        match tracked.transaction.init(claimed, timeout_ms, fresh_id, now_ms) {
            Ok(Init::Ready(next)) => {
                let producer = next.producer;
                Ok(Round::Ready(producer, self.store(id, &mut tracked, next)?))
            }
            Ok(Init::AbortFirst(next)) => {
                let producer = next.producer;
                self.store(id, &mut tracked, next)?;
                Ok(Round::Fenced(producer))
            }
            Err(ResponseError::ConcurrentTransactions) => Ok(Round::Ending),
            Err(error) => Err(error),
        }
    }

    /// The first time that the id is seen, or the first since it was forgotten: a producer that
    /// claims an id from then is let in as a new one, as in Kafka.
    fn init_first(
        &self,
        id: &str,
        timeout_ms: i32,
        claimed: Option<Producer>,
        now_ms: i64,
    ) -> Result<Round, ResponseError> {
        let producer_id = self.next_producer_id()?;
        let mut by_id = write(&self.by_id);
        if by_id.contains_key(id) {
            drop(by_id);
            return self.init_round(id, timeout_ms, claimed);
        }
        if by_id.len() >= IDS_MAX {
            return Err(ResponseError::PolicyViolation);
        }
        let transaction = Transaction::new(producer_id, timeout_ms, now_ms);
        let producer = transaction.producer;
        let mut tracked = Tracked::new(transaction.clone());
        let end_offset = self.store(id, &mut tracked, transaction)?;
        by_id.insert(id.to_owned(), Arc::new(Mutex::new(tracked)));
        Ok(Round::Ready(producer, end_offset))
    }

    /// AddPartitionsToTxn: the transaction will write to these. Begins it if need be, after the
    /// markers of the one before.
    pub(crate) async fn add_partitions(
        &self,
        id: &str,
        producer: Producer,
        partitions: &Partitions,
    ) -> Result<(), ResponseError> {
        let entry = self.entry(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        wait_for_finish(&entry).await;
        let mut tracked = lock(&entry);
        let now_ms = self.clock.now_ms();
        if let Some(next) = tracked.transaction.add(producer, partitions, now_ms)? {
            tracked.announced_offset = self.store(id, &mut tracked, next)?;
        }
        Ok(())
    }

    /// AddOffsetsToTxn: the transaction will commit group offsets.
    pub(crate) async fn add_offsets(
        &self,
        id: &str,
        producer: Producer,
    ) -> Result<(), ResponseError> {
        let partitions = Partitions::from([(CONSUMER_OFFSETS.to_owned(), [0].into())]);
        self.add_partitions(id, producer, &partitions).await
    }

    /// TxnOffsetCommit: writes the offsets; they count when the transaction commits. Answers when
    /// they are durable.
    pub(crate) async fn commit_offsets(
        &self,
        id: &str,
        producer: Producer,
        group: &str,
        commit: CommitRequest,
    ) -> Result<(), ResponseError> {
        let written = self.in_transaction(id, producer, CONSUMER_OFFSETS, 0, || {
            self.groups.commit_in_transaction(group, producer.id, producer.epoch, commit)
        })?;
        let Some((log, end_offset)) = written.outcome? else { return Ok(()) };
        let (state_log, announced_offset) = written.announcement;
        let durable = join(log.durable(end_offset), state_log.durable(announced_offset)).await;
        durable.0.and(durable.1).map_err(|error| {
            tracing::error!(group, %error, "offsets of a transaction are not durable");
            ResponseError::CoordinatorNotAvailable
        })
    }

    /// Runs `append` if the producer may write to the partition now, and keeps the transaction
    /// open until it has run.
    pub(crate) fn in_transaction<T>(
        &self,
        id: &str,
        producer: Producer,
        topic: &str,
        partition: i32,
        append: impl FnOnce() -> T,
    ) -> Result<Written<T>, ResponseError> {
        let entry = self.entry(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let tracked = lock(&entry);
        tracked.transaction.check_write(producer, topic, partition)?;
        let announcement = (self.state_log()?.log().clone(), tracked.announced_offset);
        Ok(Written { outcome: append(), announcement })
    }

    /// EndTxn: decides, and answers when the markers are written. Goes on to the end even if nobody
    /// waits any more.
    pub(crate) async fn end(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<(), ResponseError> {
        if !self.prepare_end(id, producer, commit)? {
            return Ok(());
        }
        let (tell, written) = oneshot::channel();
        let finishing = self.begin_finish(id, Some(tell));
        match written.await {
            Ok(()) => Ok(()),
            Err(_) => finishing.await.unwrap_or(Err(ResponseError::UnknownServerError)),
        }
    }

    /// True: decided now. False: it was done before.
    fn prepare_end(
        &self,
        id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<bool, ResponseError> {
        let entry = self.entry(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut tracked = lock(&entry);
        match tracked.transaction.end(producer, commit, self.clock.now_ms())? {
            End::Already => Ok(false),
            End::Prepared(next) => self.store(id, &mut tracked, next).map(|_| true),
        }
    }

    /// [`Transactions::finish`] as a task of its own, which a lost connection cannot cut short.
    async fn finish_apart(self: &Arc<Self>, id: &str) -> Result<(), ResponseError> {
        let finishing = self.begin_finish(id, None);
        finishing.await.unwrap_or(Err(ResponseError::UnknownServerError))
    }

    fn begin_finish(
        self: &Arc<Self>,
        id: &str,
        tell: Option<oneshot::Sender<()>>,
    ) -> JoinHandle<Result<(), ResponseError>> {
        let (this, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move { this.finish(&id, tell).await })
    }

    /// Writes the markers of a decided transaction, tells so, and completes it. Does nothing when
    /// there is none, and waits when another does it already. Err: tried again by and by.
    async fn finish(
        &self,
        id: &str,
        tell: Option<oneshot::Sender<()>>,
    ) -> Result<(), ResponseError> {
        let Some(entry) = self.entry(id) else { return Ok(()) };
        let log = self.state_log()?.log();
        wait_for_finish(&entry).await;
        let decided_offset = {
            let mut tracked = lock(&entry);
            if tracked.finishing || !tracked.transaction.is_prepared() {
                return Ok(());
            }
            tracked.finishing = true;
            log.log_end_offset()
        };
        let outcome = self.finish_entry(id, &entry, decided_offset, tell).await;
        let mut tracked = lock(&entry);
        tracked.finishing = false;
        tracked.finished.notify_waiters();
        outcome
    }

    async fn finish_entry(
        &self,
        id: &str,
        entry: &Entry,
        decided_offset: i64,
        tell: Option<oneshot::Sender<()>>,
    ) -> Result<(), ResponseError> {
        self.durable(decided_offset).await?;
        let markers = self.write_markers(id, entry)?;
        if let Some(tell) = tell {
            let _nobody_waits = tell.send(());
        }
        markers_durable(id, &markers).await?;
        let completed_offset = {
            let mut tracked = lock(entry);
            let complete = tracked.transaction.complete(self.clock.now_ms());
            self.store(id, &mut tracked, complete)?
        };
        // Before the next transaction may write: after a power cut that took this word back, the
        // markers would be written again, and end what the next one had begun.
        self.durable(completed_offset).await
    }

    /// Appends every marker; returns where, for waiting until all are durable.
    fn write_markers(&self, id: &str, entry: &Entry) -> Result<Vec<(Log, i64)>, ResponseError> {
        let mut written = Vec::new();
        let tracked = lock(entry);
        let transaction = &tracked.transaction;
        for (topic, numbers) in &transaction.partitions {
            for &partition in numbers {
                written.extend(self.write_marker(id, transaction, topic, partition)?);
            }
        }
        Ok(written)
    }

    /// Appends one marker. None: the partition is gone, or has moved on to a later incarnation.
    fn write_marker(
        &self,
        id: &str,
        transaction: &Transaction,
        topic: &str,
        partition: i32,
    ) -> Result<Option<(Log, i64)>, ResponseError> {
        let Producer { id: producer_id, epoch } = transaction.producer;
        let commit = transaction.state == State::PrepareCommit;
        let written = if topic == CONSUMER_OFFSETS {
            self.groups.end_transaction(&OffsetsMarker {
                producer_id,
                producer_epoch: epoch,
                commit,
                coordinator_epoch: COORDINATOR_EPOCH,
            })
        } else {
            let Some(log) = self.topics.log(topic, partition) else { return Ok(None) };
            let now_ms = self.clock.now_ms();
            let marker =
                BatchBuilder::marker(producer_id, epoch, commit, COORDINATOR_EPOCH, now_ms);
            log.append_internal(marker).map(|appended| Some((log, appended.end_offset)))
        };
        match written {
            Ok(written) => Ok(written),
            Err(
                error @ (AppendError::InvalidProducerEpoch { .. }
                | AppendError::CoordinatorFenced { .. }),
            ) => {
                tracing::warn!(transactional_id = id, topic, partition, %error, "marker left out");
                Ok(None)
            }
            // A topic that is being deleted.
            Err(_) if self.topics.log(topic, partition).is_none() => Ok(None),
            Err(error) => {
                tracing::error!(transactional_id = id, topic, partition, %error, "no marker");
                Err(ResponseError::CoordinatorNotAvailable)
            }
        }
    }

    /// Aborts what has been open for too long, and finishes what was left unfinished by a crash or
    /// a failing disk, until `stop` is cancelled.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        loop {
            self.check().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
            }
        }
    }

    async fn check(&self) {
        let now_ms = self.clock.now_ms();
        let mut unfinished = Vec::new();
        for (id, entry) in self.entries() {
            let mut tracked = lock(&entry);
            if let Some(next) = tracked.transaction.time_out(now_ms) {
                let timeout_ms = next.timeout_ms;
                tracing::warn!(transactional_id = id, timeout_ms, "transaction timed out");
                let _logged = self.store(&id, &mut tracked, next);
            }
            if tracked.transaction.is_prepared() && !tracked.finishing {
                unfinished.push(id);
            }
        }
        for id in unfinished {
            let _logged = self.finish(&id, None).await;
        }
    }

    /// Forgets ids that have long been silent. Blocks.
    pub(crate) fn expire(&self) {
        let now_ms = self.clock.now_ms();
        for (id, entry) in self.entries() {
            let mut tracked = lock(&entry);
            if !tracked.transaction.is_expired(now_ms, self.settings.id_expiration_ms) {
                continue;
            }
            let Some(log) = self.log.get() else { return };
            if let Err(error) = log.append(now_ms, &id, None) {
                tracing::warn!(transactional_id = id, %error, "cannot forget a transactional id");
                return;
            }
            tracked.transaction.state = State::Dead;
            drop(tracked);
            write(&self.by_id).remove(&id);
        }
    }

    /// Writes the living state again and drops what was before it, if the log has outgrown it.
    pub(crate) async fn rewrite_if_overgrown(&self) -> Result<()> {
        let Some(log) = self.log.get() else { return Ok(()) };
        let entries = self.entries();
        let bytes = |(id, entry): &(String, Entry)| record_bytes(id, &lock(entry).transaction);
        if !log.is_overgrown(entries.iter().map(bytes).sum()) {
            return Ok(());
        }
        // Ids that come later are written behind this place anyway.
        let start_offset = log.log().log_end_offset();
        for (id, entry) in &entries {
            let tracked = lock(entry);
            if tracked.transaction.state != State::Dead {
                log.append(self.clock.now_ms(), id, Some(&tracked.transaction))?;
            }
        }
        log.log().durable(log.log().log_end_offset()).await?;
        log.log().delete_records_before(start_offset)?;
        Ok(())
    }

    /// Every id, in order.
    pub(crate) fn list(&self) -> Vec<Description> {
        self.entries().iter().map(|(id, entry)| describe(id, entry)).collect()
    }

    pub(crate) fn describe(&self, id: &str) -> Option<Description> {
        self.entry(id).map(|entry| describe(id, &entry))
    }

    fn entry(&self, id: &str) -> Option<Entry> {
        read(&self.by_id).get(id).cloned()
    }

    fn entries(&self) -> Vec<(String, Entry)> {
        read(&self.by_id).iter().map(|(id, entry)| (id.clone(), Arc::clone(entry))).collect()
    }

    /// Appends the next state and takes it over. Returns the offset behind it.
    fn store(
        &self,
        id: &str,
        tracked: &mut Tracked,
        next: Transaction,
    ) -> Result<i64, ResponseError> {
        let end_offset =
            self.state_log()?.append(self.clock.now_ms(), id, Some(&next)).map_err(|error| {
                tracing::error!(transactional_id = id, %error, "cannot write a transaction");
                ResponseError::CoordinatorNotAvailable
            })?;
        tracked.transaction = next;
        Ok(end_offset)
    }

    async fn durable(&self, end_offset: i64) -> Result<(), ResponseError> {
        self.state_log()?.log().durable(end_offset).await.map_err(|error| {
            tracing::error!(%error, "a transaction is not durable");
            ResponseError::CoordinatorNotAvailable
        })
    }

    fn state_log(&self) -> Result<&StateLog, ResponseError> {
        self.log.get().ok_or(ResponseError::CoordinatorNotAvailable)
    }

    fn next_producer_id(&self) -> Result<i64, ResponseError> {
        self.producer_ids.next().map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "cannot give out a producer id");
            ResponseError::CoordinatorNotAvailable
        })
    }
}

/// Waits while somebody writes the markers of the transaction.
async fn wait_for_finish(entry: &Entry) {
    let finished = {
        let tracked = lock(entry);
        match tracked.finishing {
            true => Arc::clone(&tracked.finished).notified_owned(),
            false => return,
        }
    };
    let _given_up = timeout(END_WAIT_MAX, finished).await;
}

async fn markers_durable(id: &str, markers: &[(Log, i64)]) -> Result<(), ResponseError> {
    let waits = markers.iter().map(|(log, end_offset)| log.durable(*end_offset));
    for outcome in join_all(waits).await {
        outcome.map_err(|error| {
            tracing::error!(transactional_id = id, %error, "a marker is not durable");
            ResponseError::CoordinatorNotAvailable
        })?;
    }
    Ok(())
}

fn describe(id: &str, entry: &Entry) -> Description {
    let tracked = lock(entry);
    let transaction = &tracked.transaction;
    Description {
        id: id.to_owned(),
        producer: transaction.producer,
        state: transaction.state,
        timeout_ms: transaction.timeout_ms,
        started_ms: transaction.started_ms,
        partitions: transaction.partitions.clone(),
    }
}

#[cfg(test)]
mod tests;
