//! DescribeLogDirs (api code 35, v1-v4): the data folder and the size of each partition in it.
//!
//! - Left out: size of and room on the volume (v4+): -1, unknown.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::session::Session;
use crate::topic::Topic;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(error) = session.authorize_cluster(Operation::Describe) {
        // Versions before 3 have no room for it: an empty answer.
        let error_code = if session.version >= 3 { error.code() } else { 0 };
        return DescribeLogDirsResponse::default().with_error_code(error_code);
    }
    let topics = match request.topics {
        None => broker.topics().iter().map(|topic| described(topic, |_| true)).collect(),
        Some(asked) => {
            let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for topic in asked {
                wanted.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
            }
            let known = wanted.iter().filter_map(|(name, numbers)| {
                let topic = broker.topic(name)?;
                Some(described(&topic, |number| numbers.contains(&number)))
            });
            known.collect()
        }
    };
    let folder = broker.config().data_dir.display().to_string();
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(folder))
        .with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn described(topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> DescribeLogDirsTopic {
    let numbered = topic.partitions().iter().enumerate().map(|(index, log)| (index as i32, log));
    let partitions = numbered.filter(|(number, _)| is_wanted(*number)).map(|(number, log)| {
        DescribeLogDirsPartition::default()
            .with_partition_index(number)
            .with_partition_size(i64::try_from(log.size_bytes()).unwrap_or(i64::MAX))
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.name().to_owned())))
        .with_partitions(partitions.collect())
}
