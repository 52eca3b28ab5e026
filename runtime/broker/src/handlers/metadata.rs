//! Metadata (api code 3, v0-v12): brokers, topics and who leads their partitions.
//!
//! - There is one broker; it leads every partition, and its address is the one that the client
//!   reached, unless another is advertised.
//! - An unknown topic is created with the broker's defaults if both the broker's settings and the
//!   request (v4+) allow it, and it is in this very answer; Kafka lets clients ask again.
//! - Topics can be asked for by id (v10+; usable from v12).
//! - Left out: v13 (a top-level error, KIP-1102).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, LEADER_EPOCH, NODE_ID};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::topic::{self, Topic};

const TOPIC: ResourceType = ResourceType::Topic;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: MetadataRequest,
) -> MetadataResponse {
    let version = session.version;
    // In version 0 an empty list asks for all topics, later null does.
    let asked = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let may_create = request.allow_auto_topic_creation && broker.config().auto_create_topics;
    let mut topics = Vec::new();
    match asked {
        None => {
            let all = broker.topics().into_iter();
            let known = all.filter(|it| session.may(Operation::Describe, TOPIC, it.name()));
            topics.extend(known.map(|topic| described(&topic)));
        }
        Some(asked) => {
            for topic in asked {
                topics.push(one_topic(&broker, &session, topic, may_create).await);
            }
        }
    }
    if request.include_topic_authorized_operations {
        for topic in &mut topics {
            let name = topic.name.as_deref().filter(|_| topic.error_code == 0);
            if let Some(name) = name {
                topic.topic_authorized_operations = session.operations(TOPIC, name);
            }
        }
    }
    let (host, port) = session.advertised();
    let us = MetadataResponseBroker::default()
        .with_node_id(NODE_ID)
        .with_host(StrBytes::from_string(host))
        .with_port(port);
    let mut response = MetadataResponse::default()
        .with_brokers(vec![us])
        .with_cluster_id(Some(StrBytes::from_string(broker.cluster_id().to_owned())))
        .with_controller_id(NODE_ID)
        .with_topics(topics);
    if request.include_cluster_authorized_operations && (8..=10).contains(&version) {
        response.cluster_authorized_operations = session.cluster_operations();
    }
    response
}

async fn one_topic(
    broker: &Arc<Broker>,
    session: &Session,
    asked: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let version = session.version;
    let Some(name) = asked.name.filter(|_| asked.topic_id.is_nil() || version < 10) else {
        let found = broker.topic_by_id(asked.topic_id).ok_or(ResponseError::UnknownTopicId);
        let found = found.and_then(|topic| {
            session.authorize(Operation::Describe, TOPIC, topic.name()).map(|()| topic)
        });
        return match found {
            Ok(topic) => described(&topic),
            Err(error) => MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name((version < 12).then(TopicName::default))
                .with_topic_id(asked.topic_id),
        };
    };
    match find_or_create(broker, session, &name, may_create).await {
        Ok(topic) => described(&topic),
        Err(error) => MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_is_internal(topic::is_internal(&name))
            .with_name(Some(name)),
    }
}

/// A topic that the client may know of; whether others exist it doesn't learn.
async fn find_or_create(
    broker: &Arc<Broker>,
    session: &Session,
    name: &TopicName,
    may_create: bool,
) -> Result<Arc<Topic>, ResponseError> {
    session.authorize(Operation::Describe, TOPIC, name)?;
    if let Some(topic) = broker.topic(name) {
        return Ok(topic);
    }
    topic::check_name(name).map_err(|refusal| not_created(session, name, &refusal))?;
    if !may_create {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if !session.may_cluster(Operation::Create) {
        session.authorize(Operation::Create, TOPIC, name)?;
    }
    let (creating, to_create) = (Arc::clone(broker), name.to_string());
    let created = tokio::task::spawn_blocking(move || creating.auto_create_topic(&to_create)).await;
    let created = created.map_err(|_| ResponseError::UnknownServerError)?;
    created.map_err(|refusal| not_created(session, name, &refusal))
}

/// What Metadata says of a topic that cannot be made.
fn not_created(session: &Session, name: &TopicName, refusal: &Refusal) -> ResponseError {
    let (client, topic) = (session.client_id.as_str(), name.as_str());
    tracing::info!(client, peer = %session.peer, topic, "topic not created: {refusal}");
    match refusal.error {
        ResponseError::InvalidTopicException => ResponseError::InvalidTopicException,
        _ => ResponseError::UnknownTopicOrPartition,
    }
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partition = |(index, _)| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(NODE_ID)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name().to_owned()))))
        .with_topic_id(topic.id())
        .with_is_internal(topic.is_internal())
        .with_partitions(topic.partitions().iter().enumerate().map(partition).collect())
}
