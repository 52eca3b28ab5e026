//! CreateTopics (api code 19, v2-v7): new topics, each with its own outcome.
//!
//! - Partitions -1: the broker's default. Replication factor 1 or -1; more is
//!   INVALID_REPLICATION_FACTOR unless the broker is set to accept any, and then one replica is
//!   kept.
//! - Manual assignments may name this broker only.
//! - v5+ answers with the settings that hold. `validate_only` checks and creates nothing.
//! - The time-out is not used: an answer means that the topic is on disk.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic::NewTopic;
use crate::topic_config::{self, TopicConfigs};

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let failed = CreateTopicsResponse::default();
    let work = move || create_all(&broker, &session, request);
    tokio::task::spawn_blocking(work).await.unwrap_or(failed)
}

fn create_all(
    broker: &Broker,
    session: &Session,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut seen = HashSet::new();
    let names = request.topics.iter().map(|topic| topic.name.clone());
    let twice: HashSet<_> = names.filter(|name| !seen.insert(name.clone())).collect();
    let mut answered = HashSet::new();
    let mut results = Vec::new();
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let outcome = if twice.contains(&topic.name) {
            let message = "Duplicate topic name.";
            Err(Refusal::new(ResponseError::InvalidRequest, message))
        } else {
            create(broker, session, topic, request.validate_only)
        };
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        results.push(match outcome {
            Ok((new, id)) => created(broker, session, result, &new, id),
            Err(refusal) => refused(session, result, &refusal),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn refused(
    session: &Session,
    result: CreatableTopicResult,
    refusal: &Refusal,
) -> CreatableTopicResult {
    let (client, topic) = (session.client_id.as_str(), result.name.as_str());
    tracing::info!(client, peer = %session.peer, topic, "topic not created: {refusal}");
    result
        .with_error_code(refusal.error.code())
        .with_error_message(refusal.text())
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

fn create(
    broker: &Broker,
    session: &Session,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<(NewTopic, Uuid), Refusal> {
    if !session.may_cluster(Operation::Create) {
        session
            .authorize(Operation::Create, ResourceType::Topic, &asked.name)
            .map_err(|error| Refusal::new(error, "Authorization failed."))?;
    }
    let partitions = partitions(broker, asked)?;
    let mut configs = TopicConfigs::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", &*config.name);
            return Err(Refusal::new(ResponseError::InvalidConfig, message));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    let new = broker.new_topic(&asked.name, partitions, configs.clone());
    if validate_only {
        broker.check_topic(&new)?;
        return Ok((new, Uuid::nil()));
    }
    let topic = broker.create_topic(&asked.name, partitions, configs)?;
    Ok((new, topic.id()))
}

/// How many partitions are asked for; `None`: the broker decides.
fn partitions(broker: &Broker, asked: &CreatableTopic) -> Result<Option<i32>, Refusal> {
    if !asked.assignments.is_empty() {
        return assigned_partitions(asked).map(Some);
    }
    let factor = asked.replication_factor;
    let any = broker.config().accept_any_replication_factor && factor > 1;
    if factor != -1 && factor != 1 && !any {
        let message = format!(
            "Unable to replicate the partition {factor} time(s): there is 1 broker, which keeps \
             1 replica."
        );
        return Err(Refusal::new(ResponseError::InvalidReplicationFactor, message));
    }
    match asked.num_partitions {
        -1 => Ok(None),
        count => Ok(Some(count)),
    }
}

fn assigned_partitions(asked: &CreatableTopic) -> Result<i32, Refusal> {
    if asked.num_partitions != -1 || asked.replication_factor != -1 {
        let message = "A manual assignment was specified, but num_partitions or \
                       replication_factor was not set to -1.";
        return Err(Refusal::new(ResponseError::InvalidRequest, message));
    }
    let refuse = |message| Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message));
    let mut indexes: Vec<i32> = asked.assignments.iter().map(|it| it.partition_index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..indexes.len() as i32) {
        return refuse("partitions should be a consecutive 0-based integer sequence");
    }
    if asked.assignments.iter().any(|it| it.broker_ids != [NODE_ID]) {
        return refuse("replicas must be on broker 1, the only one");
    }
    Ok(indexes.len() as i32)
}

fn created(
    broker: &Broker,
    session: &Session,
    result: CreatableTopicResult,
    new: &NewTopic,
    id: Uuid,
) -> CreatableTopicResult {
    let mut result = result
        .with_error_message(None)
        .with_num_partitions(new.partitions)
        .with_replication_factor(1);
    if session.version >= 7 {
        result.topic_id = id;
    }
    if session.version < 5 {
        return result;
    }
    if !session.may(Operation::DescribeConfigs, ResourceType::Topic, &new.name) {
        return result
            .with_topic_config_error_code(ResponseError::TopicAuthorizationFailed.code())
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(None);
    }
    let of_broker = broker.settings().values();
    let described = |setting: &topic_config::Setting| {
        let value = topic_config::value(setting, &new.configs, &of_broker);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(Some(StrBytes::from_string(value.value)))
            .with_config_source(value.source as i8)
    };
    result.with_configs(Some(topic_config::SETTINGS.iter().map(described).collect()))
}
