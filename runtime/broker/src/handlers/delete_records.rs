//! DeleteRecords (api code 21, v0-v2): records below an offset go, for good.
//!
//! - Offset -1 stands for the high watermark. Answered when the new start is durable; the space
//!   comes back as whole segments fall below it.
//! - Topics that only compact keep their records (POLICY_VIOLATION), internal ones too.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::topic::Topic;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let work = move || {
        let mut topics = Vec::with_capacity(request.topics.len());
        for asked in request.topics {
            let topic = broker.topic(&asked.name);
            let allowed = session.authorize(Operation::Delete, ResourceType::Topic, &asked.name);
            let one = |partition: &DeleteRecordsPartition| {
                let deleted = allowed.and_then(|()| delete(topic.as_deref(), partition));
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(super::error_code(&deleted))
                    .with_low_watermark(deleted.unwrap_or(-1))
            };
            let partitions = asked.partitions.iter().map(one).collect();
            topics.push(
                DeleteRecordsTopicResult::default()
                    .with_name(asked.name)
                    .with_partitions(partitions),
            );
        }
        DeleteRecordsResponse::default().with_topics(topics)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn delete(topic: Option<&Topic>, asked: &DeleteRecordsPartition) -> Result<i64, ResponseError> {
    let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
    if topic.is_internal() {
        return Err(ResponseError::InvalidTopicException);
    }
    let log = topic.partition(asked.partition_index);
    let log = log.ok_or(ResponseError::UnknownTopicOrPartition)?;
    if !log.config().cleanup_delete {
        return Err(ResponseError::PolicyViolation);
    }
    if asked.offset < -1 {
        return Err(ResponseError::OffsetOutOfRange);
    }
    log.delete_records_before(asked.offset).map_err(|error| error.kafka_error())
}
