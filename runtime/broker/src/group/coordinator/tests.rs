//! What is kept of groups, for how long, and in how much space.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::offsets::CommitRequest;
use super::*;
use crate::clock::ManualClock;
use crate::disk::OsDisk;
use crate::log::{Durability, FlusherHandle, LogConfig};

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

struct Fixture {
    coordinator: Coordinator,
    clock: Arc<ManualClock>,
    log: Log,
}

fn open(folder: &Path) -> Fixture {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let config = LogConfig {
        segment_bytes_max: 4 << 20,
        message_bytes_max: 100 << 20,
        cleanup_delete: false,
        ..LogConfig::default()
    };
    let flusher = FlusherHandle::inline(Durability::PageCache);
    let place = folder.join("__consumer_offsets-0");
    let opened = Log::open(Arc::new(OsDisk), clock.clone(), place, config, flusher, false);
    let (log, _) = opened.unwrap();
    let settings = GroupSettings::from(&BrokerConfig::default());
    let coordinator = Coordinator::new(settings, clock.clone());
    assert_eq!(coordinator.use_log(log.clone()).unwrap(), [] as [String; 0]);
    Fixture { coordinator, clock, log }
}

impl Fixture {
    async fn commit(&self, group: &str, topic: &str, offset: i64, metadata: &str) {
        let committed = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: metadata.to_owned(),
            commit_time_ms: self.clock.now_ms(),
        };
        let offsets = vec![((topic.to_owned(), 0), committed)];
        let request = CommitRequest { generation: -1, offsets, ..CommitRequest::default() };
        self.coordinator.commit(group, request).await.unwrap();
    }

    fn offset(&self, group: &str, topic: &str) -> Option<i64> {
        let found = self.coordinator.committed(group, &[(topic.to_owned(), 0)]);
        found[0].as_ref().map(|committed| committed.offset)
    }
}

#[tokio::test]
async fn the_last_commit_counts_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    for offset in 1..=3 {
        first.commit("g", "t", offset, "").await;
    }
    first.commit("gone", "t", 1, "").await;
    first.coordinator.delete("gone").unwrap();
    drop(first);
    let second = open(folder.path());
    assert_eq!(second.offset("g", "t"), Some(3));
    assert_eq!(second.offset("gone", "t"), None);
    let ids: Vec<String> = second.coordinator.list().into_iter().map(|group| group.id).collect();
    assert_eq!(ids, ["g"]);
}

#[tokio::test]
async fn a_log_that_has_outgrown_its_state_is_rewritten_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    first.commit("other", "t", 77, "kept").await;
    let metadata = "x".repeat(30_000);
    for offset in 0..700 {
        first.commit("g", "t", offset, &metadata).await;
    }
    let before = first.log.size_bytes();
    assert!(before > crate::log::replay::REWRITE_BYTES_MIN);
    first.coordinator.rewrite_if_overgrown().await.unwrap();
    let after = first.log.size_bytes();
    assert!(after < before / 3, "{before} bytes became {after}");
    first.coordinator.rewrite_if_overgrown().await.unwrap();
    first.commit("late", "t", 5, "").await;
    drop(first);
    let second = open(folder.path());
    assert!(second.log.log_start_offset() > 0);
    let offsets = ["g", "other", "late"].map(|group| second.offset(group, "t"));
    assert_eq!(offsets, [Some(699), Some(77), Some(5)]);
}

#[tokio::test]
async fn offsets_of_an_empty_group_expire_after_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = open(folder.path());
    fixture.commit("old", "t", 1, "").await;
    fixture.clock.advance(WEEK_MS - 10);
    fixture.commit("new", "t", 2, "").await;
    fixture.coordinator.expire_offsets();
    assert_eq!(fixture.offset("old", "t"), Some(1));
    fixture.clock.advance(20);
    fixture.coordinator.expire_offsets();
    assert_eq!(fixture.offset("old", "t"), None);
    assert_eq!(fixture.offset("new", "t"), Some(2));
    drop(fixture);
    let again = open(folder.path());
    assert_eq!((again.offset("old", "t"), again.offset("new", "t")), (None, Some(2)));
}

#[tokio::test]
async fn whoever_waits_is_let_go_when_the_broker_stops() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = open(folder.path());
    fixture.coordinator.close();
    let join = JoinRequest {
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::new())],
        ..JoinRequest::default()
    };
    let answer = fixture.coordinator.join("g", join).await;
    assert_eq!(answer.error, Some(ResponseError::CoordinatorNotAvailable));
}

/// What another program left in the topic, or a later Kafka, is reported and does no harm.
#[tokio::test]
async fn records_that_cannot_be_read_are_reported_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = open(folder.path());
    fixture.commit("g", "t", 4, "").await;
    let mut batch = crate::log::batch_builder::BatchBuilder::new();
    batch.push(0, None, Some(b"no key"));
    batch.push(0, Some(b"\0\x01\xff"), Some(b"half a key"));
    batch.push(0, Some(b"\0\x63"), Some(b"a kind of the future"));
    fixture.log.append_internal(batch.build()).unwrap();
    let settings = GroupSettings::from(&BrokerConfig::default());
    let second = Coordinator::new(settings, fixture.clock.clone());
    assert_eq!(second.use_log(fixture.log.clone()).unwrap().len(), 2);
    let found = second.committed("g", &[("t".to_owned(), 0)]);
    assert_eq!(found[0].as_ref().unwrap().offset, 4);
}
