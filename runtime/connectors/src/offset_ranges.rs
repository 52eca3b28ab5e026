//! What partitions hold, asked of a cluster for many of them at once.

use std::collections::BTreeMap;

use anyhow::Result;
use gristmill_engine::offsets::{OffsetRange, Offsets, TopicPartition};
use rdkafka::consumer::Consumer;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka_client::{self, ATTEMPT_TIME_MAX, Cluster, KafkaConsumer, REACH_TIME_MAX};

/// Those of the partitions that are there: of others librdkafka would wait for a leader.
pub(crate) fn known(
    metadata: &Metadata,
    partitions: impl IntoIterator<Item = TopicPartition>,
) -> Vec<TopicPartition> {
    let topics: BTreeMap<&str, usize> =
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect();
    let is_there = |at: &TopicPartition| {
        let count = topics.get(&*at.topic).copied().unwrap_or(0);
        usize::try_from(at.partition).is_ok_and(|number| number < count)
    };
    partitions.into_iter().filter(is_there).collect()
}

/// Beginnings and ends. Blocks.
pub(crate) fn offset_ranges(
    asker: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
    let begins = asked_offsets(asker, cluster, partitions, Offset::Beginning)?;
    let ends = asked_offsets(asker, cluster, partitions, Offset::End)?;
    let range = |at: &TopicPartition| {
        let begin = begins.get(at).copied().unwrap_or(0);
        (at.clone(), OffsetRange { begin, end: ends.get(at).copied().unwrap_or(begin).max(begin) })
    };
    Ok(partitions.iter().map(range).collect())
}

/// What ListOffsets answers, in one request for each broker; partitions without an answer are left out.
pub(crate) fn asked_offsets(
    asker: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
    asked: Offset,
) -> Result<Offsets> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let answer = kafka_client::asked(asker, cluster, REACH_TIME_MAX, || {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition_offset(&at.topic, at.partition, asked)?;
        }
        asker.offsets_for_times(list, 3 * ATTEMPT_TIME_MAX)
    })?;
    let elements = answer.elements();
    let told = elements.iter().filter_map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => {
            Some((TopicPartition::new(element.topic(), element.partition()), offset))
        }
        _ => None,
    });
    Ok(told.collect())
}
