//! ElectLeaders (api code 43, v0-v2, KIP-183, KIP-460): another replica as the leader; there is one,
//! and it leads already.
//!
//! - Needs Alter on the cluster. A partition that is named: ELECTION_NOT_NEEDED, or
//!   UNKNOWN_TOPIC_OR_PARTITION. For all partitions (null) nothing is told, as in Kafka.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let asked = request.topic_partitions.unwrap_or_default();
    let allowed = session.authorize_cluster(Operation::Alter);
    let one = |topic: TopicPartitions| {
        let results = topic.partitions.iter().map(|partition| {
            let refusal = match allowed {
                Ok(()) => elect(broker, &topic.topic, *partition),
                Err(error) => Refusal::new(error, "Cluster authorization failed."),
            };
            PartitionResult::default()
                .with_partition_id(*partition)
                .with_error_code(refusal.error.code())
                .with_error_message(refusal.text())
        });
        let results = results.collect();
        ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(results)
    };
    let response = ElectLeadersResponse::default()
        .with_replica_election_results(asked.into_iter().map(one).collect());
    match session.version {
        0 => response, // has no error for the whole
        _ => response.with_error_code(super::error_code(&allowed)),
    }
}

fn elect(broker: &Broker, name: &str, partition: i32) -> Refusal {
    match broker.log(name, partition) {
        None => topic::unknown(name),
        Some(_) => {
            let message = "Leader election not needed for topic partition.";
            Refusal::new(ResponseError::ElectionNotNeeded, message)
        }
    }
}
