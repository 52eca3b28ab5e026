//! One transactional id as a pure state machine: a request and the time go in, the next state or an
//! error comes out. Nothing here writes, waits or locks.
//!
//! ```text
//!            add                end(commit)               markers written
//!   Empty ───────▶ Ongoing ──────────────▶ PrepareCommit ─────────────────▶ CompleteCommit
//!     ▲              ▲ │ end(abort), time-out, init                               │ │
//!     │              │ └─────────────────▶ PrepareAbort ────▶ CompleteAbort       │ │
//!     │ init         └────────────────── add ───────────────────────┴─────────────┘ │
//!     └──────────────────────────────────────────────────────────────┴──────────────┘
//!   Dead: forgotten after long silence; whoever still holds it looks the id up again.
//! ```
//!
//! Invariant: once `Prepare…` is on disk the outcome is decided, and only [`Transaction::complete`]
//! leads on. Source: KIP-98, KIP-360 (epochs that producers bump themselves), KIP-588 (errors), and
//! the behaviour of Apache Kafka 3.9. Left out: the producer id before the last is not remembered,
//! so a producer that asks again for an id whose epochs ran out is fenced.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;

/// Topics with partition numbers.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<i32>>;

/// No epoch.
const NO_EPOCH: i16 = -1;
/// No time.
pub(super) const NO_TIME: i64 = -1;
/// From this epoch on a new incarnation gets a new producer id: the last epoch stays free for
/// fencing the producer before.
const EPOCH_EXHAUSTED: i16 = i16::MAX - 1;

/// Where a transactional id stands. The numbers are those of Kafka's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Known, without a transaction so far in this epoch.
    Empty = 0,
    /// Partitions are being written to.
    Ongoing = 1,
    /// Decided: commit. Markers are being written.
    PrepareCommit = 2,
    /// Decided: abort. Markers are being written.
    PrepareAbort = 3,
    /// All markers are written.
    CompleteCommit = 4,
    /// All markers are written.
    CompleteAbort = 5,
    /// Forgotten.
    Dead = 6,
}

/// Every state, for looking one up.
const STATES: [State; 7] = [
    State::Empty,
    State::Ongoing,
    State::PrepareCommit,
    State::PrepareAbort,
    State::CompleteCommit,
    State::CompleteAbort,
    State::Dead,
];

impl State {
    /// The state with that number in a record.
    pub(crate) fn from_code(code: i8) -> Option<State> {
        STATES.into_iter().find(|state| *state as i8 == code)
    }

    /// The state with that name in a request.
    pub(crate) fn from_name(name: &str) -> Option<State> {
        STATES.into_iter().find(|state| state.name() == name)
    }

    /// As Kafka's tools print it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
            State::Dead => "Dead",
        }
    }
}

/// A producer id with the epoch of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// One transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Who may write; everybody with an older epoch is fenced.
    pub(crate) producer: Producer,
    /// The epoch before the producer's own last bump, -1: none. A producer that missed the answer
    /// to its bump still names this one. Not kept over restarts.
    pub(super) last_epoch: i16,
    /// An open transaction is aborted after so many ms.
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    /// What the transaction has announced to write to; empty unless it is open or ending.
    pub(crate) partitions: Partitions,
    /// When the transaction began, ms since 1970; -1: none so far.
    pub(crate) started_ms: i64,
    /// When the state last changed, ms since 1970.
    pub(crate) updated_ms: i64,
}

/// What InitProducerId leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// The new incarnation may begin.
    Ready(Transaction),
    /// The old incarnation's transaction ends first; then ask again.
    AbortFirst(Transaction),
}

/// What EndTxn leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Decided now: write this, then the markers.
    Prepared(Transaction),
    /// Asked again after it was done.
    Already,
}

impl Transaction {
    /// A transactional id that was never seen.
    pub(super) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Transaction {
        Transaction {
            producer: Producer { id: producer_id, epoch: 0 },
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: State::Empty,
            partitions: Partitions::new(),
            started_ms: NO_TIME,
            updated_ms: now_ms,
        }
    }

    /// True when the next incarnation needs another producer id.
    pub(super) fn is_epoch_exhausted(&self) -> bool {
        self.producer.epoch >= EPOCH_EXHAUSTED
    }

    /// A new incarnation, or (`claimed`, KIP-360) the present one that starts over after an error.
    /// `fresh_id` must be given when [`Transaction::is_epoch_exhausted`].
    pub(super) fn init(
        &self,
        claimed: Option<Producer>,
        timeout_ms: i32,
        fresh_id: Option<i64>,
        now_ms: i64,
    ) -> Result<Init, ResponseError> {
        let mut answered_before = false;
        if let Some(claimed) = claimed {
            let missed_answer = self.last_epoch != NO_EPOCH && claimed.epoch == self.last_epoch;
            answered_before = missed_answer && claimed.epoch != self.producer.epoch;
            let known = claimed.epoch == self.producer.epoch || missed_answer;
            if claimed.id != self.producer.id || !known {
                return Err(ResponseError::ProducerFenced);
            }
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort | State::Dead => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            State::Ongoing => return Ok(Init::AbortFirst(self.fenced(now_ms))),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {}
        }
        let (producer, last_epoch) = match fresh_id {
            _ if answered_before => (self.producer, self.last_epoch),
            Some(id) => (Producer { id, epoch: 0 }, NO_EPOCH),
            None => (self.bumped(), self.producer.epoch),
        };
        let partitions = Partitions::new();
        let (state, started_ms, updated_ms) = (State::Empty, NO_TIME, now_ms);
        Ok(Init::Ready(Transaction {
            producer,
            last_epoch,
            timeout_ms,
            state,
            partitions,
            started_ms,
            updated_ms,
        }))
    }

    /// The transaction goes on, or begins, with these partitions. None: it has them all already.
    pub(super) fn add(
        &self,
        producer: Producer,
        partitions: &Partitions,
        now_ms: i64,
    ) -> Result<Option<Transaction>, ResponseError> {
        self.check_producer(producer)?;
        let mut next = self.clone();
        match self.state {
            State::PrepareCommit | State::PrepareAbort | State::Dead => {
                return Err(ResponseError::ConcurrentTransactions);
            }
            State::Ongoing => {}
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                next.state = State::Ongoing;
                next.started_ms = now_ms;
            }
        }
        for (topic, numbers) in partitions {
            next.partitions.entry(topic.clone()).or_default().extend(numbers);
        }
        if next == *self {
            return Ok(None);
        }
        next.updated_ms = now_ms;
        Ok(Some(next))
    }

    /// Whether the producer may write to the partition now, as part of the open transaction.
    pub(super) fn check_write(
        &self,
        producer: Producer,
        topic: &str,
        partition: i32,
    ) -> Result<(), ResponseError> {
        self.check_producer(producer)?;
        let has = self.partitions.get(topic).is_some_and(|numbers| numbers.contains(&partition));
        match self.state {
            State::Ongoing if has => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The producer decides.
    pub(super) fn end(
        &self,
        producer: Producer,
        commit: bool,
        now_ms: i64,
    ) -> Result<End, ResponseError> {
        self.check_producer(producer)?;
        match (self.state, commit) {
            (State::Ongoing, _) => {
                let state = if commit { State::PrepareCommit } else { State::PrepareAbort };
                Ok(End::Prepared(Transaction { state, updated_ms: now_ms, ..self.clone() }))
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(End::Already),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The abort of a transaction that has been open for too long. None: it hasn't.
    pub(super) fn time_out(&self, now_ms: i64) -> Option<Transaction> {
        let open_ms = now_ms.saturating_sub(self.started_ms);
        let due = self.state == State::Ongoing && open_ms >= i64::from(self.timeout_ms);
        due.then(|| self.fenced(now_ms))
    }

    /// What follows when all markers are written.
    pub(super) fn complete(&self, now_ms: i64) -> Transaction {
        let state = match self.state {
            State::PrepareCommit => State::CompleteCommit,
            State::PrepareAbort => State::CompleteAbort,
            other => other,
        };
        let partitions = Partitions::new();
        Transaction { state, partitions, updated_ms: now_ms, ..self.clone() }
    }

    /// Decided, with markers to write.
    pub(super) fn is_prepared(&self) -> bool {
        matches!(self.state, State::PrepareCommit | State::PrepareAbort)
    }

    /// Silent for `expiration_ms`, with nothing open.
    pub(super) fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        let idle =
            matches!(self.state, State::Empty | State::CompleteCommit | State::CompleteAbort);
        idle && now_ms.saturating_sub(self.updated_ms) >= expiration_ms
    }

    /// Aborts under a higher epoch, so that the producer can write no more. The markers carry that
    /// epoch into the partitions.
    fn fenced(&self, now_ms: i64) -> Transaction {
        let (producer, last_epoch) = (self.bumped(), NO_EPOCH);
        let (state, updated_ms) = (State::PrepareAbort, now_ms);
        Transaction { producer, last_epoch, state, updated_ms, ..self.clone() }
    }

    fn bumped(&self) -> Producer {
        Producer { id: self.producer.id, epoch: self.producer.epoch.saturating_add(1) }
    }

    fn check_producer(&self, producer: Producer) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
