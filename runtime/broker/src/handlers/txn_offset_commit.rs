//! TxnOffsetCommit (api code 28, v0-v4): group offsets as part of a transaction.
//!
//! - They count from the commit on, and not at all after an abort. Until then OffsetFetch with
//!   `require_stable` answers UNSTABLE_OFFSET_COMMIT.
//! - v3+ names the member and its generation, which fence a consumer that has lost its partitions
//!   (KIP-447).
//! - Left out: v5 (offsets added without AddOffsetsToTxn, KIP-890).

use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::commit_offsets::{AskedOffset, OffsetsToCommit, TopicAnswer};
use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::CommitRequest;
use crate::session::Session;
use crate::transaction::Producer;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (id, group) = (&request.transactional_id, &request.group_id);
    let allowed = session
        .authorize(Operation::Write, ResourceType::TransactionalId, id)
        .and_then(|()| session.authorize(Operation::Read, ResourceType::Group, group));
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
        generation: request.generation_id,
        offsets: std::mem::take(&mut asked.offsets),
    };
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let committed = match allowed {
        Ok(()) => broker.transactions().commit_offsets(id, producer, group, commit).await,
        Err(error) => Err(error),
    };
    let committed = committed.map_err(|error| super::fencing_error(error, false));
    let answers = asked.answers(committed).into_iter().map(answer);
    TxnOffsetCommitResponse::default().with_topics(answers.collect())
}

fn answer(topic: TopicAnswer) -> TxnOffsetCommitResponseTopic {
    let partition = |(index, error_code)| {
        TxnOffsetCommitResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(error_code)
    };
    TxnOffsetCommitResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}
