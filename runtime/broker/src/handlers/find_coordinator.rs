//! FindCoordinator (api code 10, v0-v6): which broker looks after a group or a transactional id.
//!
//! - It is always this one. The first question about a group creates the offsets topic.
//! - v4+ asks about several keys at once. Key type 0: group, 1: transactional id.
//! - Left out: key type 2 (share groups, KIP-932): INVALID_REQUEST.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, NODE_ID};
use crate::session::Session;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let ready = match request.key_type {
        GROUP => broker.ready_groups().await.map(|_| ()),
        TRANSACTION => Ok(()),
        _ => Err(ResponseError::InvalidRequest),
    };
    let kind = match request.key_type {
        TRANSACTION => ResourceType::TransactionalId,
        _ => ResourceType::Group,
    };
    let one = |key: StrBytes| {
        let found = ready.and_then(|()| session.authorize(Operation::Describe, kind, &key));
        let (node_id, host, port) = match found {
            Ok(()) => {
                let (host, port) = session.advertised();
                (NODE_ID, StrBytes::from_string(host), port)
            }
            Err(_) => (BrokerId(-1), StrBytes::new(), -1),
        };
        Coordinator::default()
            .with_key(key)
            .with_error_code(super::error_code(&found))
            .with_error_message(None)
            .with_node_id(node_id)
            .with_host(host)
            .with_port(port)
    };
    if session.version >= 4 {
        let coordinators = request.coordinator_keys.into_iter().map(one).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = one(request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(None)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}
