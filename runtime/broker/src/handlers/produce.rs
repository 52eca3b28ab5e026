//! Produce (api code 0, v0-v12): appends record batches to partitions.
//!
//! - Record batches of format 2, stored as they came; see `log/` for what is checked.
//! - Message sets of formats 0 and 1 (v0-v2) become one record batch.
//! - acks=0: no answer; an error closes the connection. acks=1: answered after the write to the
//!   page
//!   cache. acks=all: answered when the records are durable, for many requests at once.
//! - Records of a transaction are taken while it is open and has announced the partition; else
//!   INVALID_TXN_STATE, or INVALID_PRODUCER_EPOCH for a fenced producer.
//! - Left out: v12's partitions that announce themselves (KIP-890); v13 (topic ids, KIP-516).

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::Acknowledged;
use super::produce_versions::{AnyRequest, AnyResponse};
use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::client_quotas::Quota;
use crate::log::record_batch::Header;
use crate::log::{AppendError, Appended, Log, message_set};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic::Topic;
use crate::transaction::Producer;

/// Records that wait to become durable, and the place of their answer.
struct Waiting {
    topic: usize,
    partition: usize,
    log: Log,
    end_offset: i64,
}

/// What the request says to all of its partitions.
struct Call<'a> {
    broker: &'a Broker,
    session: &'a Session,
    request: &'a ProduceRequest,
}

/// Why nothing of a partition's records was appended.
struct Rejection {
    refusal: Refusal,
    /// The records at fault by their place in the batch, if it is not the whole (v8+, KIP-467). The producer may
    /// send the others again.
    places: Vec<i32>,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection { refusal, places: Vec::new() }
    }
}

impl From<AppendError> for Rejection {
    fn from(error: AppendError) -> Rejection {
        let refusal = Refusal::new(error.kafka_error(), error.to_string());
        let places = match error {
            AppendError::WithoutKey { places } => places,
            _ => Vec::new(),
        };
        Rejection { refusal, places }
    }
}

/// Appends at once, in the order of the requests; the future waits for durability.
pub(super) fn handle(
    broker: Arc<Broker>,
    session: Session,
    AnyRequest(request): AnyRequest,
) -> impl Future<Output = Acknowledged<AnyResponse>> + Send + 'static {
    let acks = request.acks;
    let mut waiting = Vec::new();
    let mut answers = Vec::with_capacity(request.topic_data.len());
    for topic in &request.topic_data {
        let call = Call { broker: &broker, session: &session, request: &request };
        answers.push(append_topic(&call, topic, answers.len(), &mut waiting));
    }
    let throttle_time_ms = broker.throttle(&session, Quota::Produce, session.request_bytes);
    async move {
        let mut response = ProduceResponse::default()
            .with_responses(answers)
            .with_throttle_time_ms(throttle_time_ms);
        if acks == -1 {
            wait_until_durable(waiting, &mut response).await;
        }
        log_errors(&broker, &session, &response);
        Acknowledged(match acks {
            0 => close_on_error(&response),
            _ => Ok(Some(AnyResponse(response))),
        })
    }
}

fn append_topic(
    call: &Call<'_>,
    data: &TopicProduceData,
    place: usize,
    waiting: &mut Vec<Waiting>,
) -> TopicProduceResponse {
    let topic = call.broker.topic(&data.name);
    let allowed = authorize(call.session, call.request, &data.name);
    let mut answers = Vec::with_capacity(data.partition_data.len());
    for asked in &data.partition_data {
        let appended = match allowed {
            Ok(()) => append_partition(call, topic.as_deref(), asked),
            Err(error) => Err(Refusal::new(error, "not allowed").into()),
        };
        let answer = PartitionProduceResponse::default().with_index(asked.index);
        answers.push(match appended {
            Ok((answer, waits)) => {
                let (topic, partition) = (place, answers.len());
                let wait = |(log, end_offset)| Waiting { topic, partition, log, end_offset };
                waiting.extend(waits.into_iter().map(wait));
                answer
            }
            Err(Rejection { refusal, places }) => {
                refused(answer, &refusal).with_record_errors(record_errors(&places, &refusal))
            }
        });
    }
    TopicProduceResponse::default().with_name(data.name.clone()).with_partition_responses(answers)
}

fn authorize(
    session: &Session,
    request: &ProduceRequest,
    topic: &str,
) -> Result<(), ResponseError> {
    if let Some(id) = &request.transactional_id {
        session.authorize(Operation::Write, ResourceType::TransactionalId, id)?;
    }
    session.authorize(Operation::Write, ResourceType::Topic, topic)
}

fn append_partition(
    call: &Call<'_>,
    topic: Option<&Topic>,
    asked: &PartitionProduceData,
) -> Result<(PartitionProduceResponse, Vec<(Log, i64)>), Rejection> {
    let refuse = |error, message: &str| Err(Refusal::new(error, message).into());
    if !(-1..=1).contains(&call.request.acks) {
        return refuse(ResponseError::InvalidRequiredAcks, "acks must be 0, 1 or -1");
    }
    let Some(topic) = topic else {
        return refuse(ResponseError::UnknownTopicOrPartition, "no such topic");
    };
    if topic.is_internal() {
        return refuse(ResponseError::InvalidTopicException, "the topic belongs to the broker");
    }
    let Some(log) = topic.partition(asked.index) else {
        return refuse(ResponseError::UnknownTopicOrPartition, "no such partition");
    };
    let records = asked.records.clone().unwrap_or_default();
    if records.is_empty() {
        return refuse(ResponseError::InvalidRecord, "a produce request without records");
    }
    let bytes = records.len() as u64;
    let records = match call.session.version {
        0..=2 => message_set::to_record_batch(&records)?,
        _ => records,
    };
    let (appended, announcement) = append(call, topic, asked.index, log, records)?;
    call.broker.metrics().produced_bytes.add(bytes);
    let answer = PartitionProduceResponse::default()
        .with_index(asked.index)
        .with_base_offset(appended.first_offset)
        .with_log_append_time_ms(appended.log_append_time_ms)
        .with_log_start_offset(appended.log_start_offset);
    let waits = [Some((log.clone(), appended.end_offset)), announcement];
    Ok((answer, waits.into_iter().flatten().collect()))
}

fn append(
    call: &Call<'_>,
    topic: &Topic,
    partition: i32,
    log: &Log,
    records: Bytes,
) -> Result<(Appended, Option<(Log, i64)>), Rejection> {
    let transactional = transactional_producers(&records);
    let append = || log.append(records).map_err(Rejection::from);
    let Some(&producer) = transactional.first() else { return Ok((append()?, None)) };
    let refuse = |error, message: &str| Refusal::new(error, message);
    let Some(id) = &call.request.transactional_id else {
        let message = "records of a transaction in a request without a transactional id";
        return Err(refuse(ResponseError::InvalidTxnState, message).into());
    };
    if transactional.iter().any(|other| *other != producer) {
        return Err(refuse(ResponseError::InvalidRecord, "records of several producers").into());
    }
    let transactions = call.broker.transactions();
    let written = transactions.in_transaction(id, producer, topic.name(), partition, append);
    let written = written.map_err(|error| {
        let error = super::fencing_error(error, false);
        refuse(error, "the producer has no open transaction that holds this partition")
    })?;
    Ok((written.outcome?, Some(written.announcement)))
}

/// The producers of transactional batches. Bytes that are no batches are left for the log to
/// refuse.
fn transactional_producers(mut records: &[u8]) -> Vec<Producer> {
    let mut producers = Vec::new();
    while let Ok(header) = Header::parse(records) {
        if header.is_transactional() {
            producers.push(Producer { id: header.producer_id, epoch: header.producer_epoch });
        }
        let Some(rest) = records.get(header.size_bytes..) else { break };
        records = rest;
    }
    producers
}

fn refused(answer: PartitionProduceResponse, refusal: &Refusal) -> PartitionProduceResponse {
    answer
        .with_error_code(refusal.error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(refusal.text())
}

fn record_errors(places: &[i32], refusal: &Refusal) -> Vec<BatchIndexAndErrorMessage> {
    let error = |place: &i32| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(*place)
            .with_batch_index_error_message(refusal.text())
    };
    places.iter().map(error).collect()
}

async fn wait_until_durable(waiting: Vec<Waiting>, response: &mut ProduceResponse) {
    let outcomes = join_all(waiting.into_iter().map(|it| async move {
        let outcome = it.log.durable(it.end_offset).await;
        (it.topic, it.partition, outcome)
    }));
    for (topic, partition, outcome) in outcomes.await {
        if let Err(error) = outcome {
            let answer = &mut response.responses[topic].partition_responses[partition];
            let refusal = Refusal::new(error.kafka_error(), error.to_string());
            *answer = refused(std::mem::take(answer), &refusal);
        }
    }
}

/// The answer has no errors that a client of acks=0 would have to know.
fn close_on_error(response: &ProduceResponse) -> anyhow::Result<Option<AnyResponse>> {
    match first_error(response) {
        None => Ok(None),
        Some(why) => anyhow::bail!("acks=0 and an error: {why}"),
    }
}

fn first_error(response: &ProduceResponse) -> Option<String> {
    let mut answers = response.responses.iter().flat_map(|topic| {
        topic.partition_responses.iter().map(move |partition| (topic, partition))
    });
    let (topic, partition) = answers.find(|(_, partition)| partition.error_code != 0)?;
    let message = partition.error_message.as_ref().map_or("", StrBytes::as_str);
    Some(format!("{}-{}: {message}", topic.name.as_str(), partition.index))
}

fn log_errors(broker: &Broker, session: &Session, response: &ProduceResponse) {
    if let Some(why) = first_error(response) {
        broker.metrics().produce_errors.add(1);
        tracing::info!(client = session.client_id, peer = %session.peer, "not appended: {why}");
    }
}
