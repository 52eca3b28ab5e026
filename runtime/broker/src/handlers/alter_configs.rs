//! AlterConfigs (api code 33, v0-v2): replaces all settings of topics.
//!
//! - A setting that isn't named falls back to the default; IncrementalAlterConfigs changes single
//!   ones. In force for records and retention at once; on disk when answered.
//! - The broker's own settings are given at its start: INVALID_REQUEST.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic_config::TopicConfigs;

const RESOURCE_TOPIC: i8 = 2;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let work = move || {
        let one = |resource: &AlterConfigsResource| {
            let altered = alter(&broker, &session, resource, request.validate_only);
            let answer = AlterConfigsResourceResponse::default()
                .with_error_message(None)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match altered {
                Ok(()) => answer,
                Err(refusal) => {
                    answer.with_error_code(refusal.error.code()).with_error_message(refusal.text())
                }
            }
        };
        let responses = request.resources.iter().map(one).collect();
        AlterConfigsResponse::default().with_responses(responses)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn alter(
    broker: &Broker,
    session: &Session,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_resource(session, resource.resource_type, &resource.resource_name)?;
    let mut configs = TopicConfigs::new();
    for config in &resource.configs {
        let name = config.name.to_string();
        let Some(value) = &config.value else {
            return Err(null_value(&name));
        };
        if configs.insert(name, value.to_string()).is_some() {
            return Err(named_twice(&config.name));
        }
    }
    broker.alter_topic(&resource.resource_name, validate_only, |_| Ok(configs))
}

/// INVALID_REQUEST unless it is a topic; and its settings must be the client's to alter.
pub(super) fn check_resource(
    session: &Session,
    resource_type: i8,
    name: &str,
) -> Result<(), Refusal> {
    let denied = |error| Refusal::new(error, "Authorization failed.");
    let operation = Operation::AlterConfigs;
    match resource_type {
        RESOURCE_TOPIC => session.authorize(operation, ResourceType::Topic, name).map_err(denied),
        other => {
            session.authorize_cluster(operation).map_err(denied)?;
            let message = format!(
                "Only topics have settings that can be altered; the broker's are given at its \
                 start (resource type {other})"
            );
            Err(Refusal::new(ResponseError::InvalidRequest, message))
        }
    }
}

/// INVALID_REQUEST for a setting without a value.
pub(super) fn null_value(name: &str) -> Refusal {
    let message = format!("Null value not supported for topic configs: {name}");
    Refusal::new(ResponseError::InvalidRequest, message)
}

/// INVALID_REQUEST for a setting that one request names more than once.
pub(super) fn named_twice(name: &str) -> Refusal {
    let message = format!("Error due to duplicate config keys: {name}");
    Refusal::new(ResponseError::InvalidRequest, message)
}
