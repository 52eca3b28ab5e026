//! DescribeConfigs (api code 32, v1-v4): the settings of topics and of the broker.
//!
//! - A topic's settings with where each comes from (the topic, or the default). The broker's are
//!   read-only: they are given at its start.
//! - v3+ adds types and, on request, documentation.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic;
use crate::topic_config::{self, Kind};

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
/// The setting was made for the topic (`DYNAMIC_TOPIC_CONFIG`).
pub(super) const SOURCE_TOPIC: i8 = 1;
/// The setting was given to the broker at its start (`STATIC_BROKER_CONFIG`).
const SOURCE_BROKER: i8 = 4;
/// Nobody set it (`DEFAULT_CONFIG`).
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// One setting before versions and wishes of the request are applied.
struct Described {
    name: &'static str,
    value: String,
    read_only: bool,
    source: i8,
    kind: Kind,
    documentation: &'static str,
}

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let one = |resource: &DescribeConfigsResource| {
        let result = DescribeConfigsResult::default()
            .with_error_message(None)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let described = describe(broker, session, resource);
        match described {
            Ok(settings) => {
                let wanted = |it: &Described| is_wanted(resource, it.name);
                let settings = settings.into_iter().filter(wanted);
                result.with_configs(settings.map(|it| answer(session, &request, it)).collect())
            }
            Err(refusal) => {
                result.with_error_code(refusal.error.code()).with_error_message(refusal.text())
            }
        }
    };
    DescribeConfigsResponse::default().with_results(request.resources.iter().map(one).collect())
}

fn describe(
    broker: &Broker,
    session: &Session,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, Refusal> {
    let name = resource.resource_name.as_str();
    let operation = Operation::DescribeConfigs;
    let allowed = match resource.resource_type {
        RESOURCE_TOPIC => session.authorize(operation, ResourceType::Topic, name),
        _ => session.authorize_cluster(operation),
    };
    allowed.map_err(|error| Refusal::new(error, "Authorization failed."))?;
    match resource.resource_type {
        RESOURCE_TOPIC => describe_topic(broker, name),
        RESOURCE_BROKER if name.is_empty() || name == NODE_ID.0.to_string() => {
            Ok(describe_broker(broker))
        }
        RESOURCE_BROKER => {
            let message = format!("Unexpected broker id, expected 1, but received {name}");
            Err(Refusal::new(ResponseError::InvalidRequest, message))
        }
        other => {
            let message = format!("Resources of type {other} have no settings here");
            Err(Refusal::new(ResponseError::InvalidRequest, message))
        }
    }
}

fn describe_topic(broker: &Broker, name: &str) -> Result<Vec<Described>, Refusal> {
    topic::check_name(name)?;
    let topic = broker.topic(name).ok_or_else(|| topic::unknown(name))?;
    let described = |setting: &'static topic_config::Setting| {
        let (value, own) = topic_config::effective(setting, topic.configs(), broker.config());
        Described {
            name: setting.name,
            value,
            read_only: false,
            source: if own { SOURCE_TOPIC } else { SOURCE_DEFAULT },
            kind: setting.kind,
            documentation: setting.documentation,
        }
    };
    Ok(topic_config::SETTINGS.iter().map(described).collect())
}

fn describe_broker(broker: &Broker) -> Vec<Described> {
    let config = broker.config();
    let settings: [(&'static str, String, Kind); 14] = [
        ("auto.create.topics.enable", config.auto_create_topics.to_string(), Kind::Boolean),
        ("broker.id", NODE_ID.0.to_string(), Kind::Int(0)),
        ("connections.max.idle.ms", config.idle_ms_max.to_string(), Kind::Long(0)),
        ("default.replication.factor", "1".to_owned(), Kind::Int(1)),
        ("fetch.max.bytes", config.fetch_bytes_max.to_string(), Kind::Int(0)),
        (
            "group.initial.rebalance.delay.ms",
            config.group_initial_rebalance_delay_ms.to_string(),
            Kind::Int(0),
        ),
        (
            "group.max.session.timeout.ms",
            config.group_session_timeout_ms_max.to_string(),
            Kind::Int(0),
        ),
        (
            "group.min.session.timeout.ms",
            config.group_session_timeout_ms_min.to_string(),
            Kind::Int(0),
        ),
        ("log.retention.bytes", config.retention_bytes.to_string(), Kind::Long(-1)),
        ("log.retention.ms", config.retention_ms.to_string(), Kind::Long(-1)),
        ("log.segment.bytes", config.segment_bytes_max.to_string(), Kind::Int(14)),
        ("message.max.bytes", config.message_bytes_max.to_string(), Kind::Int(0)),
        ("num.partitions", config.default_partitions.to_string(), Kind::Int(1)),
        (
            "offsets.retention.minutes",
            (config.offsets_retention_ms / 60_000).to_string(),
            Kind::Int(1),
        ),
    ];
    let described = |(name, value, kind)| Described {
        name,
        value,
        read_only: true,
        source: SOURCE_BROKER,
        kind,
        documentation: "given to the broker at its start",
    };
    settings.into_iter().map(described).collect()
}

fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    // Null asks for all; old clients send an empty list for the same.
    match &resource.configuration_keys {
        Some(names) if !names.is_empty() => names.iter().any(|wanted| wanted.as_str() == name),
        _ => true,
    }
}

fn answer(
    session: &Session,
    request: &DescribeConfigsRequest,
    it: Described,
) -> DescribeConfigsResourceResult {
    let value = StrBytes::from_string(it.value);
    let mut answer = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(it.name))
        .with_value(Some(value.clone()))
        .with_documentation(None)
        .with_read_only(it.read_only)
        .with_config_source(it.source);
    if session.version >= 3 {
        answer.config_type = it.kind.code();
        if request.include_documentation {
            answer.documentation = Some(StrBytes::from_static_str(it.documentation));
        }
    }
    if request.include_synonyms {
        let synonym = DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(it.name))
            .with_value(Some(value))
            .with_source(it.source);
        answer.synonyms = vec![synonym];
    }
    answer
}
