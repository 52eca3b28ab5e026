//! Heartbeat (api code 12, v0-v4): a member says that it lives and learns whether a rebalance
//! began.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(broker: &Broker, _: &Session, request: HeartbeatRequest) -> HeartbeatResponse {
    let outcome = broker.groups().heartbeat(
        &request.group_id,
        &request.member_id,
        request.group_instance_id.as_deref(),
        request.generation_id,
    );
    HeartbeatResponse::default().with_error_code(super::error_code(&outcome))
}
