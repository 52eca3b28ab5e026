//! AddPartitionsToTxn (api code 24, v0-v3): the partitions that a transaction is about to write to.
//!
//! - All are taken or none: beside one that doesn't exist the others are OPERATION_NOT_ATTEMPTED.
//! - Answered when it is durable; records of the transaction are refused before.
//! - Left out: v4 and v5, which brokers send to each other (KIP-890).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, TopicName};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::topic;
use crate::transaction::{Partitions, Producer};

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let asked = &request.v3_and_below_topics;
    let numbers = |topic: &AddPartitionsToTxnTopic| topic.partitions.clone();
    let all = asked.iter().flat_map(|topic| {
        numbers(topic).into_iter().map(move |number| (topic.name.clone(), number))
    });
    let id = &request.v3_and_below_transactional_id;
    let allowed = session.authorize(Operation::Write, ResourceType::TransactionalId, id);
    let check = |topic: &TopicName, number| {
        allowed?;
        session.authorize(Operation::Write, ResourceType::Topic, topic)?;
        check(&broker, topic, number)
    };
    let all_exist = all.clone().all(|(topic, number)| check(&topic, number).is_ok());
    let outcome = if all_exist {
        let producer = Producer {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let mut partitions = Partitions::new();
        for (topic, number) in all {
            partitions.entry(topic.to_string()).or_default().insert(number);
        }
        let added = broker.transactions().add_partitions(id, producer, &partitions).await;
        added.map_err(|error| super::fencing_error(error, session.version >= 2))
    } else {
        Err(ResponseError::OperationNotAttempted)
    };
    let result = |topic: &TopicName, number: i32| {
        let own = if all_exist { Ok(()) } else { check(topic, number) };
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(number)
            .with_partition_error_code(super::error_code(&own.and(outcome)))
    };
    let topic_result = |topic: &AddPartitionsToTxnTopic| {
        let results = topic.partitions.iter().map(|number| result(&topic.name, *number));
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    };
    let results = asked.iter().map(topic_result).collect();
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

fn check(broker: &Broker, topic: &TopicName, number: i32) -> Result<(), ResponseError> {
    if topic::is_internal(topic) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    match broker.log(topic, number) {
        Some(_) => Ok(()),
        None => Err(ResponseError::UnknownTopicOrPartition),
    }
}
