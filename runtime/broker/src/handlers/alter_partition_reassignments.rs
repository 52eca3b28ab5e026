//! AlterPartitionReassignments (api code 45, v0, KIP-455): replicas to other brokers; there is one
//! broker, so a partition can only stay where it is.
//!
//! - Needs Alter on the cluster. Nothing moves, so there is nothing to cancel either
//!   (NO_REASSIGNMENT_IN_PROGRESS).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::Operation;
use crate::broker::{Broker, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let response = AlterPartitionReassignmentsResponse::default().with_error_message(None);
    if let Err(error) = session.authorize_cluster(Operation::Alter) {
        return response
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str("Cluster authorization failed.")));
    }
    let one = |topic: ReassignableTopic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let moved = reassign(broker, &topic.name, asked);
            let refusal = moved.err();
            ReassignablePartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(refusal.as_ref().map_or(0, |refusal| refusal.error.code()))
                .with_error_message(refusal.and_then(|refusal| refusal.text()))
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    };
    response.with_responses(request.topics.into_iter().map(one).collect())
}

fn reassign(broker: &Broker, name: &str, asked: &ReassignablePartition) -> Result<(), Refusal> {
    if broker.log(name, asked.partition_index).is_none() {
        return Err(topic::unknown(name));
    }
    match asked.replicas.as_deref() {
        None => {
            let message = "No partition reassignment is in progress.";
            Err(Refusal::new(ResponseError::NoReassignmentInProgress, message))
        }
        Some([only]) if *only == NODE_ID => Ok(()),
        Some(_) => {
            let message = "replicas must be on broker 1, the only one";
            Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message))
        }
    }
}
