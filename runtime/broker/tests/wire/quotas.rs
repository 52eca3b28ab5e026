//! The limits on connections and memory, and clients' own quotas, each reached.

use std::time::Duration;

use bytes::Bytes;
use gristmill_broker::log::batch_builder::BatchBuilder;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, MetadataRequest,
    alter_client_quotas_request, describe_client_quotas_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::{Client, Running, batch, produce_request, start, start_with, text};
use crate::records::{fetch_request, only_partition};

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

fn batch_of_bytes(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(1000, None, Some(&vec![7; bytes]));
    builder.build()
}

async fn is_served(client: &mut Client) {
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    timeout(DEADLINE, client.ask(request, 12)).await.unwrap();
}

/// True while not a byte of an answer has come.
async fn waits(client: &mut Client) -> bool {
    timeout(Duration::ZERO, client.stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn an_address_with_all_its_connections_gets_another_when_one_goes() {
    let running = start_with(|config| config.connections_per_address_max = 2).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    is_served(&mut first).await;
    is_served(&mut second).await;
    let mut third = running.connect().await;
    assert!(timeout(DEADLINE, third.is_closed()).await.unwrap());
    is_served(&mut second).await;
    drop(first);
    timeout(DEADLINE, async {
        loop {
            let mut next = running.connect().await;
            let request = MetadataRequest::default().with_topics(Some(Vec::new()));
            next.send(request, 12).await;
            if !next.is_closed().await {
                break;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn beyond_all_connections_the_next_waits_until_one_goes() {
    let running = start_with(|config| config.connections_max = 1).await;
    let mut first = running.connect().await;
    is_served(&mut first).await;
    let mut second = running.connect().await; // by the kernel; nobody reads it yet
    second.send(MetadataRequest::default().with_topics(Some(Vec::new())), 12).await;
    is_served(&mut first).await;
    assert!(waits(&mut second).await);
    drop(first);
    timeout(DEADLINE, second.receive::<MetadataRequest>(12)).await.unwrap();
}

/// A request that takes all memory and doesn't arrive holds up large requests, not small ones, and
/// not for longer than a connection may be idle.
#[tokio::test]
async fn without_memory_a_large_request_waits_on_its_socket_until_there_is_some() {
    let running = start_with(|config| {
        config.queued_request_bytes_max = 300 << 10;
        config.idle_ms_max = 2_000;
    })
    .await;
    running.topic("t", 1);
    let mut slow = running.connect().await;
    slow.stream.write_all(&(250_000i32).to_be_bytes()).await.unwrap();
    slow.stream.write_all(&[0; 1000]).await.unwrap();
    is_served(&mut running.connect().await).await; // by now the slow one has been read
    let mut large = running.connect().await;
    let mut small = running.connect().await;
    let produced = large.produce("t", 0, batch_of_bytes(200_000), 1);
    tokio::pin!(produced);
    let small_ones = async {
        for _ in 0..10 {
            is_served(&mut small).await;
        }
    };
    tokio::select! {
        answer = &mut produced => panic!("answered without memory: {answer:?}"),
        () = small_ones => {}
    }
    assert!(timeout(DEADLINE, slow.is_closed()).await.unwrap(), "it never came whole");
    assert_eq!(timeout(DEADLINE, produced).await.unwrap().error_code, 0);
}

async fn topic_of_batches(running: &Running, batches: usize) {
    running.topic("t", 1);
    let mut client = running.connect().await;
    for _ in 0..batches {
        let answer = client.produce("t", 0, batch_of_bytes(MIB - 1000), 1).await;
        assert_eq!(answer.error_code, 0);
    }
}

/// Clients that ask and don't read get no more than there is; others wait for what is left, and are
/// served when the slow ones go.
#[tokio::test]
async fn answers_that_nobody_reads_take_no_more_than_the_limit() {
    let running = start_with(|config| config.fetch_memory_bytes_max = 4 * MIB).await;
    topic_of_batches(&running, 2).await;
    // More than the sockets between us hold by themselves.
    let mut slow: Vec<Client> = Vec::new();
    for _ in 0..12 {
        let mut client = running.connect().await;
        for _ in 0..40 {
            client.send(fetch_request("t", 0), 12).await;
        }
        slow.push(client);
    }
    let mut patient = running.connect().await;
    let answered = |response| !only_partition(response).records.unwrap_or_default().is_empty();
    // No memory is left at some time: whoever doesn't wait gets an answer without records.
    timeout(DEADLINE, async { while answered(patient.ask(fetch_request("t", 0), 12).await) {} })
        .await
        .unwrap();
    is_served(&mut patient).await;
    let waiting = patient.ask(fetch_request("t", 0).with_max_wait_ms(60_000), 12);
    drop(slow);
    assert!(answered(timeout(DEADLINE, waiting).await.unwrap()));
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_and_a_busy_one_is_not() {
    let running = start_with(|config| config.idle_ms_max = 300).await;
    let mut idle = running.connect().await;
    let mut busy = running.connect().await;
    let closed = timeout(DEADLINE, idle.is_closed());
    tokio::pin!(closed);
    loop {
        tokio::select! {
            closed = &mut closed => break assert!(closed.unwrap()),
            () = is_served(&mut busy) => {}
        }
    }
    is_served(&mut busy).await;
}

/// Sets a quota of all clients of a user.
async fn set_quota(client: &mut Client, key: &str, value: Option<f64>) -> i16 {
    let entity = alter_client_quotas_request::EntityData::default()
        .with_entity_type(text("user"))
        .with_entity_name(Some(text("ANONYMOUS")));
    let change = alter_client_quotas_request::OpData::default()
        .with_key(text(key))
        .with_value(value.unwrap_or_default())
        .with_remove(value.is_none());
    let entry = alter_client_quotas_request::EntryData::default()
        .with_entity(vec![entity])
        .with_ops(vec![change]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    client.ask(request, 1).await.entries[0].error_code
}

/// A client over its quota gets its answer with the time to wait, and is not read until that is
/// over; another connection of the same user tells that the broker goes on.
#[tokio::test]
async fn a_client_over_its_quota_is_told_and_held_back() {
    let running = start().await;
    running.topic("t", 1);
    let mut admin = running.connect().await;
    let mut client = running.connect().await;
    assert_eq!(client.ask(produce_request("t", 0, batch(&["a"]), -1), 9).await.throttle_time_ms, 0);
    assert_eq!(set_quota(&mut admin, "producer_byte_rate", Some(1000.0)).await, 0);
    // 10 s are saved up, so 12 kB are 2 s too much.
    let response = client.ask(produce_request("t", 0, batch_of_bytes(12_000), -1), 9).await;
    assert!((2_000..3_000).contains(&response.throttle_time_ms), "{response:?}");
    client.send(MetadataRequest::default().with_topics(Some(Vec::new())), 12).await;
    assert!(waits(&mut client).await);
    is_served(&mut admin).await;
    timeout(DEADLINE, client.receive::<MetadataRequest>(12)).await.unwrap();

    assert_eq!(set_quota(&mut admin, "producer_byte_rate", None).await, 0);
    assert_eq!(set_quota(&mut admin, "consumer_byte_rate", Some(1000.0)).await, 0);
    let response = client.ask(fetch_request("t", 0), 12).await;
    assert!(response.throttle_time_ms > 0, "{response:?}");
    assert!(only_partition(response).records.is_some_and(|records| records.len() > 12_000));
}

#[tokio::test]
async fn quotas_are_described_and_those_that_nothing_would_hold_refused() {
    let running = start().await;
    let mut client = running.connect().await;
    let refused = ResponseError::InvalidRequest.code();
    for (key, value) in [
        ("request_percentage", 50.0),
        ("no_such_rate", 50.0),
        ("producer_byte_rate", 0.0),
        ("producer_byte_rate", -1.0),
        ("producer_byte_rate", 1.5),
        ("producer_byte_rate", f64::NAN),
        ("producer_byte_rate", f64::INFINITY),
    ] {
        assert_eq!(set_quota(&mut client, key, Some(value)).await, refused, "{key} {value}");
    }
    assert_eq!(set_quota(&mut client, "consumer_byte_rate", Some(5e6)).await, 0);
    let mut describe = async |entity_type: &str, match_type, name: Option<&str>| {
        let component = describe_client_quotas_request::ComponentData::default()
            .with_entity_type(text(entity_type))
            .with_match_type(match_type)
            .with_match(name.map(text));
        let request = DescribeClientQuotasRequest::default().with_components(vec![component]);
        let response = client.ask(request, 1).await;
        (response.error_code, response.entries.map_or(0, |entries| entries.len()))
    };
    assert_eq!(describe("user", 0, Some("ANONYMOUS")).await, (0, 1));
    assert_eq!(describe("user", 0, Some("another")).await, (0, 0));
    assert_eq!(describe("user", 1, None).await, (0, 0));
    assert_eq!(describe("user", 2, None).await, (0, 1));
    assert_eq!(describe("client-id", 2, None).await, (0, 0));
    assert_eq!(describe("ip", 2, None).await, (0, 0));
    assert_eq!(describe("planet", 2, None).await, (ResponseError::UnsupportedVersion.code(), 0));
    assert_eq!(describe("user", 9, None).await, (refused, 0));
}
