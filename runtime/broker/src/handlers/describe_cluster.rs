//! DescribeCluster (api code 60, v0-v1): the cluster's id and its one broker.
//!
//! - v1+ can ask for controllers instead of brokers (KIP-919): MISMATCHED_ENDPOINT_TYPE, since this
//!   is a broker.
//! - Left out: v2 (fenced brokers, KIP-1073).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::{Broker, NODE_ID};
use crate::session::Session;

const ENDPOINT_BROKERS: i8 = 1;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let cluster_id = StrBytes::from_string(broker.cluster_id().to_owned());
    let mut response = DescribeClusterResponse::default().with_cluster_id(cluster_id);
    if session.version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
        let error = ResponseError::MismatchedEndpointType;
        return response.with_error_code(error.code());
    }
    let (host, port) = session.advertised();
    let us = DescribeClusterBroker::default()
        .with_broker_id(NODE_ID)
        .with_host(StrBytes::from_string(host))
        .with_port(port);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = session.cluster_operations();
    }
    response.with_controller_id(NODE_ID).with_brokers(vec![us])
}
