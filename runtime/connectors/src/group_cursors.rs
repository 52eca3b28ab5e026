//! Cursors as offsets of a consumer group.
//!
//! The offset of a partition is the next one that not all sinks of the group have: what Kafka's own
//! tools show as the group's lag. The cursor of each sink stands in the offset's metadata, so that a
//! sink that is added later begins where the pipeline says and not where the others are. An offset
//! without our metadata, as Kafka's tools leave it after a reset, holds for all sinks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::kafka_client::{self, ATTEMPT_TIME_MAX, AWAY_TIME_MAX, Cluster, KafkaConsumer};

/// Kafka's default of `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

/// One wait for a transaction of others to end.
const UNSTABLE_WAIT: Duration = Duration::from_millis(50);

/// Whose cursor it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Sink(String),
    DeadLetters,
}

/// The cursors of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    pipeline: String,
    sinks: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    dead_letters: Option<i64>,
}

/// Refuses names that would not fit beside each other.
pub(crate) fn check_names(pipeline: &str, owners: &[Owner]) -> Result<()> {
    let all: Vec<_> = owners.iter().map(|owner| (owner, i64::MAX)).collect();
    let length = metadata(pipeline, &all)?.len();
    ensure!(
        length <= METADATA_BYTES_MAX,
        "the cursors of all topic sinks take {length} bytes of Kafka's {METADATA_BYTES_MAX}: give the sinks shorter \
         names, or divide the pipeline"
    );
    Ok(())
}

/// The offsets to commit: for each partition of `cursors`, the cursor of every owner.
pub(crate) fn offsets(
    pipeline: &str,
    cursors: &BTreeMap<TopicPartition, Vec<(&Owner, i64)>>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(cursors.len());
    for (at, owners) in cursors {
        let offset = owners.iter().map(|(_, cursor)| *cursor).min().context("nobody's cursor")?;
        let mut element = list.add_partition(&at.topic, at.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata(pipeline, owners)?);
    }
    Ok(list)
}

fn metadata(pipeline: &str, owners: &[(&Owner, i64)]) -> Result<String> {
    let mut metadata = Metadata { pipeline: pipeline.to_string(), ..Metadata::default() };
    for (owner, cursor) in owners {
        match owner {
            Owner::Sink(name) => drop(metadata.sinks.insert(name.clone(), *cursor)),
            Owner::DeadLetters => metadata.dead_letters = Some(*cursor),
        }
    }
    Ok(serde_json::to_string(&metadata)?)
}

/// The cursor of `owner` in a committed offset; `None`: it has none.
fn cursor(owner: &Owner, offset: i64, metadata: &str) -> Option<i64> {
    let Ok(ours) = serde_json::from_str::<Metadata>(metadata) else { return Some(offset) };
    match owner {
        Owner::Sink(name) => ours.sinks.get(name).copied(),
        Owner::DeadLetters => ours.dead_letters,
    }
}

/// What the consumer's group holds of `owner`. Waits for transactions of others that hold offsets of
/// the group (KIP-447), which end or time out. Blocks.
pub(crate) fn stored(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    owner: &Owner,
    partitions: &[TopicPartition],
) -> Result<Offsets> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let begun = Instant::now();
    loop {
        let answer = committed(consumer, cluster, partitions)?;
        let mut found = Offsets::new();
        let mut unstable = None;
        for element in answer.elements() {
            let partition = TopicPartition::new(element.topic(), element.partition());
            match element.error().map_err(|error| error.rdkafka_error_code()) {
                Ok(()) => {
                    if let Offset::Offset(offset) = element.offset() {
                        let cursor = cursor(owner, offset, element.metadata());
                        found.extend(cursor.map(|cursor| (partition, cursor)));
                    }
                }
                Err(Some(RDKafkaErrorCode::UnstableOffsetCommit)) => unstable = Some(partition),
                Err(code) => {
                    let reason = code.map_or("unknown error".into(), |code| code.to_string());
                    bail!("the group does not tell its offset of partition {partition}: {reason}")
                }
            }
        }
        let Some(partition) = unstable else { return Ok(found) };
        if begun.elapsed() > AWAY_TIME_MAX {
            return Err(anyhow::anyhow!(
                "another process has held a transaction over partition {partition} for {} s",
                begun.elapsed().as_secs()
            )
            .context(Rewind::MayPass));
        }
        std::thread::park_timeout(UNSTABLE_WAIT);
    }
}

fn committed(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<TopicPartitionList> {
    kafka_client::asked(consumer, cluster, AWAY_TIME_MAX, || {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&at.topic, at.partition);
        }
        consumer.committed_offsets(list, 3 * ATTEMPT_TIME_MAX)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sink(name: &str) -> Owner {
        Owner::Sink(name.to_string())
    }

    #[test]
    fn each_owner_finds_its_own_cursor_again() {
        let (a, b, letters) = (sink("a"), sink("b"), Owner::DeadLetters);
        let at = TopicPartition::new("orders", 3);
        let owners = vec![(&a, 50), (&b, 40), (&letters, 60)];
        let list = offsets("p", &BTreeMap::from([(at, owners)])).unwrap();
        let element = &list.elements()[0];
        assert_eq!(element.offset(), Offset::Offset(40), "the smallest: what a lag is told by");
        let found = |owner: &Owner| cursor(owner, 40, element.metadata());
        assert_eq!((found(&a), found(&b), found(&letters)), (Some(50), Some(40), Some(60)));
        assert_eq!(found(&sink("new")), None, "a sink that is new has no cursor");
    }

    #[test]
    fn an_offset_that_kafkas_tools_have_set_holds_for_all() {
        for metadata in ["", "reset by hand", "{}"] {
            assert_eq!(cursor(&sink("a"), 7, metadata), Some(7), "{metadata}");
            assert_eq!(cursor(&Owner::DeadLetters, 7, metadata), Some(7), "{metadata}");
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let many: Vec<_> = (0..60).map(|number| sink(&format!("{number:0100}"))).collect();
        assert!(check_names("p", &many).is_err());
        assert!(check_names("p", &many[..30]).is_ok());
    }
}
