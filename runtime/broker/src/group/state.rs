//! One consumer group of the classic protocol, as a pure state machine: a request or the passing of
//! time in, answers and writes out. No sockets, no clock, no disk.
//!
//! ```text
//!   Empty ── join ──▶ PreparingRebalance ── all joined, or time up ──▶ CompletingRebalance
//!     ▲                 ▲            ▲                                    │
//!     │                 │            └─ member joins, leaves, expires ────┤
//!   last member         └── member joins, leaves, expires ── Stable ◀─────┘ leader's SyncGroup
//!   gone
//! ```
//!
//! A request that must wait (JoinGroup until all have joined, SyncGroup until the leader has
//! spoken)
//! is kept as a [`Ticket`]; the answer comes out of a later call as an [`Action`].
//! Source: Kafka's group membership protocol (KIP-62, KIP-345 static members, KIP-394 member ids,
//! KIP-800/814 skipped assignment).

use std::collections::BTreeMap;

mod rebalance;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::exchange::{
    Action, JoinAnswer, JoinRequest, JoinedMember, SyncAnswer, SyncRequest, Ticket,
};
use super::member::{Member, SavedGroup};

/// How long a member that has never finished a join may wait in one (Kafka: 5 minutes). Clients
/// that
/// vanished while they waited are found out by this.
const NEW_MEMBER_JOIN_MS_MAX: i64 = 5 * 60 * 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    /// Kafka's name of the state, as clients see it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
        }
    }
}

/// The collecting phase of a rebalance.
#[derive(Debug, Clone, PartialEq)]
struct Collecting {
    /// Members that haven't joined by then are dropped.
    deadline_ms: i64,
    /// In the first phase of a new group the time is always used up, so that members that start
    /// together meet in one generation (`group.initial.rebalance.delay.ms`).
    delay_left_ms: Option<i64>,
    member_came: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    state: GroupState,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    /// In the order in which they came.
    members: Vec<Member>,
    /// Ids handed out that haven't joined yet, with the time at which they are forgotten.
    pending: BTreeMap<String, i64>,
    collecting: Option<Collecting>,
    /// Members that haven't sent SyncGroup by then are dropped.
    sync_deadline_ms: Option<i64>,
    state_since_ms: i64,
    initial_delay_ms: i64,
    members_max: usize,
}

impl Group {
    pub(crate) fn new(now_ms: i64, initial_delay_ms: i64, members_max: usize) -> Group {
        Group {
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            pending: BTreeMap::new(),
            collecting: None,
            sync_deadline_ms: None,
            state_since_ms: now_ms,
            initial_delay_ms,
            members_max,
        }
    }

    /// A group as it was written last. Its members get a full session time-out to report.
    pub(crate) fn restore(mut self, saved: SavedGroup, now_ms: i64) -> Group {
        self.generation = saved.generation;
        self.protocol_type = saved.protocol_type;
        self.protocol = saved.protocol;
        self.leader = saved.leader;
        self.state_since_ms = saved.state_since_ms;
        self.members = saved.members;
        for member in &mut self.members {
            member.synced = true;
            member.deadline_ms = now_ms + i64::from(member.session_timeout_ms);
        }
        if !self.members.is_empty() {
            self.state = GroupState::Stable;
        }
        self
    }

    pub(crate) fn saved(&self) -> SavedGroup {
        SavedGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self.members.clone(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The assignment strategy of this generation.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    /// Nobody is in the group or on the way into it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    pub(crate) fn join(&mut self, now_ms: i64, ticket: Ticket, join: JoinRequest) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Err(error) = self.try_join(now_ms, ticket, &join, &mut actions) {
            let answer = JoinAnswer::refused(error, &join.member_id);
            actions.push(Action::AnswerJoin(ticket, answer));
        }
        actions
    }

    fn try_join(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        join: &JoinRequest,
        actions: &mut Vec<Action>,
    ) -> Result<(), ResponseError> {
        if !self.supports(&join.protocol_type, &join.protocols) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let full = self.members.len() + self.pending.len() >= self.members_max;
        if !join.member_id.is_empty() {
            if self.pending.contains_key(&join.member_id) && join.instance_id.is_none() {
                self.pending.remove(&join.member_id);
                self.add_member(now_ms, ticket, join, join.member_id.clone(), actions);
                return Ok(());
            }
            self.check_member(&join.member_id, join.instance_id.as_deref())?;
            return self.rejoin(now_ms, ticket, join, actions);
        }
        if let Some(known) = self.static_member(join.instance_id.as_deref()) {
            self.replace_static(now_ms, ticket, join, known, actions);
            return Ok(());
        }
        if full {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        if join.instance_id.is_none() && join.must_know_member_id {
            let deadline_ms = now_ms + i64::from(join.session_timeout_ms);
            self.pending.insert(join.new_member_id.clone(), deadline_ms);
            let answer = JoinAnswer::refused(ResponseError::MemberIdRequired, &join.new_member_id);
            actions.push(Action::AnswerJoin(ticket, answer));
            return Ok(());
        }
        self.add_member(now_ms, ticket, join, join.new_member_id.clone(), actions);
        Ok(())
    }

    /// All members must share one strategy, and the first fixes the protocol type.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let shared = |name: &String| {
            self.members.iter().all(|member| member.protocols.iter().any(|(own, _)| own == name))
        };
        self.protocol_type() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| shared(name))
    }

    fn add_member(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        join: &JoinRequest,
        id: String,
        actions: &mut Vec<Action>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        let mut member = Member {
            id,
            instance_id: join.instance_id.clone(),
            deadline_ms: now_ms + NEW_MEMBER_JOIN_MS_MAX,
            joining: Some(ticket),
            is_new: true,
            ..Member::default()
        };
        member.update(join);
        self.members.push(member);
        if let Some(collecting) = &mut self.collecting {
            collecting.member_came = true;
        }
        self.rebalance(now_ms, actions);
    }

    /// A known member joins again.
    fn rejoin(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        join: &JoinRequest,
        actions: &mut Vec<Action>,
    ) -> Result<(), ResponseError> {
        let is_leader = self.leader.as_deref() == Some(&join.member_id);
        let member = self.member_mut(&join.member_id).ok_or(ResponseError::UnknownMemberId)?;
        let unchanged = member.protocols == join.protocols;
        let answers_now = match self.state {
            GroupState::Empty => return Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => false,
            // The answer to an earlier join got lost: repeat it.
            GroupState::CompletingRebalance => unchanged,
            GroupState::Stable => unchanged && !is_leader,
        };
        if answers_now {
            let answer = self.join_answer(&join.member_id);
            self.beat(now_ms, &join.member_id);
            actions.push(Action::AnswerJoin(ticket, answer));
            return Ok(());
        }
        if let Some(member) = self.member_mut(&join.member_id) {
            member.update(join);
            if let Some(replaced) = member.joining.replace(ticket) {
                let answer = JoinAnswer::refused(ResponseError::UnknownMemberId, &join.member_id);
                actions.push(Action::AnswerJoin(replaced, answer));
            }
        }
        self.rebalance(now_ms, actions);
        Ok(())
    }

    /// A static member comes back under a new member id: it takes the place of its former self, and
    /// if nothing changes for the others they notice nothing.
    fn replace_static(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        join: &JoinRequest,
        place: usize,
        actions: &mut Vec<Action>,
    ) {
        let new_id = join.new_member_id.clone();
        let member = &mut self.members[place];
        let old_id = std::mem::replace(&mut member.id, new_id.clone());
        let fenced = ResponseError::FencedInstanceId;
        if let Some(waiting) = member.joining.take() {
            actions.push(Action::AnswerJoin(waiting, JoinAnswer::refused(fenced, &old_id)));
        }
        if let Some(waiting) = member.syncing.take() {
            actions.push(Action::AnswerSync(waiting, SyncAnswer::refused(fenced)));
        }
        let unchanged = member.protocols == join.protocols;
        member.update(join);
        member.deadline_ms = now_ms + i64::from(join.session_timeout_ms);
        let was_leader = self.leader.as_deref() == Some(&old_id);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        if self.state == GroupState::Stable && unchanged {
            let mut answer = self.join_answer(&new_id);
            if was_leader && join.may_skip_assignment {
                answer.skip_assignment = true;
            } else if was_leader {
                // A leader id that isn't its own keeps an old client from assigning anew.
                answer.leader = old_id;
                answer.members = Vec::new();
            }
            actions.push(Action::Persist);
            actions.push(Action::AnswerJoin(ticket, answer));
            return;
        }
        self.members[place].joining = Some(ticket);
        self.rebalance(now_ms, actions);
    }

    pub(crate) fn sync(&mut self, now_ms: i64, ticket: Ticket, sync: SyncRequest) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Err(error) = self.try_sync(now_ms, ticket, sync, &mut actions) {
            actions.push(Action::AnswerSync(ticket, SyncAnswer::refused(error)));
        }
        actions
    }

    fn try_sync(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        sync: SyncRequest,
        actions: &mut Vec<Action>,
    ) -> Result<(), ResponseError> {
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, ours: &Option<String>| {
            asked.is_some() && asked.as_deref() != ours.as_deref()
        };
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty => return Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => return Err(ResponseError::RebalanceInProgress),
            GroupState::CompletingRebalance => self.collect_sync(now_ms, ticket, sync, actions),
            GroupState::Stable => {
                self.beat(now_ms, &sync.member_id);
                let answer = self.sync_answer(&sync.member_id);
                actions.push(Action::AnswerSync(ticket, answer));
            }
        }
        Ok(())
    }

    fn collect_sync(
        &mut self,
        now_ms: i64,
        ticket: Ticket,
        sync: SyncRequest,
        actions: &mut Vec<Action>,
    ) {
        if let Some(member) = self.member_mut(&sync.member_id) {
            member.synced = true;
            if let Some(replaced) = member.syncing.replace(ticket) {
                let answer = SyncAnswer::refused(ResponseError::RebalanceInProgress);
                actions.push(Action::AnswerSync(replaced, answer));
            }
        }
        if self.leader.as_deref() != Some(&sync.member_id) {
            return;
        }
        let mut assignments: BTreeMap<String, Bytes> = sync.assignments.into_iter().collect();
        for member in &mut self.members {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.enter(GroupState::Stable, now_ms);
        actions.push(Action::Persist);
        for place in 0..self.members.len() {
            let Some(ticket) = self.members[place].syncing.take() else { continue };
            let id = self.members[place].id.clone();
            self.beat(now_ms, &id);
            actions.push(Action::AnswerSync(ticket, self.sync_answer(&id)));
        }
        if self.members.iter().all(|member| member.synced) {
            self.sync_deadline_ms = None;
        }
    }

    fn sync_answer(&mut self, member_id: &str) -> SyncAnswer {
        let assignment = self.member_mut(member_id).map(|member| {
            member.synced = true;
            member.assignment.clone()
        });
        if self.members.iter().all(|member| member.synced) {
            self.sync_deadline_ms = None;
        }
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: assignment.unwrap_or_default(),
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        match self.state {
            GroupState::Empty => Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => {
                self.beat(now_ms, member_id);
                Err(ResponseError::RebalanceInProgress)
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.beat(now_ms, member_id);
                Ok(())
            }
        }
    }

    /// A static member may leave by its instance id alone (an administrator removes it).
    pub(crate) fn leave(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> (Result<(), ResponseError>, Vec<Action>) {
        let mut actions = Vec::new();
        if instance_id.is_none() && self.pending.remove(member_id).is_some() {
            self.complete_if_all_joined(now_ms, &mut actions);
            return (Ok(()), actions);
        }
        let by_instance = instance_id.is_some() && member_id.is_empty();
        let id = match self.static_member(instance_id) {
            Some(place) if by_instance => self.members[place].id.clone(),
            _ => member_id.to_owned(),
        };
        if let Err(error) = self.check_member(&id, instance_id) {
            return (Err(error), actions);
        }
        self.remove_members(now_ms, &|member| member.id == id, &mut actions);
        (Ok(()), actions)
    }

    /// The client of a waiting join has hung up. A dynamic member is removed at once: consumers that
    /// are closed in the middle of a rebalance say no goodbye, and one that only lost its connection
    /// joins anew. Kafka, which doesn't notice, waits for a session time-out, and may meanwhile make
    /// the dead member the leader.
    pub(crate) fn abandon_join(&mut self, now_ms: i64, ticket: Ticket) -> Vec<Action> {
        let mut actions = Vec::new();
        let hung_up =
            |member: &Member| member.joining == Some(ticket) && member.instance_id.is_none();
        let gone = self.members.iter().find(|member| hung_up(member)).map(|it| it.id.clone());
        if let Some(gone) = gone {
            self.remove_members(now_ms, &|member| member.id == gone, &mut actions);
        }
        actions
    }

    /// Removes members and lets the others rebalance.
    fn remove_members(
        &mut self,
        now_ms: i64,
        leaves: &dyn Fn(&Member) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let mut removed = false;
        for member in self.members.iter_mut().filter(|member| leaves(member)) {
            removed = true;
            let unknown = ResponseError::UnknownMemberId;
            if let Some(waiting) = member.joining.take() {
                actions.push(Action::AnswerJoin(waiting, JoinAnswer::refused(unknown, &member.id)));
            }
            if let Some(waiting) = member.syncing.take() {
                actions.push(Action::AnswerSync(waiting, SyncAnswer::refused(unknown)));
            }
        }
        if !removed {
            return;
        }
        self.members.retain(|member| !leaves(member));
        let has_leader = self.members.iter().any(|member| Some(&member.id) == self.leader.as_ref());
        if !has_leader {
            self.leader = self.members.first().map(|member| member.id.clone());
        }
        self.rebalance(now_ms, actions);
    }

    /// May a consumer of this member id and generation commit offsets now? Counts as a heartbeat.
    ///
    /// A negative generation comes from tools and from consumers that assign partitions themselves:
    /// allowed while the group is empty.
    pub(crate) fn check_commit(
        &mut self,
        now_ms: i64,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.beat(now_ms, member_id);
        Ok(())
    }

    /// When [`Group::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let expiring = self.members.iter().filter(|member| member.is_new || !member.waits());
        expiring
            .map(|member| member.deadline_ms)
            .chain(self.pending.values().copied())
            .chain(self.collecting.as_ref().map(|phase| phase.deadline_ms))
            .chain(self.sync_deadline_ms)
            .min()
    }

    /// Lets time pass: expires members and pending ids, ends phases that have lasted long enough.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        let pending = self.pending.len();
        self.pending.retain(|_, deadline_ms| *deadline_ms > now_ms);
        if self.pending.len() < pending {
            self.complete_if_all_joined(now_ms, &mut actions);
        }
        let dead =
            |member: &Member| member.deadline_ms <= now_ms && (member.is_new || !member.waits());
        self.remove_members(now_ms, &dead, &mut actions);
        if self.sync_deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            self.sync_deadline_ms = None;
            self.remove_members(now_ms, &|member| !member.synced, &mut actions);
        }
        self.tick_collecting(now_ms, &mut actions);
        actions
    }

    fn check_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        match (instance_id, self.static_member(instance_id)) {
            (Some(_), None) => Err(ResponseError::UnknownMemberId),
            (Some(_), Some(place)) if self.members[place].id != id => {
                Err(ResponseError::FencedInstanceId)
            }
            _ if self.members.iter().any(|member| member.id == id) => Ok(()),
            _ => Err(ResponseError::UnknownMemberId),
        }
    }

    fn static_member(&self, instance_id: Option<&str>) -> Option<usize> {
        let instance_id = instance_id?;
        self.members.iter().position(|member| member.instance_id.as_deref() == Some(instance_id))
    }

    fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn beat(&mut self, now_ms: i64, member_id: &str) {
        if let Some(member) = self.member_mut(member_id) {
            member.deadline_ms = now_ms + i64::from(member.session_timeout_ms);
        }
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.iter().map(|member| member.rebalance_timeout_ms.into()).max().unwrap_or(0)
    }

    fn enter(&mut self, state: GroupState, now_ms: i64) {
        self.state = state;
        self.state_since_ms = now_ms;
    }
}

#[cfg(test)]
mod tests;
