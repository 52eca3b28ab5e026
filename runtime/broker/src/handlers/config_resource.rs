//! What has settings: a topic, the broker, all brokers together. For the three requests about them.
//!
//! - The broker is named by its id. All brokers have the empty name; for the one that there is,
//!   what was set for them counts after what was set for itself.
//! - Left out: loggers (type 8), client metrics (16, KIP-714), groups of the new protocol (32).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::settings::{self, Configs, Level};
use crate::topic_config::{self, Kind};

const TYPE_TOPIC: i8 = 2;
const TYPE_BROKER: i8 = 4;

/// See the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigResource<'a> {
    Topic(&'a str),
    Broker(Level),
}

impl<'a> ConfigResource<'a> {
    /// The resource of that type and name, if the client may do that to its settings.
    pub(super) fn find(
        session: &Session,
        operation: Operation,
        resource_type: i8,
        name: &'a str,
    ) -> Result<ConfigResource<'a>, Refusal> {
        let allowed = match resource_type {
            TYPE_TOPIC => session.authorize(operation, ResourceType::Topic, name),
            _ => session.authorize_cluster(operation),
        };
        allowed.map_err(|error| Refusal::new(error, "Authorization failed."))?;
        let refuse = |message| Err(Refusal::new(ResponseError::InvalidRequest, message));
        match resource_type {
            TYPE_TOPIC => Ok(ConfigResource::Topic(name)),
            TYPE_BROKER if name.is_empty() => Ok(ConfigResource::Broker(Level::AllBrokers)),
            TYPE_BROKER => match name.parse::<i32>() {
                Ok(id) if id == NODE_ID.0 => Ok(ConfigResource::Broker(Level::Broker)),
                Ok(id) => refuse(format!(
                    "Unexpected broker id, expected {}, but received {id}",
                    *NODE_ID
                )),
                Err(_) => refuse(format!("Broker id must be an integer, but it is: {name}")),
            },
            other => refuse(format!("Resources of type {other} have no settings here")),
        }
    }

    /// Makes the new settings from those that were made for the resource. Blocks.
    pub(super) fn alter(
        self,
        broker: &Broker,
        validate_only: bool,
        change: impl FnOnce(&Configs) -> Result<Configs, Refusal>,
    ) -> Result<(), Refusal> {
        match self {
            ConfigResource::Topic(name) => broker.alter_topic(name, validate_only, change),
            ConfigResource::Broker(level) => broker.alter_settings(level, validate_only, change),
        }
    }

    /// The value of a list setting while `configs` are what was made for the resource; None: the
    /// setting is no list.
    pub(super) fn list(self, broker: &Broker, configs: &Configs, name: &str) -> Option<String> {
        let is_list = |kind| matches!(kind, Kind::List(_));
        let values = broker.settings().values();
        match self {
            ConfigResource::Topic(_) => {
                let setting = topic_config::find(name).filter(|it| is_list(it.kind))?;
                Some(topic_config::value(setting, configs, &values).value)
            }
            ConfigResource::Broker(_) => {
                let setting = settings::find(name).filter(|it| is_list(it.kind))?;
                let inherited = || values.of(setting).swap_remove(0).value;
                Some(configs.get(name).cloned().unwrap_or_else(inherited))
            }
        }
    }
}

/// INVALID_REQUEST for a setting that one request names more than once.
pub(super) fn check_names<'a>(names: impl Iterator<Item = &'a StrBytes>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let message = format!("Error due to duplicate config keys: {}", &**name);
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

/// INVALID_REQUEST for a setting without a value.
pub(super) fn null_value(name: &str) -> Refusal {
    let message = format!("Null value not supported for topic configs: {name}");
    Refusal::new(ResponseError::InvalidRequest, message)
}

/// Alters one resource after the other, off the task, for changes are written to disk.
pub(super) async fn for_each<Q, R>(
    broker: Arc<Broker>,
    session: Session,
    resources: Vec<Q>,
    alter: impl Fn(&Broker, &Session, &Q) -> Result<(), Refusal> + Send + 'static,
    answer: fn(Q, i16, Option<StrBytes>) -> R,
) -> Vec<R>
where
    Q: Send + 'static,
    R: Send + 'static,
{
    let one = move |resource: Q| match alter(&broker, &session, &resource) {
        Ok(()) => answer(resource, 0, None),
        Err(refusal) => answer(resource, refusal.error.code(), refusal.text()),
    };
    let work = move || resources.into_iter().map(one).collect();
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}
