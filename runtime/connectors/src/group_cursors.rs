//! Cursors as offsets of a consumer group.
//!
//! The offset of a partition is the next one that not all sinks of the group have: what Kafka's own
//! tools show as the group's lag. The cursor of each sink stands in the offset's metadata, so that a
//! sink that is added later begins where the pipeline says and not where the others are. An offset
//! without our metadata, as Kafka's tools leave it after a reset, holds for all sinks.
//!
//! Cursors of sinks that a process does not know are left as they are: another process may run a newer or an older
//! version of the pipeline's file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, bail, ensure};
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::Unsettled;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::kafka_client::{self, ATTEMPT_TIME_MAX, AWAY_TIME_MAX, Cluster, KafkaConsumer};

/// Kafka's default of `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

/// Whose cursor it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Sink(String),
    DeadLetters,
}

/// The cursors of one partition, as they are written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    pipeline: String,
    sinks: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    dead_letters: Option<i64>,
}

/// Refuses names that would not fit beside each other.
pub(crate) fn check_names(pipeline: &str, owners: &[Owner]) -> Result<()> {
    let length = metadata_size(pipeline, owners)?;
    ensure!(
        length <= METADATA_BYTES_MAX,
        "the cursors of all topic sinks take {length} bytes of Kafka's {METADATA_BYTES_MAX}: give the sinks shorter \
         names, or divide the pipeline"
    );
    Ok(())
}

/// Bytes that the cursors of these may come to take.
fn metadata_size<'o>(pipeline: &str, owners: impl IntoIterator<Item = &'o Owner>) -> Result<usize> {
    let all: Vec<_> = owners.into_iter().map(|owner| (owner, i64::MAX)).collect();
    Ok(metadata(pipeline, &all)?.len())
}

/// The offsets to commit: for each partition of `cursors`, the cursor of every owner, and those of others beside them.
pub(crate) fn offsets(
    pipeline: &str,
    cursors: &BTreeMap<TopicPartition, Vec<(&Owner, i64)>>,
    others: &Others,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(cursors.len());
    for (at, owners) in cursors {
        let offset = owners.iter().map(|(_, cursor)| *cursor).min().context("nobody's cursor")?;
        let mut element = list.add_partition(&at.topic, at.partition);
        element.set_offset(Offset::Offset(offset))?;
        let others = others.get(at).into_iter().flatten().map(|(owner, cursor)| (owner, *cursor));
        let all: Vec<_> = others.chain(owners.iter().copied()).collect();
        element.set_metadata(metadata(pipeline, &all)?);
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

/// The cursors of sinks that a process does not know, by partition.
pub(crate) type Others = BTreeMap<TopicPartition, Vec<(Owner, i64)>>;

/// Every cursor that stands in a committed offset's metadata.
fn cursors(metadata: &str) -> Vec<(Owner, i64)> {
    let Ok(ours) = serde_json::from_str::<Metadata>(metadata) else { return Vec::new() };
    let letters = ours.dead_letters.map(|cursor| (Owner::DeadLetters, cursor));
    let sinks = ours.sinks.into_iter().map(|(name, cursor)| (Owner::Sink(name), cursor));
    sinks.chain(letters).collect()
}

/// What a group holds of some partitions: offset and metadata.
pub(crate) struct Held(BTreeMap<TopicPartition, (i64, String)>);

impl Held {
    /// Errors as [`held`].
    pub(crate) fn of_answer(answer: &TopicPartitionList) -> Result<Held> {
        let mut found = BTreeMap::new();
        let mut unsettled = BTreeSet::new();
        for element in answer.elements() {
            let partition = TopicPartition::new(element.topic(), element.partition());
            match element.error().map_err(|error| error.rdkafka_error_code()) {
                Ok(()) => {
                    if let Offset::Offset(offset) = element.offset() {
                        found.insert(partition, (offset, element.metadata().to_string()));
                    }
                }
                Err(Some(RDKafkaErrorCode::UnstableOffsetCommit)) => {
                    unsettled.insert(partition);
                }
                Err(code) => {
                    let reason = code.map_or("unknown error".into(), |code| code.to_string());
                    bail!("the group does not tell its offset of partition {partition}: {reason}")
                }
            }
        }
        match unsettled.is_empty() {
            true => Ok(Held(found)),
            false => Err(Error::new(Unsettled(unsettled)).context(Rewind::MayPass)),
        }
    }

    /// The cursors of `owner`.
    pub(crate) fn of(&self, owner: &Owner) -> Offsets {
        let cursor = |(at, (offset, metadata)): (&TopicPartition, &(i64, String))| {
            Some((at.clone(), cursor(owner, *offset, metadata)?))
        };
        self.0.iter().filter_map(cursor).collect()
    }

    /// The cursors of all but `owners`, as far as they fit beside those. An offset without our metadata has none.
    pub(crate) fn others(&self, pipeline: &str, owners: &[&Owner]) -> Result<Others> {
        let mut found = Others::new();
        for (at, (_, metadata)) in &self.0 {
            let mut others = cursors(metadata);
            others.retain(|(owner, _)| !owners.contains(&owner));
            let all = others.iter().map(|(owner, _)| owner).chain(owners.iter().copied());
            if metadata_size(pipeline, all)? <= METADATA_BYTES_MAX {
                found.insert(at.clone(), others);
            } else {
                tracing::warn!(
                    partition = %at,
                    "the cursors of sinks that this pipeline had earlier are dropped: they take too much room"
                );
            }
        }
        Ok(found)
    }

    /// Partitions of which others have cursors and `owner` has none.
    pub(crate) fn without(&self, owner: &Owner) -> BTreeSet<TopicPartition> {
        let theirs = self
            .0
            .iter()
            .filter(|(_, (offset, metadata))| cursor(owner, *offset, metadata).is_none());
        theirs.map(|(at, _)| at.clone()).collect()
    }
}

/// What the consumer's group holds. Blocks.
///
/// Errors with [`Unsettled`]: transactions of others hold offsets of the group (KIP-447), and end or time out.
pub(crate) fn held(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<Held> {
    if partitions.is_empty() {
        return Ok(Held(BTreeMap::new()));
    }
    Held::of_answer(&committed(consumer, cluster, partitions)?)
}

/// A list to ask a group with.
pub(crate) fn asked(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

fn committed(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<TopicPartitionList> {
    kafka_client::asked(consumer, cluster, AWAY_TIME_MAX, || {
        consumer.committed_offsets(asked(partitions), 3 * ATTEMPT_TIME_MAX)
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
        let list = offsets("p", &BTreeMap::from([(at, owners)]), &Others::new()).unwrap();
        let element = &list.elements()[0];
        assert_eq!(element.offset(), Offset::Offset(40), "the smallest: what a lag is told by");
        let found = |owner: &Owner| cursor(owner, 40, element.metadata());
        assert_eq!((found(&a), found(&b), found(&letters)), (Some(50), Some(40), Some(60)));
        assert_eq!(found(&sink("new")), None, "a sink that is new has no cursor");
    }

    #[test]
    fn partitions_that_were_there_before_a_sink_are_told_by_the_cursors_of_others() {
        let (old, new) = (sink("old"), sink("new"));
        let at = |partition| TopicPartition::new("orders", partition);
        let both = metadata("p", &[(&old, 50), (&new, 60)]).unwrap();
        let one = metadata("p", &[(&old, 40)]).unwrap();
        let held = Held(BTreeMap::from([(at(0), (50, both)), (at(1), (40, one))]));
        assert_eq!(held.of(&new), Offsets::from([(at(0), 60)]));
        assert_eq!(held.without(&new), BTreeSet::from([at(1)]));
        assert!(held.without(&old).is_empty());
    }

    /// Two processes ran two versions of a file: the older dropped the cursor of the sink that it did not know, and that
    /// sink got everything twice when the newer one had the partition again.
    #[test]
    fn cursors_of_sinks_that_only_others_know_are_left_as_they_are() {
        let (known, new) = (sink("known"), sink("new"));
        let at = TopicPartition::new("orders", 0);
        let both = metadata("p", &[(&known, 50), (&new, 20), (&Owner::DeadLetters, 50)]).unwrap();
        let held = Held(BTreeMap::from([(at.clone(), (20, both))]));
        let ours = BTreeMap::from([(at.clone(), vec![(&known, 60)])]);
        let list = offsets("p", &ours, &held.others("p", &[&known]).unwrap()).unwrap();
        let element = &list.elements()[0];
        assert_eq!(element.offset(), Offset::Offset(60), "our lag, not theirs");
        let found = |owner: &Owner| cursor(owner, 60, element.metadata());
        assert_eq!((found(&known), found(&new)), (Some(60), Some(20)));
        assert_eq!(found(&Owner::DeadLetters), Some(50));

        let many: Vec<_> = (0..100).map(|number| sink(&format!("{number:0100}"))).collect();
        let many: Vec<_> = many.iter().map(|owner| (owner, 1)).collect();
        let held = Held(BTreeMap::from([(at, (1, metadata("p", &many).unwrap()))]));
        let list = offsets("p", &ours, &held.others("p", &[&known]).unwrap()).unwrap();
        assert_eq!(list.elements()[0].metadata(), metadata("p", &[(&known, 60)]).unwrap());
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
