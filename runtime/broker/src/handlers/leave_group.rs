//! LeaveGroup (api code 13, v0-v5): members go, and the others rebalance.
//!
//! - v3+ names several members, each with its own outcome; a static member may be named by its
//!   instance id alone (KIP-345). The reason of v5+ is logged.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = &request.group_id;
    if let Err(error) = session.authorize(Operation::Read, ResourceType::Group, group) {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    if session.version < 3 {
        let outcome = broker.groups().leave(group, &request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(super::error_code(&outcome));
    }
    let leave = |member: MemberIdentity| {
        let instance_id = member.group_instance_id.as_deref();
        let outcome = broker.groups().leave(group, &member.member_id, instance_id);
        let reason = member.reason.as_deref().unwrap_or("none given");
        tracing::debug!(group = group.as_str(), member = member.member_id.as_str(), reason, "left");
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(super::error_code(&outcome))
    };
    let members = request.members.into_iter().map(leave).collect();
    LeaveGroupResponse::default().with_members(members)
}
