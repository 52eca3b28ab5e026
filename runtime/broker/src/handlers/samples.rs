//! One full request of every kind, for tests that feed the table.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("orders"))
}

fn group() -> GroupId {
    GroupId(text("readers"))
}

fn encoded<M: Encodable>(message: M, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

/// The header and body of a request, without the size.
pub(crate) fn frame(api: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(text("sample")));
    let mut out = BytesMut::new();
    header.encode(&mut out, api.request_header_version(version)).unwrap();
    out.extend_from_slice(body);
    out.freeze()
}

/// A body with every array and string filled that the version has.
pub(crate) fn body(api: ApiKey, version: i16) -> Bytes {
    let v = version;
    match api {
        // Version 3 without the transactional id, which is null.
        ApiKey::Produce if v < 3 => encoded(produce().with_transactional_id(None), 3).slice(2..),
        ApiKey::Produce => encoded(produce(), v),
        ApiKey::Fetch => encoded(fetch(v), v),
        ApiKey::ListOffsets => encoded(list_offsets(), v),
        ApiKey::Metadata => encoded(metadata(v), v),
        ApiKey::OffsetCommit => encoded(offset_commit(v), v),
        ApiKey::OffsetFetch => encoded(offset_fetch(v), v),
        ApiKey::FindCoordinator => encoded(find_coordinator(v), v),
        ApiKey::JoinGroup => encoded(join_group(v), v),
        ApiKey::SyncGroup => encoded(sync_group(v), v),
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default().with_group_id(group());
            let request = request.with_member_id(text("m"));
            encoded(request.with_group_instance_id((v >= 3).then(|| text("i"))), v)
        }
        ApiKey::LeaveGroup => encoded(leave_group(v), v),
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::default().with_groups(vec![group(), group()]);
            encoded(request.with_include_authorized_operations(v >= 3), v)
        }
        ApiKey::ListGroups => {
            let states = if v >= 4 { vec![text("Stable")] } else { vec![] };
            let types = if v >= 5 { vec![text("classic")] } else { vec![] };
            let request = ListGroupsRequest::default().with_states_filter(states);
            encoded(request.with_types_filter(types), v)
        }
        ApiKey::DeleteGroups => {
            encoded(DeleteGroupsRequest::default().with_groups_names(vec![group()]), v)
        }
        ApiKey::ApiVersions => {
            let name = if v >= 3 { text("client") } else { text("") };
            let request = ApiVersionsRequest::default().with_client_software_name(name.clone());
            encoded(request.with_client_software_version(name), v)
        }
        ApiKey::SaslHandshake => {
            encoded(SaslHandshakeRequest::default().with_mechanism(text("PLAIN")), v)
        }
        ApiKey::SaslAuthenticate => {
            let token = Bytes::from_static(b"\0user\0secret");
            encoded(SaslAuthenticateRequest::default().with_auth_bytes(token), v)
        }
        ApiKey::DescribeAcls => encoded(describe_acls(), v),
        ApiKey::CreateAcls => encoded(create_acls(), v),
        ApiKey::DeleteAcls => encoded(delete_acls(), v),
        ApiKey::DescribeUserScramCredentials => {
            let user = UserName::default().with_name(text("app"));
            let request = DescribeUserScramCredentialsRequest::default();
            encoded(request.with_users(Some(vec![user])), v)
        }
        ApiKey::ElectLeaders => {
            let asked = elect_leaders_request::TopicPartitions::default().with_topic(topic());
            let asked = asked.with_partitions(vec![0, 1]);
            encoded(ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked])), v)
        }
        ApiKey::AlterPartitionReassignments => encoded(alter_partition_reassignments(), v),
        ApiKey::DescribeClientQuotas => encoded(describe_client_quotas(), v),
        ApiKey::AlterClientQuotas => encoded(alter_client_quotas(), v),
        ApiKey::AlterUserScramCredentials => encoded(alter_user_scram_credentials(), v),
        ApiKey::CreateTopics => encoded(create_topics(), v),
        ApiKey::DeleteTopics => encoded(delete_topics(v), v),
        ApiKey::CreatePartitions => encoded(create_partitions(), v),
        ApiKey::DescribeConfigs => encoded(describe_configs(), v),
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default().with_transaction_timeout_ms(1);
            encoded(request.with_transactional_id(Some(TransactionalId(text("t")))), v)
        }
        ApiKey::AddPartitionsToTxn => {
            let topic = AddPartitionsToTxnTopic::default().with_name(topic());
            let request = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(text("t")))
                .with_v3_and_below_topics(vec![topic.with_partitions(vec![0, 1])]);
            encoded(request, v)
        }
        ApiKey::AddOffsetsToTxn => {
            let request = AddOffsetsToTxnRequest::default().with_group_id(group());
            encoded(request.with_transactional_id(TransactionalId(text("t"))), v)
        }
        ApiKey::EndTxn => {
            let request = EndTxnRequest::default().with_committed(true);
            encoded(request.with_transactional_id(TransactionalId(text("t"))), v)
        }
        ApiKey::TxnOffsetCommit => encoded(txn_offset_commit(v), v),
        ApiKey::DescribeProducers => {
            let topic = TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0]);
            encoded(DescribeProducersRequest::default().with_topics(vec![topic]), v)
        }
        ApiKey::DescribeTransactions => {
            let ids = vec![TransactionalId(text("t"))];
            encoded(DescribeTransactionsRequest::default().with_transactional_ids(ids), v)
        }
        ApiKey::ListTransactions => {
            let request = ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing")])
                .with_producer_id_filters(vec![ProducerId(1), ProducerId(2)]);
            encoded(request.with_duration_filter(if v >= 1 { 5 } else { -1 }), v)
        }
        ApiKey::DeleteRecords => {
            let partition = DeleteRecordsPartition::default().with_offset(0);
            let topic = DeleteRecordsTopic::default().with_name(topic());
            let topics = vec![topic.with_partitions(vec![partition.clone(), partition])];
            encoded(DeleteRecordsRequest::default().with_topics(topics), v)
        }
        ApiKey::AlterConfigs => encoded(alter_configs(), v),
        ApiKey::IncrementalAlterConfigs => encoded(incremental_alter_configs(), v),
        ApiKey::OffsetDelete => {
            let topic = OffsetDeleteRequestTopic::default().with_name(topic());
            let partitions = vec![OffsetDeleteRequestPartition::default()];
            let request = OffsetDeleteRequest::default().with_group_id(group());
            encoded(request.with_topics(vec![topic.with_partitions(partitions)]), v)
        }
        ApiKey::DescribeLogDirs => {
            let topic = DescribableLogDirTopic::default().with_topic(topic());
            let topics = vec![topic.with_partitions(vec![0, 1])];
            encoded(DescribeLogDirsRequest::default().with_topics(Some(topics)), v)
        }
        ApiKey::ListPartitionReassignments => {
            let topic = ListPartitionReassignmentsTopics::default().with_name(topic());
            let topics = vec![topic.with_partition_indexes(vec![0, 1])];
            encoded(ListPartitionReassignmentsRequest::default().with_topics(Some(topics)), v)
        }
        ApiKey::OffsetForLeaderEpoch => {
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic())
                .with_partitions(vec![OffsetForLeaderPartition::default()]);
            encoded(OffsetForLeaderEpochRequest::default().with_topics(vec![topic]), v)
        }
        ApiKey::DescribeCluster => encoded(DescribeClusterRequest::default(), v),
        other => panic!("no sample of {other:?}: add one"),
    }
}

fn produce() -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"xyz")));
    let topic = TopicProduceData::default().with_name(topic());
    ProduceRequest::default()
        .with_acks(-1)
        .with_transactional_id(Some(TransactionalId(text("t"))))
        .with_topic_data(vec![topic.with_partition_data(vec![partition.clone(), partition])])
}

fn fetch(v: i16) -> FetchRequest {
    let mut partition = FetchPartition::default().with_partition_max_bytes(9);
    let mut topic_asked = FetchTopic::default();
    let mut forgotten = ForgottenTopic::default().with_partitions(vec![1, 2, 3]);
    if v >= 13 {
        (topic_asked.topic_id, forgotten.topic_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
    } else {
        (topic_asked.topic, forgotten.topic) = (topic(), topic());
    }
    let mut request = FetchRequest::default();
    if v >= 17 {
        partition.replica_directory_id = Uuid::from_u128(3);
    }
    if v >= 15 {
        request.replica_state = ReplicaState::default().with_replica_epoch(4);
    }
    if v >= 12 {
        request.cluster_id = Some(text("cluster"));
    }
    if v >= 11 {
        request.rack_id = text("rack");
    }
    if v >= 7 {
        request.forgotten_topics_data = vec![forgotten];
    }
    let partitions = vec![partition.clone(), partition];
    request.with_topics(vec![topic_asked.with_partitions(partitions)])
}

fn list_offsets() -> ListOffsetsRequest {
    let topic = ListOffsetsTopic::default().with_name(topic());
    let partitions = vec![ListOffsetsPartition::default().with_timestamp(-1)];
    ListOffsetsRequest::default().with_topics(vec![topic.with_partitions(partitions)])
}

fn metadata(v: i16) -> MetadataRequest {
    let mut asked = MetadataRequestTopic::default().with_name(Some(topic()));
    if v >= 12 {
        asked.topic_id = Uuid::from_u128(1);
    }
    MetadataRequest::default().with_topics(Some(vec![asked.clone(), asked]))
}

fn offset_commit(v: i16) -> OffsetCommitRequest {
    let partition =
        OffsetCommitRequestPartition::default().with_committed_metadata(Some(text("meta")));
    let topic = OffsetCommitRequestTopic::default().with_name(topic());
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text("m"))
        .with_group_instance_id((v >= 7).then(|| text("i")))
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

fn offset_fetch(v: i16) -> OffsetFetchRequest {
    if v < 8 {
        let topic = OffsetFetchRequestTopic::default().with_name(topic());
        return OffsetFetchRequest::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic.with_partition_indexes(vec![0, 1])]));
    }
    let topic = OffsetFetchRequestTopics::default().with_name(topic());
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id((v >= 9).then(|| text("m")))
        .with_topics(Some(vec![topic.with_partition_indexes(vec![0, 1])]));
    OffsetFetchRequest::default().with_groups(vec![asked])
}

fn txn_offset_commit(v: i16) -> TxnOffsetCommitRequest {
    let partition =
        TxnOffsetCommitRequestPartition::default().with_committed_metadata(Some(text("meta")));
    let topic = TxnOffsetCommitRequestTopic::default().with_name(topic());
    TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text("t")))
        .with_group_id(group())
        .with_member_id(if v >= 3 { text("m") } else { text("") })
        .with_group_instance_id((v >= 3).then(|| text("i")))
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

fn alter_configs() -> AlterConfigsRequest {
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("orders"))
        .with_configs(vec![config]);
    AlterConfigsRequest::default().with_resources(vec![resource])
}

fn incremental_alter_configs() -> IncrementalAlterConfigsRequest {
    let config = incremental_alter_configs_request::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("orders"))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn alter_partition_reassignments() -> AlterPartitionReassignmentsRequest {
    let partition = alter_partition_reassignments_request::ReassignablePartition::default()
        .with_replicas(Some(vec![BrokerId(1)]));
    let topic = alter_partition_reassignments_request::ReassignableTopic::default()
        .with_name(topic())
        .with_partitions(vec![partition]);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
}

fn describe_client_quotas() -> DescribeClientQuotasRequest {
    let component = describe_client_quotas_request::ComponentData::default()
        .with_entity_type(text("user"))
        .with_match(Some(text("app")));
    DescribeClientQuotasRequest::default().with_components(vec![component])
}

fn alter_client_quotas() -> AlterClientQuotasRequest {
    let entity = alter_client_quotas_request::EntityData::default()
        .with_entity_type(text("user"))
        .with_entity_name(Some(text("app")));
    let change = alter_client_quotas_request::OpData::default()
        .with_key(text("producer_byte_rate"))
        .with_value(1024.0);
    let entry = alter_client_quotas_request::EntryData::default()
        .with_entity(vec![entity])
        .with_ops(vec![change]);
    AlterClientQuotasRequest::default().with_entries(vec![entry])
}

fn describe_acls() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(Some(text("orders")))
        .with_pattern_type_filter(3)
        .with_principal_filter(Some(text("User:app")))
        .with_host_filter(Some(text("*")))
        .with_operation(3)
        .with_permission_type(3)
}

fn create_acls() -> CreateAclsRequest {
    let acl = AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text("orders"))
        .with_resource_pattern_type(3)
        .with_principal(text("User:app"))
        .with_host(text("*"))
        .with_operation(3)
        .with_permission_type(3);
    CreateAclsRequest::default().with_creations(vec![acl.clone(), acl])
}

fn delete_acls() -> DeleteAclsRequest {
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(Some(text("orders")))
        .with_pattern_type_filter(3)
        .with_principal_filter(Some(text("User:app")))
        .with_host_filter(Some(text("*")))
        .with_operation(3)
        .with_permission_type(3);
    DeleteAclsRequest::default().with_filters(vec![filter])
}

fn alter_user_scram_credentials() -> AlterUserScramCredentialsRequest {
    let deletion = ScramCredentialDeletion::default().with_name(text("old")).with_mechanism(1);
    let upsertion = ScramCredentialUpsertion::default()
        .with_name(text("app"))
        .with_mechanism(1)
        .with_iterations(4096)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from_static(&[7; 32]));
    AlterUserScramCredentialsRequest::default()
        .with_deletions(vec![deletion])
        .with_upsertions(vec![upsertion])
}

fn find_coordinator(v: i16) -> FindCoordinatorRequest {
    match v {
        ..=3 => FindCoordinatorRequest::default().with_key(text("readers")),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("readers")]),
    }
}

fn join_group(v: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"meta"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_group_instance_id((v >= 5).then(|| text("i")))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_reason((v >= 8).then(|| text("because")))
}

fn sync_group(v: i16) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("m"))
        .with_assignment(Bytes::from_static(b"part"));
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_group_instance_id((v >= 3).then(|| text("i")))
        .with_protocol_type((v >= 5).then(|| text("consumer")))
        .with_protocol_name((v >= 5).then(|| text("range")))
        .with_assignments(vec![assignment])
}

fn leave_group(v: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    if v < 3 {
        return request.with_member_id(text("m"));
    }
    let member = MemberIdentity::default()
        .with_member_id(text("m"))
        .with_group_instance_id(Some(text("i")))
        .with_reason((v >= 5).then(|| text("because")));
    request.with_members(vec![member.clone(), member])
}

fn create_topics() -> CreateTopicsRequest {
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let config =
        CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let asked = CreatableTopic::default()
        .with_name(topic())
        .with_assignments(vec![assignment])
        .with_configs(vec![config]);
    CreateTopicsRequest::default().with_topics(vec![asked])
}

fn delete_topics(v: i16) -> DeleteTopicsRequest {
    if v < 6 {
        return DeleteTopicsRequest::default().with_topic_names(vec![topic()]);
    }
    let asked = DeleteTopicState::default().with_name(Some(topic()));
    DeleteTopicsRequest::default().with_topics(vec![asked.with_topic_id(Uuid::from_u128(1))])
}

fn create_partitions() -> CreatePartitionsRequest {
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let asked = CreatePartitionsTopic::default()
        .with_name(topic())
        .with_count(2)
        .with_assignments(Some(vec![assignment]));
    CreatePartitionsRequest::default().with_topics(vec![asked])
}

fn describe_configs() -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("orders"))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}
