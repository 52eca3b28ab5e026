//! OffsetCommit (api code 8, v2-v9): a group notes how far it has read.
//!
//! - From a member (its generation must be the present one; counts as a heartbeat), or with
//!   generation -1 from a consumer without membership while the group is empty.
//! - Answered when the offsets are durable.
//! - The retention time of v2-v4 is ignored, as in Kafka since 2.1: the broker's setting holds.
//! - Left out: v10 (topic ids, KIP-848).

use std::sync::Arc;

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::commit_offsets::{AskedOffset, OffsetsToCommit, TopicAnswer};
use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::CommitRequest;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group = &request.group_id;
    let allowed = session.authorize(Operation::Read, ResourceType::Group, group);
    let mut asked = OffsetsToCommit::default();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|it| AskedOffset {
            partition: it.partition_index,
            offset: it.committed_offset,
            leader_epoch: it.committed_leader_epoch,
            metadata: it.committed_metadata.as_ref(),
        });
        asked.check_topic(&broker, &session, &topic.name, partitions);
    }
    let commit = CommitRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(|id| id.to_string()),
        generation: request.generation_id_or_member_epoch,
        offsets: std::mem::take(&mut asked.offsets),
    };
    let ready = match allowed {
        Ok(()) => broker.ready_groups().await,
        Err(error) => Err(error),
    };
    let committed = match ready {
        Ok(groups) => groups.commit(group, commit).await,
        Err(error) => Err(error),
    };
    let answers = asked.answers(committed).into_iter().map(answer);
    OffsetCommitResponse::default().with_topics(answers.collect())
}

fn answer(topic: TopicAnswer) -> OffsetCommitResponseTopic {
    let partition = |(index, error_code)| {
        OffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(error_code)
    };
    OffsetCommitResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}
