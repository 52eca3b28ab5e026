//! OffsetCommit (api code 8, v2-v9): a group notes how far it has read.
//!
//! - From a member (its generation must be the present one; counts as a heartbeat), or with
//!   generation -1 from a consumer without membership while the group is empty.
//! - Answered when the offsets are durable.
//! - The retention time of v2-v4 is ignored, as in Kafka since 2.1: the broker's setting holds.
//! - Left out: v10 (topic ids, KIP-848).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};

use crate::broker::Broker;
use crate::group::{CommitRequest, CommittedOffset};
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    _: Session,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut commit = CommitRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(|id| id.to_string()),
        generation: request.generation_id_or_member_epoch,
        offsets: Vec::new(),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let checked = check(&broker, &topic.name, asked);
            if checked.is_ok() {
                let place = (topic.name.to_string(), asked.partition_index);
                commit.offsets.push((place, committed(&broker, asked)));
            }
            partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(super::error_code(&checked)),
            );
        }
        let name = topic.name.clone();
        topics
            .push(OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions));
    }
    let outcome = match broker.ready_groups().await {
        Ok(groups) => groups.commit(&request.group_id, commit).await,
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        let code = super::error_code(&outcome);
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = code;
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn check(
    broker: &Broker,
    topic: &TopicName,
    asked: &OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let metadata_bytes = asked.committed_metadata.as_ref().map_or(0, |text| text.len());
    if metadata_bytes > broker.config().offset_metadata_bytes_max {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    match broker.log(topic, asked.partition_index) {
        Some(_) => Ok(()),
        None => Err(ResponseError::UnknownTopicOrPartition),
    }
}

fn committed(broker: &Broker, asked: &OffsetCommitRequestPartition) -> CommittedOffset {
    CommittedOffset {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: asked
            .committed_metadata
            .as_ref()
            .map(|text| text.to_string())
            .unwrap_or_default(),
        commit_time_ms: broker.clock().now_ms(),
    }
}
