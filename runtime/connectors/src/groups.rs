//! Consumer groups of a cluster: list, describe, how far all of them are, move their offsets, delete. For people.
//!
//! The rdkafka crate wraps none of the requests that see groups of the newer protocol (KIP-848) and all offsets of a
//! group at once: all `unsafe` code about them is here and in `native_admin`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::ptr;

use anyhow::{Context, Result, anyhow, bail};
use gristmill_engine::offsets::{self, OffsetRange, Offsets, TopicPartition};
use rdkafka::bindings as librdkafka;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::{self, admin_client, on_thread, options, reach};
use crate::kafka_client::{self, Cluster, KafkaConsumer};
use crate::native_admin::{Admin, Event, Owned, check, items, text};
use crate::offset_ranges;

/// Groups whose progress is told.
const PROGRESS_GROUPS_MAX: usize = 1_000;
/// Groups that are asked about at one time.
const GROUPS_AT_ONCE: usize = 100;

/// A group, briefly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    pub name: String,
    /// In Kafka's words: `Stable`, `Empty` and so on.
    pub state: String,
}

/// A group in full.
#[derive(Debug, Clone)]
pub struct GroupDescription {
    pub name: String,
    pub state: String,
    pub members: Vec<GroupMember>,
    /// What is committed, and what each partition that it concerns holds.
    pub offsets: BTreeMap<TopicPartition, GroupOffset>,
}

/// A client that is in the group now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    pub client_id: String,
    pub host: String,
    pub partitions: Vec<TopicPartition>,
}

/// A group's offset in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOffset {
    /// The next one to be read; absent: none is committed.
    pub committed: Option<i64>,
    pub earliest: i64,
    pub end: i64,
}

impl GroupOffset {
    /// Records that are there and not yet read.
    pub fn lag(&self) -> Option<i64> {
        let range = OffsetRange { begin: self.earliest, end: self.end };
        self.committed.map(|offset| left(offset, range))
    }
}

/// How far a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProgress {
    pub id: String,
    /// In Kafka's words: `Stable`, `Empty` and so on.
    pub state: String,
    /// At this moment.
    pub members: usize,
    pub committed: Offsets,
}

impl GroupProgress {
    /// Partition → next offset, of one topic.
    pub fn of_topic(&self, topic: &str) -> BTreeMap<i32, i64> {
        let ours = offsets::of_topic(&self.committed, topic);
        ours.map(|(at, offset)| (at.partition, *offset)).collect()
    }

    /// Records of a topic that are there and not yet read, in partitions that the group has read.
    pub fn lag(&self, topic: &str, held: &BTreeMap<i32, OffsetRange>) -> u64 {
        let left = |(partition, offset): (i32, i64)| Some(left(offset, *held.get(&partition)?));
        self.of_topic(topic).into_iter().filter_map(left).sum::<i64>().unsigned_abs()
    }
}

fn left(next: i64, held: OffsetRange) -> i64 {
    (held.end - next.max(held.begin)).max(0)
}

/// Where a group's offsets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Earliest,
    Latest,
    /// Bounded by what is there.
    Offset(i64),
    /// From where it is, forwards or back; bounded by what is there.
    Shift(i64),
    /// The first offset whose time is this or later, in ms since 1970 UTC; the end if there is none.
    Timestamp(i64),
}

/// One partition's offset before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub before: Option<i64>,
    pub after: i64,
}

/// All groups that the cluster knows, by name.
pub async fn list(cluster: &Cluster) -> Result<Vec<GroupSummary>> {
    reach(cluster).await?;
    on_thread(cluster, |cluster| Admin::open(cluster)?.groups()).await
}

/// How far the groups are, by id; those beyond [`PROGRESS_GROUPS_MAX`] are left out. A group that is hidden from us has
/// no offsets here. Blocks.
pub(crate) fn progress(admin: &Admin) -> Result<Vec<GroupProgress>> {
    let mut groups = admin.groups()?;
    groups.truncate(PROGRESS_GROUPS_MAX);
    let mut progress = Vec::with_capacity(groups.len());
    for some in groups.chunks(GROUPS_AT_ONCE) {
        let names: Vec<_> = some.iter().map(|group| group.name.clone()).collect();
        let mut offsets: BTreeMap<_, _> =
            admin.committed_each(&names).into_iter().flatten().collect();
        let mut members = admin.members_each(&names)?;
        progress.extend(some.iter().map(|group| GroupProgress {
            id: group.name.clone(),
            state: group.state.clone(),
            members: members.remove(&group.name).map_or(0, |found| found.map_or(0, |it| it.len())),
            committed: offsets.remove(&group.name).unwrap_or_default(),
        }));
    }
    Ok(progress)
}

/// One group with its members and offsets.
///
/// Errors: there is no such group; those that are there are named.
pub async fn describe(cluster: &Cluster, group: &str) -> Result<GroupDescription> {
    reach(cluster).await?;
    let name = group.to_owned();
    on_thread(cluster, move |cluster| {
        let (asker, admin) = (admin::asker(cluster)?, Admin::open(cluster)?);
        let groups = admin.groups()?;
        let Some(found) = groups.iter().find(|found| found.name == name) else {
            return Err(no_group(&name, &groups));
        };
        let committed = admin.committed(&name)?;
        let members = admin.members(&name)?;
        let read = members.iter().flat_map(|member| member.partitions.clone());
        let all = read.chain(committed.keys().cloned()).collect();
        let offsets = held(&asker, cluster, all, &committed)?;
        Ok(GroupDescription { name, state: found.state.clone(), members, offsets })
    })
    .await
}

/// Where the offsets of a group would go; moves nothing. `topics`: those and no others; none: every topic of which the
/// group has an offset. `partition`: that one of each topic.
///
/// Errors: a topic or partition is not there, or nothing is left to move.
pub async fn plan_reset(
    cluster: &Cluster,
    group: &str,
    topics: &[String],
    partition: Option<i32>,
    target: Target,
) -> Result<BTreeMap<TopicPartition, Moved>> {
    reach(cluster).await?;
    let (group, topics) = (group.to_owned(), topics.to_vec());
    on_thread(cluster, move |cluster| {
        let committed = Admin::open(cluster)?.committed(&group)?;
        let mut wanted: Vec<TopicPartition> = Vec::new();
        for topic in &topics {
            let there = admin::partitions(cluster, topic)?;
            wanted.extend(there.iter().map(|it| TopicPartition::new(topic.as_str(), it.partition)));
        }
        if topics.is_empty() {
            wanted.extend(committed.keys().cloned());
        }
        wanted.retain(|it| partition.is_none_or(|partition| partition == it.partition));
        if wanted.is_empty() {
            bail!(match partition {
                Some(partition) => format!("there is no partition {partition} to move"),
                None => format!("group `{group}` has no offset; say of which topic with --topic"),
            });
        }
        let asker = admin::asker(cluster)?;
        let mut moves = BTreeMap::new();
        for (partition, offset) in held(&asker, cluster, wanted.into_iter().collect(), &committed)?
        {
            let after = aim(&asker, cluster, &partition, offset, target)?;
            moves.insert(partition, Moved { before: offset.committed, after });
        }
        Ok(moves)
    })
    .await
}

/// Moves the offsets of a group that nobody is in.
///
/// Errors: somebody is in it.
pub async fn reset(
    cluster: &Cluster,
    group: &str,
    moves: &BTreeMap<TopicPartition, Moved>,
) -> Result<()> {
    let mut offsets = TopicPartitionList::with_capacity(moves.len());
    for (at, moved) in moves {
        offsets.add_partition_offset(&at.topic, at.partition, Offset::Offset(moved.after))?;
    }
    let group = group.to_owned();
    on_thread(cluster, move |cluster| {
        // A commit by somebody who is no member: Kafka takes it while the group is empty.
        let consumer = cluster.consumer(&group, &[("enable.auto.commit", "false")])?;
        let committed = consumer.commit(&offsets, CommitMode::Sync);
        committed.map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::IllegalGeneration) => {
                anyhow!("group `{group}` is in use: stop its members first, then reset")
            }
            _ => anyhow!("the offsets of group `{group}` stay: {}", kafka_client::describe(&error)),
        })
    })
    .await
}

/// Deletes a group that nobody is in, with its offsets.
///
/// Errors: there is no such group, or somebody is in it.
pub async fn delete(cluster: &Cluster, group: &str) -> Result<()> {
    let groups = list(cluster).await?;
    if !groups.iter().any(|found| found.name == group) {
        return Err(no_group(group, &groups));
    }
    let results = admin_client(cluster)?.delete_groups(&[group], &options()).await;
    let results = results.map_err(|error| anyhow!("{}", kafka_client::describe(&error)))?;
    match results.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => {
            bail!("group `{group}` is in use: stop its members first")
        }
        Some(Err((_, code))) => bail!("group `{group}` was not deleted: {code}"),
        None => bail!("the cluster did not answer about group `{group}`"),
    }
}

fn no_group(group: &str, groups: &[GroupSummary]) -> anyhow::Error {
    let names: Vec<_> = groups.iter().map(|found| found.name.as_str()).collect();
    let there = match names.is_empty() {
        true => "the cluster has none".to_string(),
        false => kafka_client::listed(&names),
    };
    anyhow!("there is no consumer group `{group}` ({there})")
}

/// A partition that is gone has offsets 0 to 0.
fn held(
    asker: &KafkaConsumer,
    cluster: &Cluster,
    wanted: BTreeSet<TopicPartition>,
    committed: &Offsets,
) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
    let metadata = kafka_client::metadata(asker, cluster, None)?;
    let there = offset_ranges::known(&metadata, wanted.iter().cloned());
    let ranges = offset_ranges::offset_ranges(asker, cluster, &there)?;
    let offset = |at: TopicPartition| {
        let range = ranges.get(&at).copied().unwrap_or(OffsetRange { begin: 0, end: 0 });
        let committed = committed.get(&at).copied();
        (at, GroupOffset { committed, earliest: range.begin, end: range.end })
    };
    Ok(wanted.into_iter().map(offset).collect())
}

fn aim(
    asker: &KafkaConsumer,
    cluster: &Cluster,
    at: &TopicPartition,
    now: GroupOffset,
    target: Target,
) -> Result<i64> {
    let wanted = match target {
        Target::Earliest => now.earliest,
        Target::Latest => now.end,
        Target::Offset(offset) => offset,
        Target::Shift(by) => now.committed.unwrap_or(now.earliest).saturating_add(by),
        Target::Timestamp(time_ms) => {
            // A time below zero would mean something else to the cluster.
            let time = Offset::Offset(time_ms.max(0));
            let found =
                offset_ranges::asked_offsets(asker, cluster, std::slice::from_ref(at), time)?;
            found.get(at).copied().unwrap_or(now.end)
        }
    };
    Ok(wanted.clamp(now.earliest, now.end))
}

impl Admin {
    fn groups(&self) -> Result<Vec<GroupSummary>> {
        // SAFETY: no options means the defaults.
        let event = self.ask(|client, queue| unsafe {
            librdkafka::rd_kafka_ListConsumerGroups(client, ptr::null(), queue);
        })?;
        let mut groups = Vec::new();
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_ListConsumerGroups_result(event.0);
            let mut count = 0;
            let errors = librdkafka::rd_kafka_ListConsumerGroups_result_errors(result, &mut count);
            for error in items(errors, count) {
                check(*error)?;
            }
            let valid = librdkafka::rd_kafka_ListConsumerGroups_result_valid(result, &mut count);
            for group in items(valid, count) {
                let state = librdkafka::rd_kafka_ConsumerGroupListing_state(*group);
                groups.push(GroupSummary {
                    name: text(librdkafka::rd_kafka_ConsumerGroupListing_group_id(*group)),
                    state: text(librdkafka::rd_kafka_consumer_group_state_name(state)),
                });
            }
        }
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(groups)
    }

    fn members(&self, group: &str) -> Result<Vec<GroupMember>> {
        let mut described = self.members_each(&[group.to_owned()])?;
        described.remove(group).context("the cluster did not answer about the group")?
    }

    /// By the group's name.
    fn members_each(
        &self,
        groups: &[String],
    ) -> Result<BTreeMap<String, Result<Vec<GroupMember>>>> {
        let names = groups.iter().map(|group| CString::new(group.as_str()));
        let names = names.collect::<Result<Vec<_>, _>>().context("a name with a zero byte")?;
        let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names live during the call, which copies them.
        let event = self.ask(|client, queue| unsafe {
            let first = names.as_mut_ptr();
            librdkafka::rd_kafka_DescribeConsumerGroups(
                client,
                first,
                names.len(),
                ptr::null(),
                queue,
            );
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_DescribeConsumerGroups_result(event.0);
            let mut count = 0;
            let groups =
                librdkafka::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            let described = items(groups, count).iter().map(|group| {
                let name = text(librdkafka::rd_kafka_ConsumerGroupDescription_group_id(*group));
                (name, group_members(*group))
            });
            Ok(described.collect())
        }
    }

    /// Every offset of the group.
    fn committed(&self, group: &str) -> Result<Offsets> {
        let answers = self.committed_each(&[group.to_owned()]);
        let answer = answers.into_iter().next();
        answer.context("the cluster did not answer about the group")?.map(|(_, offsets)| offsets)
    }

    /// Every offset of every group, with the group's name; answers come in any order.
    fn committed_each(&self, groups: &[String]) -> Vec<Result<(String, Offsets)>> {
        let names = groups.iter().filter_map(|group| CString::new(group.as_str()).ok());
        let names: Vec<_> = names.collect();
        let answers = self.ask_each(&names, |name, client, queue| {
            // SAFETY: name and request live during the calls, which copy them; no list means all partitions.
            unsafe {
                let asked =
                    librdkafka::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null());
                let destroy = librdkafka::rd_kafka_ListConsumerGroupOffsets_destroy;
                let mut asked = Owned(vec![asked], destroy);
                let first = asked.0.as_mut_ptr();
                librdkafka::rd_kafka_ListConsumerGroupOffsets(client, first, 1, ptr::null(), queue);
            }
        });
        answers.into_iter().map(|event| group_offsets(&event?)).collect()
    }
}

fn group_offsets(event: &Event) -> Result<(String, Offsets)> {
    // SAFETY: the event is of this request; what it holds lives as long as it does.
    unsafe {
        let result = librdkafka::rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
        let mut count = 0;
        let groups =
            librdkafka::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        let group = items(groups, count).first().context("an answer without a group")?;
        check(librdkafka::rd_kafka_group_result_error(*group))?;
        let list = librdkafka::rd_kafka_group_result_partitions(*group);
        let offsets = partitions(list).into_iter().filter(|(_, offset)| *offset >= 0).collect();
        Ok((text(librdkafka::rd_kafka_group_result_name(*group)), offsets))
    }
}

/// By their ids.
///
/// # Safety
/// The group must live.
unsafe fn group_members(
    group: *const librdkafka::rd_kafka_ConsumerGroupDescription_t,
) -> Result<Vec<GroupMember>> {
    // SAFETY: as the caller promises; what it holds lives as long.
    unsafe {
        check(librdkafka::rd_kafka_ConsumerGroupDescription_error(group))?;
        let count = librdkafka::rd_kafka_ConsumerGroupDescription_member_count(group);
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let found = librdkafka::rd_kafka_ConsumerGroupDescription_member(group, index);
            members.push(member(found));
        }
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Ok(members)
    }
}

/// # Safety
/// The member must live.
unsafe fn member(member: *const librdkafka::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: as the caller promises; what it holds lives as long.
    unsafe {
        let assignment = librdkafka::rd_kafka_MemberDescription_assignment(member);
        let list = match assignment.is_null() {
            true => ptr::null(),
            false => librdkafka::rd_kafka_MemberAssignment_partitions(assignment),
        };
        GroupMember {
            member_id: text(librdkafka::rd_kafka_MemberDescription_consumer_id(member)),
            client_id: text(librdkafka::rd_kafka_MemberDescription_client_id(member)),
            host: text(librdkafka::rd_kafka_MemberDescription_host(member)),
            partitions: partitions(list).into_iter().map(|(partition, _)| partition).collect(),
        }
    }
}

/// # Safety
/// A null pointer, or a list that lives.
unsafe fn partitions(
    list: *const librdkafka::rd_kafka_topic_partition_list_t,
) -> Vec<(TopicPartition, i64)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller promises.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let elements = items((*list).elems, count).iter();
        elements.map(|it| (TopicPartition::new(text(it.topic), it.partition), it.offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_there_and_not_read_of_partitions_that_were_read() {
        let committed = [("t", 0, 4), ("t", 1, 2), ("t", 9, 1), ("other", 2, 1)];
        let committed = committed.into_iter();
        let group = GroupProgress {
            id: "g".into(),
            state: "Empty".into(),
            members: 0,
            committed: committed
                .map(|(topic, partition, offset)| (TopicPartition::new(topic, partition), offset))
                .collect(),
        };
        let held = [(0, 0, 10), (1, 5, 7), (2, 0, 100)];
        let held = held.into_iter().map(|(at, begin, end)| (at, OffsetRange { begin, end }));
        assert_eq!(group.lag("t", &held.collect()), 6 + 2, "records that are gone are not missed");
        assert_eq!(group.of_topic("t"), BTreeMap::from([(0, 4), (1, 2), (9, 1)]));
    }
}
