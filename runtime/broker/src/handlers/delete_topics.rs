//! DeleteTopics (api code 20, v1-v6): removes topics with all their records.
//!
//! - v6 names topics by id too (KIP-516). Internal topics stay.
//! - The time-out is not used: an answer means that the topic is gone.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let work = move || {
        let named = |name| DeleteTopicState::default().with_name(Some(name));
        let topics: Vec<_> = match session.version {
            6.. => request.topics,
            _ => request.topic_names.into_iter().map(named).collect(),
        };
        let results = topics.into_iter().map(|topic| delete(&broker, &session, topic)).collect();
        DeleteTopicsResponse::default().with_responses(results)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn delete(broker: &Broker, session: &Session, asked: DeleteTopicState) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default().with_name(asked.name.clone());
    let outcome = find(broker, session, &asked).and_then(|(name, id)| {
        result.name = Some(TopicName(StrBytes::from_string(name.clone())));
        if session.version >= 6 {
            result.topic_id = id;
        }
        session.authorize(Operation::Delete, ResourceType::Topic, &name).map_err(denied)?;
        broker.delete_topic(&name)
    });
    match outcome {
        Ok(()) => result,
        Err(refusal) => {
            result.error_code = refusal.error.code();
            if session.version >= 6 && result.topic_id.is_nil() {
                result.topic_id = asked.topic_id;
            }
            if session.version >= 5 { result.with_error_message(refusal.text()) } else { result }
        }
    }
}

/// A topic that the client may know of.
fn find(
    broker: &Broker,
    session: &Session,
    asked: &DeleteTopicState,
) -> Result<(String, uuid::Uuid), Refusal> {
    let operation = Operation::Describe;
    let refuse = |error, message: &str| Refusal::new(error, message);
    let topic = match &asked.name {
        Some(_) if !asked.topic_id.is_nil() => {
            let message = "You may not specify both topic name and topic id.";
            return Err(refuse(ResponseError::InvalidRequest, message));
        }
        Some(name) => {
            session.authorize(operation, ResourceType::Topic, name).map_err(denied)?;
            broker.topic(name).ok_or_else(|| crate::topic::unknown(name))?
        }
        None => broker.topic_by_id(asked.topic_id).ok_or_else(|| {
            refuse(ResponseError::UnknownTopicId, "This server does not host this topic ID.")
        })?,
    };
    session.authorize(operation, ResourceType::Topic, topic.name()).map_err(denied)?;
    Ok((topic.name().to_owned(), topic.id()))
}

fn denied(error: ResponseError) -> Refusal {
    Refusal::new(error, "Authorization failed.")
}
