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

mod ending;
mod opening;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use anyhow::Result;
use futures::future::join;
use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use self::ending::wait_for_finish;
use super::state::{Init, Partitions, Producer, State, Transaction};
use super::state_log::{StateLog, record_bytes};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::group::{CommitRequest, Coordinator};
use crate::lock::{lock, read, write};
use crate::log::Log;
use crate::producer_ids::ProducerIds;
use crate::topic::{CONSUMER_OFFSETS, TRANSACTION_STATE, Topics};

/// Transactional ids; one more is refused.
const IDS_MAX: usize = 100_000;
/// Longest transactional id in bytes: what a record's key can hold.
const ID_BYTES_MAX: usize = i16::MAX as usize;
/// The epoch of this coordinator in markers: there is one, and it never moves.
const COORDINATOR_EPOCH: i32 = 0;
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
