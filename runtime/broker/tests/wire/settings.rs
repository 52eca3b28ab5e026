//! What administrators change while the broker runs: settings of topics, records, offsets.

use gristmill_broker::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, DeleteRecordsRequest, DescribeConfigsRequest, DescribeLogDirsRequest,
    FindCoordinatorRequest, IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest,
    OffsetDeleteRequest, alter_configs_request, incremental_alter_configs_request,
};

use crate::client::{Client, Running, batch, config, name, start, text};
use crate::groups::{commit, committed, enter, group};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

type Change<'a> = (&'a str, i8, Option<&'a str>);

async fn alter(
    client: &mut Client,
    topic: &str,
    changes: &[Change<'_>],
    validate_only: bool,
) -> i16 {
    alter_resource(client, (TOPIC, topic), changes, validate_only).await
}

async fn alter_resource(
    client: &mut Client,
    (resource_type, resource): (i8, &str),
    changes: &[Change<'_>],
    validate_only: bool,
) -> i16 {
    let change = |(name, operation, value): &Change<'_>| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    client.ask(request, 1).await.responses[0].error_code
}

fn setting(running: &Running, name: &str) -> Option<String> {
    running.server.broker().topic("t").unwrap().configs().get(name).cloned()
}

#[tokio::test]
async fn settings_change_at_once_and_stay_over_a_restart() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    let broker = running.server.broker();
    assert_eq!(client.produce("t", 0, batch(&["small enough"]), -1).await.error_code, 0);
    let changes = [("max.message.bytes", 0, Some("50")), ("retention.ms", 0, Some("1000"))];
    assert_eq!(alter(&mut client, "t", &changes, true).await, 0);
    assert_eq!(setting(&running, "retention.ms"), None, "only validated");
    assert_eq!(alter(&mut client, "t", &changes, false).await, 0);
    let refused = client.produce("t", 1, batch(&["too large now"]), -1).await;
    assert_eq!(refused.error_code, ResponseError::MessageTooLarge.code());
    assert_eq!(broker.log("t", 1).unwrap().config().retention_ms, 1000);

    assert_eq!(alter(&mut client, "t", &[("max.message.bytes", 1, None)], false).await, 0);
    assert_eq!(client.produce("t", 1, batch(&["fits again"]), -1).await.error_code, 0);
    let policy = [("cleanup.policy", 2, Some("compact"))];
    assert_eq!(alter(&mut client, "t", &policy, false).await, 0);
    assert_eq!(setting(&running, "cleanup.policy").unwrap(), "delete,compact");
    let policy = [("cleanup.policy", 3, Some("delete"))];
    assert_eq!(alter(&mut client, "t", &policy, false).await, 0);
    assert_eq!(setting(&running, "cleanup.policy").unwrap(), "compact");

    let Running { server, folder } = running;
    server.shutdown().await.unwrap();
    let server = gristmill_broker::Server::start(config(folder.path())).await.unwrap();
    let topic = server.broker().topic("t").unwrap();
    assert_eq!(topic.configs().len(), 2);
    let log = &topic.partitions()[0];
    assert!(log.config().cleanup_compact && log.config().retention_ms == 1000);
}

#[tokio::test]
async fn wrong_settings_are_refused_whole() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let invalid = ResponseError::InvalidConfig.code();
    let bad_request = ResponseError::InvalidRequest.code();
    let good = ("retention.ms", 0, Some("1"));
    for (wrong, error) in [
        (("retention.ms", 0, Some("soon")), bad_request), // named twice
        (("no.such.setting", 0, Some("1")), invalid),
        (("segment.bytes", 0, Some("1")), invalid),
        (("segment.bytes", 0, None), bad_request),
        (("segment.bytes", 2, Some("100")), invalid), // not a list
        (("segment.bytes", 9, Some("100")), bad_request),
    ] {
        assert_eq!(alter(&mut client, "t", &[good, wrong], false).await, error, "{wrong:?}");
    }
    assert_eq!(setting(&running, "retention.ms"), None);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(alter(&mut client, "nothing", &[good], false).await, unknown);
}

#[tokio::test]
async fn the_old_request_replaces_all_settings() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    assert_eq!(alter(&mut client, "t", &[("segment.ms", 0, Some("9"))], false).await, 0);
    let replacement = |resource_type, resource_name| {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.bytes"))
            .with_value(Some(text("5")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(text(resource_name))
            .with_configs(vec![config]);
        AlterConfigsRequest::default().with_resources(vec![resource])
    };
    let response = client.ask(replacement(TOPIC, "t"), 2).await;
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(setting(&running, "retention.bytes").unwrap(), "5");
    assert_eq!(setting(&running, "segment.ms"), None);
    let response = client.ask(replacement(BROKER, "1"), 2).await;
    let refused = ResponseError::InvalidRequest.code();
    assert_eq!(response.responses[0].error_code, refused, "not the broker's name for it");
}

/// The value that counts of one setting, and where it and those behind it come from.
async fn described(
    client: &mut Client,
    (resource_type, resource): (i8, &str),
    setting: &str,
) -> Option<(String, Vec<i8>)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(setting)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = client.ask(request.with_include_synonyms(true), 4).await;
    let result = response.results[0].configs.first()?;
    let sources = result.synonyms.iter().map(|it| it.source).collect();
    assert_eq!(Some(&result.synonyms[0].value), Some(&result.value));
    Some((result.value.as_ref()?.to_string(), sources))
}

#[tokio::test]
async fn topics_that_say_nothing_follow_the_broker_at_once_and_over_a_restart() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let (this, all) = ((BROKER, "1"), (BROKER, ""));
    let bytes = |value| [("message.max.bytes", 0, Some(value))];
    assert_eq!(alter_resource(&mut client, all, &bytes("50"), true).await, 0);
    assert_eq!(client.produce("t", 0, batch(&["only validated"]), -1).await.error_code, 0);
    assert_eq!(alter_resource(&mut client, all, &bytes("50"), false).await, 0);
    let refused = client.produce("t", 0, batch(&["too large now"]), -1).await;
    assert_eq!(refused.error_code, ResponseError::MessageTooLarge.code());
    assert_eq!(alter_resource(&mut client, this, &bytes("1000"), false).await, 0);
    assert_eq!(client.produce("t", 0, batch(&["fits again"]), -1).await.error_code, 0);
    let expected = Some(("1000".to_owned(), vec![2, 3, 5]));
    let topics_own = (TOPIC, "t");
    assert_eq!(described(&mut client, topics_own, "max.message.bytes").await, expected);
    assert_eq!(described(&mut client, this, "message.max.bytes").await, expected);
    let expected = Some(("50".to_owned(), vec![3]));
    assert_eq!(described(&mut client, all, "message.max.bytes").await, expected);
    assert_eq!(described(&mut client, all, "log.retention.ms").await, None);

    let append = [("log.cleanup.policy", 2, Some("compact"))];
    assert_eq!(alter_resource(&mut client, this, &append, false).await, 0);
    let expected = Some(("delete,compact".to_owned(), vec![2, 5]));
    assert_eq!(described(&mut client, topics_own, "cleanup.policy").await, expected);

    let Running { server, folder } = running;
    server.shutdown().await.unwrap();
    let server = gristmill_broker::Server::start(config(folder.path())).await.unwrap();
    let log = server.broker().log("t", 0).unwrap();
    assert!(log.config().cleanup_compact && log.config().message_bytes_max == 1000);
}

#[tokio::test]
async fn connections_from_one_address_are_limited_while_the_broker_runs() {
    let running = start().await;
    let mut client = running.connect().await;
    let limit = [("max.connections.per.ip", 0, Some("1"))];
    assert_eq!(alter_resource(&mut client, (BROKER, "1"), &limit, false).await, 0);
    assert!(running.connect().await.is_closed().await);
    let none = [("max.connections.per.ip", 1, None)];
    assert_eq!(alter_resource(&mut client, (BROKER, "1"), &none, false).await, 0);
    let mut another = running.connect().await;
    assert!(described(&mut another, (BROKER, "1"), "broker.id").await.is_some());
}

#[tokio::test]
async fn what_the_broker_cannot_change_is_refused() {
    let running = start().await;
    let mut client = running.connect().await;
    let bad_request = ResponseError::InvalidRequest.code();
    let retention = ("log.retention.ms", 0, Some("5000"));
    for (resource, change, error) in [
        ("1", ("num.partitions", 0, Some("3")), bad_request),
        ("1", ("log.retention.ms", 0, Some("soon")), bad_request),
        ("1", ("log.retention.ms", 2, Some("5")), ResponseError::InvalidConfig.code()),
        ("2", retention, bad_request),
        ("one", retention, bad_request),
    ] {
        let altered = alter_resource(&mut client, (BROKER, resource), &[change], false).await;
        assert_eq!(altered, error, "{resource} {change:?}");
    }
    assert_eq!(alter_resource(&mut client, (8, "1"), &[retention], false).await, bad_request);
}

/// With `cleanup.policy=delete` committed offsets and transactions would go after a week.
#[tokio::test]
async fn the_brokers_own_topics_keep_their_settings() {
    let running = start().await;
    let mut client = running.connect().await;
    client.ask(FindCoordinatorRequest::default().with_key(text("g")), 1).await;
    let broker = running.server.broker();
    let refused = ResponseError::InvalidTopicException;
    let change = [("cleanup.policy", 0, Some("delete"))];
    assert_eq!(alter(&mut client, CONSUMER_OFFSETS, &change, false).await, refused.code());
    assert_eq!(delete_records(&mut client, CONSUMER_OFFSETS, -1).await.0, refused.code());
    let created = broker.create_topic(TRANSACTION_STATE, Some(5), Default::default());
    assert_eq!(created.unwrap_err().error, refused);
    let grown = broker.create_partitions(CONSUMER_OFFSETS, 2);
    assert_eq!(grown.unwrap_err().error, refused);
}

async fn delete_records(client: &mut Client, topic: &str, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic));
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic.with_partitions(vec![partition])])
        .with_timeout_ms(1000);
    let response = client.ask(request, 2).await;
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.low_watermark)
}

#[tokio::test]
async fn records_below_an_offset_are_deleted() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a", "b", "c"]), -1).await;
    assert_eq!(delete_records(&mut client, "t", 2).await, (0, 2));
    assert_eq!(delete_records(&mut client, "t", 1).await, (0, 2), "never backwards");
    let out = ResponseError::OffsetOutOfRange.code();
    for offset in [4, -2] {
        assert_eq!(delete_records(&mut client, "t", offset).await, (out, -1));
    }
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(delete_records(&mut client, "nothing", 0).await, (unknown, -1));
    assert_eq!(alter(&mut client, "t", &[("cleanup.policy", 0, Some("compact"))], false).await, 0);
    let refused = ResponseError::PolicyViolation.code();
    assert_eq!(delete_records(&mut client, "t", -1).await, (refused, -1));
    assert_eq!(alter(&mut client, "t", &[("cleanup.policy", 1, None)], false).await, 0);
    assert_eq!(delete_records(&mut client, "t", -1).await, (0, 3));
}

fn delete_offset(partition: i32) -> OffsetDeleteRequest {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
    let topic = OffsetDeleteRequestTopic::default().with_name(name("t"));
    let topics = vec![topic.with_partitions(vec![partition])];
    OffsetDeleteRequest::default().with_group_id(group()).with_topics(topics)
}

#[tokio::test]
async fn committed_offsets_are_deleted_one_by_one() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    let not_found = ResponseError::GroupIdNotFound.code();
    assert_eq!(client.ask(delete_offset(0), 0).await.error_code, not_found);
    for partition in 0..2 {
        client.ask(commit("t", partition, 5, ""), 8).await;
    }
    let response = client.ask(delete_offset(0), 0).await;
    assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(committed(&mut client, "t", 0).await.0, -1);
    assert_eq!(committed(&mut client, "t", 1).await.0, 5);
    // The members of the tests are no consumers that say what they subscribe to.
    enter(&mut client).await;
    let refused = client.ask(delete_offset(1), 0).await;
    assert_eq!(refused.error_code, ResponseError::NonEmptyGroup.code());
}

#[tokio::test]
async fn the_data_folder_is_described_and_nothing_moves() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    client.produce("t", 1, batch(&["a"]), -1).await;
    let all = client.ask(DescribeLogDirsRequest::default().with_topics(None), 4).await;
    let [folder] = all.results.as_slice() else { panic!("not one folder") };
    assert_eq!(folder.log_dir.as_str(), running.folder.path().to_str().unwrap());
    let sizes: Vec<i64> = folder.topics[0].partitions.iter().map(|it| it.partition_size).collect();
    assert!(sizes[0] == 0 && sizes[1] > 60, "{sizes:?}");
    let none = client.ask(ListPartitionReassignmentsRequest::default(), 0).await;
    assert_eq!((none.error_code, none.topics.len()), (0, 0));
}
