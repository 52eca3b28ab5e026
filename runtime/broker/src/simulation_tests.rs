//! The whole broker on a disk in memory: random transactions, group offsets, keyed records and
//! compactions; then the process is killed or the power goes, in the middle of whatever it does, and
//! a broker starts on what is left. And a disk that fills up.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;

use crate::clock::{Clock, ManualClock};
use crate::disk::Disk;
use crate::disk::faults::{Dice, FaultDisk};
use crate::group::{CommitRequest, CommittedOffset};
use crate::log::batch_builder::{BatchBuilder, BatchProducer};
use crate::log::record_batch::Header;
use crate::log::{CompactionLimits, Isolation, Log, records};
use crate::topic::CONSUMER_OFFSETS;
use crate::topic_config::TopicConfigs;
use crate::transaction::{Partitions, Producer};
use crate::{Broker, BrokerConfig};

const NOW_MS: i64 = 1_700_000_000_000;
const ID: &str = "pipeline";
const GROUP: &str = "readers";
/// Keys of `state`.
const KEYS: usize = 5;

fn open(folder: &Path, disk: &FaultDisk) -> Broker {
    let config = BrokerConfig { data_dir: folder.to_owned(), ..BrokerConfig::default() };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW_MS));
    let seam: Arc<dyn Disk> = Arc::new(disk.clone());
    Broker::open_with(config, seam, clock).unwrap()
}

fn create_topics(broker: &Broker) {
    let configs = |pairs: &[(&str, &str)]| -> TopicConfigs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let small = configs(&[("segment.bytes", "700")]);
    broker.create_topic("orders", Some(2), small).unwrap();
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "400"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    broker.create_topic("state", Some(1), configs(&compacted)).unwrap();
    broker.auto_create_topic(CONSUMER_OFFSETS).unwrap();
}

/// Keys and values that a consumer of committed records gets, in order.
fn consume(log: &Log) -> Vec<(Vec<u8>, u64)> {
    let mut seen = Vec::new();
    let mut offset = log.log_start_offset();
    loop {
        let fetched = log.read(offset, 1 << 20, true, Isolation::ReadCommitted).unwrap();
        if fetched.records.is_empty() {
            return seen;
        }
        let mut aborted = fetched.aborted;
        let mut rest = &fetched.records[..];
        while !rest.is_empty() {
            let header = Header::parse_whole(rest).unwrap();
            let (batch, behind) = rest.split_at(header.size_bytes);
            let ends = |&(id, from): &(i64, i64)| id == header.producer_id && from <= offset;
            let begun = |&(id, from): &(i64, i64)| {
                id == header.producer_id && from <= header.base_offset && header.is_transactional()
            };
            if header.is_control() {
                aborted.iter().position(ends).map(|ended| aborted.remove(ended));
            } else if !aborted.iter().any(begun) && header.record_count > 0 {
                let payload = records::payload(&header, batch).unwrap();
                for record in records::iter(&payload).map(Result::unwrap) {
                    let value = record.value.unwrap().try_into().unwrap();
                    seen.push((record.key.unwrap().to_vec(), u64::from_be_bytes(value)));
                }
            }
            rest = behind;
            offset = header.next_offset();
        }
    }
}

fn record(producer: Option<(Producer, i32)>, key: &str, value: u64) -> bytes::Bytes {
    let mut batch = match producer {
        None => BatchBuilder::new(),
        Some((producer, base_sequence)) => BatchBuilder::with_producer(BatchProducer {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
            is_transactional: true,
        }),
    };
    batch.push(NOW_MS, Some(key.as_bytes()), Some(&value.to_be_bytes()));
    batch.build()
}

/// What the client knows.
#[derive(Default)]
struct Model {
    /// Numbers of transactions.
    next: u64,
    committed: BTreeSet<u64>,
    aborted: BTreeSet<u64>,
    /// Acknowledged values of `state`, and those sent since whose fate is unknown.
    state: BTreeMap<String, u64>,
    perhaps: BTreeMap<String, Vec<u64>>,
}

/// One life of the broker, as its client sees it.
struct Life<'a> {
    broker: &'a Broker,
    model: &'a mut Model,
    producer: Producer,
    /// Of the next record, by partition; a new epoch begins at 0.
    sequences: [i32; 2],
}

impl Life<'_> {
    async fn step(&mut self, dice: &mut Dice) -> Result<(), ResponseError> {
        match dice.below(6) {
            0 | 1 => self.transaction(dice.below(4) > 0).await,
            2 => {
                let log = self.broker.log("state", 0).unwrap();
                let limits = CompactionLimits { keys_max: 3, pace: &|_| true };
                log.compact(&limits).map(drop).map_err(|error| error.kafka_error())
            }
            _ => self.put(&format!("k{}", dice.below(KEYS))).await,
        }
    }

    async fn put(&mut self, key: &str) -> Result<(), ResponseError> {
        let log = self.broker.log("state", 0).unwrap();
        let value = self.model.next;
        self.model.next += 1;
        self.model.perhaps.entry(key.to_owned()).or_default().push(value);
        let appended = log.append(record(None, key, value)).map_err(|error| error.kafka_error())?;
        log.durable(appended.end_offset).await.map_err(|error| error.kafka_error())?;
        self.model.state.insert(key.to_owned(), value);
        self.model.perhaps.remove(key);
        Ok(())
    }

    /// A record in each partition and the group's offset, all of the same number.
    async fn transaction(&mut self, commit: bool) -> Result<(), ResponseError> {
        let number = self.model.next;
        self.model.next += 1;
        let (transactions, producer) = (self.broker.transactions(), self.producer);
        let both = Partitions::from([("orders".to_owned(), BTreeSet::from([0, 1]))]);
        transactions.add_partitions(ID, producer, &both).await?;
        for partition in [0, 1] {
            let log = self.broker.log("orders", partition).unwrap();
            let sequence = self.sequences[partition as usize];
            let batch = record(Some((producer, sequence)), "k", number);
            let append = || log.append(batch).map_err(|error| error.kafka_error());
            let written = transactions.in_transaction(ID, producer, "orders", partition, append)?;
            let (state_log, announced_offset) = written.announcement;
            let end_offset = written.outcome?.end_offset;
            log.durable(end_offset).await.map_err(|error| error.kafka_error())?;
            state_log.durable(announced_offset).await.map_err(|error| error.kafka_error())?;
            self.sequences[partition as usize] += 1;
        }
        transactions.add_offsets(ID, producer).await?;
        transactions.commit_offsets(ID, producer, GROUP, offsets(number)).await?;
        transactions.end(ID, producer, commit).await?;
        let ended = if commit { &mut self.model.committed } else { &mut self.model.aborted };
        ended.insert(number);
        Ok(())
    }
}

fn offsets(number: u64) -> CommitRequest {
    let (leader_epoch, metadata, commit_time_ms) = (-1, String::new(), NOW_MS);
    let offset = number as i64;
    let committed = CommittedOffset { offset, leader_epoch, metadata, commit_time_ms };
    let (generation, offsets) = (-1, vec![(("orders".to_owned(), 0), committed)]);
    CommitRequest { generation, offsets, ..CommitRequest::default() }
}

impl Model {
    /// What is there agrees with what the client knows; of what it doesn't, it learns.
    fn check(&mut self, broker: &Broker, context: &str) {
        let numbers = |partition| -> Vec<u64> {
            let seen = consume(&broker.log("orders", partition).unwrap());
            seen.into_iter().map(|(_, number)| number).collect()
        };
        let visible = numbers(0);
        assert_eq!(
            numbers(1),
            visible,
            "{context}: a transaction is in one partition only; committed {:?} aborted {:?}",
            self.committed,
            self.aborted
        );
        assert!(visible.is_sorted_by(|a, b| a < b), "{context}: doubled or out of order");
        let visible = BTreeSet::from_iter(visible);
        let lost: Vec<_> = self.committed.difference(&visible).collect();
        assert!(lost.is_empty(), "{context}: committed and gone: {lost:?}");
        let shown: Vec<_> = self.aborted.intersection(&visible).collect();
        assert!(shown.is_empty(), "{context}: aborted and shown: {shown:?}");
        let place = [("orders".to_owned(), 0)];
        let committed = broker.groups().committed(GROUP, &place).remove(0);
        let committed = committed.map(|committed| committed.offset as u64);
        assert_eq!(committed, visible.last().copied(), "{context}: the group's offset");
        self.committed = visible;

        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (key, value) in consume(&broker.log("state", 0).unwrap()) {
            last.insert(String::from_utf8(key).unwrap(), value);
        }
        for key in (0..KEYS).map(|key| format!("k{key}")) {
            let (found, acknowledged) = (last.get(&key), self.state.get(&key));
            let perhaps = self.perhaps.get(&key).into_iter().flatten();
            let is_sound = found == acknowledged || perhaps.into_iter().any(|it| Some(it) == found);
            assert!(is_sound, "{context}: {key} is {found:?}, not {acknowledged:?}");
        }
        self.state = last;
        self.perhaps.clear();
    }
}

#[tokio::test]
async fn transactions_offsets_and_compacted_state_outlive_kills_and_power_cuts_at_any_moment() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let mut disk = FaultDisk::default();
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        create_topics(&open(folder.path(), &disk));
        for life in 0..5 {
            let context = format!("seed {seed}, life {life}");
            let broker = open(folder.path(), &disk);
            // The new incarnation ends what the old one left open.
            let producer = broker.transactions().init(ID, 10_000, None).await.unwrap();
            model.check(&broker, &context);
            disk.stand_still_after(dice.below(300));
            let (broker_ref, sequences) = (&broker, [0; 2]);
            let mut client = Life { broker: broker_ref, model: &mut model, producer, sequences };
            for _ in 0..dice.below(30) {
                if client.step(&mut dice).await.is_err() {
                    break;
                }
            }
            let found = match dice.below(3) {
                0 => disk.copy(),
                1 => disk.power_cut(None),
                _ => disk.power_cut(Some(&mut dice)),
            };
            drop(broker);
            disk = found;
        }
    }
}

/// A client is told of its commit when the markers are written, and readers see it when they are synced: a look in
/// between, on a busy machine, took a transaction for lost, or for one in half of its partitions.
async fn markers_synced(broker: &Broker) {
    for partition in [0, 1] {
        let log = broker.log("orders", partition).unwrap();
        let mut news = log.watch();
        while log.last_stable_offset() < log.log_end_offset() {
            let changed = tokio::time::timeout(Duration::from_secs(30), news.changed()).await;
            changed.expect("the markers are synced").unwrap();
        }
    }
}

/// Whatever does not fit is refused with an error of the disk, reads go on, and when there is room
/// all goes on as if nothing had been.
#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_needs_no_restart() {
    for room in [0, 1, 40, 90, 150, 300, 500, 800, 1200, 2000] {
        let context = format!("with room for {room} bytes");
        let folder = tempfile::tempdir().unwrap();
        let disk = FaultDisk::default();
        let broker = open(folder.path(), &disk);
        create_topics(&broker);
        let mut model = Model::default();
        let mut dice = Dice::new(room as u64);
        let producer = broker.transactions().init(ID, 10_000, None).await.unwrap();
        let sequences = [0; 2];
        let mut client = Life { broker: &broker, model: &mut model, producer, sequences };
        for _ in 0..20 {
            client.step(&mut dice).await.unwrap();
        }
        let visible = consume(&broker.log("orders", 0).unwrap());
        disk.fill_up_to(room);
        let mut errors = Vec::new();
        for _ in 0..20 {
            errors.extend(client.step(&mut dice).await.err());
        }
        let commit = broker.groups().commit("others", offsets(1)).await;
        errors.extend(commit.err());
        errors.extend(
            broker.create_topic("new", Some(3), TopicConfigs::new()).err().map(|it| it.error),
        );
        assert!(errors.contains(&ResponseError::KafkaStorageError), "{context}: {errors:?}");
        for error in errors {
            use ResponseError::{
                ConcurrentTransactions, CoordinatorNotAvailable, InvalidTxnState,
                KafkaStorageError, OutOfOrderSequenceNumber,
            };
            // The last three follow from a transaction that is half done.
            let known = [
                KafkaStorageError,
                CoordinatorNotAvailable,
                ConcurrentTransactions,
                InvalidTxnState,
                OutOfOrderSequenceNumber,
            ];
            assert!(known.contains(&error), "{context}: {error:?}");
        }
        assert!(consume(&broker.log("orders", 0).unwrap()).starts_with(&visible), "{context}");
        broker.apply_retention(); // says that it can't, and no more

        disk.fill_up_to(1 << 24);
        let producer = broker.transactions().init(ID, 10_000, None).await.unwrap();
        model.check(&broker, &context);
        let mut client = Life { broker: &broker, model: &mut model, producer, sequences };
        for _ in 0..20 {
            client.step(&mut dice).await.unwrap();
        }
        broker.groups().commit("others", offsets(2)).await.unwrap();
        if broker.topic("new").is_none() {
            broker.create_topic("new", Some(3), TopicConfigs::new()).unwrap();
        }
        markers_synced(&broker).await;
        model.check(&broker, &context);
        broker.close().unwrap();
        drop(broker);
        let broker = open(folder.path(), &disk.copy());
        assert_eq!(broker.repairs(), [] as [String; 0], "{context}");
        model.check(&broker, &context);
    }
}

/// Whether the topic `orders` is there, whole, on what a kill or a power cut has left; and nothing is
/// in the way of making it anew.
fn check_topic(folder: &Path, disk: &FaultDisk, context: &str) -> bool {
    let broker = open(folder, disk);
    let found = broker.topic("orders");
    if let Some(topic) = &found {
        assert_eq!(topic.partitions().len(), 2, "{context}");
        for log in topic.partitions() {
            log.append(record(None, "k", 1)).unwrap();
        }
        broker.delete_topic("orders").unwrap();
    }
    let left = disk.list(folder).unwrap().into_iter().map(|entry| entry.name);
    let left: Vec<_> = left.filter(|name| name.starts_with("orders")).collect();
    assert!(left.is_empty(), "{context}: {left:?}");
    broker.create_topic("orders", Some(3), TopicConfigs::new()).unwrap();
    assert!(consume(&broker.log("orders", 0).unwrap()).is_empty(), "{context}: old records");
    found.is_some()
}

#[test]
fn a_topic_is_created_and_deleted_wholly_or_not_at_all_whenever_the_broker_is_killed() {
    for deletes in [false, true] {
        let (mut there, mut gone) = (0, 0);
        for changes in 0..60 {
            for power_cut in [false, true] {
                let context = format!("deletes {deletes}, step {changes}, power cut {power_cut}");
                let folder = tempfile::tempdir().unwrap();
                let disk = FaultDisk::default();
                let broker = open(folder.path(), &disk);
                let create = || broker.create_topic("orders", Some(2), TopicConfigs::new());
                if deletes {
                    let log = create().unwrap().partition(0).unwrap().clone();
                    log.append(record(None, "k", 7)).unwrap();
                    log.checkpoint().unwrap();
                }
                disk.stand_still_after(changes);
                let done = if deletes { broker.delete_topic("orders") } else { create().map(drop) };
                let found = if power_cut { disk.power_cut(None) } else { disk.copy() };
                drop(broker);
                let is_there = check_topic(folder.path(), &found, &context);
                assert!(done.is_err() || is_there != deletes, "{context}: acknowledged");
                if is_there { there += 1 } else { gone += 1 }
            }
        }
        assert!(there > 0 && gone > 0, "deletes {deletes}: {there} and {gone}");
    }
}
