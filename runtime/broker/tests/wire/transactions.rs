//! Transactions as a client sees them: what readers get, when offsets count, who is fenced.

use std::time::Duration;

use bytes::Bytes;
use gristmill_broker::log::batch_builder::{BatchBuilder, BatchProducer};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, ListTransactionsRequest, OffsetFetchRequest, ProducerId, TransactionalId,
    TxnOffsetCommitRequest,
};
use tokio::time::Instant;

use crate::client::{Client, batch, name, produce_request, start, text, values};
use crate::groups::{committed, group};

/// A producer's id and epoch.
type Us = (ProducerId, i16);

fn id() -> TransactionalId {
    TransactionalId(text("pipeline-1"))
}

fn init(timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

async fn begin(client: &mut Client) -> Us {
    let response = client.ask(init(60_000), 4).await;
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}

fn add(us: Us, partitions: &[i32]) -> AddPartitionsToTxnRequest {
    let topic =
        AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(partitions.into());
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(us.0)
        .with_v3_and_below_producer_epoch(us.1)
        .with_v3_and_below_topics(vec![topic])
}

async fn added(client: &mut Client, us: Us, partitions: &[i32], version: i16) -> Vec<i16> {
    let response = client.ask(add(us, partitions), version).await;
    let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
    results.iter().map(|result| result.partition_error_code).collect()
}

fn records(us: Us, base_sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::with_producer(BatchProducer {
        producer_id: us.0.0,
        producer_epoch: us.1,
        base_sequence,
        is_transactional: true,
    });
    values.iter().for_each(|value| builder.push(1000, None, Some(value.as_bytes())));
    builder.build()
}

async fn produce(client: &mut Client, us: Us, partition: i32, records: Bytes) -> i16 {
    let request = produce_request("t", partition, records, -1).with_transactional_id(Some(id()));
    assert!(us.1 >= 0);
    let response = client.ask(request, 9).await;
    response.responses[0].partition_responses[0].error_code
}

async fn end(client: &mut Client, us: Us, commit: bool, version: i16) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(us.0)
        .with_producer_epoch(us.1)
        .with_committed(commit);
    client.ask(request, version).await.error_code
}

async fn fetch(client: &mut Client, isolation_level: i8) -> PartitionData {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation_level)
        .with_topics(vec![topic]);
    client.ask(request, 12).await.responses.remove(0).partitions.remove(0)
}

/// Data values in fetched bytes; the markers are left out.
fn data(fetched: &PartitionData) -> Vec<String> {
    let mut rest = fetched.records.clone().unwrap();
    let mut found = vec![];
    while !rest.is_empty() {
        let header = gristmill_broker::log::record_batch::Header::parse_whole(&rest).unwrap();
        let one = rest.split_to(header.size_bytes);
        if !header.is_control() {
            found.extend(values(one).into_iter().map(|(_, value)| value));
        }
    }
    found
}

/// What a read_committed consumer makes of a fetch: everything but the aborted transactions. One
/// producer, so all that lies between an aborted start and the next marker is aborted.
fn seen(fetched: &PartitionData) -> Vec<String> {
    let mut rest = fetched.records.clone().unwrap();
    let mut starts: Vec<(ProducerId, i64)> = fetched
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.producer_id, aborted.first_offset))
        .collect();
    let mut found = vec![];
    while !rest.is_empty() {
        let header = gristmill_broker::log::record_batch::Header::parse_whole(&rest).unwrap();
        let one = rest.split_to(header.size_bytes);
        let aborted = starts.iter().position(|(producer_id, first_offset)| {
            producer_id.0 == header.producer_id && *first_offset <= header.base_offset
        });
        match (aborted, header.is_control()) {
            (Some(place), true) => drop(starts.remove(place)),
            (None, false) => found.extend(values(one).into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn committed_records_show_together_and_aborted_ones_never() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    let us = begin(&mut client).await;
    assert_eq!(added(&mut client, us, &[0, 1], 3).await, [0, 0]);
    assert_eq!(produce(&mut client, us, 0, records(us, 0, &["a", "b"])).await, 0);
    client.produce("t", 0, batch(&["plain"]), -1).await;

    let open = fetch(&mut client, 1).await;
    assert_eq!((data(&open).len(), open.last_stable_offset, open.high_watermark), (0, 0, 3));
    assert_eq!(data(&fetch(&mut client, 0).await), ["a", "b", "plain"]);
    let latest = |isolation_level| {
        let asked = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_isolation_level(isolation_level);
        request.with_topics(vec![topic])
    };
    let stable = client.ask(latest(1), 6).await.topics[0].partitions[0].offset;
    let end_offset = client.ask(latest(0), 6).await.topics[0].partitions[0].offset;
    assert_eq!((stable, end_offset), (0, 3));

    assert_eq!(end(&mut client, us, true, 3).await, 0);
    let fetched = fetch(&mut client, 1).await;
    assert_eq!(seen(&fetched), ["a", "b", "plain"]);
    assert_eq!((fetched.last_stable_offset, fetched.high_watermark), (4, 4));

    // The next one begins at once, and is aborted.
    assert_eq!(added(&mut client, us, &[0], 3).await, [0]);
    assert_eq!(produce(&mut client, us, 0, records(us, 2, &["c"])).await, 0);
    assert_eq!(end(&mut client, us, false, 3).await, 0);
    let fetched = fetch(&mut client, 1).await;
    assert_eq!(seen(&fetched), ["a", "b", "plain"]);
    let aborted = fetched.aborted_transactions.clone().unwrap();
    assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (us.0, 4));
    assert_eq!(fetch(&mut client, 0).await.aborted_transactions, None);

    // Asked twice, said twice; the other way round it is an error.
    assert_eq!(end(&mut client, us, false, 3).await, 0);
    let wrong = end(&mut client, us, true, 3).await;
    assert_eq!(wrong, ResponseError::InvalidTxnState.code());
}

async fn commit_offset(client: &mut Client, us: Us, offset: i64) -> i16 {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(us.0)
        .with_producer_epoch(us.1)
        .with_group_id(group());
    let response = client.ask(request, 3).await;
    assert_eq!(response.error_code, 0);
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("in transaction")));
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(group())
        .with_producer_id(us.0)
        .with_producer_epoch(us.1)
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    client.ask(request, 3).await.topics[0].partitions[0].error_code
}

async fn stable(client: &mut Client) -> (i16, i64) {
    let asked =
        OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let asked =
        OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![asked]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
    let response = client.ask(request, 8).await;
    let answer = &response.groups[0].topics[0].partitions[0];
    (answer.error_code, answer.committed_offset)
}

#[tokio::test]
async fn offsets_count_from_the_commit_on_and_vanish_with_an_abort() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let us = begin(&mut client).await;
    assert_eq!(commit_offset(&mut client, us, 5).await, 0);
    assert_eq!(committed(&mut client, "t", 0).await.0, -1);
    let unstable = ResponseError::UnstableOffsetCommit.code();
    assert_eq!(stable(&mut client).await, (unstable, -1));
    assert_eq!(end(&mut client, us, true, 3).await, 0);
    assert_eq!(committed(&mut client, "t", 0).await, (5, "in transaction".to_owned()));
    assert_eq!(stable(&mut client).await, (0, 5));

    assert_eq!(commit_offset(&mut client, us, 9).await, 0);
    assert_eq!(end(&mut client, us, false, 3).await, 0);
    assert_eq!(stable(&mut client).await, (0, 5));
}

#[tokio::test]
async fn a_zombie_is_fenced_in_the_words_of_its_version() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let zombie = begin(&mut client).await;
    assert_eq!(added(&mut client, zombie, &[0], 3).await, [0]);
    assert_eq!(produce(&mut client, zombie, 0, records(zombie, 0, &["lost"])).await, 0);
    let us = begin(&mut client).await;
    assert!(us.0 == zombie.0 && us.1 > zombie.1);
    let fenced = ResponseError::ProducerFenced.code();
    let old_words = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(end(&mut client, zombie, true, 2).await, fenced);
    assert_eq!(end(&mut client, zombie, true, 1).await, old_words);
    assert_eq!(added(&mut client, zombie, &[0], 2).await, [fenced]);
    assert_eq!(added(&mut client, zombie, &[0], 1).await, [old_words]);
    let late = produce(&mut client, zombie, 0, records(zombie, 1, &["late"])).await;
    assert_eq!(late, old_words);
    assert_eq!(added(&mut client, us, &[0], 3).await, [0]);
    assert_eq!(produce(&mut client, us, 0, records(us, 0, &["kept"])).await, 0);
    assert_eq!(end(&mut client, us, true, 3).await, 0);
    assert_eq!(seen(&fetch(&mut client, 1).await), ["kept"]);
}

#[tokio::test]
async fn wrong_requests_get_kafkas_errors_and_change_nothing() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    for timeout_ms in [0, -1, i32::MAX] {
        let refused = client.ask(init(timeout_ms), 4).await;
        assert_eq!(refused.error_code, ResponseError::InvalidTransactionTimeout.code());
    }
    let us = begin(&mut client).await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let not_attempted = ResponseError::OperationNotAttempted.code();
    assert_eq!(added(&mut client, us, &[0, 7], 3).await, [not_attempted, unknown]);
    let invalid = ResponseError::InvalidTxnState.code();
    assert_eq!(produce(&mut client, us, 0, records(us, 0, &["a"])).await, invalid);
    // Without its transactional id in the request.
    let answer = client.produce("t", 0, records(us, 0, &["a"]), -1).await;
    assert_eq!(answer.error_code, invalid);
    assert_eq!(end(&mut client, us, true, 3).await, invalid, "there is none");
    let stranger = (ProducerId(us.0.0 + 1), 0);
    let mapping = ResponseError::InvalidProducerIdMapping.code();
    assert_eq!(added(&mut client, stranger, &[0], 3).await, [mapping]);
    assert_eq!(data(&fetch(&mut client, 0).await).len(), 0);
}

#[tokio::test]
async fn a_transaction_past_its_time_is_aborted_by_the_broker() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let response = client.ask(init(1), 4).await;
    let us = (response.producer_id, response.producer_epoch);
    assert_eq!(added(&mut client, us, &[0], 3).await, [0]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while state(&mut client).await != "CompleteAbort" {
        assert!(Instant::now() < deadline, "it stays open");
        tokio::task::yield_now().await;
    }
    assert_eq!(end(&mut client, us, true, 3).await, ResponseError::ProducerFenced.code());
}

async fn state(client: &mut Client) -> String {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    let response = client.ask(request, 0).await;
    assert_eq!(response.transaction_states[0].error_code, 0);
    response.transaction_states[0].transaction_state.to_string()
}

#[tokio::test]
async fn tools_see_transactions_and_producers() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let us = begin(&mut client).await;
    assert_eq!(state(&mut client).await, "Empty");
    assert_eq!(added(&mut client, us, &[0], 3).await, [0]);
    assert_eq!(produce(&mut client, us, 0, records(us, 0, &["a"])).await, 0);
    assert_eq!(state(&mut client).await, "Ongoing");

    let list = |names: &[&'static str]| {
        let names = names.iter().map(|name| text(name)).collect();
        ListTransactionsRequest::default().with_state_filters(names).with_duration_filter(-1)
    };
    for (names, count) in [(vec![], 1), (vec!["Ongoing"], 1), (vec!["Empty", "Odd"], 0)] {
        let listed = client.ask(list(&names), 1).await;
        assert_eq!(listed.transaction_states.len(), count, "{names:?}");
        assert_eq!(listed.unknown_state_filters.len(), usize::from(names.contains(&"Odd")));
    }
    let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 9]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let described = client.ask(request, 0).await;
    let [known, unknown] = described.topics[0].partitions.as_slice() else { panic!("not two") };
    let producer = &known.active_producers[0];
    assert_eq!((producer.producer_id, producer.current_txn_start_offset), (us.0, 0));
    assert_eq!(unknown.error_code, ResponseError::UnknownTopicOrPartition.code());
    let nobody = TransactionalId(text("nobody"));
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![nobody]);
    let described = client.ask(request, 0).await;
    let not_found = ResponseError::TransactionalIdNotFound.code();
    assert_eq!(described.transaction_states[0].error_code, not_found);
}
