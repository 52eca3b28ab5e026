//! The phases of a rebalance: collect the members, form the next generation, choose its strategy.

use super::{Action, Collecting, Group, GroupState, JoinAnswer, JoinedMember, Member};
use crate::group::exchange::SyncAnswer;
use kafka_protocol::ResponseError;

impl Group {
    /// Begins a rebalance unless one is collecting already, and ends it if all are there.
    pub(super) fn rebalance(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        if self.state != GroupState::PreparingRebalance {
            self.begin_rebalance(now_ms, actions);
        }
        self.complete_if_all_joined(now_ms, actions);
    }

    fn begin_rebalance(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        for member in &mut self.members {
            member.synced = false;
            if let Some(waiting) = member.syncing.take() {
                let answer = SyncAnswer::refused(ResponseError::RebalanceInProgress);
                actions.push(Action::AnswerSync(waiting, answer));
                member.deadline_ms = now_ms + i64::from(member.session_timeout_ms);
            }
        }
        self.sync_deadline_ms = None;
        let timeout_ms = self.rebalance_timeout_ms();
        let delay_ms = self.initial_delay_ms.min(timeout_ms);
        let delayed = self.state == GroupState::Empty && delay_ms > 0;
        self.collecting = Some(Collecting {
            deadline_ms: now_ms + if delayed { delay_ms } else { timeout_ms },
            delay_left_ms: delayed.then_some(timeout_ms - delay_ms),
            member_came: false,
        });
        self.enter(GroupState::PreparingRebalance, now_ms);
    }

    pub(super) fn complete_if_all_joined(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let delayed = self.collecting.as_ref().is_some_and(|phase| phase.delay_left_ms.is_some());
        let all_joined = self.members.iter().all(|member| member.joining.is_some());
        if self.state == GroupState::PreparingRebalance
            && !delayed
            && all_joined
            && self.pending.is_empty()
        {
            self.complete_join(now_ms, actions);
        }
    }

    /// Ends the collecting phase: who hasn't joined is out, the others form the next generation.
    fn complete_join(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        self.members.retain(|member| member.joining.is_some() || member.instance_id.is_some());
        let joined = self.members.iter().find(|member| member.joining.is_some());
        let leader_joined = self.members.iter().any(|member| {
            member.joining.is_some() && self.leader.as_deref() == Some(member.id.as_str())
        });
        if !leader_joined {
            match joined.map(|member| member.id.clone()) {
                Some(id) => self.leader = Some(id),
                None if !self.members.is_empty() => {
                    // Only static members that are away are left: wait until they return or expire.
                    let deadline_ms = now_ms + self.rebalance_timeout_ms();
                    self.collecting =
                        Some(Collecting { deadline_ms, delay_left_ms: None, member_came: false });
                    return;
                }
                None => self.leader = None,
            }
        }
        self.collecting = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(GroupState::Empty, now_ms);
            actions.push(Action::Persist);
            return;
        }
        self.protocol = self.select_protocol();
        self.enter(GroupState::CompletingRebalance, now_ms);
        self.sync_deadline_ms = Some(now_ms + self.rebalance_timeout_ms());
        self.answer_joined(now_ms, actions);
    }

    fn answer_joined(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        for place in 0..self.members.len() {
            let Some(ticket) = self.members[place].joining.take() else { continue };
            let id = self.members[place].id.clone();
            let answer = self.join_answer(&id);
            let member = &mut self.members[place];
            member.is_new = false;
            member.deadline_ms = now_ms + i64::from(member.session_timeout_ms);
            actions.push(Action::AnswerJoin(ticket, answer));
        }
    }

    pub(super) fn join_answer(&self, member_id: &str) -> JoinAnswer {
        let leader = self.leader.clone().unwrap_or_default();
        let listed = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol()),
        };
        let members = if leader == member_id {
            self.members.iter().map(listed).collect()
        } else {
            Vec::new()
        };
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    /// Every member votes for the first of its strategies that all support; most votes win, and a
    /// tie goes to the one the oldest member prefers.
    fn select_protocol(&self) -> Option<String> {
        let shared = |name: &str| {
            self.members.iter().all(|member| member.protocols.iter().any(|(own, _)| own == name))
        };
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in &self.members {
            let vote = member.protocols.iter().map(|(name, _)| name.as_str()).find(|n| shared(n));
            let Some(vote) = vote else { continue };
            match votes.iter_mut().find(|(name, _)| *name == vote) {
                Some((_, count)) => *count += 1,
                None => votes.push((vote, 1)),
            }
        }
        let best = votes.iter().map(|(_, count)| *count).max()?;
        votes.iter().find(|(_, count)| *count == best).map(|(name, _)| (*name).to_owned())
    }

    pub(super) fn tick_collecting(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let initial_delay_ms = self.initial_delay_ms;
        let Some(phase) = &mut self.collecting else { return };
        if phase.deadline_ms > now_ms {
            return;
        }
        match phase.delay_left_ms {
            Some(left_ms) if phase.member_came && left_ms > 0 => {
                let delay_ms = initial_delay_ms.min(left_ms);
                phase.deadline_ms = now_ms + delay_ms;
                phase.delay_left_ms = Some(left_ms - delay_ms);
                phase.member_came = false;
            }
            _ => self.complete_join(now_ms, actions),
        }
    }
}
