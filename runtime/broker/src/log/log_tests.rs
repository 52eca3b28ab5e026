//! What a running log does: the bytes it writes, who waits for whom, who sees what.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::disk::faults::FaultDisk;

use super::batch_builder::BatchBuilder;
use super::fixture::{Fixture, filled, read_all, small};
use super::record_batch::Header;
use super::segment::{LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX};
use super::*;

#[tokio::test]
async fn a_transaction_stays_unstable_until_its_marker_is_below_the_high_watermark() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.append(fixture.produced_in(1, 0, 3, true).build()).unwrap();
    fixture.sync(&log);
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (3, 0));
    let marker = BatchBuilder::marker(1, 0, false, 0, fixture.now_ms());
    let appended = log.append_internal(marker).unwrap();
    assert_eq!(log.last_stable_offset(), 0, "the marker may yet be lost");
    log.durable(appended.end_offset).await.unwrap();
    assert_eq!(log.last_stable_offset(), 4);
}

/// The index files against an independent computation of what Kafka's LogSegment.append writes.
#[test]
fn index_files_hold_what_kafka_would_write() {
    let (fixture, _) = filled(60);
    let names = fixture.disk.list(&Fixture::directory()).unwrap();
    let bases: Vec<i64> =
        names.iter().filter_map(|e| segment::base_offset_of(&e.name, LOG)).collect();
    let sealed = &bases[..bases.len() - 1];
    assert!(sealed.len() > 3);
    for base in sealed {
        let log = fixture.disk.read(&Fixture::path(*base, LOG));
        let (mut index, mut time_index) = (Vec::new(), Vec::new());
        let (mut position, mut since, mut last_time, mut largest) = (0usize, 0, i64::MIN, (-1, 0));
        while position < log.len() {
            let header = Header::parse(&log[position..]).unwrap();
            let relative = (header.last_offset() - base) as u32;
            if header.max_timestamp_ms > largest.0 {
                largest = (header.max_timestamp_ms, relative);
            }
            if since > 200 {
                index.extend_from_slice(&relative.to_be_bytes());
                index.extend_from_slice(&(position as u32).to_be_bytes());
                if largest.0 > last_time {
                    time_index.extend_from_slice(&largest.0.to_be_bytes());
                    time_index.extend_from_slice(&largest.1.to_be_bytes());
                    last_time = largest.0;
                }
                since = 0;
            }
            since += header.size_bytes;
            position += header.size_bytes;
        }
        if largest.0 > last_time {
            time_index.extend_from_slice(&largest.0.to_be_bytes());
            time_index.extend_from_slice(&largest.1.to_be_bytes());
        }
        assert!(!index.is_empty() && !time_index.is_empty());
        assert_eq!(fixture.disk.read(&Fixture::path(*base, OFFSET_INDEX)), index);
        assert_eq!(fixture.disk.read(&Fixture::path(*base, TIME_INDEX)), time_index);
        let transactions = fixture.disk.list(&Fixture::directory()).unwrap();
        assert!(!transactions.iter().any(|entry| entry.name.ends_with(TRANSACTION_INDEX)));
    }
}

/// The stored bytes are the producer's, all but the offset and the leader epoch.
#[test]
fn batches_are_stored_as_they_came() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let first = fixture.produced(3, 0, 2).build();
    let second = fixture.produced(3, 2, 2).build();
    log.append(first.clone()).unwrap();
    log.append(second.clone()).unwrap();
    let mut expected = [&first[..], &second[..]].concat();
    expected[12..16].fill(0); // leader epoch -1 → 0
    expected[first.len()..first.len() + 8].copy_from_slice(&2i64.to_be_bytes());
    expected[first.len() + 12..first.len() + 16].fill(0);
    assert_eq!(fixture.disk.read(&Fixture::path(0, LOG)), expected);
    assert_eq!(fixture.disk.write_count(), 2, "one write call for an append");
}

#[tokio::test]
async fn one_sync_serves_all_who_wait() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let mut waiting = Vec::new();
    for n in 0..20 {
        let appended = log.append(fixture.produced(n, 0, 1).build()).unwrap();
        waiting.push(log.durable(appended.end_offset));
    }
    for durable in waiting {
        durable.await.unwrap();
    }
    assert_eq!(fixture.disk.sync_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_threads_of_a_flusher_make_many_logs_durable_and_visible() {
    let flusher = Flusher::start(FlusherConfig::new(Durability::Fsync)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::default());
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let mut tasks = Vec::new();
    for partition in 0..16 {
        let directory = PathBuf::from(format!("/data/many-{partition}"));
        let (disk, clock) = (Arc::clone(&disk), Arc::clone(&clock));
        let config = LogConfig::default();
        let (log, _) = Log::open(disk, clock, directory, config, flusher.handle(), false).unwrap();
        tasks.push(tokio::spawn(async move {
            let mut visible = log.watch();
            for n in 0..50 {
                let mut builder = BatchBuilder::new();
                builder.push(n, None, Some(b"v"));
                let appended = log.append(builder.build()).unwrap();
                if n % 2 == 0 {
                    log.durable(appended.end_offset).await.unwrap();
                    assert!(log.high_watermark() >= appended.end_offset);
                } else {
                    // Nobody waits: the flusher comes by itself.
                    visible.wait_for(|offset| *offset >= appended.end_offset).await.unwrap();
                }
            }
            log.close().unwrap();
            assert!(log.durable(51).await.is_err());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn closing_and_deleting_wake_whoever_waits() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.append(&log, 1);
    let mut watch = log.watch();
    watch.mark_unchanged();
    log.delete().unwrap();
    watch.changed().await.unwrap();
    let error = log.read(0, 1, true, Isolation::ReadUncommitted).unwrap_err();
    assert_eq!(error.kafka_error(), kafka_protocol::ResponseError::UnknownTopicOrPartition);
    assert!(fixture.disk.list(&Fixture::directory()).is_err());
    let log = fixture.open();
    assert_eq!(log.log_end_offset(), 0, "a new partition of the same name is empty");
}

/// On the machine's own disk: readers beside a writer see whole batches in order, and a restart the
/// same bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_need_no_lock_against_the_writer() {
    const BATCHES: i64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("orders-0");
    let flusher = Flusher::start(FlusherConfig::new(Durability::PageCache)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::OsDisk);
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let config = LogConfig { segment_bytes_max: 20_000, ..small() };
    let open = |was_clean| {
        let (disk, clock) = (Arc::clone(&disk), Arc::clone(&clock));
        let (directory, config) = (directory.clone(), config.clone());
        Log::open(disk, clock, directory, config, flusher.handle(), was_clean).unwrap()
    };
    let (log, recovery) = open(false);
    assert_eq!(recovery, Recovery::default());
    let reader = {
        let log = log.clone();
        std::thread::spawn(move || {
            let (mut offset, mut bytes) = (0, Vec::new());
            while offset < BATCHES * 3 {
                let fetched = log.read(offset, 3000, true, Isolation::ReadUncommitted).unwrap();
                let mut rest = &fetched.records[..];
                while !rest.is_empty() {
                    let header = Header::parse_whole(rest).unwrap();
                    assert_eq!(header.base_offset, offset);
                    offset = header.next_offset();
                    rest = &rest[header.size_bytes..];
                }
                bytes.extend_from_slice(&fetched.records);
            }
            bytes
        })
    };
    for n in 0..BATCHES as i32 {
        let fixture = Fixture::new();
        log.append(fixture.produced(1, n * 3, 3).build()).unwrap();
    }
    let bytes = reader.join().unwrap();
    log.close().unwrap();
    for was_clean in [true, false] {
        let (log, recovery) = open(was_clean);
        assert_eq!(recovery, Recovery::default());
        assert!(read_all(&log, 0) == bytes);
        log.close().unwrap();
    }
    let (log, _) = open(true);
    log.delete().unwrap();
    assert!(!directory.exists());
    assert_eq!(remove_deleted(&*disk, folder.path()).unwrap(), Vec::<String>::new());
}

#[test]
fn interleaved_aborted_transactions_are_all_named() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for producer_id in [1, 2, 3] {
        log.append(fixture.produced_in(producer_id, 0, 2, true).build()).unwrap();
    }
    for (producer_id, commit) in [(2, false), (1, false), (3, true)] {
        let marker = BatchBuilder::marker(producer_id, 0, commit, 0, fixture.now_ms());
        log.append_internal(marker).unwrap();
    }
    fixture.sync(&log);
    let aborted =
        |offset| log.read(offset, 1 << 20, true, Isolation::ReadCommitted).unwrap().aborted;
    assert_eq!(aborted(0), [(2, 2), (1, 0)]);
    assert_eq!(aborted(7), [(1, 0)]);
    assert_eq!(aborted(8), []);
    // Of one batch only the one that overlaps: producer 2 begins at 2.
    let one = log.read(0, 100, true, Isolation::ReadCommitted).unwrap();
    assert_eq!(one.aborted, [(1, 0)]);
}
