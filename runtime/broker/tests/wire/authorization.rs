//! Who may do what, and the requests that change it.

use gristmill_broker::{BrokerConfig, NewApiKey, Principal, Rights, SecurityProtocol, Server};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;

use crate::client::{Client, Running, batch, config, listen_for, name, start_with, text};

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONAL_ID: i8 = 5;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALL: i8 = 2;
const READ: i8 = 3;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

async fn start() -> Running {
    start_settled(|_| {}).await
}

/// With a PLAINTEXT listener for the administrator and a SASL_PLAINTEXT one for the others.
async fn start_settled(change: impl Fn(&mut BrokerConfig)) -> Running {
    start_with(|config| {
        listen_for(config, &[SecurityProtocol::SaslPlaintext]);
        change(config);
    })
    .await
}

fn acl(key: &NewApiKey, permission: i8, operation: i8, kind: i8, resource: &str) -> AclCreation {
    AclCreation::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_resource_pattern_type(LITERAL)
        .with_principal(text(&Principal::user(&key.key).to_string()))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(permission)
}

async fn create(running: &Running, acls: Vec<AclCreation>) -> Vec<i16> {
    let mut admin = running.connect().await;
    let answer = admin.ask(CreateAclsRequest::default().with_creations(acls), 3).await;
    answer.results.iter().map(|it| it.error_code).collect()
}

fn code(error: ResponseError) -> i16 {
    error.code()
}

/// What a key without any right is told about topics.
#[tokio::test]
async fn topics_are_closed_to_those_without_rights() {
    let running = start().await;
    running.topic("orders", 1);
    let mut client = running.log_in(&running.key(Rights::None)).await;
    let denied = code(ResponseError::TopicAuthorizationFailed);

    assert_eq!(client.produce("orders", 0, batch(&["a"]), 1).await.error_code, denied);
    assert_eq!(client.produce("unknown", 0, batch(&["a"]), 1).await.error_code, denied);

    let partition = FetchPartition::default().with_partition_max_bytes(1000);
    let topic = FetchTopic::default().with_topic(name("orders")).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_wait_ms(10_000).with_min_bytes(1);
    let answer = client.ask(request.with_topics(vec![topic]), 12).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, denied);

    let topic = ListOffsetsTopic::default().with_name(name("orders"));
    let topic = topic.with_partitions(vec![ListOffsetsPartition::default()]);
    let answer = client.ask(ListOffsetsRequest::default().with_topics(vec![topic]), 7).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, denied);

    let topic = OffsetForLeaderTopic::default().with_topic(name("orders"));
    let topic = topic.with_partitions(vec![OffsetForLeaderPartition::default()]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(request, 4).await.topics[0].partitions[0].error_code, denied);

    let topic = CreatableTopic::default().with_name(name("new"));
    let topic = topic.with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(request, 7).await.topics[0].error_code, denied);

    for unknown_or_not in ["orders", "unknown"] {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name(unknown_or_not)]);
        assert_eq!(client.ask(request, 5).await.responses[0].error_code, denied);
    }

    let topic = DeleteRecordsTopic::default().with_name(name("orders"));
    let topic = topic.with_partitions(vec![DeleteRecordsPartition::default()]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(request, 2).await.topics[0].partitions[0].error_code, denied);

    let topic = CreatePartitionsTopic::default().with_name(name("orders")).with_count(2);
    let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(request, 3).await.results[0].error_code, denied);

    let topic = TopicRequest::default().with_name(name("orders")).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    assert_eq!(client.ask(request, 0).await.topics[0].partitions[0].error_code, denied);

    let cluster_denied = code(ResponseError::ClusterAuthorizationFailed);
    for (kind, resource, expected) in [(2, "orders", denied), (4, "1", cluster_denied)] {
        let described = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![described]);
        assert_eq!(client.ask(request, 4).await.results[0].error_code, expected);
        let altered = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource));
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![altered]);
        assert_eq!(client.ask(request, 1).await.responses[0].error_code, expected);
    }
    assert!(running.server.broker().topic("new").is_none());
    assert!(running.server.broker().topic("orders").is_some());
}

#[tokio::test]
async fn groups_are_closed_to_those_without_rights() {
    let running = start().await;
    running.topic("orders", 1);
    let key = running.key(Rights::None);
    let mut client = running.log_in(&key).await;
    let denied = code(ResponseError::GroupAuthorizationFailed);
    let group = || GroupId(text("readers"));

    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("readers")]);
    assert_eq!(client.ask(request, 4).await.coordinators[0].error_code, denied);
    let request =
        JoinGroupRequest::default().with_group_id(group()).with_session_timeout_ms(10_000);
    assert_eq!(client.ask(request, 7).await.error_code, denied);
    let request = SyncGroupRequest::default().with_group_id(group());
    assert_eq!(client.ask(request, 5).await.error_code, denied);
    let request = HeartbeatRequest::default().with_group_id(group());
    assert_eq!(client.ask(request, 4).await.error_code, denied);
    let request = LeaveGroupRequest::default().with_group_id(group());
    assert_eq!(client.ask(request, 5).await.error_code, denied);
    let request = DescribeGroupsRequest::default().with_groups(vec![group()]);
    assert_eq!(client.ask(request, 5).await.groups[0].error_code, denied);
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(client.ask(request, 2).await.results[0].error_code, denied);
    let request = OffsetDeleteRequest::default().with_group_id(group());
    assert_eq!(client.ask(request, 0).await.error_code, denied);
    let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    assert_eq!(client.ask(request, 7).await.error_code, denied);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    assert_eq!(client.ask(request, 8).await.groups[0].error_code, denied);
    assert_eq!(commit(&mut client, "orders").await, denied);

    // With the group but without the topic, the topic is what is refused.
    assert_eq!(create(&running, vec![acl(&key, ALLOW, READ, GROUP, "readers")]).await, [0]);
    let topic_denied = code(ResponseError::TopicAuthorizationFailed);
    assert_eq!(commit(&mut client, "orders").await, topic_denied);
    let topics = OffsetFetchRequestTopics::default()
        .with_name(name("orders"))
        .with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group());
    let request =
        OffsetFetchRequest::default().with_groups(vec![asked.with_topics(Some(vec![topics]))]);
    let answer = client.ask(request, 8).await;
    assert_eq!(answer.groups[0].topics[0].partitions[0].error_code, topic_denied);
    assert_eq!(create(&running, vec![acl(&key, ALLOW, READ, TOPIC, "orders")]).await, [0]);
    assert_eq!(commit(&mut client, "orders").await, 0);
    let partition = OffsetDeleteRequestPartition::default();
    let topic = OffsetDeleteRequestTopic::default().with_name(name("orders"));
    let request = OffsetDeleteRequest::default().with_group_id(group());
    let request = request.with_topics(vec![topic.with_partitions(vec![partition])]);
    assert_eq!(client.ask(request, 0).await.error_code, denied, "reading is not deleting");
}

/// The error of committing offset 0 for a topic.
async fn commit(client: &mut Client, topic: &str) -> i16 {
    let partition = OffsetCommitRequestPartition::default();
    let topic = OffsetCommitRequestTopic::default().with_name(name(topic));
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text("readers")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])]);
    client.ask(request, 8).await.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn transactions_are_closed_to_those_without_rights() {
    let running = start().await;
    running.topic("orders", 1);
    running.topic("secret", 1);
    let key = running.key(Rights::None);
    let mut client = running.log_in(&key).await;
    let denied = code(ResponseError::TransactionalIdAuthorizationFailed);
    let id = || TransactionalId(text("writer"));

    let idempotent = || InitProducerIdRequest::default().with_transactional_id(None);
    let cluster_denied = code(ResponseError::ClusterAuthorizationFailed);
    assert_eq!(client.ask(idempotent(), 4).await.error_code, cluster_denied);
    let transactional = || {
        let request = InitProducerIdRequest::default().with_transactional_id(Some(id()));
        request.with_transaction_timeout_ms(10_000)
    };
    assert_eq!(client.ask(transactional(), 4).await.error_code, denied);
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("writer")]);
    let answer = client.ask(request.with_key_type(1), 4).await;
    assert_eq!(answer.coordinators[0].error_code, denied);
    let request = AddOffsetsToTxnRequest::default().with_transactional_id(id());
    let request = request.with_group_id(GroupId(text("readers")));
    assert_eq!(client.ask(request, 3).await.error_code, denied);
    let request = EndTxnRequest::default().with_transactional_id(id());
    assert_eq!(client.ask(request, 3).await.error_code, denied);
    let partition = TxnOffsetCommitRequestPartition::default();
    let topic = TxnOffsetCommitRequestTopic::default().with_name(name("orders"));
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("readers")))
        .with_topics(vec![topic.with_partitions(vec![partition])]);
    assert_eq!(client.ask(request, 3).await.topics[0].partitions[0].error_code, denied);
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    assert_eq!(client.ask(request, 0).await.transaction_states[0].error_code, denied);

    let acls = vec![
        acl(&key, ALLOW, WRITE, TRANSACTIONAL_ID, "writer"),
        acl(&key, ALLOW, WRITE, TOPIC, "orders"),
    ];
    assert_eq!(create(&running, acls).await, [0, 0]);
    assert_eq!(client.ask(idempotent(), 4).await.error_code, 0, "who writes may do it once");
    let producer = client.ask(transactional(), 4).await;
    assert_eq!(producer.error_code, 0);
    let topic = |topic: &str| {
        AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(vec![0])
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(producer.producer_id)
        .with_v3_and_below_producer_epoch(producer.producer_epoch)
        .with_v3_and_below_topics(vec![topic("orders"), topic("secret")]);
    let answer = client.ask(request, 3).await;
    let results = answer.results_by_topic_v3_and_below.iter();
    let codes = results.map(|topic| topic.results_by_partition[0].partition_error_code);
    let codes: Vec<_> = codes.collect();
    let not_attempted = code(ResponseError::OperationNotAttempted);
    assert_eq!(codes, [not_attempted, code(ResponseError::TopicAuthorizationFailed)]);
    let listed = client.ask(ListTransactionsRequest::default(), 0).await;
    assert_eq!(listed.transaction_states.len(), 1);
    let mut other = running.log_in(&running.key(Rights::None)).await;
    let listed = other.ask(ListTransactionsRequest::default(), 0).await;
    assert_eq!(listed.transaction_states.len(), 0);
}

#[tokio::test]
async fn the_cluster_is_closed_to_those_without_rights() {
    let running = start().await;
    let key = running.key(Rights::None);
    let mut client = running.log_in(&key).await;
    let denied = code(ResponseError::ClusterAuthorizationFailed);

    let creation = acl(&key, ALLOW, ALL, CLUSTER, "kafka-cluster");
    let request = CreateAclsRequest::default().with_creations(vec![creation]);
    assert_eq!(client.ask(request, 3).await.results[0].error_code, denied);
    let filter = DeleteAclsFilter::default().with_resource_type_filter(1);
    let request = DeleteAclsRequest::default().with_filters(vec![filter]);
    assert_eq!(client.ask(request, 3).await.filter_results[0].error_code, denied);
    assert_eq!(client.ask(all_acls(), 3).await.error_code, denied);
    let request = DescribeUserScramCredentialsRequest::default();
    assert_eq!(client.ask(request, 0).await.error_code, denied);
    let deletion = ScramCredentialDeletion::default().with_name(text(&key.key)).with_mechanism(1);
    let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
    assert_eq!(client.ask(request, 0).await.results[0].error_code, denied);
    let request = DescribeLogDirsRequest::default().with_topics(None);
    let answer = client.ask(request, 4).await;
    assert_eq!((answer.error_code, answer.results.len()), (denied, 0));
    let request = ListPartitionReassignmentsRequest::default();
    assert_eq!(client.ask(request, 0).await.error_code, denied);
    assert_eq!(running.server.broker().api_keys().list().len(), 1);
}

fn all_acls() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

#[tokio::test]
async fn one_closed_topic_does_not_close_the_others() {
    let running = start().await;
    running.topic("open", 1);
    running.topic("closed", 1);
    let key = running.key(Rights::None);
    assert_eq!(create(&running, vec![acl(&key, ALLOW, WRITE, TOPIC, "open")]).await, [0]);
    let mut client = running.log_in(&key).await;
    let topic = |topic: &str| {
        let data = PartitionProduceData::default().with_records(Some(batch(&["a"])));
        TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data])
    };
    let request = ProduceRequest::default().with_acks(1).with_timeout_ms(10_000);
    let answer = client.ask(request.with_topic_data(vec![topic("closed"), topic("open")]), 9).await;
    let codes = answer.responses.iter().map(|topic| topic.partition_responses[0].error_code);
    let denied = code(ResponseError::TopicAuthorizationFailed);
    assert_eq!(codes.collect::<Vec<_>>(), [denied, 0]);
}

#[tokio::test]
async fn closed_topics_and_groups_are_not_to_be_seen() {
    let running = start().await;
    running.topic("open", 1);
    running.topic("closed", 1);
    let key = running.key(Rights::None);
    let acls = vec![
        acl(&key, ALLOW, DESCRIBE, TOPIC, "open"),
        acl(&key, ALLOW, DESCRIBE, TOPIC, "missing"),
    ];
    assert_eq!(create(&running, acls).await, [0, 0]);
    let mut admin = running.connect().await;
    assert_eq!(commit(&mut admin, "closed").await, 0);
    let mut client = running.log_in(&key).await;

    let all = client.ask(MetadataRequest::default().with_topics(None), 9).await;
    let names: Vec<_> = all.topics.iter().filter_map(|it| it.name.clone()).collect();
    assert_eq!(names, [name("open")]);
    assert_eq!(client.ask(ListGroupsRequest::default(), 4).await.groups.len(), 0);
    assert_eq!(admin.ask(ListGroupsRequest::default(), 4).await.groups.len(), 1);

    // Asked for by name, closed topics look the same whether they exist or not.
    let topics = ["open", "closed", "nowhere", "missing"];
    let asked = topics.map(|it| MetadataRequestTopic::default().with_name(Some(name(it))));
    let request = MetadataRequest::default().with_topics(Some(asked.to_vec()));
    let request = request.with_allow_auto_topic_creation(true);
    let request = request
        .with_include_topic_authorized_operations(true)
        .with_include_cluster_authorized_operations(true);
    let answer = client.ask(request.clone(), 9).await;
    let codes: Vec<_> = answer.topics.iter().map(|it| it.error_code).collect();
    let denied = code(ResponseError::TopicAuthorizationFailed);
    assert_eq!(codes, [0, denied, denied, denied], "nor may it create `missing`");
    assert_eq!(answer.topics[0].topic_authorized_operations, 1 << DESCRIBE);
    assert_eq!(answer.cluster_authorized_operations, 0);
    let answer = admin.ask(request, 9).await;
    assert_eq!(answer.topics[0].topic_authorized_operations, 0b1101_1111_1000);
    assert_eq!(answer.cluster_authorized_operations, 0b1_1111_1010_0000);
}

#[tokio::test]
async fn what_is_denied_wins_and_takes_effect_at_once() {
    let running = start().await;
    running.topic("orders-1", 1);
    let key = running.key(Rights::Cluster);
    let mut client = running.log_in(&key).await;
    assert_eq!(client.produce("orders-1", 0, batch(&["a"]), 1).await.error_code, 0);
    let denial = acl(&key, DENY, WRITE, TOPIC, "orders-").with_resource_pattern_type(PREFIXED);
    assert_eq!(create(&running, vec![denial]).await, [0]);
    let denied = code(ResponseError::TopicAuthorizationFailed);
    assert_eq!(client.produce("orders-1", 0, batch(&["b"]), 1).await.error_code, denied);

    let mut admin = running.connect().await;
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(TOPIC)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(PREFIXED)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(DENY);
    let answer = admin.ask(DeleteAclsRequest::default().with_filters(vec![filter]), 3).await;
    assert_eq!(answer.filter_results[0].matching_acls[0].resource_name.as_str(), "orders-");
    assert_eq!(client.produce("orders-1", 0, batch(&["c"]), 1).await.error_code, 0);
}

#[tokio::test]
async fn clients_without_authentication_are_bound_by_denials_too() {
    let running = start().await;
    running.topic("orders", 1);
    let everybody = NewApiKey { key: "*".to_owned(), secret: String::new() };
    assert_eq!(create(&running, vec![acl(&everybody, DENY, WRITE, TOPIC, "orders")]).await, [0]);
    let mut client = running.connect().await;
    let denied = code(ResponseError::TopicAuthorizationFailed);
    assert_eq!(client.produce("orders", 0, batch(&["a"]), 1).await.error_code, denied);
}

#[tokio::test]
async fn super_users_may_do_everything() {
    let running = start_settled(|config| {
        config.security.authorizer.super_users = vec![Principal::user("ANONYMOUS")];
        config.security.authorizer.allow_anonymous_if_not_denied = false;
    })
    .await;
    running.topic("orders", 1);
    let anonymous = NewApiKey { key: "ANONYMOUS".to_owned(), secret: String::new() };
    assert_eq!(create(&running, vec![acl(&anonymous, DENY, ALL, TOPIC, "*")]).await, [0]);
    let mut client = running.connect().await;
    assert_eq!(client.produce("orders", 0, batch(&["a"]), 1).await.error_code, 0);
}

#[tokio::test]
async fn acls_are_told_by_resource_and_survive_a_restart() {
    let running = start().await;
    let key = running.key(Rights::None);
    let acls = vec![
        acl(&key, ALLOW, READ, TOPIC, "orders"),
        acl(&key, ALLOW, WRITE, TOPIC, "orders"),
        acl(&key, ALLOW, READ, TOPIC, "orders"),
        acl(&key, ALLOW, READ, GROUP, "readers").with_host(text("10.0.0.1")),
    ];
    assert_eq!(create(&running, acls).await, [0; 4]);
    let mut admin = running.connect().await;
    let before = admin.ask(all_acls(), 3).await;
    let counts: Vec<_> = before.resources.iter().map(|it| it.acls.len()).collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(before.resources[1].acls[0].host.as_str(), "10.0.0.1");
    let Running { server, folder } = running;
    server.shutdown().await.unwrap();
    let server = Server::start(config(folder.path())).await.unwrap();
    let mut admin = Client::to(server.address()).await;
    assert_eq!(admin.ask(all_acls(), 3).await, before);
}

#[tokio::test]
async fn acls_that_mean_nothing_are_refused() {
    let running = start().await;
    let key = running.key(Rights::None);
    let good = || acl(&key, ALLOW, READ, TOPIC, "orders");
    let bad = vec![
        good().with_resource_type(1),
        good().with_resource_type(99),
        good().with_resource_name(text("")),
        good().with_resource_type(CLUSTER),
        good().with_resource_pattern_type(2),
        good().with_principal(text("app")),
        good().with_operation(1),
        good().with_permission_type(1),
        good().with_host(text(&"h".repeat(5000))),
    ];
    let invalid = code(ResponseError::InvalidRequest);
    assert_eq!(create(&running, bad).await, [invalid; 9]);
    let mut admin = running.connect().await;
    assert_eq!(admin.ask(all_acls(), 3).await.resources.len(), 0);
    for filter in [
        all_acls().with_resource_type_filter(0),
        all_acls().with_pattern_type_filter(0),
        all_acls().with_operation(99),
        all_acls().with_permission_type(0),
        all_acls().with_principal_filter(Some(text("app"))),
    ] {
        assert_eq!(admin.ask(filter, 3).await.error_code, invalid);
    }
}
