//! Bytes that are no requests: their connection closes, the others notice nothing. Requests that ask
//! for the impossible: Kafka's error, and a line in the log that says who asked for what.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Running, batch, name, start, start_with};

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

/// What all brokers of this process log. One for all tests: `tracing` keeps for the whole process who
/// listens to a line, so that a listener of one thread missed lines while other tests ran.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn begin() -> Logged {
        static LOGGED: LazyLock<Logged> = LazyLock::new(|| {
            let logged = Logged::default();
            let log = logged.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .with_writer(move || log.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            logged
        });
        LOGGED.clone()
    }

    /// The line that holds all of these.
    fn line_with(&self, words: &[&str]) -> Option<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().find(has_all).map(str::to_owned)
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn records_that_are_refused_are_logged_with_client_and_topic() {
    let logged = Logged::begin();
    let running = start().await;
    running.topic("logged-orders", 1);
    let mut client = running.connect().await;
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let answer = client.produce("logged-orders", 0, damaged.into(), -1).await;
    assert_eq!(answer.error_code, ResponseError::CorruptMessage.code());
    assert!(logged.line_with(&["logged-orders-0", "wire-test", "checksum"]).is_some());
}

#[tokio::test]
async fn a_version_that_is_not_offered_closes_its_connection_and_is_logged_with_the_client() {
    let logged = Logged::begin();
    let running = start().await;
    let mut client = running.connect().await;
    client.ask(MetadataRequest::default().with_topics(None), 12).await;
    client.send_raw(3, 99, &[]).await;
    assert!(client.is_closed().await);
    assert!(logged.line_with(&["Metadata of version 99", "wire-test"]).is_some());
    still_serves(&running).await;
}

#[tokio::test]
async fn record_times_outside_of_the_topics_limits_are_refused() {
    let running = start().await;
    let mut client = running.connect().await;
    for (setting, topic) in [("message.timestamp.before.max.ms", "past"), ("none", "any")] {
        let configs = [(setting.to_owned(), "3600000".to_owned())].into();
        let configs = if setting == "none" { Default::default() } else { configs };
        running.server.broker().create_topic(topic, Some(1), configs).unwrap();
    }
    // Records of 1970.
    let refused = client.produce("past", 0, batch(&["a"]), 1).await;
    assert_eq!(refused.error_code, ResponseError::InvalidTimestamp.code());
    assert!(refused.error_message.is_some());
    assert_eq!(client.produce("any", 0, batch(&["a"]), 1).await.error_code, 0);
}

#[tokio::test]
async fn impossible_names_are_answered_with_kafkas_errors_and_logged_with_the_client() {
    let logged = Logged::begin();
    let running = start().await;
    let mut client = running.connect().await;
    for impossible in ["not a name", "..", "a/b", &"x".repeat(250)] {
        let asked = MetadataRequestTopic::default().with_name(Some(name(impossible)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(true);
        let answer = client.ask(request, 9).await.topics.remove(0);
        assert_eq!(answer.error_code, ResponseError::InvalidTopicException.code(), "{impossible}");
        assert!(logged.line_with(&["topic not created", "wire-test", impossible]).is_some());
        let topic = CreatableTopic::default()
            .with_name(name(impossible))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer = client.ask(request, 5).await.topics.remove(0);
        assert_eq!(answer.error_code, ResponseError::InvalidTopicException.code(), "{impossible}");
        let answer = client.produce(impossible, 0, batch(&["a"]), 1).await;
        assert_eq!(answer.error_code, ResponseError::UnknownTopicOrPartition.code());
    }
    assert!(running.server.broker().topics().is_empty());
}
