//! Bytes that are no requests: their connection closes, the others notice nothing.

use kafka_protocol::messages::MetadataRequest;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Running, start, start_with};

async fn still_serves(running: &Running) {
    let mut client = running.connect().await;
    client.ask(MetadataRequest::default().with_topics(None), 12).await;
}

#[tokio::test]
async fn garbage_closes_its_connection_and_nothing_else() {
    let running = start().await;
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\x07aaaaaaa",
        b"\0\0\0\x0a\x7f\xff\0\0\0\0\0\0\0\0",
        // Metadata of version 1 with 2^31 - 1 topics.
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
    ];
    for bytes in garbage {
        let mut client = running.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        assert!(client.is_closed().await, "{bytes:?}");
    }
    still_serves(&running).await;
    assert_eq!(running.server.broker().metrics().connections_refused.get(), 8);
}

#[tokio::test]
async fn a_request_above_the_limit_closes_its_connection() {
    let running = start_with(|config| config.request_bytes_max = 1_000).await;
    let mut client = running.connect().await;
    client.stream.write_all(&1_001i32.to_be_bytes()).await.unwrap();
    assert!(client.is_closed().await);
    still_serves(&running).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let running = start_with(|config| config.idle_ms_max = 50).await;
    let mut client = running.connect().await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_free_place() {
    let running = start_with(|config| config.connections_max = 2).await;
    let first = running.connect().await;
    let _second = running.connect().await;
    let mut third = running.connect().await;
    let asking = tokio::spawn(async move {
        third.ask(MetadataRequest::default().with_topics(None), 12).await;
    });
    drop(first);
    asking.await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_in_the_middle_of_a_request_is_forgotten() {
    let running = start().await;
    for cut in [1, 3, 5, 11] {
        let mut client: Client = running.connect().await;
        let frame = b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff";
        client.stream.write_all(&frame[..cut]).await.unwrap();
    }
    still_serves(&running).await;
}
