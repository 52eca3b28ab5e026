//! DescribeConfigs (api code 32, v1-v4): the settings of topics and of the broker.
//!
//! - Each with where it comes from: the topic, the broker or all brokers while they ran, the start
//!   of the broker, or the default. On request with what would hold without it, and so on.
//! - Settings that the broker was given at its start and keeps are read-only.
//! - For all brokers (the empty name) only what was set for them, as in Kafka.
//! - v3+ adds types and, on request, documentation.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::config_resource::ConfigResource;
use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::settings::{self, Level};
use crate::topic;
use crate::topic_config::{self, Kind, Source, Value};

/// One setting before versions and wishes of the request are applied.
struct Described {
    name: &'static str,
    /// What counts first, and what would count without it.
    values: Vec<Value>,
    read_only: bool,
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
    asked: &DescribeConfigsResource,
) -> Result<Vec<Described>, Refusal> {
    let (kind, name) = (asked.resource_type, asked.resource_name.as_str());
    match ConfigResource::find(session, Operation::DescribeConfigs, kind, name)? {
        ConfigResource::Topic(name) => describe_topic(broker, name),
        ConfigResource::Broker(Level::Broker) => Ok(describe_broker(broker)),
        ConfigResource::Broker(Level::AllBrokers) => Ok(describe_all_brokers(broker)),
    }
}

fn describe_topic(broker: &Broker, name: &str) -> Result<Vec<Described>, Refusal> {
    topic::check_name(name)?;
    let topic = broker.topic(name).ok_or_else(|| topic::unknown(name))?;
    let of_broker = broker.settings().values();
    let described = |setting: &'static topic_config::Setting| Described {
        name: setting.name,
        values: topic_config::values(setting, topic.configs(), &of_broker),
        read_only: false,
        kind: setting.kind,
        documentation: setting.documentation,
    };
    Ok(topic_config::SETTINGS.iter().map(described).collect())
}

fn describe_broker(broker: &Broker) -> Vec<Described> {
    let values = broker.settings().values();
    let changeable = settings::changeable().map(|setting| Described {
        name: setting.name,
        values: values.of(setting),
        read_only: false,
        kind: setting.kind,
        documentation: setting.documentation,
    });
    let given = settings::given(broker.config()).into_iter();
    let given = given.map(|(name, value, kind)| Described {
        name,
        values: vec![Value::new(name, value, Source::Start)],
        read_only: true,
        kind,
        documentation: "given to the broker at its start",
    });
    changeable.chain(given).collect()
}

fn describe_all_brokers(broker: &Broker) -> Vec<Described> {
    let changed = broker.settings().changed();
    let own = settings::changeable().filter_map(|setting| {
        let value = changed.of(Level::AllBrokers).get(setting.name)?;
        Some(Described {
            name: setting.name,
            values: vec![Value::new(setting.name, value.clone(), Source::AllBrokers)],
            read_only: false,
            kind: setting.kind,
            documentation: setting.documentation,
        })
    });
    own.collect()
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
    let mut answer = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(it.name))
        .with_documentation(None)
        .with_read_only(it.read_only);
    if let Some(first) = it.values.first() {
        answer.value = Some(StrBytes::from_string(first.value.clone()));
        answer.config_source = first.source as i8;
    }
    if session.version >= 3 {
        answer.config_type = it.kind.code();
        if request.include_documentation {
            answer.documentation = Some(StrBytes::from_static_str(it.documentation));
        }
    }
    if request.include_synonyms {
        answer.synonyms = it.values.into_iter().map(synonym).collect();
    }
    answer
}

fn synonym(value: Value) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(value.name))
        .with_value(Some(StrBytes::from_string(value.value)))
        .with_source(value.source as i8)
}
