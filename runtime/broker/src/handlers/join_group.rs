//! JoinGroup (api code 11, v0-v9): a consumer enters its group, or a new generation of it.
//!
//! - Answered when all members have joined or the rebalance time-out is over; the leader's answer
//!   lists the members, and the leader assigns the partitions in SyncGroup.
//! - v4+: a new member first gets MEMBER_ID_REQUIRED with its id (KIP-394). v5+: static members
//!   (KIP-345). v9+: a returning static leader may skip the assignment (KIP-814).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::{JoinAnswer, JoinRequest, JoinedMember};
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = session.version;
    let allowed = session.authorize(Operation::Read, ResourceType::Group, &request.group_id);
    let ready = match allowed {
        Ok(()) => broker.ready_groups().await,
        Err(error) => Err(error),
    };
    let groups = match ready {
        Ok(groups) => groups,
        Err(error) => {
            let refused = JoinAnswer { error: Some(error), generation: -1, ..Default::default() };
            return response(version, refused);
        }
    };
    // v0 has one time-out for both.
    let rebalance_timeout_ms =
        if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocols = request.protocols.into_iter();
    let join = JoinRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: session.client_id.clone(),
        client_host: session.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|it| (it.name.to_string(), detached(&it.metadata))).collect(),
        new_member_id: String::new(),
        must_know_member_id: version >= 4,
        may_skip_assignment: version >= 9,
    };
    response(version, groups.join(&request.group_id, join).await)
}

/// Bytes kept for long are copied, so that they don't keep the whole request in memory.
fn detached(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn response(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let member = |member: JoinedMember| {
        let instance_id = member.instance_id.filter(|_| version >= 5);
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(member.member_id))
            .with_group_instance_id(instance_id.map(StrBytes::from_string))
            .with_metadata(member.metadata)
    };
    // Before v7 the name can't be null.
    let protocol = answer.protocol.or_else(|| (version < 7).then(String::new));
    let protocol_type = answer.protocol_type.filter(|_| version >= 7);
    JoinGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_generation_id(answer.generation)
        .with_protocol_type(protocol_type.map(StrBytes::from_string))
        .with_protocol_name(protocol.map(StrBytes::from_string))
        .with_leader(StrBytes::from_string(answer.leader))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(StrBytes::from_string(answer.member_id))
        .with_members(answer.members.into_iter().map(member).collect())
}
