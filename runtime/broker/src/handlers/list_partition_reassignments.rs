//! ListPartitionReassignments (api code 46, v0): partitions that move from broker to broker; there
//! is one broker, so none ever does.

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    _: &Broker,
    _: &Session,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
