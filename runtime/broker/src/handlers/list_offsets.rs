//! ListOffsets (api code 2, v1-v9): the offset that belongs to a time, for each partition.
//!
//! - A time: the first record at or after it; none yet: offset -1.
//! - -1: the end (with read_committed: the last stable offset). -2: the log start offset.
//!   -3 (v7+, KIP-734): the record with the largest time. -4 (v8+): as -2, nothing is tiered.
//!   -5 (v9+): offset -1, nothing is tiered.
//! - Left out: v10 (time-out for tiered storage, KIP-1075).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::{Broker, LEADER_EPOCH};
use crate::log::Log;
use crate::session::Session;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;

/// Answers every partition on its own: one unknown partition does not fail the others.
pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let committed = request.isolation_level == READ_COMMITTED;
    let one_topic = |topic: kafka_protocol::messages::list_offsets_request::ListOffsetsTopic| {
        let allowed = session.authorize(Operation::Describe, ResourceType::Topic, &topic.name);
        let partitions = topic.partitions.iter().map(|asked| {
            let log = broker.log(&topic.name, asked.partition_index);
            let found = allowed
                .and_then(|()| log.ok_or(ResponseError::UnknownTopicOrPartition))
                .and_then(|log| look_up(&log, asked, committed));
            answer(session, asked, found)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    };
    let topics = request.topics.into_iter().map(one_topic).collect();
    ListOffsetsResponse::default().with_topics(topics)
}

/// Timestamp in ms and offset; a timestamp of -1 where the question isn't about one.
fn look_up(
    log: &Log,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<Option<(i64, i64)>, ResponseError> {
    if asked.current_leader_epoch > LEADER_EPOCH {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    let readable_end = if committed { log.last_stable_offset() } else { log.high_watermark() };
    let found = match asked.timestamp {
        LATEST => return Ok(Some((-1, readable_end))),
        EARLIEST | EARLIEST_LOCAL => return Ok(Some((-1, log.log_start_offset()))),
        LATEST_TIERED => return Ok(None),
        MAX_TIMESTAMP => log.offset_of_max_timestamp(),
        timestamp_ms => log.offset_for_timestamp(timestamp_ms),
    };
    let found = found.map_err(|error| error.kafka_error())?;
    Ok(found.filter(|(_, offset)| *offset < readable_end))
}

fn answer(
    session: &Session,
    asked: &ListOffsetsPartition,
    found: Result<Option<(i64, i64)>, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(super::error_code(&found));
    let Ok(Some((timestamp_ms, offset))) = found else {
        return answer.with_timestamp(-1).with_offset(-1);
    };
    let leader_epoch = if session.version >= 4 { LEADER_EPOCH } else { -1 };
    answer.with_timestamp(timestamp_ms).with_offset(offset).with_leader_epoch(leader_epoch)
}
