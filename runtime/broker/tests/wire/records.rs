//! Produce, Fetch, ListOffsets and producer ids.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gristmill_broker::{Durability, log::batch_builder::BatchBuilder};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, batch, batch_of, name, produce_request, start, start_with, values};

pub(crate) fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

pub(crate) fn only_partition(mut response: FetchResponse) -> PartitionData {
    response.responses.remove(0).partitions.remove(0)
}

pub(crate) async fn fetched(client: &mut Client, topic: &str, offset: i64) -> Vec<(i64, String)> {
    let response = client.ask(fetch_request(topic, offset), 12).await;
    values(only_partition(response).records.unwrap())
}

#[tokio::test]
async fn what_was_produced_is_fetched_byte_for_byte() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let sent = batch(&["a", "b", "c"]);
    let answer = client.produce("t", 0, sent.clone(), 1).await;
    assert_eq!((answer.error_code, answer.base_offset, answer.log_start_offset), (0, 0, 0));
    let answer = client.produce("t", 0, batch(&["d"]), -1).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 3));
    let partition = only_partition(client.ask(fetch_request("t", 0), 12).await);
    assert_eq!(partition.high_watermark, 4);
    let records = partition.records.unwrap();
    assert_eq!(records[16..sent.len()], sent[16..], "all but offset and leader epoch");
    let all: Vec<_> = values(records).into_iter().map(|(_, value)| value).collect();
    assert_eq!(all, ["a", "b", "c", "d"]);
}

/// A consumer that skipped the batch around its offset would hang for ever.
#[tokio::test]
async fn a_fetch_inside_a_batch_returns_the_whole_batch() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a", "b", "c"]), 1).await;
    assert_eq!(fetched(&mut client, "t", 1).await.len(), 3);
}

#[tokio::test]
async fn at_least_one_batch_comes_even_above_every_limit() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let large = "x".repeat(100_000);
    client.produce("t", 0, batch(&[&large]), 1).await;
    let mut request = fetch_request("t", 0).with_max_bytes(1);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let records = only_partition(client.ask(request, 12).await).records.unwrap();
    assert_eq!(values(records).len(), 1);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_record() {
    let running = start().await;
    running.topic("t", 1);
    let mut consumer = running.connect().await;
    let request = fetch_request("t", 0).with_max_wait_ms(30_000);
    let waiting = tokio::spawn(async move { consumer.ask(request, 12).await });
    let mut producer = running.connect().await;
    let begun = Instant::now();
    producer.produce("t", 0, batch(&["a"]), 1).await;
    let response = waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(values(only_partition(response).records.unwrap()), [(0, "a".to_owned())]);
}

#[tokio::test]
async fn a_long_poll_without_records_ends_in_time_and_empty() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let begun = Instant::now();
    let response = client.ask(fetch_request("t", 0).with_max_wait_ms(120), 12).await;
    assert!(begun.elapsed() >= Duration::from_millis(120));
    assert!(only_partition(response).records.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_poll_waits_for_as_many_bytes_as_it_was_asked() {
    let running = start().await;
    running.topic("t", 1);
    let mut consumer = running.connect().await;
    let request = fetch_request("t", 0).with_max_wait_ms(30_000).with_min_bytes(2_000);
    let waiting = tokio::spawn(async move { consumer.ask(request, 12).await });
    let mut producer = running.connect().await;
    for _ in 0..3 {
        producer.produce("t", 0, batch(&[&"x".repeat(900)]), 1).await;
    }
    let records = only_partition(waiting.await.unwrap()).records.unwrap();
    assert!(records.len() >= 2_000, "{} bytes", records.len());
}

#[tokio::test]
async fn fetches_are_refused_with_kafkas_errors() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a"]), 1).await;
    let mut future_epoch = fetch_request("t", 0);
    future_epoch.topics[0].partitions[0].current_leader_epoch = 5;
    let mut no_partition = fetch_request("t", 0);
    no_partition.topics[0].partitions[0].partition = 7;
    let cases = [
        (fetch_request("t", 2), ResponseError::OffsetOutOfRange),
        (fetch_request("t", -1), ResponseError::OffsetOutOfRange),
        (fetch_request("unknown", 0), ResponseError::UnknownTopicOrPartition),
        (no_partition, ResponseError::UnknownTopicOrPartition),
        (future_epoch, ResponseError::UnknownLeaderEpoch),
    ];
    for (request, expected) in cases {
        let partition = only_partition(client.ask(request.clone(), 12).await);
        assert_eq!(partition.error_code, expected.code(), "{request:?}");
    }
    let by_id = client.ask(
        {
            let mut request = fetch_request("t", 0);
            request.topics[0].topic = name("");
            request.topics[0].topic_id = uuid_of(9);
            request
        },
        13,
    );
    let partition = only_partition(by_id.await);
    assert_eq!(partition.error_code, ResponseError::UnknownTopicId.code());
    let foreign = fetch_request("t", 0).with_session_id(77).with_session_epoch(1);
    let foreign = client.ask(foreign, 12).await;
    assert_eq!(foreign.error_code, ResponseError::FetchSessionIdNotFound.code());
}

#[tokio::test]
async fn a_session_fetches_what_is_new_without_naming_it() {
    let running = start().await;
    running.topic("t", 2);
    let mut client = running.connect().await;
    let first = fetch_request("t", 0).with_session_id(0).with_session_epoch(0);
    let response = client.ask(first, 11).await;
    let id = response.session_id;
    assert!(response.error_code == 0 && id > 0);
    assert_eq!(response.responses[0].partitions.len(), 1);
    let go_on = |epoch| {
        FetchRequest::default()
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_max_wait_ms(0)
            .with_max_bytes(1 << 20)
    };
    let nothing = client.ask(go_on(1), 11).await;
    assert_eq!((nothing.session_id, nothing.responses.len()), (id, 0));
    client.produce("t", 0, batch(&["a", "b"]), -1).await;
    let news = only_partition(client.ask(go_on(2), 11).await);
    assert_eq!((news.partition_index, values(news.records.unwrap()).len()), (0, 2));
    let stale = client.ask(go_on(2), 11).await;
    assert_eq!(stale.error_code, ResponseError::InvalidFetchSessionEpoch.code());
}

fn uuid_of(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

#[tokio::test]
async fn a_topic_can_be_fetched_by_its_id() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.produce("t", 0, batch(&["a"]), 1).await;
    let metadata = client.ask(MetadataRequest::default().with_topics(None), 12).await;
    let mut request = fetch_request("", 0);
    request.topics[0].topic_id = metadata.topics[0].topic_id;
    for version in [13, 17] {
        let records = only_partition(client.ask(request.clone(), version).await).records.unwrap();
        assert_eq!(values(records), [(0, "a".to_owned())]);
    }
}

#[tokio::test]
async fn records_are_refused_with_kafkas_errors() {
    let running = start_with(|config| config.message_bytes_max = 1_000).await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let mut damaged = batch(&["a"]).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let cases = [
        ("t", 5, batch(&["a"]), ResponseError::UnknownTopicOrPartition),
        ("unknown", 0, batch(&["a"]), ResponseError::UnknownTopicOrPartition),
        ("t", 0, batch(&[&"x".repeat(2_000)]), ResponseError::MessageTooLarge),
        ("t", 0, Bytes::from(damaged), ResponseError::CorruptMessage),
        ("t", 0, Bytes::from_static(b"nonsense"), ResponseError::CorruptMessage),
        ("t", 0, Bytes::new(), ResponseError::InvalidRecord),
    ];
    for (topic, partition, records, expected) in cases {
        let answer = client.produce(topic, partition, records, -1).await;
        assert_eq!(answer.error_code, expected.code(), "{expected}");
        assert!(answer.error_message.is_some() && answer.base_offset == -1);
    }
    let answer = client.produce("t", 0, batch(&["a"]), 3).await;
    assert_eq!(answer.error_code, ResponseError::InvalidRequiredAcks.code());
    assert_eq!(fetched(&mut client, "t", 0).await, [], "nothing of it was kept");
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_last_record_of_each_key() {
    let running = start_with(|config| config.compaction_check_ms = 10).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    running.server.broker().create_topic("t", Some(1), configs).unwrap();
    let mut client = running.connect().await;
    for value in ["one", "two", "three"] {
        assert_eq!(client.produce("t", 0, batch(&[value]), -1).await.error_code, 0);
    }
    // The last one is in the active segment, the one before is the last that was compacted.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let mut seen = fetched(&mut client, "t", 0).await;
        if let Some(behind) = seen.last().map(|(offset, _)| offset + 1) {
            seen.extend(fetched(&mut client, "t", behind).await);
        }
        if seen == [(1, "two".to_owned()), (2, "three".to_owned())] {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "still there: {seen:?}");
        tokio::task::yield_now().await;
    }
    running.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_compacted_topic_takes_no_record_without_a_key() {
    let running = start().await;
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    running.server.broker().create_topic("t", Some(1), configs).unwrap();
    let mut keyless = BatchBuilder::new();
    keyless.push(1000, None, Some(b"value"));
    let mut client = running.connect().await;
    let answer = client.produce("t", 0, keyless.build(), 1).await;
    assert_eq!(answer.error_code, ResponseError::InvalidRecord.code());
}

#[tokio::test]
async fn a_resent_batch_is_answered_again_and_kept_once() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let id = client.ask(InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    assert_eq!((id.error_code, id.producer_epoch), (0, 0));
    let other = client.ask(InitProducerIdRequest::default().with_transactional_id(None), 4).await;
    assert_ne!(id.producer_id, other.producer_id);
    let first = batch_of(id.producer_id.0, 0, &["a", "b"]);
    for _ in 0..2 {
        let answer = client.produce("t", 0, first.clone(), -1).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    }
    let gap = client.produce("t", 0, batch_of(id.producer_id.0, 5, &["d"]), -1).await;
    assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    let next = client.produce("t", 0, batch_of(id.producer_id.0, 2, &["c"]), -1).await;
    assert_eq!((next.error_code, next.base_offset), (0, 2));
    assert_eq!(fetched(&mut client, "t", 0).await.len(), 3);
}

#[tokio::test]
async fn requests_without_waiting_are_answered_in_order() {
    for durability in [Durability::PageCache, Durability::Fsync] {
        let running = start_with(|config| config.durability = durability).await;
        running.topic("t", 1);
        let mut client = running.connect().await;
        for number in 0..20 {
            let request = produce_request("t", 0, batch(&[&number.to_string()]), -1);
            client.send(request, 9).await;
        }
        client.send(fetch_request("t", 0).with_max_wait_ms(5_000), 12).await;
        for number in 0..20 {
            let mut response = client.receive::<ProduceRequest>(9).await;
            let answer = response.responses.remove(0).partition_responses.remove(0);
            assert_eq!((answer.error_code, answer.base_offset), (0, number));
        }
        client.receive::<FetchRequest>(12).await;
        assert_eq!(fetched(&mut client, "t", 0).await.len(), 20);
    }
}

#[tokio::test]
async fn acks_0_has_no_answer_and_an_error_closes_the_connection() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    client.send(produce_request("t", 0, batch(&["a"]), 0), 9).await;
    // The next answer is that of the next request.
    assert_eq!(fetched(&mut client, "t", 0).await, [(0, "a".to_owned())]);
    client.send(produce_request("unknown", 0, batch(&["a"]), 0), 9).await;
    assert!(client.is_closed().await);
}

async fn listed(client: &mut Client, timestamp: i64, version: i16) -> (i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let mut response = client.ask(request, version).await;
    let answer = response.topics.remove(0).partitions.remove(0);
    assert_eq!(answer.error_code, 0);
    (answer.timestamp, answer.offset)
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    assert_eq!(listed(&mut client, -1, 7).await, (-1, 0));
    assert_eq!(listed(&mut client, -3, 7).await, (-1, -1), "no record, no largest time");
    client.produce("t", 0, batch(&["a", "b", "c"]), 1).await; // times 1000 to 1002
    client.produce("t", 0, batch(&["d"]), 1).await; // time 1000
    let cases = [
        (-1, (-1, 4)),
        (-2, (-1, 0)),
        (0, (1000, 0)),
        (1001, (1001, 1)),
        (1002, (1002, 2)),
        (1003, (-1, -1)),
        (-3, (1002, 2)),
        (-4, (-1, 0)),
        (-5, (-1, -1)),
    ];
    for (timestamp, expected) in cases {
        assert_eq!(listed(&mut client, timestamp, 9).await, expected, "time {timestamp}");
    }
    assert_eq!(listed(&mut client, 1001, 1).await, (1001, 1));
}

#[tokio::test]
async fn several_frames_in_one_packet_and_one_frame_in_many_are_both_read() {
    let running = start().await;
    running.topic("t", 1);
    let mut frame = vec![0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 1, 0, 4];
    frame.extend_from_slice(b"test");
    let mut client = running.connect().await;
    client.stream.write_all(&frame.repeat(3)).await.unwrap();
    for _ in 0..3 {
        client.frame().await;
    }
    for byte in frame {
        client.stream.write_all(&[byte]).await.unwrap();
    }
    client.frame().await;
}
