//! All groups of the broker: takes requests to the right [`Group`], carries out its actions, and
//! writes what becomes of them, and the offsets that they commit (`offsets`), to the offsets topic.
//!
//! Everything is under one lock: an operation is microseconds, and the order in the log is then the
//! order in memory. What a group does is decided in `state.rs` alone.

pub(crate) mod offsets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::offsets::removals;
use super::exchange::{Action, JoinAnswer, JoinRequest, SyncAnswer, SyncRequest, Ticket};
use super::member::Member;
use super::offsets_log::{Entry, OffsetsLog, PendingOffsets};
use super::record::{self, CommittedOffset, Key};
use super::state::{Group, GroupState};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::lock::lock;
use crate::log::Log;

/// Groups, living or only with offsets. A commit or join that would make one more is refused.
const GROUPS_MAX: usize = 100_000;
/// Without any deadline the timer looks again after this long.
const IDLE: Duration = Duration::from_secs(60);

/// Limits of groups; see [`BrokerConfig`].
#[derive(Debug, Clone)]
pub(crate) struct GroupSettings {
    initial_rebalance_delay_ms: i64,
    session_timeout_ms_min: i32,
    session_timeout_ms_max: i32,
    members_max: usize,
    offsets_retention_ms: i64,
}

impl From<&BrokerConfig> for GroupSettings {
    fn from(config: &BrokerConfig) -> Self {
        GroupSettings {
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            session_timeout_ms_min: config.group_session_timeout_ms_min,
            session_timeout_ms_max: config.group_session_timeout_ms_max,
            members_max: config.group_members_max,
            offsets_retention_ms: config.offsets_retention_ms,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Coordinator {
    settings: GroupSettings,
    clock: Arc<dyn Clock>,
    groups: Mutex<Groups>,
    /// A deadline may have come nearer.
    deadlines_changed: Notify,
}

#[derive(Debug, Default)]
struct Groups {
    by_id: BTreeMap<String, Tracked>,
    waiting: HashMap<Ticket, Waiting>,
    last_ticket: Ticket,
    /// By producer id: offsets of transactions that haven't ended.
    pending: BTreeMap<i64, PendingOffsets>,
    /// None until the offsets topic exists.
    log: Option<OffsetsLog>,
    /// Set at shutdown: nobody waits any more.
    closed: bool,
}

#[derive(Debug)]
struct Tracked {
    group: Group,
    offsets: BTreeMap<(String, i32), CommittedOffset>,
}

#[derive(Debug)]
enum Waiting {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

#[derive(Debug)]
pub(crate) struct GroupListing {
    pub(crate) id: String,
    pub(crate) protocol_type: String,
    pub(crate) state: &'static str,
}

#[derive(Debug)]
pub(crate) struct GroupDescription {
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    /// Known while the group is stable, as are metadata and assignments of the members.
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

#[derive(Debug)]
pub(crate) struct MemberDescription {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

impl Coordinator {
    pub(crate) fn new(settings: GroupSettings, clock: Arc<dyn Clock>) -> Coordinator {
        Coordinator {
            settings,
            clock,
            groups: Mutex::new(Groups::default()),
            deadlines_changed: Notify::new(),
        }
    }

    /// Loads all groups from the log of the offsets topic and writes to it from now on. Returns
    /// what could not be read, in sentences. Blocks.
    pub(crate) fn use_log(&self, log: Log) -> Result<Vec<String>> {
        let log = OffsetsLog::new(log);
        let loaded = log.load()?;
        let now_ms = self.clock.now_ms();
        let mut groups = lock(&self.groups);
        if groups.log.is_some() {
            return Ok(Vec::new());
        }
        for (id, saved) in loaded.groups {
            let group = self.new_group(now_ms).restore(saved, now_ms);
            groups.by_id.insert(id, Tracked { group, offsets: BTreeMap::new() });
        }
        for (id, offsets) in loaded.offsets {
            if !offsets.is_empty() {
                self.tracked(&mut groups, &id, now_ms).offsets = offsets;
            }
        }
        groups.pending = loaded.pending;
        groups.log = Some(log);
        drop(groups);
        self.deadlines_changed.notify_one();
        Ok(loaded.skipped)
    }

    pub(crate) fn has_log(&self) -> bool {
        lock(&self.groups).log.is_some()
    }

    /// Answers when the rebalance that this member joins is complete. Dropping the future takes the
    /// join back: the client is gone.
    pub(crate) async fn join(&self, id: &str, mut join: JoinRequest) -> JoinAnswer {
        let member_id = join.member_id.clone();
        if let Err(error) = self.check_join(id, &join) {
            return JoinAnswer::refused(error, &member_id);
        }
        let name = join.instance_id.as_deref().unwrap_or(&join.client_id);
        join.new_member_id = format!("{name}-{}", Uuid::new_v4());
        let (ticket, answer) = {
            let mut groups = lock(&self.groups);
            let now_ms = self.clock.now_ms();
            if !groups.by_id.contains_key(id) {
                if !member_id.is_empty() {
                    return JoinAnswer::refused(ResponseError::UnknownMemberId, &member_id);
                }
                if groups.by_id.len() >= GROUPS_MAX {
                    return JoinAnswer::refused(ResponseError::PolicyViolation, &member_id);
                }
            }
            let (ticket, answer) = groups.wait(Waiting::Join);
            let actions = self.tracked(&mut groups, id, now_ms).group.join(now_ms, ticket, join);
            self.act(&mut groups, id, now_ms, actions);
            (ticket, answer)
        };
        self.deadlines_changed.notify_one();
        let mut waiting = JoinWait { coordinator: self, group: id, ticket: Some(ticket) };
        let answer = answer.await;
        waiting.ticket = None;
        let closed = ResponseError::CoordinatorNotAvailable;
        answer.unwrap_or_else(|_| JoinAnswer::refused(closed, &member_id))
    }

    fn check_join(&self, id: &str, join: &JoinRequest) -> Result<(), ResponseError> {
        let allowed = self.settings.session_timeout_ms_min..=self.settings.session_timeout_ms_max;
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if !allowed.contains(&join.session_timeout_ms) || join.rebalance_timeout_ms < 0 {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        Ok(())
    }

    /// Answers when the leader has assigned the partitions.
    pub(crate) async fn sync(&self, id: &str, sync: SyncRequest) -> SyncAnswer {
        let answer = {
            let mut groups = lock(&self.groups);
            let now_ms = self.clock.now_ms();
            if !groups.by_id.contains_key(id) {
                return SyncAnswer::refused(ResponseError::UnknownMemberId);
            }
            let (ticket, answer) = groups.wait(Waiting::Sync);
            let actions = self.tracked(&mut groups, id, now_ms).group.sync(now_ms, ticket, sync);
            self.act(&mut groups, id, now_ms, actions);
            answer
        };
        self.deadlines_changed.notify_one();
        let closed = ResponseError::CoordinatorNotAvailable;
        answer.await.unwrap_or_else(|_| SyncAnswer::refused(closed))
    }

    pub(crate) fn heartbeat(
        &self,
        id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let tracked = groups.by_id.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        tracked.group.heartbeat(now_ms, member_id, instance_id, generation)
    }

    pub(crate) fn leave(
        &self,
        id: &str,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let tracked = groups.by_id.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        let (result, actions) = tracked.group.leave(now_ms, member_id, instance_id);
        self.act(&mut groups, id, now_ms, actions);
        drop(groups);
        self.deadlines_changed.notify_one();
        result
    }

    pub(crate) fn list(&self) -> Vec<GroupListing> {
        let groups = lock(&self.groups);
        let listing = |(id, tracked): (&String, &Tracked)| GroupListing {
            id: id.clone(),
            protocol_type: tracked.group.protocol_type().unwrap_or("").to_owned(),
            state: tracked.group.state().name(),
        };
        groups.by_id.iter().map(listing).collect()
    }

    pub(crate) fn describe(&self, id: &str) -> Option<GroupDescription> {
        let groups = lock(&self.groups);
        let group = &groups.by_id.get(id)?.group;
        let stable = group.state() == GroupState::Stable;
        let protocol = group.protocol().filter(|_| stable);
        let described = |member: &Member| MemberDescription {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        };
        Some(GroupDescription {
            state: group.state().name(),
            protocol_type: group.protocol_type().unwrap_or("").to_owned(),
            protocol: protocol.unwrap_or("").to_owned(),
            members: group.members().iter().map(described).collect(),
        })
    }

    /// Forgets an empty group and its offsets.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let tracked = groups.by_id.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if !tracked.group.is_vacant() {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut entries = removals(id, tracked.offsets.keys());
        entries.push((Key::Group { group: id.to_owned() }, None));
        groups.append(now_ms, &entries)?;
        groups.by_id.remove(id);
        Ok(())
    }

    /// The topics that members of a group subscribe to. Members of another kind than consumers say
    /// nothing about topics: NON_EMPTY_GROUP.
    pub(crate) fn subscribed_topics(&self, id: &str) -> Result<BTreeSet<String>, ResponseError> {
        let groups = lock(&self.groups);
        let group = &groups.by_id.get(id).ok_or(ResponseError::GroupIdNotFound)?.group;
        if group.is_vacant() {
            return Ok(BTreeSet::new());
        }
        if group.protocol_type() != Some("consumer") {
            return Err(ResponseError::NonEmptyGroup);
        }
        let mut topics = BTreeSet::new();
        for member in group.members() {
            let subscribed = super::subscription::topics(&member.metadata(group.protocol()));
            topics.extend(subscribed.ok_or(ResponseError::NonEmptyGroup)?);
        }
        Ok(topics)
    }

    /// Ends phases and expires members as time passes; returns when `stop` is cancelled.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        loop {
            let pause = self.tick();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.deadlines_changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Returns the time until the next deadline.
    fn tick(&self) -> Duration {
        let mut groups = lock(&self.groups);
        let now_ms = self.clock.now_ms();
        let due: Vec<String> = groups
            .by_id
            .iter()
            .filter(|(_, tracked)| tracked.group.next_deadline_ms().is_some_and(|at| at <= now_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let actions = self.tracked(&mut groups, &id, now_ms).group.tick(now_ms);
            self.act(&mut groups, &id, now_ms, actions);
        }
        let next_ms = groups.by_id.values().filter_map(|it| it.group.next_deadline_ms()).min();
        let pause_ms = next_ms.map(|at| u64::try_from(at - now_ms).unwrap_or(0).max(1));
        pause_ms.map_or(IDLE, |ms| Duration::from_millis(ms).min(IDLE))
    }

    /// Lets everybody go who waits for an answer: the broker stops.
    pub(crate) fn close(&self) {
        let mut groups = lock(&self.groups);
        groups.closed = true;
        groups.waiting.clear();
    }

    fn new_group(&self, now_ms: i64) -> Group {
        let settings = &self.settings;
        Group::new(now_ms, settings.initial_rebalance_delay_ms, settings.members_max)
    }

    fn tracked<'a>(&self, groups: &'a mut Groups, id: &str, now_ms: i64) -> &'a mut Tracked {
        groups
            .by_id
            .entry(id.to_owned())
            .or_insert_with(|| Tracked { group: self.new_group(now_ms), offsets: BTreeMap::new() })
    }

    fn act(&self, groups: &mut Groups, id: &str, now_ms: i64, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerJoin(ticket, answer) => {
                    if let Some(Waiting::Join(sender)) = groups.waiting.remove(&ticket) {
                        let _ = sender.send(answer); // the client may be gone
                    }
                }
                Action::AnswerSync(ticket, answer) => {
                    if let Some(Waiting::Sync(sender)) = groups.waiting.remove(&ticket) {
                        let _ = sender.send(answer); // the client may be gone
                    }
                }
                Action::Persist => groups.persist(id, now_ms),
            }
        }
    }
}

/// A join under way. Dropped before its answer has come, it takes the join back.
struct JoinWait<'a> {
    coordinator: &'a Coordinator,
    group: &'a str,
    ticket: Option<Ticket>,
}

impl Drop for JoinWait<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut groups = lock(&self.coordinator.groups);
        let now_ms = self.coordinator.clock.now_ms();
        groups.waiting.remove(&ticket);
        let Some(tracked) = groups.by_id.get_mut(self.group) else { return };
        let actions = tracked.group.abandon_join(now_ms, ticket);
        self.coordinator.act(&mut groups, self.group, now_ms, actions);
        drop(groups);
        self.coordinator.deadlines_changed.notify_one();
    }
}

impl Groups {
    fn wait<T>(
        &mut self,
        kind: impl Fn(oneshot::Sender<T>) -> Waiting,
    ) -> (Ticket, oneshot::Receiver<T>) {
        let (sender, answer) = oneshot::channel();
        self.last_ticket += 1;
        if !self.closed {
            self.waiting.insert(self.last_ticket, kind(sender));
        }
        (self.last_ticket, answer)
    }

    fn append(&self, now_ms: i64, entries: &[Entry]) -> Result<i64, ResponseError> {
        let Some(log) = &self.log else { return Err(ResponseError::CoordinatorNotAvailable) };
        log.append(now_ms, entries).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "cannot write committed offsets");
            ResponseError::CoordinatorNotAvailable
        })
    }

    /// A group that isn't written makes its members join anew after a restart, no more: so a
    /// failure
    /// is logged and the group goes on.
    fn persist(&self, id: &str, now_ms: i64) {
        let Some(tracked) = self.by_id.get(id) else { return };
        let saved = tracked.group.saved();
        let (generation, members) = (saved.generation, saved.members.len());
        tracing::debug!(group = id, generation, members, "group changed");
        let value = record::encode_group(&saved);
        let entry = (Key::Group { group: id.to_owned() }, Some(value));
        if let Err(error) = self.append(now_ms, &[entry]) {
            tracing::warn!(group = id, %error, "the group's members are not on disk");
        }
    }
}

#[cfg(test)]
mod tests;
