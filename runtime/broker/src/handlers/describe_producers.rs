//! DescribeProducers (api code 61, v0): the idempotent and transactional producers that a partition
//! remembers; a transaction that holds up readers shows here with its first offset.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::log::ProducerInfo;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let one_topic = |topic: TopicRequest| {
        let allowed = session.authorize(Operation::Read, ResourceType::Topic, &topic.name);
        let one = |number: &i32| {
            let answer =
                PartitionResponse::default().with_partition_index(*number).with_error_message(None);
            if let Err(error) = allowed {
                return answer.with_error_code(error.code());
            }
            match broker.log(&topic.name, *number) {
                Some(log) => answer
                    .with_active_producers(log.producers().into_iter().map(described).collect()),
                None => answer.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        };
        let partitions = topic.partition_indexes.iter().map(one).collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    };
    let topics = request.topics.into_iter().map(one_topic).collect();
    DescribeProducersResponse::default().with_topics(topics)
}

fn described(producer: ProducerInfo) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start_offset)
}
