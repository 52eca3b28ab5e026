//! IncrementalAlterConfigs (api code 44, v0-v1, KIP-339): changes single settings of a topic or of
//! the broker.
//!
//! - Operations: set, delete (back to the default), and append and subtract for lists
//!   (`cleanup.policy`). All changes of a resource are made or none.
//! - Of the broker's settings those of `settings` can be changed; others are given at its start
//!   (INVALID_REQUEST).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::config_resource::{self, ConfigResource, check_names, null_value};
use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::settings::Configs;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = config_resource::for_each(
        broker,
        session,
        request.resources,
        move |broker, session, resource| alter(broker, session, resource, validate_only),
        |resource: AlterConfigsResource, error_code, message| {
            AlterConfigsResourceResponse::default()
                .with_error_code(error_code)
                .with_error_message(message)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
        },
    );
    IncrementalAlterConfigsResponse::default().with_responses(responses.await)
}

fn alter(
    broker: &Broker,
    session: &Session,
    asked: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let (kind, name) = (asked.resource_type, &asked.resource_name);
    let resource = ConfigResource::find(session, Operation::AlterConfigs, kind, name)?;
    check_names(asked.configs.iter().map(|config| &config.name))?;
    resource.alter(broker, validate_only, |present| {
        let mut configs = present.clone();
        for change in &asked.configs {
            apply(broker, resource, &mut configs, change)?;
        }
        Ok(configs)
    })
}

fn apply(
    broker: &Broker,
    resource: ConfigResource<'_>,
    configs: &mut Configs,
    change: &AlterableConfig,
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
        (operation @ (APPEND | SUBTRACT), Some(value)) => {
            let Some(present) = resource.list(broker, configs, &name) else {
                let message = format!("Config value append is not allowed for config key: {name}");
                return Err(Refusal::new(ResponseError::InvalidConfig, message));
            };
            configs.insert(name, merged(&present, operation, &value));
        }
        (SET | APPEND | SUBTRACT, None) => return Err(null_value(&name)),
        (other, _) => {
            let message = format!("Unknown operation {other} on config {name}");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

/// The names of a list with those of `value` added or taken out.
fn merged(present: &str, operation: i8, value: &str) -> String {
    let mut names: Vec<&str> = present.split(',').map(str::trim).collect();
    for changed in value.split(',').map(str::trim) {
        names.retain(|name| *name != changed);
        if operation == APPEND {
            names.push(changed);
        }
    }
    names.join(",")
}
