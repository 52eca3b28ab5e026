//! The offsets that OffsetCommit and TxnOffsetCommit bring, checked one by one: what is wrong with
//! one partition fails no other.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::CommittedOffset;
use crate::session::Session;

/// What a request says of one partition.
pub(super) struct AskedOffset<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Option<&'a StrBytes>,
}

/// The answers to one topic: each partition with its error code.
pub(super) struct TopicAnswer {
    pub(super) name: TopicName,
    pub(super) partitions: Vec<(i32, i16)>,
}

/// See the file.
#[derive(Default)]
pub(super) struct OffsetsToCommit {
    /// Those that can be committed.
    pub(super) offsets: Vec<((String, i32), CommittedOffset)>,
    /// In the order of the request.
    answers: Vec<TopicAnswer>,
}

impl OffsetsToCommit {
    pub(super) fn check_topic<'a>(
        &mut self,
        broker: &Broker,
        session: &Session,
        topic: &TopicName,
        asked: impl Iterator<Item = AskedOffset<'a>>,
    ) {
        let partitions = asked.map(|asked| {
            let checked = check(broker, session, topic, &asked);
            let checked = checked.map(|offset| self.offsets.push(offset));
            (asked.partition, super::error_code(&checked))
        });
        let partitions = partitions.collect();
        self.answers.push(TopicAnswer { name: topic.clone(), partitions });
    }

    /// The answers once the offsets were committed, or were all refused.
    pub(super) fn answers(mut self, committed: Result<(), ResponseError>) -> Vec<TopicAnswer> {
        if committed.is_err() {
            let partitions = self.answers.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|(_, error)| *error = super::error_code(&committed));
        }
        self.answers
    }
}

fn check(
    broker: &Broker,
    session: &Session,
    topic: &TopicName,
    asked: &AskedOffset<'_>,
) -> Result<((String, i32), CommittedOffset), ResponseError> {
    session.authorize(Operation::Read, ResourceType::Topic, topic)?;
    let metadata = asked.metadata.map_or("", |text| text.as_str());
    if metadata.len() > broker.config().offset_metadata_bytes_max {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    if broker.log(topic, asked.partition).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let committed = CommittedOffset {
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: metadata.to_string(),
        commit_time_ms: broker.clock().now_ms(),
    };
    Ok(((topic.to_string(), asked.partition), committed))
}
