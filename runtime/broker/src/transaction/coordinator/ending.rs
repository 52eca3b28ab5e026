//! How transactions end: the decision, the markers, the completion, and the time-out that decides
//! for a producer that doesn't.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{COORDINATOR_EPOCH, Entry, Transactions};
use crate::group::OffsetsMarker;
use crate::lock::lock;
use crate::log::batch_builder::BatchBuilder;
use crate::log::{AppendError, Log};
use crate::topic::CONSUMER_OFFSETS;
use crate::transaction::state::{End, Producer, State, Transaction};

/// How often time-outs and unfinished ends are looked for. Kafka looks every 10 s.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the next transaction waits for the markers of the one before.
const END_WAIT_MAX: Duration = Duration::from_secs(10);

impl Transactions {
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
    pub(super) fn prepare_end(
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
    pub(super) async fn finish_apart(self: &Arc<Self>, id: &str) -> Result<(), ResponseError> {
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
    pub(super) async fn finish(
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

    pub(super) async fn finish_entry(
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
    pub(super) fn write_markers(
        &self,
        id: &str,
        entry: &Entry,
    ) -> Result<Vec<(Log, i64)>, ResponseError> {
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
    pub(super) fn write_marker(
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

    pub(super) async fn check(&self) {
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
}

/// Waits while somebody writes the markers of the transaction.
pub(super) async fn wait_for_finish(entry: &Entry) {
    let finished = {
        let tracked = lock(entry);
        match tracked.finishing {
            true => Arc::clone(&tracked.finished).notified_owned(),
            false => return,
        }
    };
    let _given_up = timeout(END_WAIT_MAX, finished).await;
}

pub(super) async fn markers_durable(id: &str, markers: &[(Log, i64)]) -> Result<(), ResponseError> {
    let waits = markers.iter().map(|(log, end_offset)| log.durable(*end_offset));
    for outcome in join_all(waits).await {
        outcome.map_err(|error| {
            tracing::error!(transactional_id = id, %error, "a marker is not durable");
            ResponseError::CoordinatorNotAvailable
        })?;
    }
    Ok(())
}
