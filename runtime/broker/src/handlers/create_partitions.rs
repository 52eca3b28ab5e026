//! CreatePartitions (api code 37, v0-v3): more partitions for topics, each with its own outcome.
//!
//! - Manual assignments may name this broker only. `validate_only` checks and changes nothing.
//! - Records keep their partitions: keys hash to other partitions from now on.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let work = move || {
        let one = |asked: &CreatePartitionsTopic| {
            let result = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
            match create(&broker, &session, asked, request.validate_only) {
                Ok(()) => result,
                Err(refusal) => {
                    result.with_error_code(refusal.error.code()).with_error_message(refusal.text())
                }
            }
        };
        let results = request.topics.iter().map(one).collect();
        CreatePartitionsResponse::default().with_results(results)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn create(
    broker: &Broker,
    session: &Session,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    session
        .authorize(Operation::Alter, ResourceType::Topic, &asked.name)
        .map_err(|error| Refusal::new(error, "Authorization failed."))?;
    broker.check_partitions(&asked.name, asked.count)?;
    if let Some(assignments) = &asked.assignments {
        let present = broker.topic(&asked.name).map_or(0, |topic| topic.partitions().len());
        let more = usize::try_from(asked.count).unwrap_or(0).saturating_sub(present);
        if assignments.len() != more || assignments.iter().any(|it| it.broker_ids != [NODE_ID]) {
            let message = format!("{more} new partition(s) need as many replicas on broker 1");
            return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message));
        }
    }
    if validate_only { Ok(()) } else { broker.create_partitions(&asked.name, asked.count) }
}
