//! OffsetFetch (api code 9, v1-v9): how far groups have read.
//!
//! - No topics named (null): all partitions that the group has committed for. A partition without a
//!   commit is answered with offset -1, and so is every one of an unknown group.
//! - v8+ asks for several groups at once.
//! - `require_stable` (v7+, KIP-447): a partition with offsets in an open transaction is answered
//!   with UNSTABLE_OFFSET_COMMIT, and the client asks again.
//! - Left out: v10 (topic ids, KIP-848).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::CommittedOffset;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if session.version >= 8 {
        let one = |group| one_group(broker, session, group, request.require_stable);
        let groups = request.groups.into_iter().map(one).collect();
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_topics(request.topics.map(|topics| topics.into_iter().map(newer).collect()));
    let answer = one_group(broker, session, group, request.require_stable);
    let topics = answer.topics.into_iter().map(older).collect();
    // Version 1 has no room for an error of the whole group: its answer is then empty.
    let error_code = if session.version >= 2 { answer.error_code } else { 0 };
    OffsetFetchResponse::default().with_topics(topics).with_error_code(error_code)
}

fn one_group(
    broker: &Broker,
    session: &Session,
    asked: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let (operation, id) = (Operation::Describe, &asked.group_id);
    if let Err(error) = session.authorize(operation, ResourceType::Group, id) {
        let answer = OffsetFetchResponseGroup::default().with_error_code(error.code());
        return answer.with_group_id(asked.group_id);
    }
    // Looked up before the offsets: what commits in between is asked for once more at worst.
    let pending = match require_stable {
        true => broker.groups().pending_places(&asked.group_id),
        false => BTreeSet::new(),
    };
    let mut topics: Vec<_> = match asked.topics {
        None => {
            let may = |name: &str| session.may(operation, ResourceType::Topic, name);
            let all = all_topics(broker, id).into_iter();
            all.filter(|topic| may(&topic.name)).collect()
        }
        Some(topics) => {
            let one = |topic| one_topic(broker, session, id, topic);
            topics.into_iter().map(one).collect()
        }
    };
    for topic in topics.iter_mut().filter(|_| !pending.is_empty()) {
        for answer in &mut topic.partitions {
            let denied = answer.error_code != 0;
            if !denied && pending.contains(&(topic.name.to_string(), answer.partition_index)) {
                *answer = partition(answer.partition_index, None)
                    .with_error_code(ResponseError::UnstableOffsetCommit.code());
            }
        }
    }
    OffsetFetchResponseGroup::default().with_group_id(asked.group_id).with_topics(topics)
}

fn one_topic(
    broker: &Broker,
    session: &Session,
    group: &GroupId,
    asked: OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let name = asked.name.to_string();
    let indexes = asked.partition_indexes;
    if let Err(error) = session.authorize(Operation::Describe, ResourceType::Topic, &name) {
        let denied = |index| partition(index, None).with_error_code(error.code());
        return OffsetFetchResponseTopics::default()
            .with_name(asked.name)
            .with_partitions(indexes.into_iter().map(denied).collect());
    }
    let places: Vec<_> = indexes.iter().map(|index| (name.clone(), *index)).collect();
    let committed = broker.groups().committed(group, &places);
    let partitions = indexes.iter().zip(committed);
    OffsetFetchResponseTopics::default()
        .with_name(asked.name)
        .with_partitions(partitions.map(|(index, it)| partition(*index, it)).collect())
}

fn all_topics(broker: &Broker, group: &GroupId) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for ((topic, index), committed) in broker.groups().all_committed(group) {
        let partition = partition(index, Some(committed));
        match topics.last_mut().filter(|last| last.name.as_str() == topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(StrBytes::from_string(topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}

fn partition(index: i32, committed: Option<CommittedOffset>) -> OffsetFetchResponsePartitions {
    let (offset, leader_epoch, metadata) = match committed {
        Some(it) => (it.offset, it.leader_epoch, it.metadata),
        None => (-1, -1, String::new()),
    };
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch)
        .with_metadata(Some(StrBytes::from_string(metadata)))
}

fn newer(topic: OffsetFetchRequestTopic) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics::default()
        .with_name(topic.name)
        .with_partition_indexes(topic.partition_indexes)
}

fn older(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let older = |it: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(it.partition_index)
            .with_committed_offset(it.committed_offset)
            .with_committed_leader_epoch(it.committed_leader_epoch)
            .with_metadata(it.metadata)
            .with_error_code(it.error_code)
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(older).collect())
}
