//! Tables for the state machine: a scene per promise of the protocol, with times in ms.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::*;

const SESSION_MS: i64 = 10_000;
const REBALANCE_MS: i64 = 60_000;

/// A group and the answers that it has given.
struct Scene {
    group: Group,
    now_ms: i64,
    last_ticket: Ticket,
    joins: Vec<(Ticket, JoinAnswer)>,
    syncs: Vec<(Ticket, SyncAnswer)>,
    persisted: usize,
}

impl Scene {
    fn new() -> Scene {
        Scene::with_delay(0)
    }

    fn with_delay(initial_delay_ms: i64) -> Scene {
        Scene {
            group: Group::new(0, initial_delay_ms, 100),
            now_ms: 0,
            last_ticket: 0,
            joins: vec![],
            syncs: vec![],
            persisted: 0,
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerJoin(ticket, answer) => self.joins.push((ticket, answer)),
                Action::AnswerSync(ticket, answer) => self.syncs.push((ticket, answer)),
                Action::Persist => self.persisted += 1,
            }
        }
    }

    fn request(&self, name: &str) -> JoinRequest {
        JoinRequest {
            client_id: name.to_owned(),
            session_timeout_ms: SESSION_MS as i32,
            rebalance_timeout_ms: REBALANCE_MS as i32,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from(name.to_owned()))],
            new_member_id: name.to_owned(),
            ..JoinRequest::default()
        }
    }

    fn join_with(&mut self, join: JoinRequest) -> Ticket {
        self.last_ticket += 1;
        let actions = self.group.join(self.now_ms, self.last_ticket, join);
        self.take(actions);
        self.last_ticket
    }

    /// A new member (old clients: without asking for an id first).
    fn join(&mut self, name: &str) -> Ticket {
        self.join_with(self.request(name))
    }

    fn rejoin(&mut self, name: &str) -> Ticket {
        let join = JoinRequest { member_id: name.to_owned(), ..self.request(name) };
        self.join_with(join)
    }

    fn join_static(&mut self, instance: &str, new_member_id: &str) -> Ticket {
        let join = JoinRequest {
            instance_id: Some(instance.to_owned()),
            new_member_id: new_member_id.to_owned(),
            ..self.request(instance)
        };
        self.join_with(join)
    }

    fn sync(&mut self, name: &str, generation: i32, assignments: &[(&str, &str)]) -> Ticket {
        let owned = |(id, part): &(&str, &str)| ((*id).to_owned(), Bytes::from((*part).to_owned()));
        let sync = SyncRequest {
            generation,
            member_id: name.to_owned(),
            assignments: assignments.iter().map(owned).collect(),
            ..SyncRequest::default()
        };
        self.last_ticket += 1;
        let actions = self.group.sync(self.now_ms, self.last_ticket, sync);
        self.take(actions);
        self.last_ticket
    }

    fn wait(&mut self, ms: i64) {
        self.now_ms += ms;
        let actions = self.group.tick(self.now_ms);
        self.take(actions);
    }

    fn joined(&self, ticket: Ticket) -> Option<&JoinAnswer> {
        self.joins.iter().find(|(it, _)| *it == ticket).map(|(_, answer)| answer)
    }

    fn synced(&self, ticket: Ticket) -> Option<&SyncAnswer> {
        self.syncs.iter().find(|(it, _)| *it == ticket).map(|(_, answer)| answer)
    }

    fn beat(&mut self, name: &str, generation: i32) -> Result<(), ResponseError> {
        self.group.heartbeat(self.now_ms, name, None, generation)
    }

    fn leave(&mut self, name: &str) -> Result<(), ResponseError> {
        let (outcome, actions) = self.group.leave(self.now_ms, name, None);
        self.take(actions);
        outcome
    }

    /// Members `a` and `b`, stable in generation 2, led by `a`.
    fn two_stable() -> Scene {
        let mut scene = Scene::new();
        scene.join("a");
        scene.sync("a", 1, &[("a", "all")]);
        scene.join("b");
        scene.rejoin("a");
        scene.sync("b", 2, &[]);
        scene.sync("a", 2, &[("a", "half"), ("b", "other half")]);
        assert_eq!(scene.group.state(), GroupState::Stable);
        scene
    }
}

#[test]
fn one_member_joins_and_gets_everything() {
    let mut scene = Scene::new();
    let ticket = scene.join("a");
    let joined = scene.joined(ticket).unwrap().clone();
    assert_eq!((joined.error, joined.generation), (None, 1));
    assert_eq!((joined.leader.as_str(), joined.member_id.as_str()), ("a", "a"));
    assert_eq!(joined.protocol.as_deref(), Some("range"));
    assert_eq!(joined.members.len(), 1);
    let ticket = scene.sync("a", 1, &[("a", "all")]);
    assert_eq!(scene.synced(ticket).unwrap().assignment, "all");
    assert_eq!((scene.group.state(), scene.persisted), (GroupState::Stable, 1));
}

#[test]
fn a_second_member_waits_until_the_first_has_rejoined() {
    let mut scene = Scene::new();
    scene.join("a");
    scene.sync("a", 1, &[("a", "all")]);
    let b = scene.join("b");
    assert_eq!(scene.joined(b), None);
    assert_eq!(scene.beat("a", 1), Err(ResponseError::RebalanceInProgress));
    let a = scene.rejoin("a");
    let (a, b) = (scene.joined(a).unwrap().clone(), scene.joined(b).unwrap().clone());
    assert_eq!((a.generation, b.generation), (2, 2));
    assert_eq!((a.leader.as_str(), b.leader.as_str()), ("a", "a"));
    assert_eq!((a.members.len(), b.members.len()), (2, 0), "only the leader sees the members");
    let b = scene.sync("b", 2, &[]);
    assert_eq!(scene.synced(b), None, "waits for the leader");
    let a = scene.sync("a", 2, &[("a", "1"), ("b", "2")]);
    assert_eq!(scene.synced(a).unwrap().assignment, "1");
    assert_eq!(scene.synced(b).unwrap().assignment, "2");
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_dropped() {
    let mut scene = Scene::two_stable();
    let c = scene.join("c");
    let b = scene.rejoin("b");
    for _ in 0..7 {
        let _ = scene.beat("a", 2);
        scene.wait(REBALANCE_MS / 7);
    }
    scene.wait(10);
    let joined = scene.joined(c).unwrap();
    assert_eq!(joined.generation, 3);
    assert_eq!(joined.leader, "b", "the oldest that joined leads");
    assert!(scene.joined(b).is_some());
    assert_eq!(scene.beat("a", 3), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_expires_and_the_others_rebalance() {
    let mut scene = Scene::two_stable();
    scene.wait(SESSION_MS - 1);
    scene.beat("a", 2).unwrap();
    scene.wait(1);
    assert_eq!(scene.group.members().len(), 1);
    assert_eq!(scene.beat("a", 2), Err(ResponseError::RebalanceInProgress));
    let a = scene.rejoin("a");
    assert_eq!(scene.joined(a).unwrap().generation, 3);
}

/// Consumers under churn: dead members that had waited for the join became leaders of generation
/// after generation, and nobody got a partition.
#[test]
fn a_member_that_hangs_up_while_it_joins_is_forgotten_at_once() {
    let mut scene = Scene::two_stable();
    let c = scene.join("c");
    scene.rejoin("b");
    let actions = scene.group.abandon_join(scene.now_ms, c);
    scene.take(actions);
    assert_eq!(scene.group.members().len(), 2);
    let a = scene.rejoin("a");
    assert_eq!(scene.joined(a).unwrap().members.len(), 2);
    let done = scene.group.abandon_join(scene.now_ms, a);
    assert_eq!(done, [], "its answer is out: the session time-out decides");
}

#[test]
fn a_static_member_that_hangs_up_keeps_its_place() {
    let mut scene = Scene::two_stable();
    let one = scene.join_static("one", "one-1");
    let actions = scene.group.abandon_join(scene.now_ms, one);
    scene.take(actions);
    assert_eq!(scene.group.members().len(), 3);
}

#[test]
fn the_last_member_leaves_an_empty_group_behind() {
    let mut scene = Scene::new();
    scene.join("a");
    scene.sync("a", 1, &[("a", "all")]);
    scene.leave("a").unwrap();
    assert_eq!(scene.group.state(), GroupState::Empty);
    assert!(scene.group.is_vacant());
    assert_eq!(scene.leave("a"), Err(ResponseError::UnknownMemberId));
    let again = scene.join("b");
    assert_eq!(scene.joined(again).unwrap().generation, 3, "generations only rise");
}

#[test]
fn requests_of_the_wrong_generation_or_member_are_fenced() {
    let mut scene = Scene::two_stable();
    let cases = [
        ("a", 1, ResponseError::IllegalGeneration),
        ("a", 3, ResponseError::IllegalGeneration),
        ("zombie", 2, ResponseError::UnknownMemberId),
    ];
    for (member, generation, expected) in cases {
        assert_eq!(scene.beat(member, generation), Err(expected), "{member} {generation}");
        let ticket = scene.sync(member, generation, &[]);
        assert_eq!(scene.synced(ticket).unwrap().error, Some(expected));
        let commit = scene.group.check_commit(0, member, None, generation);
        assert_eq!(commit, Err(expected));
    }
    scene.group.check_commit(0, "b", None, 2).unwrap();
    let outside = scene.group.check_commit(0, "", None, -1);
    assert_eq!(outside, Err(ResponseError::UnknownMemberId), "the group isn't empty");
}

#[test]
fn commits_from_outside_are_taken_while_the_group_is_empty() {
    Group::new(0, 0, 10).check_commit(0, "", None, -1).unwrap();
}

#[test]
fn a_new_member_is_told_its_id_first() {
    let mut scene = Scene::new();
    let join = JoinRequest { must_know_member_id: true, ..scene.request("a") };
    let first = scene.join_with(join.clone());
    let answer = scene.joined(first).unwrap().clone();
    assert_eq!(answer.error, Some(ResponseError::MemberIdRequired));
    assert_eq!(answer.member_id, "a");
    let second = scene.join_with(JoinRequest { member_id: "a".into(), ..join.clone() });
    assert_eq!(scene.joined(second).unwrap().generation, 1);
    let stranger = scene.join_with(JoinRequest { member_id: "b".into(), ..join });
    let refused = scene.joined(stranger).unwrap().error;
    assert_eq!(refused, Some(ResponseError::UnknownMemberId));
}

#[test]
fn an_id_that_is_never_used_does_not_hold_up_the_others() {
    let mut scene = Scene::new();
    let pending = JoinRequest { must_know_member_id: true, ..scene.request("p") };
    scene.join_with(pending);
    let a = scene.join("a");
    assert_eq!(scene.joined(a), None, "the pending member may still come");
    scene.wait(SESSION_MS);
    assert_eq!(scene.joined(a).unwrap().generation, 1);
}

#[test]
fn members_that_start_together_meet_in_one_generation() {
    let mut scene = Scene::with_delay(3_000);
    let a = scene.join("a");
    scene.wait(2_000);
    let b = scene.join("b");
    scene.wait(1_000);
    assert_eq!(scene.joined(a), None, "somebody came: the delay begins again");
    scene.wait(3_000);
    let (a, b) = (scene.joined(a).unwrap(), scene.joined(b).unwrap());
    assert_eq!((a.generation, b.generation, a.members.len()), (1, 1, 2));
}

#[test]
fn strategies_that_all_share_are_voted_on() {
    let with = |scene: &Scene, name: &str, strategies: &[&str]| {
        let protocols = strategies.iter().map(|it| ((*it).to_owned(), Bytes::new())).collect();
        JoinRequest { protocols, ..scene.request(name) }
    };
    let mut scene = Scene::with_delay(100);
    let a = scene.join_with(with(&scene, "a", &["range", "sticky", "odd"]));
    scene.join_with(with(&scene, "b", &["sticky", "range"]));
    scene.join_with(with(&scene, "c", &["sticky", "range"]));
    let d = scene.join_with(with(&scene, "d", &["odd"]));
    assert_eq!(scene.joined(d).unwrap().error, Some(ResponseError::InconsistentGroupProtocol));
    scene.wait(100);
    scene.wait(100);
    assert_eq!(scene.joined(a).unwrap().protocol.as_deref(), Some("sticky"));
}

#[test]
fn another_protocol_type_or_none_at_all_is_refused() {
    let mut scene = Scene::two_stable();
    let connect = JoinRequest { protocol_type: "connect".into(), ..scene.request("c") };
    let empty = JoinRequest { protocols: vec![], ..scene.request("d") };
    for join in [connect, empty] {
        let ticket = scene.join_with(join);
        let error = scene.joined(ticket).unwrap().error;
        assert_eq!(error, Some(ResponseError::InconsistentGroupProtocol));
    }
    assert_eq!(scene.group.state(), GroupState::Stable, "the group noticed nothing");
}

#[test]
fn a_follower_that_rejoins_unchanged_disturbs_nobody() {
    let mut scene = Scene::two_stable();
    let b = scene.rejoin("b");
    assert_eq!(scene.joined(b).unwrap().generation, 2);
    assert_eq!(scene.group.state(), GroupState::Stable);
    scene.rejoin("a");
    assert_eq!(scene.group.state(), GroupState::PreparingRebalance, "the leader can ask for one");
}

#[test]
fn a_rebalance_answers_those_who_wait_for_the_leader() {
    let mut scene = Scene::new();
    scene.join("a");
    scene.sync("a", 1, &[("a", "all")]);
    scene.join("b");
    scene.rejoin("a");
    let b = scene.sync("b", 2, &[]);
    scene.join("c");
    let refused = scene.synced(b).unwrap().error;
    assert_eq!(refused, Some(ResponseError::RebalanceInProgress));
}

#[test]
fn a_member_that_never_syncs_is_dropped() {
    let mut scene = Scene::new();
    scene.join("a");
    scene.sync("a", 1, &[("a", "all")]);
    scene.join("b");
    scene.rejoin("a");
    scene.sync("a", 2, &[("a", "1"), ("b", "2")]);
    for _ in 0..10 {
        scene.beat("a", 2).unwrap();
        scene.beat("b", 2).unwrap();
        scene.wait(REBALANCE_MS / 10 - 1);
    }
    scene.beat("a", 2).unwrap();
    scene.wait(10);
    assert_eq!(scene.group.members().len(), 1);
}

#[test]
fn a_static_member_that_restarts_keeps_its_place() {
    let mut scene = Scene::new();
    let first = scene.join_static("one", "one-1");
    assert_eq!(scene.joined(first).unwrap().generation, 1);
    scene.sync("one-1", 1, &[("one-1", "all")]);
    let second = scene.join_static("one", "one-2");
    let answer = scene.joined(second).unwrap().clone();
    assert_eq!((answer.generation, answer.member_id.as_str()), (1, "one-2"));
    assert_eq!(answer.leader, "one-1", "an old client must not assign anew");
    let ticket = scene.sync("one-2", 1, &[]);
    assert_eq!(scene.synced(ticket).unwrap().assignment, "all");
    let old = scene.group.heartbeat(0, "one-1", Some("one"), 1);
    assert_eq!(old, Err(ResponseError::FencedInstanceId));
    scene.group.heartbeat(0, "one-2", Some("one"), 1).unwrap();
}

#[test]
fn a_static_leader_of_a_new_client_skips_the_assignment() {
    let mut scene = Scene::new();
    scene.join_static("one", "one-1");
    scene.sync("one-1", 1, &[("one-1", "all")]);
    let join = JoinRequest {
        instance_id: Some("one".into()),
        new_member_id: "one-2".into(),
        may_skip_assignment: true,
        ..scene.request("one")
    };
    let ticket = scene.join_with(join);
    let answer = scene.joined(ticket).unwrap();
    assert!(answer.skip_assignment);
    assert_eq!((answer.leader.as_str(), answer.members.len()), ("one-2", 1));
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut scene = Scene::new();
    scene.group = Group::new(0, 0, 1);
    scene.join("a");
    let b = scene.join("b");
    assert_eq!(scene.joined(b).unwrap().error, Some(ResponseError::GroupMaxSizeReached));
}

#[test]
fn a_restored_group_goes_on_in_its_generation() {
    let saved = Scene::two_stable().group.saved();
    let mut scene = Scene::new();
    scene.now_ms = 1_000_000;
    scene.group = Group::new(0, 0, 10).restore(saved, scene.now_ms);
    scene.beat("a", 2).unwrap();
    let ticket = scene.sync("b", 2, &[]);
    assert_eq!(scene.synced(ticket).unwrap().assignment, "other half");
    scene.wait(SESSION_MS);
    assert!(scene.group.members().is_empty(), "nobody has reported since");
}

#[test]
fn deadlines_name_the_next_time_at_which_something_happens() {
    let mut scene = Scene::new();
    assert_eq!(scene.group.next_deadline_ms(), None);
    scene.join("a");
    assert_eq!(scene.group.next_deadline_ms(), Some(SESSION_MS));
    scene.sync("a", 1, &[("a", "all")]);
    scene.join("b");
    assert_eq!(scene.group.next_deadline_ms(), Some(SESSION_MS), "a must rejoin or beat");
}

/// Random requests and pauses: every request is answered in the end, and no state is impossible.
#[test]
fn random_scenes_leave_no_request_without_an_answer() {
    use proptest::prelude::*;
    let step = (0u8..7, 0usize..4, 0i64..20_000);
    proptest!(ProptestConfig::with_cases(300), |(steps in prop::collection::vec(step, 1..60))| {
        let names = ["a", "b", "c", "d"];
        let mut scene = Scene::with_delay(500);
        let mut tickets = vec![];
        for (kind, who, pause_ms) in steps {
            let name = names[who];
            let known = scene.group.members().iter().any(|member| member.id == name);
            let generation = scene.group.saved().generation;
            match kind {
                0 | 1 if known => tickets.push(scene.rejoin(name)),
                0 | 1 => tickets.push(scene.join(name)),
                2 => tickets.push(scene.sync(name, generation, &[("a", "x"), ("b", "y")])),
                3 => { let _ = scene.beat(name, generation); }
                4 => { let _ = scene.leave(name); }
                5 => tickets.push(scene.join_static(name, &format!("{name}-{}", tickets.len()))),
                _ => scene.wait(pause_ms),
            }
        }
        // Time alone ends every wait.
        for _ in 0..100 {
            let Some(at) = scene.group.next_deadline_ms() else { break };
            let pause_ms = (at - scene.now_ms).max(0);
            scene.wait(pause_ms);
        }
        prop_assert_eq!(scene.group.next_deadline_ms(), None);
        for ticket in tickets {
            let answered = scene.joined(ticket).is_some() || scene.synced(ticket).is_some();
            prop_assert!(answered, "ticket {} has no answer", ticket);
        }
        prop_assert!(scene.group.members().is_empty());
    });
}
