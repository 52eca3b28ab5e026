//! ListPartitionReassignments (api code 46, v0): partitions that move from broker to broker; there
//! is one broker, so none ever does.

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    _: &Broker,
    session: &Session,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let allowed = session.authorize_cluster(Operation::Describe);
    ListPartitionReassignmentsResponse::default()
        .with_error_code(super::error_code(&allowed))
        .with_error_message(None)
}
