//! Heartbeat (api code 12, v0-v4): a member says that it lives and learns whether a rebalance
//! began.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let allowed = session.authorize(Operation::Read, ResourceType::Group, &request.group_id);
    let outcome = allowed.and_then(|()| {
        broker.groups().heartbeat(
            &request.group_id,
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        )
    });
    HeartbeatResponse::default().with_error_code(super::error_code(&outcome))
}
