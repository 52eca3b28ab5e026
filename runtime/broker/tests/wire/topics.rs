//! Metadata, topics and their settings.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
};

use crate::client::{batch, name, start, start_with, text};

fn metadata(topic: &str, may_create: bool) -> MetadataRequest {
    let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(may_create)
}

fn creation(topic: &str, partitions: i32) -> CreateTopicsRequest {
    let asked = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(-1);
    CreateTopicsRequest::default().with_topics(vec![asked])
}

#[tokio::test]
async fn an_unknown_topic_is_created_when_a_client_asks_for_it() {
    let running = start_with(|config| config.default_partitions = 3).await;
    let mut client = running.connect().await;
    let refused = client.ask(metadata("auto", false), 12).await;
    let expected = ResponseError::UnknownTopicOrPartition;
    assert_eq!(refused.topics[0].error_code, expected.code());
    let created = client.ask(metadata("auto", true), 12).await;
    let topic = &created.topics[0];
    assert_eq!((topic.error_code, topic.partitions.len()), (0, 3));
    assert!(!topic.topic_id.is_nil());
    let address = running.server.address();
    let us = &created.brokers[0];
    assert_eq!((us.host.as_str(), us.port), ("127.0.0.1", address.port().into()));
    assert_eq!(created.controller_id, us.node_id);
    // Version 0 has no switch: it always creates, and an empty list asks for all topics.
    client.ask(metadata("old", true), 0).await;
    let all = client.ask(MetadataRequest::default().with_topics(Some(vec![])), 0).await;
    assert_eq!(all.topics.len(), 2);
    let none = client.ask(MetadataRequest::default().with_topics(Some(vec![])), 4).await;
    assert_eq!(none.topics.len(), 0);
}

#[tokio::test]
async fn no_topic_is_created_unasked_when_the_broker_is_set_so() {
    let running = start_with(|config| config.auto_create_topics = false).await;
    let mut client = running.connect().await;
    let refused = client.ask(metadata("auto", true), 12).await;
    let expected = ResponseError::UnknownTopicOrPartition;
    assert_eq!(refused.topics[0].error_code, expected.code());
    let wrong = client.ask(metadata("not a name", true), 12).await;
    assert_eq!(wrong.topics[0].error_code, ResponseError::InvalidTopicException.code());
}

#[tokio::test]
async fn an_advertised_address_is_told_to_clients() {
    let running = start_with(|config| {
        config.listeners[0].advertised = Some(("kafka.example".to_owned(), 9999));
    })
    .await;
    let mut client = running.connect().await;
    let response = client.ask(MetadataRequest::default().with_topics(None), 9).await;
    assert_eq!(
        (response.brokers[0].host.as_str(), response.brokers[0].port),
        ("kafka.example", 9999)
    );
}

#[tokio::test]
async fn topics_are_created_and_described_as_asked() {
    let running = start().await;
    let mut client = running.connect().await;
    let mut request = creation("orders", 4);
    let config = |name, value| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    request.topics[0].configs = vec![config("retention.ms", "5000")];
    for version in [2, 5, 7] {
        request.topics[0].name = name(&format!("orders{version}"));
        let response = client.ask(request.clone(), version).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        if version >= 5 {
            assert_eq!(response.topics[0].num_partitions, 4);
            let configs = response.topics[0].configs.clone().unwrap();
            let retention = configs.iter().find(|it| &*it.name == "retention.ms").unwrap();
            assert_eq!(retention.value, Some(text("5000")));
        }
    }
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("orders7"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = client.ask(request, 4).await;
    let configs = &response.results[0].configs;
    assert!(configs.len() > 20);
    let find = |name: &str| configs.iter().find(|it| it.name.as_str() == name).unwrap();
    assert_eq!(find("retention.ms").value, Some(text("5000")));
    assert_eq!(find("retention.ms").config_source, 1);
    assert_eq!(find("cleanup.policy").config_source, 5);
}

#[tokio::test]
async fn the_broker_describes_its_own_settings() {
    let running = start().await;
    let mut client = running.connect().await;
    let resource =
        DescribeConfigsResource::default().with_resource_type(4).with_resource_name(text("1"));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = client.ask(request, 1).await;
    let configs = &response.results[0].configs;
    let partitions = configs.iter().find(|it| &*it.name == "num.partitions").unwrap();
    assert_eq!((partitions.value.clone(), partitions.read_only), (Some(text("1")), true));
}

#[tokio::test]
async fn wrong_topics_are_refused_with_kafkas_errors() {
    let running = start_with(|config| config.partitions_max = 10).await;
    running.topic("there", 1);
    running.topic("a.b", 1);
    let mut client = running.connect().await;
    let mut replicated = creation("replicated", 1);
    replicated.topics[0].replication_factor = 3;
    let mut misconfigured = creation("misconfigured", 1);
    misconfigured.topics[0].configs = vec![
        CreatableTopicConfig::default().with_name(text("nonsense")).with_value(Some(text("1"))),
    ];
    let mut twice = creation("twice", 1);
    twice.topics.push(twice.topics[0].clone());
    let cases = [
        (creation("there", 1), ResponseError::TopicAlreadyExists),
        (creation("a_b", 1), ResponseError::InvalidTopicException),
        (creation("not a name", 1), ResponseError::InvalidTopicException),
        (creation("none", 0), ResponseError::InvalidPartitions),
        (creation("many", 100), ResponseError::InvalidPartitions),
        (replicated, ResponseError::InvalidReplicationFactor),
        (misconfigured, ResponseError::InvalidConfig),
        (twice, ResponseError::InvalidRequest),
    ];
    for (request, expected) in cases {
        let response = client.ask(request, 7).await;
        assert_eq!(response.topics.len(), 1);
        assert_eq!(response.topics[0].error_code, expected.code(), "{expected}");
        assert!(response.topics[0].error_message.is_some());
    }
    assert_eq!(running.server.broker().topics().len(), 2);
    let valid = client.ask(creation("valid", 1).with_validate_only(true), 7).await;
    assert_eq!(valid.topics[0].error_code, 0);
    assert!(running.server.broker().topic("valid").is_none(), "only checked");
}

#[tokio::test]
async fn any_replication_factor_is_accepted_when_the_broker_is_set_so() {
    let running = start_with(|config| config.accept_any_replication_factor = true).await;
    let mut client = running.connect().await;
    let mut request = creation("replicated", 1);
    request.topics[0].replication_factor = 3;
    let response = client.ask(request, 7).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].replication_factor), (0, 1));
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_comes_back_empty_with_another_id() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a"]), 1).await;
    let old_id = running.server.broker().topic("t").unwrap().id();
    let by_id = DeleteTopicState::default().with_name(None).with_topic_id(old_id);
    let response = client.ask(DeleteTopicsRequest::default().with_topics(vec![by_id]), 6).await;
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(response.responses[0].name, Some(name("t")));
    let folders = std::fs::read_dir(running.folder.path()).unwrap();
    let left = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(left, 0);
    let again = DeleteTopicsRequest::default().with_topic_names(vec![name("t")]);
    let response = client.ask(again, 1).await;
    let expected = ResponseError::UnknownTopicOrPartition;
    assert_eq!(response.responses[0].error_code, expected.code());
    running.topic("t", 1);
    let topic = running.server.broker().topic("t").unwrap();
    assert_ne!(topic.id(), old_id);
    assert_eq!(topic.partitions()[0].high_watermark(), 0);
}

#[tokio::test]
async fn partitions_are_added_and_never_taken_away() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a"]), 1).await;
    let grow = |count| {
        let asked = CreatePartitionsTopic::default()
            .with_name(name("t"))
            .with_count(count)
            .with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![asked])
    };
    let response = client.ask(grow(3), 3).await;
    assert_eq!((response.results.len(), response.results[0].error_code), (1, 0));
    for count in [3, 2, 0, -1] {
        let response = client.ask(grow(count), 3).await;
        let expected = ResponseError::InvalidPartitions;
        assert_eq!(response.results[0].error_code, expected.code());
    }
    let topic = running.server.broker().topic("t").unwrap();
    let ends: Vec<i64> = topic.partitions().iter().map(|log| log.high_watermark()).collect();
    assert_eq!(ends, [1, 0, 0]);
}

#[tokio::test]
async fn the_leader_epoch_ends_at_the_end_of_the_log() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a", "b"]), 1).await;
    let asked = |epoch| OffsetForLeaderPartition::default().with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(name("t"))
        .with_partitions(vec![asked(0), asked(1)]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    let response = client.ask(request, 4).await;
    let answers = &response.topics[0].partitions;
    assert_eq!((answers[0].leader_epoch, answers[0].end_offset), (0, 2));
    assert_eq!((answers[1].leader_epoch, answers[1].end_offset), (-1, -1));
}

#[tokio::test]
async fn the_cluster_says_who_it_is() {
    let running = start().await;
    let mut client = running.connect().await;
    let response = client.ask(DescribeClusterRequest::default().with_endpoint_type(1), 1).await;
    assert_eq!(response.cluster_id.as_str(), running.server.broker().cluster_id());
    assert_eq!(response.brokers.len(), 1);
    let controllers = client.ask(DescribeClusterRequest::default().with_endpoint_type(2), 1).await;
    assert_eq!(controllers.error_code, ResponseError::MismatchedEndpointType.code());
}

#[tokio::test]
async fn versions_are_offered_and_odd_software_names_refused() {
    let running = start().await;
    let mut client = running.connect().await;
    let named = |name: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(text(name))
            .with_client_software_version(text("1.0"))
    };
    let response = client.ask(named("wire-test"), 3).await;
    assert_eq!(response.error_code, 0);
    let produce = response.api_keys.iter().find(|it| it.api_key == 0).unwrap();
    assert_eq!(produce.min_version, 0, "old clients take another minimum for no compression");
    let refused = client.ask(named("$$$"), 3).await;
    assert_eq!(refused.error_code, ResponseError::InvalidRequest.code());
    assert!(refused.api_keys.is_empty());
}
