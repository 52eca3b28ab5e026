//! What a start finds after a clean stop, a kill, and damage to any of the files.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;

use crate::disk::Disk;
use crate::disk::faults::{Dice, FaultDisk};

use super::batch_builder::BatchBuilder;
use super::fixture::{Fixture, filled, read_all, small};
use super::record_batch::Header;
use super::segment::{LOG, OFFSET_INDEX, TIME_INDEX};
use super::*;

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
    // What lies behind the damaged batch is still given out; the client's checksum finds the
    // damage.
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

/// Whatever the files hold, opening ends without a panic, says what it did, and leaves a log that
/// works.
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

/// The snapshot speaks of batches that are gone; once the log has grown to its offset again it
/// would pass for right.
#[test]
fn a_snapshot_of_records_that_were_cut_is_not_used_later() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.append(&log, 1);
    log.append(fixture.produced(7, 0, 4).build()).unwrap();
    log.close().unwrap();
    let path = Fixture::path(0, LOG);
    let mut bytes = fixture.disk.read(&path);
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    fixture.disk.put(&path, bytes);
    let (log, _) = fixture.open_and_tell(false);
    assert_eq!(log.log_end_offset(), 1);
    log.append(fixture.produced(8, 0, 4).build()).unwrap();
    fixture.sync(&log);
    let (log, _) = fixture.open_and_tell(false);
    let ids: Vec<_> = log.producers().iter().map(|producer| producer.producer_id).collect();
    assert_eq!((log.log_end_offset(), ids), (5, vec![8]));
}
