//! What the log promises, against a disk that fails and power that goes.

#![allow(clippy::unwrap_used)]

use crate::disk::Disk;
use crate::disk::faults::{Dice, FaultDisk};

use super::batch_builder::BatchBuilder;
use super::fixture::{Fixture, filled, read_all, small};
use super::record_batch::Header;
use super::*;

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
fn a_full_disk_refuses_records_keeps_what_was_there_and_takes_more_when_there_is_room() {
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
        assert_eq!(log.storage_failure(), None);
        let (killed, recovery) = fixture.on(fixture.disk.copy()).open_and_tell(false);
        assert_eq!((killed.log_end_offset(), recovery.repairs), (end, Vec::new()));
        fixture.disk.fill_up_to(1 << 20);
        assert_eq!(fixture.append_value(&log, b"v").first_offset, end);
        let (log, recovery) = fixture.open_and_tell(false);
        assert_eq!((log.log_end_offset(), recovery.repairs), (end + 1, Vec::new()));
    }
}

/// The disk is full at any byte of what a roll writes: the log goes on in the old segment once there
/// is room, and neither a kill nor a power cut finds more or less than was acknowledged.
#[test]
fn a_disk_that_fills_up_during_a_roll_costs_nothing_that_was_acknowledged() {
    for room in 0..400 {
        let fixture = Fixture::with(small());
        let log = fixture.open();
        let mut sequence = 0;
        let mut append = || {
            let appended = log.append(fixture.produced(9, sequence, 1).build());
            fixture.sync(&log);
            sequence += i32::from(appended.is_ok());
            appended
        };
        while log.shared.segments().len() < 2 {
            append().unwrap();
        }
        while log.size_bytes() < 2900 {
            append().unwrap();
        }
        fixture.disk.fill_up_to(room);
        while append().is_ok() {}
        fixture.disk.fill_up_to(1 << 20);
        (0..3).for_each(|_| assert!(append().is_ok()));
        let all = read_all(&log, 0);
        check_values(&all);
        let mut dice = Dice::new(room as u64);
        for disk in [fixture.disk.copy(), fixture.disk.power_cut(Some(&mut dice))] {
            let found = fixture.on(disk);
            assert!(read_all(&found.open(), 0) == all, "with room for {room} bytes");
        }
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

    // The bytes of the failed sync look good in the page cache. Were they taken for durable, the
    // next power cut would take acknowledged records with them.
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
    assert!(log.checkpoint().is_err());
    fixture.sync(&log);
    assert!(log.close().is_err());
    assert_eq!(fixture.disk.sync_count(), 1, "the sync was tried again");
    assert_eq!(fixture.on(fixture.disk.copy()).open().log_end_offset(), 5);
}

/// Random work, a kill or a power cut at a random step, and again on what was found: every
/// acknowledged record is there, nothing is doubled, and no consumer has seen what is gone.
#[tokio::test]
async fn a_power_cut_at_any_moment_takes_back_nothing_that_was_acknowledged_or_seen() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let mut fixture = Fixture::with(small());
        let mut acknowledged: Vec<u8> = Vec::new();
        for _life in 0..4 {
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
            match dice.below(3) {
                0 => {} // the process is killed, the machine runs on: found on the same disk
                1 => fixture = fixture.on(fixture.disk.power_cut(None)),
                _ => fixture = fixture.on(fixture.disk.power_cut(Some(&mut dice))),
            }
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

/// A killed process loses nothing that was appended, acknowledged or not, and knows its producers
/// as before.
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
fn deleted_records_stay_deleted_after_a_power_cut() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let fixture = Fixture::with(small());
        let log = fixture.open();
        for _ in 0..20 {
            fixture.append(&log, 2);
        }
        let first = dice.below(20) as i64;
        log.delete_records_before(first).unwrap();
        let second = first + dice.below(20) as i64;
        log.delete_records_before(second).unwrap();
        let log = fixture.on(fixture.disk.power_cut(Some(&mut dice))).open();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (second, 40));
    }
}
