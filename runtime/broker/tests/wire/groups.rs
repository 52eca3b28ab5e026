//! Consumer groups over the wire; the scenes of the state machine are next to it.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest,
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::client::{Client, name, start, start_with, text};

pub(crate) fn group() -> GroupId {
    GroupId(text("g"))
}

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(6_000)
        .with_rebalance_timeout_ms(6_000)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as clients of today do: once for the id, once with it.
pub(crate) async fn enter(client: &mut Client) -> JoinGroupResponse {
    let first = client.ask(join(""), 9).await;
    assert_eq!(first.error_code, ResponseError::MemberIdRequired.code());
    assert!(first.member_id.starts_with("wire-test-"));
    client.ask(join(&first.member_id), 9).await
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&str, &'static [u8])]) -> SyncGroupRequest {
    let assignment = |(id, part): &(&str, &'static [u8])| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(id))
            .with_assignment(Bytes::from_static(part))
    };
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.iter().map(assignment).collect())
}

pub(crate) fn commit(
    topic: &str,
    partition: i32,
    offset: i64,
    metadata: &str,
) -> OffsetCommitRequest {
    let asked = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let topic =
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

pub(crate) async fn committed(client: &mut Client, topic: &str, partition: i32) -> (i64, String) {
    let asked = OffsetFetchRequestTopics::default()
        .with_name(name(topic))
        .with_partition_indexes(vec![partition]);
    let asked =
        OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![asked]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let response = client.ask(request, 8).await;
    let answer = &response.groups[0].topics[0].partitions[0];
    assert_eq!(answer.error_code, 0);
    let metadata = answer.metadata.as_ref().map(|it| it.to_string()).unwrap_or_default();
    (answer.committed_offset, metadata)
}

#[tokio::test]
async fn two_consumers_share_a_group_and_one_inherits() {
    let running = start().await;
    let mut a = running.connect().await;
    let coordinator = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let coordinator = a.ask(coordinator, 4).await;
    assert_eq!(coordinator.coordinators[0].error_code, 0);
    assert!(running.server.broker().topic("__consumer_offsets").is_some());

    let joined_a = enter(&mut a).await;
    assert_eq!((joined_a.generation_id, joined_a.members.len()), (1, 1));
    let synced = a.ask(sync(&joined_a, &[(&joined_a.member_id, b"all")]), 5).await;
    assert_eq!(synced.assignment, "all");

    let mut b = running.connect().await;
    let joining_b = tokio::spawn(async move {
        let joined = enter(&mut b).await;
        (b, joined)
    });
    let beat = |joined: &JoinGroupResponse| {
        HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
    };
    let rebalancing = ResponseError::RebalanceInProgress.code();
    while a.ask(beat(&joined_a), 4).await.error_code != rebalancing {
        tokio::task::yield_now().await;
    }
    let joined_a = a.ask(join(&joined_a.member_id), 9).await;
    let (mut b, joined_b) = joining_b.await.unwrap();
    assert_eq!((joined_a.generation_id, joined_b.generation_id), (2, 2));
    assert_eq!((joined_a.members.len(), joined_b.members.len()), (2, 0));
    b.send(sync(&joined_b, &[]), 5).await;
    let parts: [(&str, &'static [u8]); 2] =
        [(&joined_a.member_id, b"left"), (&joined_b.member_id, b"right")];
    assert_eq!(a.ask(sync(&joined_a, &parts), 5).await.assignment, "left");
    assert_eq!(b.receive::<SyncGroupRequest>(5).await.assignment, "right");

    let described = a.ask(DescribeGroupsRequest::default().with_groups(vec![group()]), 5).await;
    let described = &described.groups[0];
    assert_eq!((&*described.group_state, described.members.len()), ("Stable", 2));
    assert_eq!(described.members[0].client_id, text("wire-test"));
    assert_eq!(described.members[0].client_host, text("/127.0.0.1"));

    let leaving = MemberIdentity::default().with_member_id(joined_a.member_id.clone());
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![leaving]);
    assert_eq!(a.ask(leave, 5).await.members[0].error_code, 0);
    let joined_b = b.ask(join(&joined_b.member_id), 9).await;
    assert_eq!((joined_b.generation_id, joined_b.members.len()), (3, 1));
}

#[tokio::test]
async fn a_consumer_that_falls_silent_is_expired() {
    let running = start_with(|config| config.group_session_timeout_ms_min = 10).await;
    let mut client = running.connect().await;
    let short = |member_id: &str| join(member_id).with_session_timeout_ms(100);
    let first = client.ask(short(""), 9).await;
    let joined = client.ask(short(&first.member_id), 9).await;
    client.ask(sync(&joined, &[(&joined.member_id, b"all")]), 5).await;
    let described = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let response = client.ask(described.clone(), 5).await;
        if &*response.groups[0].group_state == "Empty" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{response:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_consumer_that_hangs_up_while_it_joins_holds_nobody_up() {
    let running = start().await;
    let mut a = running.connect().await;
    let joined = enter(&mut a).await;
    a.ask(sync(&joined, &[(&joined.member_id, b"all")]), 5).await;
    let mut b = running.connect().await;
    let first = b.ask(join(""), 9).await;
    b.send(join(&first.member_id), 9).await;
    let members = |response: DescribeGroupsResponse| response.groups[0].members.len();
    let describe = || DescribeGroupsRequest::default().with_groups(vec![group()]);
    while members(a.ask(describe(), 5).await) < 2 {
        tokio::task::yield_now().await;
    }
    drop(b);
    while members(a.ask(describe(), 5).await) > 1 {
        tokio::task::yield_now().await;
    }
    let rejoined = a.ask(join(&joined.member_id), 9).await;
    assert_eq!((rejoined.generation_id, rejoined.members.len()), (2, 1));
}

#[tokio::test]
async fn joins_outside_of_the_limits_are_refused() {
    let running = start().await;
    let mut client = running.connect().await;
    let cases = [
        (join("").with_session_timeout_ms(10), ResponseError::InvalidSessionTimeout),
        (join("").with_session_timeout_ms(i32::MAX), ResponseError::InvalidSessionTimeout),
        (join("").with_group_id(GroupId(text(""))), ResponseError::InvalidGroupId),
        (join("stranger"), ResponseError::UnknownMemberId),
        (join("").with_protocols(vec![]), ResponseError::InconsistentGroupProtocol),
    ];
    for (request, expected) in cases {
        let response = client.ask(request, 9).await;
        assert_eq!(response.error_code, expected.code(), "{expected}");
        assert_eq!(response.generation_id, -1);
    }
}

#[tokio::test]
async fn committed_offsets_come_back_with_their_metadata() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    assert_eq!(committed(&mut client, "t", 1).await, (-1, String::new()));
    let response = client.ask(commit("t", 1, 42, "half-way"), 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut client, "t", 1).await, (42, "half-way".to_owned()));
    assert_eq!(committed(&mut client, "t", 0).await, (-1, String::new()));
    let all = OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    let response = client.ask(all, 7).await;
    assert_eq!(response.topics.len(), 1);
    let asked =
        OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
    let some = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![asked]));
    let response = client.ask(some, 1).await;
    let offsets: Vec<i64> =
        response.topics[0].partitions.iter().map(|it| it.committed_offset).collect();
    assert_eq!(offsets, [-1, 42]);
}

#[tokio::test]
async fn commits_are_refused_with_kafkas_errors() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let cases = [
        (commit("t", 9, 1, ""), ResponseError::UnknownTopicOrPartition),
        (commit("unknown", 0, 1, ""), ResponseError::UnknownTopicOrPartition),
        (commit("t", 0, 1, &"x".repeat(5_000)), ResponseError::OffsetMetadataTooLarge),
        (
            commit("t", 0, 1, "").with_generation_id_or_member_epoch(3),
            ResponseError::IllegalGeneration,
        ),
        (commit("t", 0, 1, "").with_group_id(GroupId(text(""))), ResponseError::InvalidGroupId),
    ];
    for (request, expected) in cases {
        let response = client.ask(request, 8).await;
        assert_eq!(response.topics[0].partitions[0].error_code, expected.code(), "{expected}");
    }
    let joined = enter(&mut client).await;
    let outside = client.ask(commit("t", 0, 1, ""), 8).await;
    let expected = ResponseError::UnknownMemberId;
    assert_eq!(outside.topics[0].partitions[0].error_code, expected.code());
    client.ask(sync(&joined, &[]), 5).await;
    let inside = commit("t", 0, 1, "")
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_member_id(joined.member_id);
    let response = client.ask(inside, 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

#[tokio::test]
async fn groups_are_listed_and_only_empty_ones_deleted() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let delete = || DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let unknown = client.ask(delete(), 2).await;
    assert_eq!(unknown.results[0].error_code, ResponseError::GroupIdNotFound.code());
    let dead = client.ask(DescribeGroupsRequest::default().with_groups(vec![group()]), 5).await;
    assert_eq!((&*dead.groups[0].group_state, dead.groups[0].error_code), ("Dead", 0));

    let joined = enter(&mut client).await;
    client.ask(sync(&joined, &[]), 5).await;
    let listed = client.ask(ListGroupsRequest::default(), 5).await;
    assert_eq!(listed.groups[0].group_id, group());
    let kind = (&*listed.groups[0].group_state, &*listed.groups[0].group_type);
    assert_eq!(kind, ("Stable", "classic"));
    let filter = ListGroupsRequest::default().with_states_filter(vec![text("empty")]);
    assert_eq!(client.ask(filter, 4).await.groups.len(), 0);
    let busy = client.ask(delete(), 2).await;
    assert_eq!(busy.results[0].error_code, ResponseError::NonEmptyGroup.code());

    let leave = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone());
    assert_eq!(client.ask(leave, 2).await.error_code, 0);
    client.ask(commit("t", 0, 5, ""), 8).await;
    assert_eq!(client.ask(delete(), 2).await.results[0].error_code, 0);
    assert_eq!(committed(&mut client, "t", 0).await.0, -1);
}

#[tokio::test]
async fn a_deleted_topic_takes_its_committed_offsets_with_it() {
    let running = start().await;
    running.topic("t", 1);
    running.topic("other", 1);
    let mut client = running.connect().await;
    client.ask(commit("t", 0, 5, ""), 8).await;
    client.ask(commit("other", 0, 6, ""), 8).await;
    running.server.broker().delete_topic("t").unwrap();
    assert_eq!(committed(&mut client, "t", 0).await.0, -1);
    assert_eq!(committed(&mut client, "other", 0).await.0, 6);
}

#[tokio::test]
async fn clients_cannot_write_to_the_offsets_topic_or_delete_it() {
    let running = start().await;
    let mut client = running.connect().await;
    client.ask(FindCoordinatorRequest::default().with_key(text("g")), 1).await;
    let answer = client.produce("__consumer_offsets", 0, crate::client::batch(&["x"]), 1).await;
    assert_eq!(answer.error_code, ResponseError::InvalidTopicException.code());
    let refusal = running.server.broker().delete_topic("__consumer_offsets").unwrap_err();
    assert_eq!(refusal.error, ResponseError::InvalidTopicException);
}
