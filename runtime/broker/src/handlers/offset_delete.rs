//! OffsetDelete (api code 47, v0, KIP-496): forgets offsets that a group has committed.
//!
//! - A topic that a member of the group subscribes to keeps its offsets
//!   (GROUP_SUBSCRIBED_TO_TOPIC).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = request.group_id.as_str();
    let allowed = session.authorize(Operation::Delete, ResourceType::Group, group);
    let subscribed = match allowed.and_then(|()| broker.groups().subscribed_topics(group)) {
        Ok(subscribed) => subscribed,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut places = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let allowed = session.authorize(Operation::Read, ResourceType::Topic, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let checked = match () {
                () if allowed.is_err() => allowed,
                () if subscribed.contains(topic.name.as_str()) => {
                    Err(ResponseError::GroupSubscribedToTopic)
                }
                () if broker.log(&topic.name, asked.partition_index).is_none() => {
                    Err(ResponseError::UnknownTopicOrPartition)
                }
                () => {
                    places.push((topic.name.to_string(), asked.partition_index));
                    Ok(())
                }
            };
            partitions.push(
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(super::error_code(&checked)),
            );
        }
        topics.push(
            OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions),
        );
    }
    match broker.groups().delete_offsets(group, &places) {
        Ok(()) => OffsetDeleteResponse::default().with_topics(topics),
        Err(error) => OffsetDeleteResponse::default().with_error_code(error.code()),
    }
}
