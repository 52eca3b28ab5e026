//! The offsets that groups commit, by themselves or as part of a transaction, and how they end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::{Coordinator, GROUPS_MAX, Groups};
use crate::group::offsets_log::{Entry, OffsetsMarker, PendingOffsets};
use crate::group::record::{self, CommittedOffset, Key};
use crate::group::state::Group;
use crate::lock::lock;
use crate::log::{AppendError, Log};

/// Offsets in one transaction; a commit that would make more is refused. A consumer of every
/// partition that a broker can hold stays below.
const PENDING_OFFSETS_MAX: usize = 100_000;

/// Offsets to commit, and who commits.
#[derive(Debug, Default)]
pub(crate) struct CommitRequest {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Negative: not a member (a tool, or a consumer that assigns partitions itself).
    pub(crate) generation: i32,
    pub(crate) offsets: Vec<((String, i32), CommittedOffset)>,
}

impl Coordinator {
    /// Writes committed offsets and takes them over; answers when they are durable.
    pub(crate) async fn commit(
        &self,
        id: &str,
        commit: CommitRequest,
    ) -> Result<(), ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let (log, end_offset) = {
            let mut groups = lock(&self.groups);
            let now_ms = self.clock.now_ms();
            self.check_commit(&mut groups, id, now_ms, &commit)?;
            if commit.offsets.is_empty() {
                return Ok(());
            }
            let entry = |(place, offset): &((String, i32), CommittedOffset)| {
                (offset_key(id, place), Some(offset.encode()))
            };
            let entries: Vec<Entry> = commit.offsets.iter().map(entry).collect();
            let end_offset = groups.append(now_ms, &entries)?;
            self.tracked(&mut groups, id, now_ms).offsets.extend(commit.offsets);
            (groups.log.as_ref().map(|log| log.log().clone()), end_offset)
        };
        let Some(log) = log else { return Err(ResponseError::CoordinatorNotAvailable) };
        log.durable(end_offset).await.map_err(|error| {
            tracing::error!(group = id, %error, "committed offsets are not durable");
            ResponseError::CoordinatorNotAvailable
        })
    }

    /// Writes offsets as part of a transaction; they count when it commits. The caller waits until
    /// they are durable; None: there is nothing to wait for. A producer that says nothing about a
    /// membership is not checked for one, as in Kafka.
    pub(crate) fn commit_in_transaction(
        &self,
        id: &str,
        producer_id: i64,
        producer_epoch: i16,
        commit: CommitRequest,
    ) -> Result<Option<(Log, i64)>, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let is_member =
            commit.generation >= 0 || !commit.member_id.is_empty() || commit.instance_id.is_some();
        if is_member || !groups.by_id.contains_key(id) {
            self.check_commit(&mut groups, id, now_ms, &commit)?;
        }
        let pending = groups.pending.get(&producer_id).map_or(0, PendingOffsets::len);
        if pending + commit.offsets.len() > PENDING_OFFSETS_MAX {
            return Err(ResponseError::PolicyViolation);
        }
        let Some(log) = groups.log.as_ref().filter(|_| !commit.offsets.is_empty()) else {
            return Ok(None);
        };
        let entry = |(place, offset): &((String, i32), CommittedOffset)| {
            (offset_key(id, place), Some(offset.encode()))
        };
        let entries: Vec<Entry> = commit.offsets.iter().map(entry).collect();
        let written = log.append_in_transaction(now_ms, producer_id, producer_epoch, &entries);
        let end_offset = written.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "cannot write committed offsets");
            ResponseError::CoordinatorNotAvailable
        })?;
        let log = log.log().clone();
        let named = |(place, committed)| ((id.to_owned(), place), committed);
        let offsets = commit.offsets.into_iter().map(named);
        groups.pending.entry(producer_id).or_default().extend(offsets);
        Ok(Some((log, end_offset)))
    }

    /// Writes the marker that ends a transaction, and takes its offsets over or drops them. None:
    /// there is no log, so no transaction has written to it.
    pub(crate) fn end_transaction(
        &self,
        marker: &OffsetsMarker,
    ) -> Result<Option<(Log, i64)>, AppendError> {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let Some(log) = &groups.log else { return Ok(None) };
        let end_offset = log.append_marker(now_ms, marker)?;
        let log = log.log().clone();
        let ended = groups.pending.remove(&marker.producer_id).unwrap_or_default();
        for ((group, place), committed) in ended.into_iter().filter(|_| marker.commit) {
            self.tracked(&mut groups, &group, now_ms).offsets.insert(place, committed);
        }
        Ok(Some((log, end_offset)))
    }

    /// Topics and partitions of a group with offsets in a transaction that hasn't ended.
    pub(crate) fn pending_places(&self, id: &str) -> BTreeSet<(String, i32)> {
        let groups = lock(&self.groups);
        let all = groups.pending.values().flat_map(PendingOffsets::keys);
        all.filter(|(group, _)| group == id).map(|(_, place)| place.clone()).collect()
    }

    fn check_commit(
        &self,
        groups: &mut Groups,
        id: &str,
        now_ms: i64,
        commit: &CommitRequest,
    ) -> Result<(), ResponseError> {
        let room = groups.by_id.len() < GROUPS_MAX;
        match groups.by_id.get_mut(id) {
            Some(tracked) => tracked.group.check_commit(
                now_ms,
                &commit.member_id,
                commit.instance_id.as_deref(),
                commit.generation,
            ),
            None if commit.generation >= 0 => Err(ResponseError::IllegalGeneration),
            None if room => Ok(()),
            None => Err(ResponseError::PolicyViolation),
        }
    }

    /// The committed offset of every asked partition; `None` where the group has none.
    pub(crate) fn committed(
        &self,
        id: &str,
        asked: &[(String, i32)],
    ) -> Vec<Option<CommittedOffset>> {
        let groups = lock(&self.groups);
        let offsets = groups.by_id.get(id).map(|tracked| &tracked.offsets);
        asked.iter().map(|place| offsets?.get(place).cloned()).collect()
    }

    /// All committed offsets of a group, by topic and partition.
    pub(crate) fn all_committed(&self, id: &str) -> BTreeMap<(String, i32), CommittedOffset> {
        let groups = lock(&self.groups);
        groups.by_id.get(id).map(|tracked| tracked.offsets.clone()).unwrap_or_default()
    }

    /// Forgets these committed offsets of a group.
    pub(crate) fn delete_offsets(
        &self,
        id: &str,
        places: &[(String, i32)],
    ) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let present = &groups.by_id.get(id).ok_or(ResponseError::GroupIdNotFound)?.offsets;
        let entries = removals(id, places.iter().filter(|place| present.contains_key(place)));
        if entries.is_empty() {
            return Ok(());
        }
        groups.append(now_ms, &entries)?;
        let tracked = self.tracked(&mut groups, id, now_ms);
        places.iter().for_each(|place| drop(tracked.offsets.remove(place)));
        Ok(())
    }

    /// Forgets what all groups have committed for the partitions of a deleted topic.
    pub(crate) fn topic_deleted(&self, topic: &str) {
        for pending in lock(&self.groups).pending.values_mut() {
            pending.retain(|(_, place), _| place.0 != topic);
        }
        self.forget(|_, _, place, _| place.0 == topic);
    }

    /// Forgets offsets that are past their time: those of groups that have been empty for
    /// `offsets_retention_ms`, and of consumers outside of groups that last committed so long ago.
    pub(crate) fn expire_offsets(&self) {
        let oldest_ms = self.clock.now_ms().saturating_sub(self.settings.offsets_retention_ms);
        self.forget(|group, _, _, committed| {
            let since_ms = match group.protocol_type() {
                Some(_) => group.state_since_ms().max(committed.commit_time_ms),
                None => committed.commit_time_ms,
            };
            group.is_vacant() && since_ms < oldest_ms
        });
    }

    /// Removes the chosen offsets, and groups that are left with neither members nor offsets.
    fn forget(&self, chosen: impl Fn(&Group, &str, &(String, i32), &CommittedOffset) -> bool) {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let mut entries = Vec::new();
        let mut gone = Vec::new();
        for (id, tracked) in &mut groups.by_id {
            let before = tracked.offsets.len();
            let group = &tracked.group;
            tracked.offsets.retain(|place, committed| {
                let keep = !chosen(group, id, place, committed);
                if !keep {
                    entries.push((offset_key(id, place), None));
                }
                keep
            });
            let emptied = before > 0 && tracked.offsets.is_empty();
            let stale = group.state_since_ms() < now_ms - self.settings.offsets_retention_ms;
            if tracked.offsets.is_empty() && group.is_vacant() && (emptied || stale) {
                entries.push((Key::Group { group: id.clone() }, None));
                gone.push(id.clone());
            }
        }
        for id in gone {
            groups.by_id.remove(&id);
        }
        if entries.is_empty() {
            return;
        }
        if let Err(error) = groups.append(now_ms, &entries) {
            tracing::warn!(%error, "forgotten offsets may come back at the next start");
        }
    }

    /// Writes the living state again and drops what was before it, if the log has outgrown it. Not
    /// while a transaction with offsets is open: these are nowhere but in the log.
    pub(crate) async fn rewrite_if_overgrown(&self) -> Result<()> {
        let (log, start_offset, end_offset) = {
            let groups = lock(&self.groups);
            let Some(log) = groups.log.as_ref().filter(|_| groups.pending.is_empty()) else {
                return Ok(());
            };
            let entries = groups.all_entries();
            if !log.is_overgrown(entry_bytes(&entries)) {
                return Ok(());
            }
            let start_offset = log.log().log_end_offset();
            let end_offset = log.append(self.clock.now_ms(), &entries)?;
            (log.log().clone(), start_offset, end_offset)
        };
        ensure!(start_offset <= end_offset, "the log of committed offsets went backwards");
        log.durable(end_offset).await?;
        log.delete_records_before(start_offset)?;
        Ok(())
    }
}

impl Groups {
    fn all_entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (id, tracked) in &self.by_id {
            let group = record::encode_group(&tracked.group.saved());
            entries.push((Key::Group { group: id.clone() }, Some(group)));
            let offsets = tracked.offsets.iter();
            entries.extend(offsets.map(|(place, it)| (offset_key(id, place), Some(it.encode()))));
        }
        entries
    }
}

fn offset_key(group: &str, place: &(String, i32)) -> Key {
    Key::Offset { group: group.to_owned(), topic: place.0.clone(), partition: place.1 }
}

pub(super) fn removals<'a>(
    group: &str,
    places: impl Iterator<Item = &'a (String, i32)>,
) -> Vec<Entry> {
    places.map(|place| (offset_key(group, place), None)).collect()
}

fn entry_bytes(entries: &[Entry]) -> u64 {
    let size = |(key, value): &Entry| key.encode().len() + value.as_ref().map_or(0, Bytes::len);
    entries.iter().map(|entry| size(entry) as u64 + 32).sum()
}
