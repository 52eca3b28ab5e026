//! Records in other forms than the log keeps: message sets of old producers, other codecs than the
//! topic's, and single records that a topic does not take.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gristmill_broker::log::batch_builder::BatchBuilder;
use gristmill_broker::log::record_batch::{Codec, Header};
use gristmill_broker::log::{Isolation, Log};
use kafka_protocol::ResponseError;

use crate::client::{Client, Running, batch, produce_request, start, values};

const PRODUCE: i16 = 0;

/// A message of format 0 or 1 at time 1000.
fn message(magic: u8, value: &str) -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(&[magic, 0]);
    if magic == 1 {
        body.put_i64(1000);
    }
    body.put_i32(-1);
    body.put_i32(value.len() as i32);
    body.put_slice(value.as_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut message = BytesMut::new();
    message.put_i64(0);
    message.put_i32(body.len() as i32 + 4);
    message.put_u32(crc.sum());
    message.put_slice(&body);
    message.freeze()
}

/// The body of a Produce request of version 0 to 2 for partition 0 of `t`.
fn body(set: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i16(1); // acks
    body.put_i32(10_000); // time-out
    body.put_i32(1);
    body.put_slice(b"\0\x01t");
    body.put_i32(1);
    body.put_i32(0); // partition
    body.put_i32(set.len() as i32);
    body.put_slice(set);
    body.freeze()
}

/// What an old producer is told: error, base offset, and what follows these.
async fn produce_old(client: &mut Client, version: i16, set: &[u8]) -> (i16, i64, usize) {
    client.send_raw(PRODUCE, version, &body(set)).await;
    let mut answer = client.frame().await;
    answer.advance(4); // correlation id
    assert_eq!(answer.split_to(15), &b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0"[..]);
    (answer.get_i16(), answer.get_i64(), answer.remaining())
}

fn stored(running: &Running) -> Bytes {
    let log: Log = running.server.broker().log("t", 0).unwrap();
    log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap().records
}

/// librdkafka with `broker.version.fallback=0.9` and without ApiVersions came to a closed connection.
#[tokio::test]
async fn producers_of_every_age_are_understood() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    // Behind the offset: nothing, the throttle time, and the time of the append as well.
    for (version, magic, rest) in [(0, 0, 0), (1, 0, 4), (2, 1, 12)] {
        let set = [message(magic, "a"), message(magic, "b")].concat();
        let answer = produce_old(&mut client, version, &set).await;
        assert_eq!(answer, (0, i64::from(version) * 2, rest), "version {version}");
    }
    let records = stored(&running);
    let found: Vec<String> = values(records.clone()).into_iter().map(|(_, it)| it).collect();
    assert_eq!(found, ["a", "b", "a", "b", "a", "b"]);
    let first = Header::parse_whole(&records).unwrap();
    assert_eq!(first.max_timestamp_ms, -1, "format 0 has no times");
    let last = Header::parse_whole(&records[2 * first.size_bytes..]).unwrap();
    assert_eq!(last.max_timestamp_ms, 1000);
}

#[tokio::test]
async fn a_message_set_that_changed_on_its_way_is_refused() {
    let running = start().await;
    running.topic("t", 1);
    let mut client = running.connect().await;
    let mut set = message(1, "value").to_vec();
    *set.last_mut().unwrap() ^= 1;
    let corrupt = ResponseError::CorruptMessage.code();
    assert_eq!(produce_old(&mut client, 2, &set).await.0, corrupt);
    let cut = &message(1, "value")[..20];
    assert_eq!(produce_old(&mut client, 2, cut).await.0, corrupt);
    let answer = client.produce("t", 0, message(1, "value"), 1).await;
    assert_ne!(answer.error_code, 0, "version 3 and later take record batches alone");
    assert!(stored(&running).is_empty());
}

#[tokio::test]
async fn a_topic_with_a_codec_keeps_all_records_in_it() {
    let running = start().await;
    let configs = [("compression.type".to_owned(), "lz4".to_owned())].into();
    running.server.broker().create_topic("t", Some(1), configs).unwrap();
    let mut client = running.connect().await;
    let text = "x".repeat(1000);
    let sent = batch(&[&text, &text]);
    assert_eq!(client.produce("t", 0, sent.clone(), 1).await.error_code, 0);
    let records = stored(&running);
    assert!(records.len() < sent.len() / 5);
    assert_eq!(Header::parse_whole(&records).unwrap().codec(), Ok(Codec::Lz4));
    assert_eq!(values(records), [(0, text.clone()), (1, text)]);
}

/// librdkafka fails the named records alone and tells the others apart (KIP-467).
#[tokio::test]
async fn records_at_fault_are_named_one_by_one() {
    let running = start().await;
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    running.server.broker().create_topic("t", Some(1), configs).unwrap();
    let mut mixed = BatchBuilder::new();
    for key in [Some(&b"key"[..]), None, Some(b"key"), None] {
        mixed.push(1000, key, Some(b"value"));
    }
    let mut client = running.connect().await;
    let request = produce_request("t", 0, mixed.build(), 1);
    let answer = client.ask(request, 8).await.responses.remove(0).partition_responses.remove(0);
    assert_eq!(answer.error_code, ResponseError::InvalidRecord.code());
    let places: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(places, [1, 3]);
    assert!(answer.record_errors[0].batch_index_error_message.is_some());
    assert!(stored(&running).is_empty());
}
