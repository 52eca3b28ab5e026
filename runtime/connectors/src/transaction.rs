//! The calls of a Kafka transaction (KIP-98, KIP-447), each asked again while that may help, and
//! what their errors mean to a pipeline. All of them block.

use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;

use crate::kafka_client::describe;
use crate::kafka_group;
use crate::kafka_producer::ProducerClient;

/// One call.
const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a transaction may stay open before the cluster aborts it, unless stages may take longer; Kafka's own default.
/// A process that takes over from one that died waits for so long.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_secs(60);

/// The most that brokers allow, if nobody has said otherwise (`transaction.max.timeout.ms`).
const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Beside the stages: the rest of the micro-batch, and the commit.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(15);

/// All calls for one purpose, as long as the cluster says that they may be repeated. The engine goes
/// on trying after that, with what is committed.
const CALLS_TIME_MAX: Duration = Duration::from_secs(30);

/// The time-out of transactions that hold batches of which each may take so long: one that ends while a stage still
/// looks for a poison record would be dropped, and begun again, for ever.
pub(crate) fn timeout(batch_time_max: Duration) -> Duration {
    batch_time_max.saturating_add(TIMEOUT_MARGIN).clamp(TIMEOUT_MIN, TIMEOUT_MAX)
}

/// Ends what an earlier process with the same transactional id has left open, and fences it.
pub(crate) fn init(client: &ProducerClient) -> Result<()> {
    let call = || client.transactions().init_transactions(CALL_TIME_MAX);
    repeated(call).map_err(|error| explain(&error, "cannot begin with transactions"))
}

pub(crate) fn begin(client: &ProducerClient) -> Result<()> {
    let begun = client.transactions().begin_transaction();
    begun.map_err(|error| explain(&error, "cannot begin a transaction"))
}

/// Commits everything sent since [`begin`] together with the offsets of the group.
///
/// The records are delivered while the offsets are added: both wait for the same disk at the same time. A flush beside
/// it keeps the records from lingering; without one they would wait for the offsets first.
pub(crate) fn commit(
    client: &ProducerClient,
    offsets: &TopicPartitionList,
    group: &ConsumerGroupMetadata,
) -> Result<()> {
    let send = || client.transactions().send_offsets_to_transaction(offsets, group, CALL_TIME_MAX);
    let (added, flushed) = std::thread::scope(|scope| {
        let flushed = scope.spawn(|| client.flush_within(CALLS_TIME_MAX));
        (repeated(send), flushed.join())
    });
    added.map_err(|error| explain(&error, "cannot add the source offsets to the transaction"))?;
    if !matches!(flushed, Ok(Ok(()))) {
        // What is only late is the commit's to say, with the state of the transaction.
        client.check()?;
    }
    let commit = || client.transactions().commit_transaction(CALL_TIME_MAX);
    repeated(commit).map_err(|error| explain(&error, "cannot commit the transaction"))
}

pub(crate) fn abort(client: &ProducerClient) -> Result<()> {
    let call = || client.transactions().abort_transaction(CALL_TIME_MAX);
    repeated(call).map_err(|error| explain(&error, "cannot abort the transaction"))
}

fn repeated(call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && begun.elapsed() < CALLS_TIME_MAX =>
            {
                tracing::debug!(target: "kafka", "transaction, again: {}", error.string());
            }
            answer => return answer,
        }
    }
}

/// Whatever failed, the micro-batch is dropped and read again: a transaction that is not committed
/// leaves nothing. What will never pass is refused when the pipeline starts.
fn explain(error: &KafkaError, what: &str) -> Error {
    let reason = match error {
        KafkaError::Transaction(error) => error.string(),
        error => describe(error),
    };
    anyhow!("{what}: {reason}").context(kafka_group::rewind(error.rdkafka_error_code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_outlives_the_slowest_batch() {
        let seconds = Duration::from_secs;
        assert_eq!(timeout(seconds(0)), seconds(60));
        assert_eq!(timeout(seconds(75)), seconds(90));
        assert_eq!(timeout(Duration::MAX), seconds(900));
    }
}
