//! OffsetCommit (api code 8, v2-v9): a group notes how far it has read.
//!
//! - From a member (its generation must be the present one; counts as a heartbeat), or with
//!   generation -1 from a consumer without membership while the group is empty.
//! - Answered when the offsets are durable.
//! - The retention time of v2-v4 is ignored, as in Kafka since 2.1: the broker's setting holds.
//! - Left out: v10 (topic ids, KIP-848).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::{CommitRequest, CommittedOffset};
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let allowed = session.authorize(Operation::Read, ResourceType::Group, &request.group_id);
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
            let checked = offset_at(
                &broker,
                &session,
                &topic.name,
                asked.partition_index,
                asked.committed_offset,
                asked.committed_leader_epoch,
                asked.committed_metadata.as_ref(),
            )
            .map(|offset| commit.offsets.push(offset));
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
    let ready = match allowed {
        Ok(()) => broker.ready_groups().await,
        Err(error) => Err(error),
    };
    let outcome = match ready {
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

/// One partition's offset of OffsetCommit and TxnOffsetCommit, ready for the group; or what is wrong with
/// it, which fails no other partition.
pub(super) fn offset_at(
    broker: &Broker,
    session: &Session,
    topic: &TopicName,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&StrBytes>,
) -> Result<((String, i32), CommittedOffset), ResponseError> {
    session.authorize(Operation::Read, ResourceType::Topic, topic)?;
    let metadata = metadata.map_or("", |text| text.as_str());
    if metadata.len() > broker.config().offset_metadata_bytes_max {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    if broker.log(topic, partition).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let metadata = metadata.to_string();
    let commit_time_ms = broker.clock().now_ms();
    let committed = CommittedOffset { offset, leader_epoch, metadata, commit_time_ms };
    Ok(((topic.to_string(), partition), committed))
}
