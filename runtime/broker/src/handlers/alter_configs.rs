//! AlterConfigs (api code 33, v0-v2): replaces all settings of a topic or of the broker.
//!
//! - A setting that isn't named falls back to the default; IncrementalAlterConfigs changes single
//!   ones. In force at once; on disk when answered.
//! - Of the broker's settings those of `settings` can be changed; others are given at its start
//!   (INVALID_REQUEST).

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::config_resource::{self, ConfigResource, check_names, null_value};
use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::settings::Configs;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(responses.await)
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
    let mut configs = Configs::new();
    for config in &asked.configs {
        let value = config.value.as_ref().ok_or_else(|| null_value(&config.name))?;
        configs.insert(config.name.to_string(), value.to_string());
    }
    resource.alter(broker, validate_only, |_| Ok(configs))
}
