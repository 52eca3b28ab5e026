//! Fetch (api code 1, v4-v17): record batches from partitions, waiting for new ones if need be.
//!
//! - Whole batches from the one that holds the offset; the first may begin below it, and clients
//!   skip (so does Kafka). At least one batch comes even if it exceeds every limit.
//! - The records of an answer count as memory until they are sent. With little left of that the
//!   answer is smaller, and with none it waits, at most as long as the client does.
//! - A long poll ends when `min_bytes` are there, when `max_wait` is over, or on any error.
//! - Sessions (v7+, KIP-227): see `fetch_session`.
//! - Left out: v18 (high watermark in the request, KIP-1166); followers and preferred replicas.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::WithRecords;
use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, LEADER_EPOCH};
use crate::client_quotas::Quota;
use crate::fetch_session::Plan;
use crate::log::{Isolation, Log};
use crate::quotas::FetchMemory;
use crate::session::Session;
use crate::topic::Topic;

/// Longest wait that a client may ask for; a day is as good as for ever.
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// With a `min_bytes` above 1 each look reads what is there, so looks are kept this far apart.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    mut request: FetchRequest,
) -> WithRecords<FetchResponse> {
    let now_ms = broker.clock().now_ms();
    let begun = broker.fetch_sessions().begin(&request, session.version >= 13, now_ms);
    let mut plan = match begun {
        Ok(plan) => plan,
        Err(error) => {
            let response = FetchResponse::default().with_error_code(error.code());
            return WithRecords { response, records: VecDeque::new(), memory: None };
        }
    };
    request.topics = std::mem::take(&mut plan.topics);
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0).min(WAIT_MS_MAX);
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let asked_bytes = usize::try_from(request.max_bytes).unwrap_or(0);
    let asked_bytes = asked_bytes.min(broker.config().fetch_bytes_max);
    loop {
        let Some(mut memory) = broker.quotas().fetch(asked_bytes) else {
            tokio::select! {
                () = broker.quotas().fetch_room() => continue,
                () = broker.stopping().cancelled() => {}
                () = sleep_until(deadline) => {}
            }
            let nothing = read_all(&broker, &session, &request, None);
            return answer(&broker, &plan, nothing, None);
        };
        // Watched before reading: what arrives in between wakes us.
        let watched = watch_all(&broker, &session, &request);
        let found = read_all(&broker, &session, &request, Some(memory.bytes()));
        memory.shrink_to(found.bytes);
        let ends = found.failed || found.bytes >= min_bytes || Instant::now() >= deadline;
        if ends || broker.stopping().is_cancelled() {
            broker.metrics().fetched_bytes.add(found.bytes as u64);
            let throttle_time_ms = broker.throttle(&session, Quota::Consume, found.bytes);
            let mut answer = answer(&broker, &plan, found, Some(memory));
            answer.response.throttle_time_ms = throttle_time_ms;
            return answer;
        }
        drop((found, memory));
        tokio::select! {
            () = broker.stopping().cancelled() => {}
            _ = timeout_at(deadline, any_change(watched)) => {}
        }
        if min_bytes > 1 {
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

fn answer(
    broker: &Broker,
    plan: &Plan,
    found: Found,
    memory: Option<FetchMemory>,
) -> WithRecords<FetchResponse> {
    let mut response = FetchResponse::default().with_session_id(plan.session_id);
    if plan.session_id == 0 {
        response.responses = found.topics;
        return WithRecords { response, records: found.records, memory };
    }
    response.responses = broker.fetch_sessions().finish(plan, found.topics);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let records = partitions.map(|it| it.records.clone().unwrap_or_default()).collect();
    WithRecords { response, records, memory }
}

/// What all partitions gave in one look.
#[derive(Default)]
struct Found {
    topics: Vec<FetchableTopicResponse>,
    /// The record bytes in `topics`, in order, for sending without a copy.
    records: VecDeque<Bytes>,
    bytes: usize,
    /// Some partition has an error: the client must hear of it now.
    failed: bool,
}

/// At most `room` bytes, but one batch at least; None: no records at all.
fn read_all(
    broker: &Broker,
    session: &Session,
    request: &FetchRequest,
    room: Option<usize>,
) -> Found {
    let has_room = room.is_some();
    let mut room = room.unwrap_or(0);
    let isolation = isolation(request);
    let mut found = Found::default();
    for asked in &request.topics {
        let topic = find(broker, session, asked);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in &asked.partitions {
            let min_one = found.bytes == 0 && has_room;
            let answer = match &topic {
                Ok(topic) => read_one(topic, partition, room, min_one, isolation),
                Err(error) => Err(*error),
            };
            let answer = answer.unwrap_or_else(|error| {
                found.failed = true;
                failed(partition.partition, error)
            });
            let records = answer.records.clone().unwrap_or_default();
            found.bytes += records.len();
            room = room.saturating_sub(records.len());
            found.records.push_back(records);
            partitions.push(answer);
        }
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        found.topics.push(if session.version >= 13 {
            topic.with_topic_id(asked.topic_id)
        } else {
            topic.with_topic(asked.topic.clone())
        });
    }
    found
}

fn read_one(
    topic: &Topic,
    asked: &FetchPartition,
    room: usize,
    min_one: bool,
    isolation: Isolation,
) -> Result<PartitionData, ResponseError> {
    let log = partition_log(topic, asked)?;
    let partition_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
    let fetched = log
        .read(asked.fetch_offset, room.min(partition_bytes), min_one, isolation)
        .map_err(|error| error.kafka_error())?;
    let aborted = |&(producer_id, first_offset): &(i64, i64)| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(producer_id))
            .with_first_offset(first_offset)
    };
    let read_committed = isolation == Isolation::ReadCommitted;
    Ok(PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(fetched.high_watermark)
        .with_last_stable_offset(fetched.last_stable_offset)
        .with_log_start_offset(fetched.log_start_offset)
        .with_aborted_transactions(
            read_committed.then(|| fetched.aborted.iter().map(aborted).collect()),
        )
        .with_records(Some(fetched.records)))
}

fn partition_log<'a>(topic: &'a Topic, asked: &FetchPartition) -> Result<&'a Log, ResponseError> {
    let log = topic.partition(asked.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    match asked.current_leader_epoch {
        epoch if epoch > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        epoch if (0..LEADER_EPOCH).contains(&epoch) => Err(ResponseError::FencedLeaderEpoch),
        _ => Ok(log),
    }
}

fn find(
    broker: &Broker,
    session: &Session,
    asked: &FetchTopic,
) -> Result<Arc<Topic>, ResponseError> {
    let (operation, kind) = (Operation::Read, ResourceType::Topic);
    if session.version >= 13 {
        let topic = broker.topic_by_id(asked.topic_id).ok_or(ResponseError::UnknownTopicId)?;
        session.authorize(operation, kind, topic.name())?;
        return Ok(topic);
    }
    session.authorize(operation, kind, &asked.topic)?;
    broker.topic(&asked.topic).ok_or(ResponseError::UnknownTopicOrPartition)
}

fn isolation(request: &FetchRequest) -> Isolation {
    match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

fn failed(partition: i32, error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}

fn watch_all(
    broker: &Broker,
    session: &Session,
    request: &FetchRequest,
) -> Vec<watch::Receiver<i64>> {
    let mut watched = Vec::new();
    for asked in &request.topics {
        let Ok(topic) = find(broker, session, asked) else { continue };
        let logs = asked.partitions.iter().filter_map(|it| topic.partition(it.partition));
        watched.extend(logs.map(Log::watch));
    }
    watched
}

/// Returns when one of them changes, or a log is gone; with none, never.
async fn any_change(mut watched: Vec<watch::Receiver<i64>>) {
    let mut changes: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for receiver in &mut watched {
        changes.push(Box::pin(async move {
            let _closed = receiver.changed().await.is_err();
        }));
    }
    poll_fn(|context| {
        let ready = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
