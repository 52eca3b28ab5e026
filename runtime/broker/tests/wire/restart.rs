//! What a start finds, and what it says when it can't.

use gristmill_broker::{BrokerConfig, Durability, Listener, Server};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;

use crate::client::{Client, batch, batch_of, config, text};
use crate::groups::{commit, committed};

async fn write_some(server: &Server) {
    let configs = [("retention.ms".to_owned(), "-1".to_owned())].into();
    server.broker().create_topic("t", Some(2), configs).unwrap();
    let mut client = Client::to(server.address()).await;
    for partition in 0..2 {
        let answer = client.produce("t", partition, batch(&["a", "b"]), -1).await;
        assert_eq!(answer.error_code, 0);
    }
    let answer = client.produce("t", 0, batch_of(7, 0, &["c"]), -1).await;
    assert_eq!(answer.error_code, 0);
    client.ask(FindCoordinatorRequest::default().with_key(text("g")), 1).await;
    for offset in 1..=2 {
        let response = client.ask(commit("t", 1, offset, "note"), 8).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
}

async fn check_all(server: &Server, topic_id: uuid::Uuid) {
    let topic = server.broker().topic("t").unwrap();
    assert_eq!(topic.id(), topic_id);
    assert_eq!(topic.configs()["retention.ms"], "-1");
    let ends: Vec<i64> = topic.partitions().iter().map(|log| log.high_watermark()).collect();
    assert_eq!(ends, [3, 2]);
    let mut client = Client::to(server.address()).await;
    assert_eq!(committed(&mut client, "t", 1).await, (2, "note".to_owned()));
    let again = client.produce("t", 0, batch_of(7, 0, &["c"]), -1).await;
    assert_eq!((again.error_code, again.base_offset), (0, 2), "a resent batch is known still");
}

#[tokio::test]
async fn everything_is_there_after_a_clean_stop_and_nothing_was_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(folder.path())).await.unwrap();
    write_some(&server).await;
    let topic_id = server.broker().topic("t").unwrap().id();
    let cluster_id = server.broker().cluster_id().to_owned();
    server.shutdown().await.unwrap();
    assert!(folder.path().join(".kafka_cleanshutdown").exists());
    let server = Server::start(config(folder.path())).await.unwrap();
    assert_eq!(server.broker().repairs(), [] as [String; 0]);
    assert_eq!(server.broker().cluster_id(), cluster_id);
    check_all(&server, topic_id).await;
    server.shutdown().await.unwrap();
}

/// A copy of the folder under a running broker is what a power cut would leave, at best.
#[tokio::test]
async fn everything_acknowledged_is_there_after_a_hard_stop() {
    let folder = tempfile::tempdir().unwrap();
    let fsync =
        |folder: &std::path::Path| BrokerConfig { durability: Durability::Fsync, ..config(folder) };
    let server = Server::start(fsync(folder.path())).await.unwrap();
    write_some(&server).await;
    let topic_id = server.broker().topic("t").unwrap().id();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let server = Server::start(fsync(copy.path())).await.unwrap();
    check_all(&server, topic_id).await;
    server.shutdown().await.unwrap();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(folder.path())).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let listeners = vec![Listener::plaintext(server.address())];
    let taken = BrokerConfig { listeners, ..config(other.path()) };
    let error = Server::start(taken).await.unwrap_err().to_string();
    assert!(error.contains(&format!("cannot listen on {}", server.address())), "{error}");
    assert!(error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_is_named_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::start(config(folder.path())).await.unwrap();
    let error = Server::start(config(folder.path())).await.unwrap_err().to_string();
    assert!(error.contains("in use by another broker"), "{error}");
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = format!("{:#}", Server::start(config(&path)).await.unwrap_err());
    assert!(error.contains("file") && error.contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn folders_that_no_topic_claims_are_reported_and_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    let orphan = folder.path().join("orphan-0");
    std::fs::create_dir(&orphan).unwrap();
    std::fs::write(orphan.join("00000000000000000000.log"), "precious").unwrap();
    let server = Server::start(config(folder.path())).await.unwrap();
    let repairs = server.broker().repairs().join("\n");
    assert!(repairs.contains("orphan-0"), "{repairs}");
    let refusal = server.broker().create_topic("orphan", Some(1), Default::default()).unwrap_err();
    assert_eq!(refusal.error, ResponseError::KafkaStorageError);
    let content = std::fs::read(orphan.join("00000000000000000000.log")).unwrap();
    assert_eq!(content, b"precious");
}

#[tokio::test]
async fn a_damaged_list_of_topics_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("topics.json"), "{").unwrap();
    let error = format!("{:#}", Server::start(config(folder.path())).await.unwrap_err());
    assert!(error.contains("topics.json"), "{error}");
}

/// A start after a kill has no more to read than that, however much a partition has taken.
#[tokio::test]
async fn a_partition_that_has_grown_gets_a_checkpoint_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let config = BrokerConfig { unchecked_bytes_max: 1000, ..config(folder.path()) };
    let server = Server::start(config).await.unwrap();
    server.broker().create_topic("t", Some(1), Default::default()).unwrap();
    let log = server.broker().log("t", 0).unwrap();
    let mut client = Client::to(server.address()).await;
    while log.unchecked_bytes().unwrap() <= 1000 {
        assert_eq!(client.produce("t", 0, batch(&["some", "more"]), 1).await.error_code, 0);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while log.unchecked_bytes().unwrap() > 1000 {
        assert!(std::time::Instant::now() < deadline, "no checkpoint");
        tokio::task::yield_now().await;
    }
    server.shutdown().await.unwrap();
}
