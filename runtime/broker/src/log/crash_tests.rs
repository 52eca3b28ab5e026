//! What the log promises, against a disk that fails and power that goes.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::faults::{Dice, FaultDisk};

use super::batch_builder::BatchBuilder;
use super::fixture::{Fixture, read_all};
use super::record_batch::Header;
use super::segment::{LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX};
use super::*;

/// Segments of a few batches, with several index entries each.
fn small() -> LogConfig {
    LogConfig { segment_bytes_max: 1500, index_interval_bytes: 200, ..LogConfig::default() }
}

/// A log of `count` batches in small segments, and its bytes.
fn filled(count: usize) -> (Fixture, Vec<u8>) {
    let fixture = Fixture::with(small());
    let log = fixture.open();
    for n in 0..count {
        fixture.append(&log, n % 4 + 1);
    }
    let bytes = read_all(&log, 0);
    (fixture, bytes)
}

/// The log file of the last segment and its bytes.
fn last_segment(disk: &FaultDisk) -> (std::path::PathBuf, Vec<u8>) {
    let names = disk.list(&Fixture::directory()).unwrap();
    let last = names.iter().rfind(|entry| entry.name.ends_with(".log")).unwrap();
    let path = Fixture::directory().join(&last.name);
    let bytes = disk.read(&path);
    (path, bytes)
}

/// Where the last batch of these bytes begins.
fn last_batch(bytes: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    while at < bytes.len() {
        last = at;
        at += Header::parse(&bytes[at..]).unwrap().size_bytes;
    }
    last
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_batch_is_cut_and_the_rest_is_there() {
    let (fixture, all) = filled(10);
    let (path, bytes) = last_segment(&fixture.disk);
    let start = last_batch(&bytes);
    assert!(start > 0, "the last segment should hold more than one batch");
    let kept = &all[..all.len() - (bytes.len() - start)];
    for len in start..bytes.len() {
        let torn = fixture.on(fixture.disk.copy());
        torn.disk.put(&path, bytes[..len].to_vec());
        let (log, recovery) = torn.open_and_tell(false);
        assert!(read_all(&log, 0) == kept, "torn at byte {len}");
        let expected_repairs = usize::from(len > start);
        assert_eq!(recovery.repairs.len(), expected_repairs, "torn at byte {len}: {recovery:?}");
        // And it goes on from there.
        let end = log.log_end_offset();
        assert_eq!(torn.append_value(&log, b"next").first_offset, end);
        drop(log);
        let (log, recovery) = torn.open_and_tell(false);
        assert_eq!((log.log_end_offset(), recovery.repairs), (end + 1, Vec::new()));
    }
}

#[test]
fn a_flipped_byte_of_the_last_batch_costs_that_batch_and_no_other() {
    let (fixture, all) = filled(10);
    let (path, bytes) = last_segment(&fixture.disk);
    let start = last_batch(&bytes);
    let kept = &all[..all.len() - (bytes.len() - start)];
    for at in start..bytes.len() {
        let flipped = fixture.on(fixture.disk.copy());
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        flipped.disk.put(&path, damaged);
        let (log, recovery) = flipped.open_and_tell(false);
        let found = read_all(&log, 0);
        if (12..16).contains(&(at - start)) {
            // The leader epoch is not checksummed, and says nothing here.
            assert_eq!((found.len(), recovery.repairs.len()), (all.len(), 0));
            continue;
        }
        assert!(found == kept, "flipped byte {at}");
        assert!(matches!(recovery.repairs[..], [Repair::TornTail { .. }]), "{recovery:?}");
    }
}

#[test]
fn damage_before_whole_batches_is_put_aside_and_not_dropped() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let sizes: Vec<_> = (0..5).map(|_| fixture.append(&log, 3)).collect();
    let path = Fixture::path(0, LOG);
    let good = fixture.disk.read(&path);
    for at in [0, 8, 10, 16, 17, 40, 70] {
        let damaged = fixture.on(fixture.disk.copy());
        let mut bytes = good.clone();
        bytes[sizes[0] + at] ^= 0x10;
        damaged.disk.put(&path, bytes.clone());
        let (log, recovery) = damaged.open_and_tell(false);
        assert_eq!(log.log_end_offset(), 3, "byte {at}");
        let [Repair::TailPutAside { aside, position, .. }] = &recovery.repairs[..] else {
            panic!("byte {at}: {recovery:?}");
        };
        assert_eq!(*position, sizes[0] as u64);
        assert_eq!(damaged.disk.read(aside), bytes[sizes[0]..]);
        assert!(recovery.repairs[0].to_string().contains("put aside"));
    }
}

#[test]
fn damage_in_an_older_segment_is_reported_and_nothing_is_cut() {
    let (fixture, all) = filled(30);
    let path = Fixture::path(0, LOG);
    let mut bytes = fixture.disk.read(&path);
    let second = Header::parse(&bytes).unwrap().size_bytes;
    bytes[second + 70] ^= 1;
    let len = bytes.len();
    fixture.disk.put(&path, bytes);
    fixture.disk.remove_file(&Fixture::path(0, OFFSET_INDEX)).unwrap();
    let (log, recovery) = fixture.open_and_tell(false);
    let damaged = |repair: &&Repair| matches!(repair, Repair::Damaged { position, .. } if *position == second as u64);
    assert_eq!(recovery.repairs.iter().filter(damaged).count(), 1, "{recovery:?}");
    assert_eq!(fixture.disk.read(&path).len(), len);
    // What lies behind the damaged batch is still given out; the client's checksum finds the damage.
    let fetched = log.read(0, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
    assert_eq!(fetched.records.len(), len);
    assert_eq!(log.size_bytes(), all.len() as u64);
}

#[test]
fn missing_and_garbled_indexes_are_made_again_as_they_were() {
    let (fixture, all) = filled(60);
    let names: Vec<_> = fixture.disk.list(&Fixture::directory()).unwrap();
    let indexes: Vec<_> = names.iter().filter(|entry| entry.name.ends_with("index")).collect();
    assert!(indexes.len() >= 8, "{indexes:?}");
    type Damage = fn(&FaultDisk, &Path, Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("gone", |disk, path, _| disk.remove_file(path).unwrap()),
        ("zeros", |disk, path, bytes| disk.put(path, vec![0; bytes.len()])),
        ("odd length", |disk, path, bytes| disk.put(path, bytes[..bytes.len() - 1].to_vec())),
        ("positions past the end", |disk, path, mut bytes| {
            let len = bytes.len();
            bytes[len - 4..].fill(0xff);
            disk.put(path, bytes);
        }),
        ("falling", |disk, path, mut bytes| {
            bytes.extend_from_slice(&bytes.clone());
            disk.put(path, bytes);
        }),
    ];
    for entry in indexes {
        let path = Fixture::directory().join(&entry.name);
        let good = fixture.disk.read(&path);
        for (name, damage) in damages {
            let is_time_index = entry.name.ends_with(TIME_INDEX);
            if good.is_empty() || (name.starts_with("positions") && is_time_index) {
                continue; // a time index has no positions
            }
            let damaged = fixture.on(fixture.disk.copy());
            damage(&damaged.disk, &path, good.clone());
            let (log, recovery) = damaged.open_and_tell(false);
            assert!(read_all(&log, 0) == all, "{} {name}", entry.name);
            assert!(!recovery.repairs.is_empty(), "{} {name}", entry.name);
            assert_eq!(damaged.disk.read(&path), good, "{} {name}", entry.name);
        }
    }
}

#[test]
fn a_full_disk_makes_the_log_read_only_and_keeps_what_was_there() {
    for room in 0..120 {
        let (fixture, all) = filled(3);
        let log = fixture.open();
        let end = log.log_end_offset();
        fixture.disk.fill_up_to(room);
        let mut builder = BatchBuilder::new();
        builder.push(0, None, Some(&[1; 200]));
        let error = log.append(builder.build()).unwrap_err();
        assert_eq!(error.kafka_error(), kafka_protocol::ResponseError::KafkaStorageError);
        assert!(error.to_string().contains("orders-0/00000000000000000000.log"), "{error}");
        assert!(read_all(&log, 0) == all);
        assert_eq!(log.log_end_offset(), end);
        assert!(log.storage_failure().is_some());
        // There may be room again; the log waits for a restart all the same.
        fixture.disk.fill_up_to(1 << 20);
        assert!(log.append(fixture.produced(1, 0, 1).build()).is_err());
        assert!(log.close().is_err(), "not a clean stop");
        let (log, recovery) = fixture.open_and_tell(false);
        assert_eq!(recovery.repairs, []);
        assert_eq!(fixture.append_value(&log, b"v").first_offset, end);
    }
}

#[tokio::test]
async fn a_failed_write_leaves_earlier_records_to_be_synced() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let appended = log.append(fixture.produced(1, 0, 5).build()).unwrap();
    fixture.disk.fail_writes_after(0);
    assert!(log.append(fixture.produced(1, 5, 5).build()).is_err());
    log.durable(appended.end_offset).await.unwrap();
    assert_eq!(log.high_watermark(), 5);
    let found = fixture.on(fixture.disk.power_cut(None));
    assert_eq!(found.open().log_end_offset(), 5);
}

#[tokio::test]
async fn a_failed_sync_is_never_repeated_and_nothing_unsynced_is_ever_shown() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.append(&log, 3);
    let synced = read_all(&log, 0);
    fixture.disk.fail_sync_after(0);
    let appended = log.append(fixture.produced(1, 0, 5).build()).unwrap();
    assert_eq!(appended.end_offset, 8);
    let error = log.durable(appended.end_offset).await.unwrap_err();
    assert_eq!(error.kafka_error(), kafka_protocol::ResponseError::KafkaStorageError);
    let syncs = fixture.disk.sync_count();

    assert!(read_all(&log, 0) == synced, "reads go on");
    assert_eq!((log.high_watermark(), log.log_end_offset()), (3, 3));
    assert!(log.append(fixture.produced(1, 0, 1).build()).is_err());
    assert!(log.durable(8).await.is_err());
    assert!(log.close().is_err());
    assert_eq!(fixture.disk.sync_count(), syncs, "a sync was tried again");

    // The bytes of the failed sync look good in the page cache. Were they taken for durable, the next power cut would
    // take acknowledged records with them.
    let reopened = fixture.on(fixture.disk.copy());
    let log = reopened.open();
    assert_eq!(log.log_end_offset(), 3);
}

#[tokio::test]
async fn without_fsync_a_failed_sync_takes_nothing_back() {
    let mut fixture = Fixture::new();
    fixture.durability = Durability::PageCache;
    let log = fixture.open();
    let appended = log.append(fixture.produced(1, 0, 5).build()).unwrap();
    log.durable(appended.end_offset).await.unwrap();
    assert_eq!(log.high_watermark(), 5, "visible at once");
    assert_eq!(fixture.disk.sync_count(), 0, "no sync");
    fixture.disk.fail_sync_after(0);
    assert!(log.close().is_err());
    assert_eq!(fixture.on(fixture.disk.copy()).open().log_end_offset(), 5);
}

/// Random work, power cut at a random step, and again on what was found: every acknowledged record is there, nothing is
/// doubled, and no consumer has seen what is gone.
#[tokio::test]
async fn a_power_cut_at_any_moment_takes_back_nothing_that_was_acknowledged_or_seen() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let mut fixture = Fixture::with(small());
        let mut acknowledged: Vec<u8> = Vec::new();
        for _life in 0..3 {
            let (log, _) = fixture.open_and_tell(false);
            let found = read_all(&log, 0);
            assert!(found.starts_with(&acknowledged), "seed {seed}: acknowledged records are gone");
            check_values(&found);
            acknowledged = found;
            for _ in 0..dice.below(40) {
                work(&fixture, &log, &mut dice).await;
                let seen = read_all(&log, 0);
                assert!(seen.starts_with(&acknowledged), "seed {seed}: records changed");
                acknowledged = seen;
            }
            let dice = if dice.below(3) == 0 { None } else { Some(&mut dice) };
            fixture = fixture.on(fixture.disk.power_cut(dice));
        }
    }
}

/// One step of the test above.
async fn work(fixture: &Fixture, log: &Log, dice: &mut Dice) {
    match dice.below(10) {
        0 => log.checkpoint().unwrap(),
        1 => assert_eq!(log.apply_retention().unwrap().segments_deleted, 0),
        2..=4 => {
            log.durable(log.log_end_offset()).await.unwrap();
            assert_eq!(log.high_watermark(), log.log_end_offset());
        }
        _ => {
            let next = next_sequence(log);
            let count = dice.below(8) as i32 + 1;
            log.append(fixture.produced(9, next, count).build()).unwrap();
        }
    }
}

/// Offsets and sequence numbers rise together: no record is missing or doubled.
fn check_values(bytes: &[u8]) {
    let mut rest = bytes;
    let mut next = 0;
    while !rest.is_empty() {
        let header = Header::parse_whole(rest).unwrap();
        assert_eq!((header.base_offset, i64::from(header.base_sequence)), (next, next));
        next = header.next_offset();
        rest = &rest[header.size_bytes..];
    }
}

fn next_sequence(log: &Log) -> i32 {
    log.producers().first().map_or(0, |producer| producer.last_sequence + 1)
}

/// A killed process loses nothing that was appended, acknowledged or not, and knows its producers as before.
#[test]
fn a_kill_between_any_two_writes_leaves_a_whole_log() {
    for writes in 0..60 {
        let fixture = Fixture::with(small());
        let log = fixture.open();
        fixture.disk.fail_writes_after(writes);
        let mut appended = 0;
        for n in 0..30 {
            match log.append(fixture.produced(9, n, 1).build()) {
                Ok(_) => appended = n + 1,
                Err(_) => break,
            }
        }
        let killed = fixture.on(fixture.disk.copy());
        let (log, _) = killed.open_and_tell(false);
        assert_eq!(log.log_end_offset(), i64::from(appended), "killed at write {writes}");
        for n in (0..appended).rev().take(5) {
            let again = log.append(killed.produced(9, n, 1).build()).unwrap();
            assert!(again.duplicate, "sequence {n} after a kill at write {writes}");
            assert_eq!(again.first_offset, i64::from(n));
        }
        let next = log.append(killed.produced(9, appended, 1).build()).unwrap();
        assert_eq!((next.first_offset, next.duplicate), (i64::from(appended), false));
    }
}

#[test]
fn a_clean_stop_is_followed_by_a_start_that_reads_no_record() {
    let (fixture, all) = filled(60);
    let log = fixture.open();
    log.append(fixture.produced(4, 0, 2).build()).unwrap();
    log.close().unwrap();
    assert!(matches!(
        log.append(Bytes::new()),
        Err(AppendError::Malformed(_) | AppendError::Invalid(_))
    ));
    assert!(matches!(log.close(), Err(LogError::Closed)));
    let (log, recovery) = fixture.open_and_tell(true);
    assert_eq!(recovery, Recovery::default());
    assert!(read_all(&log, 0).starts_with(&all));
    for offset in (0..log.log_end_offset()).step_by(7) {
        let fetched = log.read(offset, 1, true, Isolation::ReadUncommitted).unwrap();
        let header = Header::parse_whole(&fetched.records).unwrap();
        assert!(header.base_offset <= offset && header.last_offset() >= offset);
    }
    assert!(log.append(fixture.produced(4, 0, 2).build()).unwrap().duplicate);
    // A second stop with nothing new writes nothing.
    let writes = fixture.disk.write_count();
    log.close().unwrap();
    assert_eq!(fixture.disk.write_count(), writes);
}

#[test]
fn after_a_kill_only_what_came_after_the_checkpoint_is_read() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for _ in 0..50 {
        fixture.append(&log, 5);
    }
    log.checkpoint().unwrap();
    let size = fixture.append(&log, 5);
    let (log, recovery) = fixture.open_and_tell(false);
    assert_eq!(recovery, Recovery { repairs: Vec::new(), bytes_scanned: size as u64 });
    assert_eq!(log.log_end_offset(), 255);
}

#[test]
fn a_damaged_checkpoint_or_snapshot_is_said_and_survived() {
    let (fixture, all) = filled(30);
    let log = fixture.open();
    log.append(fixture.produced(4, 0, 2).build()).unwrap();
    log.close().unwrap();
    let end = log.log_end_offset();
    let damaged = fixture.on(fixture.disk.copy());
    damaged.disk.put(&Fixture::directory().join("log-checkpoint"), b"nonsense".to_vec());
    let (log, recovery) = damaged.open_and_tell(true);
    assert!(matches!(recovery.repairs[..], [Repair::CheckpointIgnored { .. }]), "{recovery:?}");
    assert!(read_all(&log, 0).starts_with(&all));

    let damaged = fixture.on(fixture.disk.copy());
    let path = Fixture::path(end, "snapshot");
    let mut bytes = damaged.disk.read(&path);
    bytes[20] ^= 1;
    damaged.disk.put(&path, bytes);
    let (log, recovery) = damaged.open_and_tell(true);
    assert!(matches!(recovery.repairs[..], [Repair::SnapshotIgnored { .. }]), "{recovery:?}");
    assert!(log.append(damaged.produced(4, 0, 2).build()).unwrap().duplicate);
}

#[tokio::test]
async fn aborted_transactions_and_the_stable_offset_survive_a_kill_and_a_stop() {
    let mut config = small();
    config.segment_bytes_max = 400;
    let fixture = Fixture::with(config);
    let log = fixture.open();
    for n in 0..6 {
        log.append(fixture.produced_in(n, 0, 3, true).build()).unwrap();
        let commit = n % 2 == 0;
        let marker = BatchBuilder::marker(n, 0, commit, 0, fixture.now_ms());
        if n < 5 {
            log.append_internal(marker).unwrap();
        }
    }
    fixture.sync(&log);
    check_transactions(&log);
    for was_clean in [false, true] {
        let reopened = fixture.on(fixture.disk.copy());
        let log = reopened.open();
        if was_clean {
            log.close().unwrap();
        }
        let (log, recovery) = reopened.open_and_tell(was_clean);
        assert_eq!(recovery.repairs, []);
        check_transactions(&log);
    }
    // Every index and snapshot of the producers gone.
    for entry in fixture.disk.list(&Fixture::directory()).unwrap() {
        if !entry.name.ends_with(".log") {
            fixture.disk.remove_file(&Fixture::directory().join(entry.name)).unwrap();
        }
    }
    let log = fixture.open();
    check_transactions(&log);
    log.append_internal(BatchBuilder::marker(5, 0, true, 0, fixture.now_ms())).unwrap();
    fixture.sync(&log);
    assert_eq!(log.last_stable_offset(), log.log_end_offset());
}

/// Five transactions of three records and a marker, 1 and 3 aborted, and a sixth that is open.
fn check_transactions(log: &Log) {
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (23, 20));
    let aborted: Vec<_> = log
        .aborted_transactions()
        .iter()
        .map(|entry| (entry.producer_id, entry.first_offset, entry.last_offset))
        .collect();
    assert_eq!(aborted, [(1, 4, 7), (3, 12, 15)]);
    let fetched = log.read(5, 1, true, Isolation::ReadCommitted).unwrap();
    assert_eq!(fetched.aborted, [(1, 4)]);
    let fetched = log.read(8, 1, true, Isolation::ReadCommitted).unwrap();
    assert_eq!(fetched.aborted, []);
    let fetched = log.read(20, 1, true, Isolation::ReadCommitted).unwrap();
    assert!(fetched.records.is_empty(), "an open transaction was shown");
    let fetched = log.read(20, 1, true, Isolation::ReadUncommitted).unwrap();
    assert!(!fetched.records.is_empty());
}

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

/// On the machine's own disk: readers beside a writer see whole batches in order, and a restart the same bytes.
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

/// Whatever the files hold, opening ends without a panic, says what it did, and leaves a log that works.
#[test]
fn garbled_files_never_stop_a_log_from_opening() {
    let (fixture, _) = filled(25);
    let log = fixture.open();
    log.append(fixture.produced_in(3, 0, 2, true).build()).unwrap();
    log.append_internal(BatchBuilder::marker(3, 0, false, 0, 0)).unwrap();
    log.checkpoint().unwrap();
    fixture.append(&log, 2);
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let garbled = fixture.on(fixture.disk.copy());
        let entries = garbled.disk.list(&Fixture::directory()).unwrap();
        for _ in 0..dice.below(3) + 1 {
            let path = Fixture::directory().join(&entries[dice.below(entries.len())].name);
            let mut bytes = garbled.disk.read(&path);
            let len = dice.below(bytes.len() + 1);
            match dice.below(3) {
                0 => bytes.truncate(len),
                1 => bytes[len..].iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
                _ => (0..10).for_each(|_| {
                    let at = dice.below(bytes.len());
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = dice.below(256) as u8;
                    }
                }),
            }
            garbled.disk.put(&path, bytes);
        }
        println!("seed {seed}");
        let (log, _) = garbled.open_and_tell(dice.below(2) == 0);
        let end = log.log_end_offset();
        assert_eq!(garbled.append_value(&log, b"v").first_offset, end);
        let fetched = log.read(end, 1, true, Isolation::ReadUncommitted).unwrap();
        assert!(!fetched.records.is_empty());
        log.close().unwrap();
        let (again, _) = garbled.open_and_tell(true);
        assert_eq!(again.log_end_offset(), end + 1);
    }
}
