//! Compaction against a model, a disk that stands still at every step, and power that goes.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::Disk;
use crate::disk::faults::{Dice, FaultDisk};

use super::super::batch_builder::{BatchBuilder, BatchProducer};
use super::super::fixture::{Fixture, read_all};
use super::super::record_batch::Header;
use super::super::{Isolation, Log, LogConfig, Repair, records};
use super::*;

const LIMITS: CompactionLimits<'static> = CompactionLimits { keys_max: 1000, pace: &|_| true };

/// Segments of a few batches.
fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes_max: 600,
        index_interval_bytes: 100,
        cleanup_compact: true,
        cleanup_delete: false,
        delete_retention_ms: 1000,
        ..LogConfig::default()
    }
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    offset: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// All records as a consumer of that isolation sees them: one that reads committed records skips
/// those of the aborted transactions that it is told of, up to their marker.
fn consume(log: &Log, isolation: Isolation) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut offset = log.log_start_offset();
    loop {
        let fetched = log.read(offset, 300, true, isolation).unwrap();
        if fetched.records.is_empty() {
            return seen;
        }
        let mut aborted = fetched.aborted;
        let mut skipped = BTreeSet::new();
        let mut rest = &fetched.records[..];
        while !rest.is_empty() {
            let header = Header::parse_whole(rest).unwrap();
            let (batch, behind) = rest.split_at(header.size_bytes);
            rest = behind;
            aborted.retain(|(producer_id, first_offset)| {
                let begins = *first_offset <= header.last_offset();
                begins.then(|| skipped.insert(*producer_id));
                !begins
            });
            if header.is_control() {
                skipped.remove(&header.producer_id);
            } else if !(header.is_transactional() && skipped.contains(&header.producer_id)) {
                take(&header, batch, offset, &mut seen);
            }
            offset = header.next_offset();
        }
    }
}

fn take(header: &Header, batch: &[u8], from: i64, seen: &mut Vec<Seen>) {
    let payload = if header.record_count == 0 {
        Vec::new()
    } else {
        records::payload(header, batch).unwrap().into_owned()
    };
    let all: Vec<_> = records::iter(&payload).map(Result::unwrap).collect();
    assert_eq!(all.len(), header.record_count as usize);
    for record in all {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset >= from {
            let (key, value) =
                (record.key.unwrap_or(b"").to_vec(), record.value.map(<[u8]>::to_vec));
            seen.push(Seen { offset, key, value });
        }
    }
}

/// The table that a consumer makes of what it sees.
fn table(seen: &[Seen]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for record in seen {
        match &record.value {
            Some(value) => table.insert(record.key.clone(), value.clone()),
            None => table.remove(&record.key),
        };
    }
    table
}

fn put(fixture: &Fixture, log: &Log, pairs: &[(&str, Option<&str>)]) -> i64 {
    let mut builder = BatchBuilder::new();
    for (key, value) in pairs {
        builder.push(fixture.now_ms(), Some(key.as_bytes()), value.map(str::as_bytes));
    }
    let appended = log.append(builder.build()).unwrap();
    fixture.sync(log);
    appended.first_offset
}

/// Makes sure that nothing of what was appended is in the active segment any more.
fn seal(fixture: &Fixture, log: &Log) {
    put(fixture, log, &[("filler", Some(&"x".repeat(510)))]);
}

fn offsets(log: &Log) -> Vec<i64> {
    let seen = consume(log, Isolation::ReadUncommitted);
    seen.iter().filter(|it| it.key != b"filler").map(|it| it.offset).collect()
}

#[test]
fn of_each_key_the_last_record_stays_under_its_offset() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
    put(&fixture, &log, &[("c", Some("1")), ("b", Some("2"))]);
    seal(&fixture, &log);
    put(&fixture, &log, &[("a", Some("3"))]);
    assert!(log.dirt().unwrap().unwrap().is_due);
    let done = log.compact(&LIMITS).unwrap();
    assert_eq!((done.passes, done.records_removed), (1, 2), "{done:?}");
    assert!(done.bytes_after < done.bytes_before);
    // The record in the active segment removes nothing before it is sealed.
    assert_eq!(offsets(&log), [2, 3, 4, 6]);
    assert_eq!(log.dirt().unwrap(), None);
    for offset in 0..7 {
        assert!(!log.read(offset, 1, true, Isolation::ReadUncommitted).unwrap().records.is_empty());
    }
    seal(&fixture, &log);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [3, 4, 6]);
    let (again, recovery) = fixture.open_and_tell(false);
    assert_eq!((offsets(&again), recovery.repairs), (vec![3, 4, 6], vec![]));
}

#[test]
fn a_tombstone_stays_for_a_while_after_the_first_pass_and_then_goes() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("1")), ("b", Some("1"))]);
    put(&fixture, &log, &[("a", None), ("b", Some("2"))]);
    seal(&fixture, &log);
    fixture.clock.advance(5000); // however old it is when the first pass comes
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [2, 3]);
    fixture.clock.advance(999);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    let seen = consume(&log, Isolation::ReadUncommitted);
    assert_eq!((seen[0].offset, seen[0].value.clone()), (2, None), "too early");
    fixture.clock.advance(1);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [3]);
    // Moving the base time of the batch has not moved the records.
    let found = log.offset_for_timestamp(0).unwrap();
    assert_eq!(found, Some((1_700_000_000_000, 3)));
}

#[test]
fn what_is_young_or_active_or_dirty_too_little_is_left_alone() {
    let config = LogConfig { compaction_lag_ms_min: 100, dirty_ratio_min: 0.9, ..compacted() };
    let fixture = Fixture::with(config.clone());
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("1"))]);
    put(&fixture, &log, &[("a", Some("2"))]);
    assert_eq!(log.dirt().unwrap(), None, "only the active segment");
    seal(&fixture, &log);
    seal(&fixture, &log);
    assert_eq!(log.dirt().unwrap(), None, "too young");
    assert_eq!(log.compact(&LIMITS).unwrap(), Compacted::default());
    fixture.clock.advance(101);
    assert!(log.dirt().unwrap().unwrap().is_due);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [1]);
    put(&fixture, &log, &[("b", Some("1"))]);
    seal(&fixture, &log);
    fixture.clock.advance(101);
    let dirt = log.dirt().unwrap().unwrap();
    assert!(dirt.ratio > 0.3 && dirt.ratio < 0.9 && !dirt.is_due, "{dirt:?}");
    log.set_config(LogConfig { compaction_lag_ms_max: 100, ..config });
    assert!(log.dirt().unwrap().unwrap().is_due, "it has waited for long enough");
}

#[test]
fn records_without_a_key_are_refused_and_those_from_before_go() {
    let fixture = Fixture::with(LogConfig { cleanup_compact: false, ..compacted() });
    let log = fixture.open();
    let keyless = || {
        let mut builder = BatchBuilder::new();
        builder.push(fixture.now_ms(), None, Some(b"v"));
        builder.build()
    };
    log.append(keyless()).unwrap();
    put(&fixture, &log, &[("a", Some("1"))]);
    log.set_config(compacted());
    let error = log.append(keyless()).unwrap_err();
    assert_eq!(error.kafka_error(), kafka_protocol::ResponseError::InvalidRecord);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [1]);
}

#[test]
fn a_map_too_small_for_all_keys_takes_more_passes_and_comes_to_the_same() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    for n in 0..40 {
        let (key, other) = (format!("k{}", n % 13), format!("k{}", n % 7));
        let value = n.to_string();
        put(&fixture, &log, &[(&key, Some(&value)), (&other, Some(&value))]);
    }
    seal(&fixture, &log);
    let expected = table(&consume(&log, Isolation::ReadUncommitted));
    let roomy = fixture.on(fixture.disk.copy());
    let one_pass = roomy.open();
    assert_eq!(one_pass.compact(&LIMITS).unwrap().passes, 1);
    let done = log.compact(&CompactionLimits { keys_max: 4, ..LIMITS }).unwrap();
    assert!(done.passes > 5, "{done:?}");
    assert_eq!(offsets(&log), offsets(&one_pass));
    assert_eq!(offsets(&log).len(), 13);
    assert_eq!(table(&consume(&log, Isolation::ReadUncommitted)), expected);
}

#[test]
fn compressed_batches_stay_compressed_and_readable() {
    use kafka_protocol::records::{
        Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    };
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let fixture = Fixture::with(compacted());
        let log = fixture.open();
        let record = |n: i64| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            timestamp: 1_700_000_000_000 + n,
            sequence: n as i32, // the encoder begins a new batch at each gap
            offset: n,
            key: Some(format!("k{}", n % 3).into()),
            value: (n != 4).then(|| format!("v{n}").into()),
            headers: [("h".into(), Some("x".into()))].into_iter().collect(),
        };
        let records: Vec<Record> = (0..6).map(record).collect();
        let mut batch = bytes::BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode(&mut batch, &records, &options).unwrap();
        log.append(batch.freeze()).unwrap();
        seal(&fixture, &log);
        log.compact(&LIMITS).unwrap();
        let mut stored = log.read(0, 1, true, Isolation::ReadUncommitted).unwrap().records;
        let header = Header::parse_whole(&stored).unwrap();
        assert_eq!((header.record_count, header.last_offset_delta), (3, 5));
        assert!(header.delete_horizon_ms().is_some(), "the tombstone's time");
        let kept = RecordBatchDecoder::decode(&mut stored).unwrap().records;
        for (kept, n) in kept.iter().zip(3..) {
            let expected = record(n);
            assert_eq!((kept.offset, kept.timestamp), (n, expected.timestamp), "{compression:?}");
            assert_eq!((&kept.key, &kept.value), (&expected.key, &expected.value));
            assert_eq!(kept.headers, expected.headers);
        }
    }
}

/// A retry is recognised, and a gap too, although the records are gone and so are the snapshots.
#[test]
fn a_producers_last_sequence_outlives_its_records() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    let batch = |sequence: i32| {
        let mut builder = BatchBuilder::with_producer(BatchProducer {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: sequence,
            is_transactional: false,
        });
        builder.push(fixture.now_ms(), Some(b"k"), Some(b"v"));
        builder.push(fixture.now_ms(), Some(b"k"), Some(b"w"));
        builder.build()
    };
    for sequence in [0, 2, 4] {
        log.append(batch(sequence)).unwrap();
    }
    put(&fixture, &log, &[("k", Some("another's"))]);
    seal(&fixture, &log);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [6]);
    for keep_files in [true, false] {
        let found = fixture.on(fixture.disk.copy());
        if !keep_files {
            for entry in found.disk.list(&Fixture::directory()).unwrap() {
                if !entry.name.ends_with(".log") {
                    found.disk.remove_file(&Fixture::directory().join(entry.name)).unwrap();
                }
            }
        }
        let log = found.open();
        assert_eq!(log.producers()[0].last_sequence, 5);
        let again = log.append(batch(4)).unwrap();
        assert!(again.duplicate, "stored twice");
        assert!(log.append(batch(8)).is_err(), "a gap");
        assert!(!log.append(batch(6)).unwrap().duplicate);
    }
}

/// Such a batch would be the answer to the question for the largest time, and there is no record in
/// it.
#[test]
fn a_batch_without_records_is_not_found_by_its_time() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    let mut builder = BatchBuilder::with_producer(BatchProducer {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
        is_transactional: false,
    });
    let later_ms = fixture.now_ms() + 10_000;
    builder.push(later_ms, Some(b"k"), Some(b"v"));
    log.append(builder.build()).unwrap();
    put(&fixture, &log, &[("k", Some("w"))]);
    seal(&fixture, &log);
    assert_eq!(log.offset_of_max_timestamp().unwrap(), Some((later_ms, 0)));
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [1]);
    assert_eq!(log.offset_of_max_timestamp().unwrap(), Some((fixture.now_ms(), 1)));
    assert_eq!(log.offset_for_timestamp(fixture.now_ms() + 1).unwrap(), None);
    for was_clean in [false, true] {
        let (again, recovery) = fixture.open_and_tell(was_clean);
        assert_eq!(recovery.repairs, []);
        assert_eq!(again.offset_of_max_timestamp().unwrap(), Some((fixture.now_ms(), 1)));
    }
}

fn in_transaction(fixture: &Fixture, log: &Log, producer_id: i64, key: &str) -> i64 {
    let sequence = log.producers().into_iter().find(|it| it.producer_id == producer_id);
    let mut builder = BatchBuilder::with_producer(BatchProducer {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence.map_or(0, |it| it.last_sequence + 1),
        is_transactional: true,
    });
    builder.push(fixture.now_ms(), Some(key.as_bytes()), Some(b"in a transaction"));
    let appended = log.append(builder.build()).unwrap();
    fixture.sync(log);
    appended.first_offset
}

fn end(fixture: &Fixture, log: &Log, producer_id: i64, commit: bool) {
    let marker = BatchBuilder::marker(producer_id, 0, commit, 0, fixture.now_ms());
    log.append_internal(marker).unwrap();
    fixture.sync(log);
}

#[test]
fn aborted_records_go_and_their_marker_goes_after_them() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("before"))]);
    in_transaction(&fixture, &log, 1, "a");
    end(&fixture, &log, 1, false); // offset 2
    let committed = in_transaction(&fixture, &log, 2, "b");
    end(&fixture, &log, 2, true); // offset 4
    in_transaction(&fixture, &log, 1, "c");
    end(&fixture, &log, 1, true); // offset 6: an empty batch at 5 would hold on to it
    put(&fixture, &log, &[("b", Some("after")), ("c", Some("after"))]);
    in_transaction(&fixture, &log, 1, "d");
    in_transaction(&fixture, &log, 2, "d");
    seal(&fixture, &log);
    let open = fixture.on(fixture.disk.copy()).open();
    open.compact(&LIMITS).unwrap();
    assert!(offsets(&open).contains(&committed), "a transaction is open in the same segment");

    end(&fixture, &log, 1, true);
    end(&fixture, &log, 2, true);
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap();
    assert_eq!(offsets(&log), [0, 7, 8, 10]);
    let markers = || -> Vec<i64> {
        let (all, mut at, mut found) = (read_all(&log, 0), 0, Vec::new());
        while at < all.len() {
            let header = Header::parse_whole(&all[at..]).unwrap();
            found.extend(header.is_control().then_some(header.base_offset));
            at += header.size_bytes;
        }
        found
    };
    // Found with records: all markers stay for this pass, and the aborted transaction is known.
    assert_eq!(markers()[..3], [2, 4, 6]);
    assert_eq!(log.aborted_transactions().len(), 1);
    for expected in [&[2, 4, 6][..], &[]] {
        seal(&fixture, &log);
        log.compact(&LIMITS).unwrap();
        let early: Vec<_> = markers().into_iter().filter(|offset| *offset < 9).collect();
        assert_eq!(early, expected);
        assert_eq!(log.aborted_transactions().len(), 0);
        fixture.clock.advance(1000);
    }
    assert_eq!(offsets(&log), [0, 7, 8, 10]);
}

#[test]
fn a_consumer_gets_past_the_end_of_a_log_that_compaction_has_emptied() {
    let fixture = Fixture::with(LogConfig { delete_retention_ms: 0, ..compacted() });
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("1"))]);
    put(&fixture, &log, &[("a", None)]);
    fixture.clock.advance(1);
    // An empty active segment, as after a start that rolled or a DeleteRecords.
    log.shared.roll(&mut log.shared.writer().unwrap(), 0).unwrap();
    log.compact(&LIMITS).unwrap();
    fixture.clock.advance(1);
    log.shared.writer().unwrap().checkpoint.compacted_to = 0; // again, although nothing is new
    log.compact(&LIMITS).unwrap();
    assert!(offsets(&log).is_empty());
    let fetched = log.read(0, 1, true, Isolation::ReadUncommitted).unwrap();
    let last = Header::parse_whole(&fetched.records).unwrap();
    assert_eq!((last.next_offset(), last.record_count), (log.high_watermark(), 0));
}

#[test]
fn a_damaged_segment_is_reported_and_stays_as_it_is() {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    put(&fixture, &log, &[("a", Some("1"))]);
    put(&fixture, &log, &[("a", Some("2"))]);
    seal(&fixture, &log);
    let path = Fixture::path(0, "log");
    let mut bytes = fixture.disk.read(&path);
    let good = bytes.clone();
    // In the records; in the offset, which no checksum covers; in the offset of the second batch.
    for (at, bit) in [(65, 1), (7, 0x80), (70, 1), (77, 2)] {
        bytes.clone_from(&good);
        bytes[at] ^= bit;
        fixture.disk.put(&path, bytes.clone());
        let (log, _) = fixture.open_and_tell(true);
        let outcome = log.compact(&LIMITS);
        assert!(matches!(outcome, Err(LogError::Damaged { .. })), "byte {at}: {outcome:?}");
        assert!(log.compaction_failure().unwrap().contains("00000000000000000000.log"));
        assert_eq!(log.dirt().unwrap(), None, "not tried again");
        assert_eq!(fixture.disk.read(&path), bytes);
        let names = fixture.disk.list(&Fixture::directory()).unwrap();
        assert!(!names.iter().any(|entry| entry.name.ends_with(".cleaned")), "{names:?}");
    }
}

#[test]
fn a_full_disk_ends_a_compaction_and_the_next_one_succeeds() {
    let (fixture, log) = worked(3, 60);
    let expected = table(&consume(&log, Isolation::ReadCommitted));
    let before = offsets(&log);
    fixture.disk.fill_up_to(10);
    assert!(log.compact(&LIMITS).is_err());
    assert_eq!(offsets(&log), before);
    fixture.disk.fill_up_to(1 << 20);
    log.compact(&LIMITS).unwrap();
    assert!(offsets(&log).len() < before.len());
    assert_eq!(table(&consume(&log, Isolation::ReadCommitted)), expected);
}

#[test]
fn a_log_that_closes_ends_its_compaction() {
    let (_fixture, log) = worked(4, 60);
    let stop = CompactionLimits { keys_max: 1000, pace: &|_| false };
    assert!(matches!(log.compact(&stop), Err(LogError::Closed)));
    log.close().unwrap();
    assert!(matches!(log.compact(&LIMITS), Err(LogError::Closed)));
}

/// A log after random work: plain records, tombstones, transactions that are committed, aborted or
/// left open.
fn worked(seed: u64, steps: usize) -> (Fixture, Log) {
    let fixture = Fixture::with(compacted());
    let log = fixture.open();
    let mut dice = Dice::new(seed);
    for _ in 0..steps {
        work(&fixture, &log, &mut dice);
    }
    (fixture, log)
}

fn work(fixture: &Fixture, log: &Log, dice: &mut Dice) {
    fixture.clock.advance(dice.below(100) as i64);
    let key = format!("k{}", dice.below(6));
    let value = format!("v{}", log.log_end_offset());
    let producer_id = 1 + dice.below(3) as i64;
    match dice.below(8) {
        0..=2 => drop(put(fixture, log, &[(&key, Some(&value)), ("k0", Some(&value))])),
        3 => drop(put(fixture, log, &[(&key, None)])),
        4 | 5 => drop(in_transaction(fixture, log, producer_id, &key)),
        choice => end(fixture, log, producer_id, choice == 6),
    }
}

/// Compaction is invisible to whoever reads to the end: the table is the same. What is read is a
/// part of what was there, and all from the first dirty segment that was not touched.
fn check_against(before: &[Seen], log: &Log, context: &str) {
    let after = consume(log, Isolation::ReadCommitted);
    assert_eq!(table(&after), table(before), "{context}");
    let all: BTreeSet<&Seen> = before.iter().collect();
    assert!(after.is_sorted_by(|a, b| a.offset < b.offset), "{context}: out of order");
    for record in &after {
        assert!(all.contains(record), "{context}: {record:?} was never there");
    }
    let active = log.shared.writer().unwrap().active.base_offset;
    let untouched = |seen: &[Seen]| seen.iter().filter(|it| it.offset >= active).count();
    assert_eq!(untouched(&after), untouched(before), "{context}: of the active segment");
}

#[test]
fn a_compacted_log_gives_the_same_table_as_the_whole_log() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let fixture = Fixture::with(compacted());
        let mut log = fixture.open();
        let mut whole: Vec<Seen> = Vec::new();
        for _life in 0..6 {
            for _ in 0..dice.below(40) {
                work(&fixture, &log, &mut dice);
            }
            let committed = consume(&log, Isolation::ReadCommitted);
            let from = whole.last().map_or(0, |record| record.offset + 1);
            whole.extend(committed.into_iter().filter(|record| record.offset >= from));
            let keys_max = 1 + dice.below(8);
            log.compact(&CompactionLimits { keys_max, ..LIMITS }).unwrap();
            check_against(&whole, &log, &format!("seed {seed}"));
            let producers = log.producers();
            if dice.below(2) == 0 {
                let was_clean = dice.below(2) == 0;
                if was_clean {
                    log.close().unwrap();
                }
                let (reopened, recovery) = fixture.open_and_tell(was_clean);
                assert_eq!(recovery.repairs, [], "seed {seed}");
                log = reopened;
                let sequences = |all: &[super::super::ProducerInfo]| -> Vec<(i64, i32)> {
                    all.iter().map(|it| (it.producer_id, it.last_sequence)).collect()
                };
                assert_eq!(sequences(&log.producers()), sequences(&producers), "seed {seed}");
                check_against(&whole, &log, &format!("seed {seed}, opened again"));
            }
        }
    }
}

/// The work of [`worked`], then a compaction whose disk stands still after `changes` changes.
fn interrupted(seed: u64, changes: usize) -> (Fixture, Vec<Seen>, usize) {
    let (fixture, log) = worked(seed, 60);
    let before = consume(&log, Isolation::ReadCommitted);
    let so_far = fixture.disk.change_count();
    fixture.disk.stand_still_after(changes);
    let _ = log.compact(&LIMITS);
    // Whoever reads on sees old segments or new ones.
    check_against(&before, &log, &format!("seed {seed}, while the disk stands still"));
    let done = fixture.disk.change_count() - so_far;
    (fixture, before, done)
}

fn check_found(found: &FaultDisk, fixture: &Fixture, before: &[Seen], context: &str) {
    let found = fixture.on(found.clone());
    let (log, recovery) = found.open_and_tell(false);
    for repair in &recovery.repairs {
        let expected = matches!(repair, Repair::Removed { .. } | Repair::CompactionFinished { .. });
        assert!(expected, "{context}: {repair}");
    }
    check_against(before, &log, context);
    let left = found.disk.list(&Fixture::directory()).unwrap().into_iter();
    let left: Vec<_> = left
        .filter(|entry| entry.name.ends_with(".cleaned") || entry.name == "compaction-swap")
        .collect();
    assert_eq!(left, [], "{context}");
    log.compact(&LIMITS).unwrap();
    check_against(before, &log, context);
}

#[test]
fn a_kill_at_any_step_of_a_compaction_leaves_old_segments_or_new_ones() {
    for seed in 0..4 {
        let (_, _, steps) = interrupted(seed, usize::MAX);
        assert!(steps > 30, "seed {seed}: only {steps} steps");
        for changes in 0..=steps {
            let context = format!("seed {seed}, killed after step {changes}");
            let (fixture, before, _) = interrupted(seed, changes);
            check_found(&fixture.disk.copy(), &fixture, &before, &context);
        }
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_compaction_leaves_old_segments_or_new_ones() {
    for seed in 0..2 {
        let (_, _, steps) = interrupted(seed, usize::MAX);
        for changes in 0..=steps {
            let (fixture, before, _) = interrupted(seed, changes);
            for cut in 0..6 {
                let context = format!("seed {seed}, power cut {cut} after step {changes}");
                let mut dice = Dice::new(cut * 1000 + changes as u64);
                let dice = (cut > 0).then_some(&mut dice);
                check_found(&fixture.disk.power_cut(dice), &fixture, &before, &context);
            }
        }
    }
}

/// A second process would find the order again if its removal were lost: it changes nothing then.
#[test]
fn an_order_that_was_carried_out_already_does_no_harm() {
    let (fixture, log) = worked(5, 60);
    (1..4).for_each(|producer_id| end(&fixture, &log, producer_id, true));
    log.compact(&LIMITS).unwrap();
    let segments: Vec<i64> = log.shared.segments().iter().map(|it| it.base_offset).collect();
    seal(&fixture, &log);
    log.compact(&LIMITS).unwrap(); // makes one of what is small now
    let before = consume(&log, Isolation::ReadCommitted);
    let left: Vec<i64> = log.shared.segments().iter().map(|it| it.base_offset).collect();
    let gone = segments.iter().find(|base| !left.contains(base)).unwrap();
    let size = fixture.disk.read(&Fixture::path(0, "log")).len();
    let order = format!("version 1\nsize {size}\naborted true\nreplaces 0 {gone}\n");
    fixture.disk.put(&Fixture::directory().join("compaction-swap"), order.into_bytes());
    check_found(&fixture.disk.copy(), &fixture, &before, "carried out");
    let nonsense = b"version 1\nsize x\n".to_vec();
    fixture.disk.put(&Fixture::directory().join("compaction-swap"), nonsense);
    check_found(&fixture.disk.copy(), &fixture, &before, "nonsense");
}
