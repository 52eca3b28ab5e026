//! OffsetForLeaderEpoch (api code 23, v2-v4): where the records of a leader epoch end.
//!
//! - There is one epoch, since leadership never moves: it ends at the end of the log.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, LEADER_EPOCH};
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let one_topic = |topic: OffsetForLeaderTopic| {
        let allowed = session.authorize(Operation::Describe, ResourceType::Topic, &topic.topic);
        let partitions = topic.partitions.iter().map(|asked| match allowed {
            Ok(()) => end_of(broker, &topic.topic, asked),
            Err(error) => unknown(asked).with_error_code(error.code()),
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    };
    let topics = request.topics.into_iter().map(one_topic).collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn unknown(asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1)
}

fn end_of(broker: &Broker, topic: &TopicName, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = unknown(asked);
    let Some(log) = broker.log(topic, asked.partition) else {
        return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    if asked.current_leader_epoch > LEADER_EPOCH {
        return answer.with_error_code(ResponseError::UnknownLeaderEpoch.code());
    }
    match asked.leader_epoch {
        LEADER_EPOCH => {
            answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(log.high_watermark())
        }
        _ => answer,
    }
}
