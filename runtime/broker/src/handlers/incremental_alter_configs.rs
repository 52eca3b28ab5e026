//! IncrementalAlterConfigs (api code 44, v0-v1, KIP-339): changes single settings of topics.
//!
//! - Operations: set, delete (back to the default), and append and subtract for lists
//!   (`cleanup.policy`). All changes of a topic are made or none.
//! - The broker's own settings are given at its start: INVALID_REQUEST.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::{check_resource, named_twice, null_value};
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic_config::{self, Kind, TopicConfigs};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
        IncrementalAlterConfigsResponse::default().with_responses(responses)
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
    let mut names = BTreeSet::new();
    if let Some(again) = resource.configs.iter().find(|config| !names.insert(&config.name)) {
        return Err(named_twice(&again.name));
    }
    broker.alter_topic(&resource.resource_name, validate_only, |present| {
        let mut configs = present.clone();
        for change in &resource.configs {
            apply(&mut configs, change, broker.config())?;
        }
        Ok(configs)
    })
}

fn apply(
    configs: &mut TopicConfigs,
    change: &AlterableConfig,
    broker: &BrokerConfig,
) -> Result<(), Refusal> {
    let name = change.name.to_string();
    let value = change.value.as_ref().map(|value| value.to_string());
    match (change.config_operation, value) {
        (DELETE, _) => {
            configs.remove(&name);
        }
        (SET, Some(value)) => {
            configs.insert(name, value);
        }
        (APPEND | SUBTRACT, Some(value)) => {
            let value = merged(configs, &name, change.config_operation, &value, broker)?;
            configs.insert(name, value);
        }
        (SET | APPEND | SUBTRACT, None) => return Err(null_value(&name)),
        (other, _) => {
            let message = format!("Unknown operation {other} on config {name}");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

/// The names of a list setting with `value` added or taken out.
fn merged(
    configs: &TopicConfigs,
    name: &str,
    operation: i8,
    value: &str,
    broker: &BrokerConfig,
) -> Result<String, Refusal> {
    let setting = topic_config::find(name).filter(|it| matches!(it.kind, Kind::List(_)));
    let Some(setting) = setting else {
        let message = format!("Config value append is not allowed for config key: {name}");
        return Err(Refusal::new(ResponseError::InvalidConfig, message));
    };
    let (present, _) = topic_config::effective(setting, configs, broker);
    let mut names: Vec<&str> = present.split(',').map(str::trim).collect();
    for changed in value.split(',').map(str::trim) {
        names.retain(|name| *name != changed);
        if operation == APPEND {
            names.push(changed);
        }
    }
    Ok(names.join(","))
}
