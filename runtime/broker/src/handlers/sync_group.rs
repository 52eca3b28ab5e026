//! SyncGroup (api code 14, v0-v5): the leader hands out the assignment, every member gets its part.
//!
//! - Answered when the leader has spoken. A rebalance that begins meanwhile answers
//!   REBALANCE_IN_PROGRESS.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::SyncRequest;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let group = &request.group_id;
    if let Err(error) = session.authorize(Operation::Read, ResourceType::Group, group) {
        return SyncGroupResponse::default().with_error_code(error.code());
    }
    let assignments = request.assignments.into_iter();
    let sync = SyncRequest {
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: assignments
            .map(|it| (it.member_id.to_string(), Bytes::copy_from_slice(&it.assignment)))
            .collect(),
    };
    let answer = broker.groups().sync(&request.group_id, sync).await;
    let named = session.version >= 5;
    SyncGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_protocol_type(answer.protocol_type.filter(|_| named).map(StrBytes::from_string))
        .with_protocol_name(answer.protocol.filter(|_| named).map(StrBytes::from_string))
        .with_assignment(answer.assignment)
}
