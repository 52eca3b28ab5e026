//! OffsetFetch (api code 9, v1-v9): how far groups have read.
//!
//! - No topics named (null): all partitions that the group has committed for. A partition without a
//!   commit is answered with offset -1, and so is every one of an unknown group.
//! - v8+ asks for several groups at once.
//! - `require_stable` (v7+) has nothing to wait for: no transaction commits offsets yet.
//! - Left out: v10 (topic ids, KIP-848).

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::group::CommittedOffset;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if session.version >= 8 {
        let groups = request.groups.into_iter().map(|group| one_group(broker, group)).collect();
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_topics(request.topics.map(|topics| topics.into_iter().map(newer).collect()));
    let topics = one_group(broker, group).topics.into_iter().map(older).collect();
    OffsetFetchResponse::default().with_topics(topics)
}

fn one_group(broker: &Broker, asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let topics = match asked.topics {
        None => all_topics(broker, &asked.group_id),
        Some(topics) => {
            topics.into_iter().map(|topic| one_topic(broker, &asked.group_id, topic)).collect()
        }
    };
    OffsetFetchResponseGroup::default().with_group_id(asked.group_id).with_topics(topics)
}

fn one_topic(
    broker: &Broker,
    group: &GroupId,
    asked: OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let name = asked.name.to_string();
    let indexes = asked.partition_indexes;
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
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(older).collect())
}
