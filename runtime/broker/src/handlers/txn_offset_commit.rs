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

use super::offset_commit::offset_at;
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
    let mut commit = CommitRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(|id| id.to_string()),
        generation: request.generation_id,
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
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(super::error_code(&checked)),
            );
        }
        topics.push(
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions),
        );
    }
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let transactions = broker.transactions();
    let written = match allowed {
        Ok(()) => transactions.commit_offsets(id, producer, group, commit).await,
        Err(error) => Err(error),
    };
    let written = written.map_err(|error| super::fencing_error(error, false));
    if written.is_err() {
        let code = super::error_code(&written);
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = code;
        }
    }
    TxnOffsetCommitResponse::default().with_topics(topics)
}
