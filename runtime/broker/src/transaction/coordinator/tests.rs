//! Whole transactions against a disk in memory: killed and cut from power after every step, timed
//! out, fenced, run against a failing disk.

#![allow(clippy::unwrap_used)]

use super::ending::markers_durable;
use super::*;
use crate::broker::Broker;
use crate::clock::ManualClock;
use crate::disk::Disk;
use crate::disk::faults::FaultDisk;
use crate::group::CommittedOffset;
use crate::log::Isolation;
use crate::log::batch_builder::{BatchBuilder, BatchProducer};
use crate::log::record_batch::Header;

const ID: &str = "pipeline-1";
const TIMEOUT_MS: i32 = 10_000;
/// Steps of a transaction, see [`Fixture::run_to`].
const STEPS: usize = 8;

struct Fixture {
    broker: Arc<Broker>,
    disk: FaultDisk,
    clock: Arc<ManualClock>,
    folder: Arc<tempfile::TempDir>,
}

fn start() -> Fixture {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let fixture = open(FaultDisk::default(), clock, folder);
    fixture.broker.create_topic("orders", Some(2), BTreeMap::new()).unwrap();
    fixture.broker.auto_create_topic(CONSUMER_OFFSETS).unwrap();
    fixture
}

fn open(disk: FaultDisk, clock: Arc<ManualClock>, folder: Arc<tempfile::TempDir>) -> Fixture {
    let config = BrokerConfig { data_dir: folder.path().to_owned(), ..BrokerConfig::default() };
    let seam: Arc<dyn Disk> = Arc::new(disk.clone());
    let time: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let broker = Arc::new(Broker::open_with(config, seam, time).unwrap());
    Fixture { broker, disk, clock, folder }
}

fn partitions(numbers: &[i32]) -> Partitions {
    Partitions::from([("orders".to_owned(), numbers.iter().copied().collect())])
}

impl Fixture {
    fn transactions(&self) -> &Arc<Transactions> {
        self.broker.transactions()
    }

    /// The process is killed, or the power goes, and a broker starts on what is left.
    fn restart(self, power_cut: bool) -> Fixture {
        let disk = if power_cut { self.disk.power_cut(None) } else { self.disk.copy() };
        let Fixture { broker, clock, folder, .. } = self;
        drop(Arc::into_inner(broker).expect("somebody still holds the broker"));
        open(disk, clock, folder)
    }

    async fn init(&self) -> Producer {
        self.transactions().init(ID, TIMEOUT_MS, None).await.unwrap()
    }

    /// Appends a record of 1970 as the Produce handler does, and waits as for acks=all.
    async fn produce(
        &self,
        producer: Producer,
        partition: i32,
        base_sequence: i32,
    ) -> Result<(), ResponseError> {
        let log = self.broker.log("orders", partition).unwrap();
        let mut batch = BatchBuilder::with_producer(BatchProducer {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
            is_transactional: true,
        });
        batch.push(1, None, Some(b"order"));
        let append = || log.append(batch.build()).map_err(|error| error.kafka_error());
        let written =
            self.transactions().in_transaction(ID, producer, "orders", partition, append)?;
        let (state_log, announced_offset) = written.announcement;
        log.durable(written.outcome?.end_offset).await.unwrap();
        state_log.durable(announced_offset).await.unwrap();
        Ok(())
    }

    /// EndTxn, and what comes after its answer.
    async fn end(&self, producer: Producer, commit: bool) {
        self.transactions().end(ID, producer, commit).await.unwrap();
        self.transactions().finish_apart(ID).await.unwrap();
    }

    async fn commit_offset(&self, producer: Producer, offset: i64) {
        let transactions = self.transactions();
        transactions.add_offsets(ID, producer).await.unwrap();
        let place = ("orders".to_owned(), 0);
        let (leader_epoch, metadata, commit_time_ms) = (-1, String::new(), 0);
        let committed = CommittedOffset { offset, leader_epoch, metadata, commit_time_ms };
        let (generation, offsets) = (-1, vec![(place, committed)]);
        let commit = CommitRequest { generation, offsets, ..CommitRequest::default() };
        transactions.commit_offsets(ID, producer, "readers", commit).await.unwrap();
    }

    fn committed(&self) -> Option<i64> {
        let asked = [("orders".to_owned(), 0)];
        let committed = self.broker.groups().committed("readers", &asked).remove(0);
        committed.map(|committed| committed.offset)
    }

    /// Records that a read_committed consumer of the partition sees.
    fn visible(&self, partition: i32) -> usize {
        let log = self.broker.log("orders", partition).unwrap();
        let fetched = log.read(0, 1 << 20, true, Isolation::ReadCommitted).unwrap();
        let mut rest = &fetched.records[..];
        let mut aborted = fetched.aborted;
        let mut count = 0;
        while !rest.is_empty() {
            let header = Header::parse_whole(rest).unwrap();
            let is_aborted =
                |&(id, from): &(i64, i64)| id == header.producer_id && from <= header.base_offset;
            if header.is_control() {
                let ended = aborted.iter().position(is_aborted);
                ended.map(|ended| aborted.remove(ended));
            } else if !aborted.iter().any(is_aborted) {
                count += header.record_count as usize;
            }
            rest = &rest[header.size_bytes..];
        }
        count
    }

    /// One transaction up to and with the given step.
    async fn run_to(&self, step: usize, commit: bool) -> Producer {
        let producer = self.init().await;
        let transactions = self.transactions();
        if step >= 1 {
            transactions.add_partitions(ID, producer, &partitions(&[0, 1])).await.unwrap();
        }
        if step >= 2 {
            self.produce(producer, 0, 0).await.unwrap();
            self.produce(producer, 1, 0).await.unwrap();
        }
        if step >= 3 {
            self.commit_offset(producer, 7).await;
        }
        if step >= 4 {
            assert!(transactions.prepare_end(ID, producer, commit).unwrap());
            let end_offset = transactions.state_log().unwrap().log().log_end_offset();
            transactions.durable(end_offset).await.unwrap();
        }
        let entry = transactions.entry(ID).unwrap();
        if step >= 5 {
            let transaction = lock(&entry).transaction.clone();
            let (log, end_offset) =
                transactions.write_marker(ID, &transaction, "orders", 1).unwrap().unwrap();
            log.durable(end_offset).await.unwrap();
        }
        if step >= 6 {
            let markers = transactions.write_markers(ID, &entry).unwrap();
            markers_durable(ID, &markers).await.unwrap();
        }
        if step >= 7 {
            transactions.finish(ID, None).await.unwrap();
        }
        producer
    }
}

async fn crash_after(step: usize, commit: bool, power_cut: bool) {
    let name = format!("step {step}, commit {commit}, power cut {power_cut}");
    let fixture = start();
    let producer = fixture.run_to(step, commit).await;
    let fixture = fixture.restart(power_cut);
    assert_eq!(fixture.broker.repairs(), [] as [String; 0], "{name}");
    fixture.transactions().check().await;
    let decided = step >= 4;
    // An announcement is durable with the first record.
    let announced = if power_cut { 2 } else { 1 };
    if (announced..4).contains(&step) {
        let described = fixture.transactions().describe(ID).unwrap();
        assert_eq!((described.state, described.producer), (State::Ongoing, producer), "{name}");
        assert_eq!((fixture.visible(0), fixture.committed()), (0, None), "{name}");
    }
    // Whoever comes next finds the outcome that was decided, or an abort.
    let next = fixture.init().await;
    assert_eq!(next.id, producer.id, "{name}");
    assert!(next.epoch > producer.epoch, "{name}");
    let expected = usize::from(decided && commit);
    assert_eq!((fixture.visible(0), fixture.visible(1)), (expected, expected), "{name}");
    assert_eq!(fixture.committed(), (decided && commit).then_some(7), "{name}");
    // The zombie is out, the new one gets through, and nothing is held up.
    let fenced = fixture.produce(producer, 0, 1).await;
    assert_eq!(fenced, Err(ResponseError::ProducerFenced), "{name}");
    let transactions = fixture.transactions();
    transactions.add_partitions(ID, next, &partitions(&[0])).await.unwrap();
    fixture.produce(next, 0, 0).await.unwrap();
    fixture.commit_offset(next, 9).await;
    fixture.end(next, true).await;
    assert_eq!((fixture.visible(0), fixture.committed()), (expected + 1, Some(9)), "{name}");
    let fixture = fixture.restart(power_cut);
    assert_eq!((fixture.visible(0), fixture.committed()), (expected + 1, Some(9)), "{name}");
    for partition in 0..2 {
        let log = fixture.broker.log("orders", partition).unwrap();
        assert_eq!(log.last_stable_offset(), log.high_watermark(), "{name}");
    }
}

#[tokio::test]
async fn a_kill_after_any_step_leaves_all_or_nothing() {
    for step in 0..STEPS {
        for commit in [true, false] {
            crash_after(step, commit, false).await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_after_any_step_leaves_all_or_nothing() {
    for step in 0..STEPS {
        for commit in [true, false] {
            crash_after(step, commit, true).await;
        }
    }
}

/// Between the sync of a record and that of its announcement: nothing is acknowledged, but who reads
/// committed records would wait for ever.
#[tokio::test]
async fn a_power_cut_that_takes_the_announcement_leaves_no_transaction_open() {
    let fixture = start();
    fixture.transactions().create_topic().unwrap();
    let producer = fixture.init().await;
    let transactions = fixture.transactions();
    transactions.add_partitions(ID, producer, &partitions(&[0])).await.unwrap();
    let log = fixture.broker.log("orders", 0).unwrap();
    let mut batch = BatchBuilder::with_producer(BatchProducer {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: 0,
        is_transactional: true,
    });
    batch.push(1, None, Some(b"order"));
    let append = || log.append(batch.build()).unwrap();
    let written = transactions.in_transaction(ID, producer, "orders", 0, append).unwrap();
    log.durable(written.outcome.end_offset).await.unwrap();
    drop((log, written.announcement));
    // The announcement may have been synced meanwhile, by the clock; then the start knows it.
    let fixture = fixture.restart(true);
    let next = fixture.init().await;
    assert_eq!(next.id, producer.id);
    assert_eq!(fixture.visible(0), 0);
    let log = fixture.broker.log("orders", 0).unwrap();
    log.durable(log.log_end_offset()).await.unwrap();
    assert_eq!(log.last_stable_offset(), log.log_end_offset(), "readers go on");
}

#[tokio::test]
async fn the_next_transaction_waits_for_the_markers_of_the_one_before() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    let transactions = fixture.transactions();
    transactions.end(ID, producer, true).await.unwrap();
    // However far the markers are.
    transactions.add_partitions(ID, producer, &partitions(&[0])).await.unwrap();
    assert_eq!(transactions.describe(ID).unwrap().state, State::Ongoing);
    assert_eq!((fixture.visible(0), fixture.committed()), (1, Some(7)));
}

#[tokio::test]
async fn a_transaction_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    fixture.clock.advance(i64::from(TIMEOUT_MS) - 1);
    fixture.transactions().check().await;
    assert_eq!(fixture.transactions().describe(ID).unwrap().state, State::Ongoing);
    fixture.clock.advance(1);
    fixture.transactions().check().await;
    let described = fixture.transactions().describe(ID).unwrap();
    assert_eq!(described.state, State::CompleteAbort);
    assert_eq!(described.producer.epoch, producer.epoch + 1);
    assert_eq!((fixture.visible(0), fixture.committed()), (0, None));
    let log = fixture.broker.log("orders", 0).unwrap();
    assert_eq!(log.last_stable_offset(), log.high_watermark(), "readers go on");
    let late = fixture.transactions().end(ID, producer, true).await;
    assert_eq!(late, Err(ResponseError::ProducerFenced));
    assert_eq!(fixture.produce(producer, 0, 1).await, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn a_new_incarnation_aborts_what_the_old_one_had_open() {
    let fixture = start();
    let old = fixture.run_to(3, true).await;
    let new = fixture.init().await;
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2), "one for the fence, one for itself");
    assert_eq!((fixture.visible(0), fixture.committed()), (0, None));
    let late = fixture.transactions().add_partitions(ID, old, &partitions(&[0])).await;
    assert_eq!(late, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn a_producer_that_starts_over_by_its_own_epoch_keeps_its_id() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    let again = fixture.transactions().init(ID, TIMEOUT_MS, Some(producer)).await.unwrap();
    assert_eq!(again.id, producer.id);
    let late = fixture.transactions().init(ID, TIMEOUT_MS, Some(producer)).await;
    // Its answer may have been lost, but the fence lies between: Kafka fences it as well.
    assert_eq!(late, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn records_outside_of_the_announced_partitions_are_refused() {
    let fixture = start();
    let producer = fixture.init().await;
    let refused = Err(ResponseError::InvalidTxnState);
    assert_eq!(fixture.produce(producer, 0, 0).await, refused, "no transaction");
    fixture.transactions().add_partitions(ID, producer, &partitions(&[0])).await.unwrap();
    assert_eq!(fixture.produce(producer, 1, 0).await, refused, "another partition");
    fixture.produce(producer, 0, 0).await.unwrap();
    fixture.end(producer, true).await;
    assert_eq!(fixture.produce(producer, 0, 1).await, refused, "after the end");
    assert_eq!(fixture.visible(0), 1);
}

#[tokio::test]
async fn transactions_in_a_row_never_meet_one_another() {
    let fixture = start();
    let producer = fixture.init().await;
    for round in 0..50 {
        let transactions = fixture.transactions();
        transactions.add_partitions(ID, producer, &partitions(&[0, 1])).await.unwrap();
        fixture.produce(producer, 0, round).await.unwrap();
        fixture.produce(producer, 1, round).await.unwrap();
        fixture.commit_offset(producer, i64::from(round)).await;
        fixture.end(producer, round % 2 == 0).await;
    }
    assert_eq!((fixture.visible(0), fixture.visible(1)), (25, 25));
    assert_eq!(fixture.committed(), Some(48));
}

#[tokio::test]
async fn a_deleted_topic_does_not_hold_up_the_end() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    fixture.broker.delete_topic("orders").unwrap();
    fixture.end(producer, true).await;
    let described = fixture.transactions().describe(ID).unwrap();
    assert_eq!(described.state, State::CompleteCommit);
    assert_eq!(fixture.committed(), None, "offsets of a topic that is gone");
}

#[tokio::test]
async fn limits_and_unknown_ids_have_kafkas_errors() {
    let fixture = start();
    let transactions = fixture.transactions();
    let max_ms = fixture.broker.config().transaction_timeout_ms_max;
    for (id, timeout_ms, error) in [
        ("", 1000, ResponseError::InvalidRequest),
        (ID, 0, ResponseError::InvalidTransactionTimeout),
        (ID, max_ms + 1, ResponseError::InvalidTransactionTimeout),
    ] {
        assert_eq!(transactions.init(id, timeout_ms, None).await, Err(error));
    }
    transactions.init(ID, max_ms, None).await.unwrap();
    let stranger = Producer { id: 0, epoch: 0 };
    let unknown = Err(ResponseError::InvalidProducerIdMapping);
    assert_eq!(transactions.end("nobody", stranger, true).await, unknown);
    assert_eq!(transactions.add_partitions("nobody", stranger, &partitions(&[0])).await, unknown);
}

#[tokio::test]
async fn a_decided_transaction_whose_disk_fails_is_finished_after_the_restart() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    // The decision gets through, the first marker doesn't.
    fixture.disk.fail_writes_after(1);
    let ended = fixture.transactions().end(ID, producer, true).await;
    assert_eq!(ended, Err(ResponseError::CoordinatorNotAvailable));
    let fixture = fixture.restart(false);
    fixture.transactions().check().await;
    assert_eq!((fixture.visible(0), fixture.visible(1), fixture.committed()), (1, 1, Some(7)));
}

#[tokio::test]
async fn silent_ids_are_forgotten_for_good_and_open_ones_are_not() {
    let fixture = start();
    let first = fixture.run_to(7, true).await;
    fixture.transactions().init("other", TIMEOUT_MS, None).await.unwrap();
    let other = fixture.transactions().describe("other").unwrap().producer;
    fixture.transactions().add_partitions("other", other, &partitions(&[1])).await.unwrap();
    fixture.clock.advance(fixture.broker.config().transactional_id_expiration_ms);
    fixture.transactions().expire();
    let ids = |fixture: &Fixture| fixture.transactions().list().len();
    assert_eq!(ids(&fixture), 1);
    let fixture = fixture.restart(false);
    assert_eq!(ids(&fixture), 1);
    let again = fixture.init().await;
    assert_ne!(again.id, first.id);
    assert_eq!(again.epoch, 0);
}

#[tokio::test]
async fn unstable_offsets_are_known_until_the_marker_even_over_a_restart() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    let place = ("orders".to_owned(), 0);
    assert!(fixture.broker.groups().pending_places("readers").contains(&place));
    let fixture = fixture.restart(false);
    assert!(fixture.broker.groups().pending_places("readers").contains(&place));
    fixture.end(producer, true).await;
    assert!(fixture.broker.groups().pending_places("readers").is_empty());
    assert_eq!(fixture.committed(), Some(7));
}

#[tokio::test]
async fn an_overgrown_log_is_written_again_and_loses_nothing() {
    let fixture = start();
    let producer = fixture.run_to(3, true).await;
    let transactions = fixture.transactions();
    let log = transactions.state_log().unwrap();
    // An id with many partitions that changes often makes the log grow.
    let mut large = Transaction::new(1000, TIMEOUT_MS, 0);
    large.partitions.insert("t".repeat(249), (0..50_000).collect());
    let before = log.log().log_start_offset();
    transactions.rewrite_if_overgrown().await.unwrap();
    assert_eq!(log.log().log_start_offset(), before, "small logs are left alone");
    for _ in 0..200 {
        log.append(0, "large", Some(&large)).unwrap();
    }
    assert!(log.log().size_bytes() > 32 << 20);
    transactions.rewrite_if_overgrown().await.unwrap();
    assert!(log.log().size_bytes() < 16 << 20, "{} bytes", log.log().size_bytes());
    let fixture = fixture.restart(true);
    let described = fixture.transactions().describe(ID).unwrap();
    assert_eq!((described.state, described.producer), (State::Ongoing, producer));
    fixture.end(producer, true).await;
    assert_eq!((fixture.visible(0), fixture.visible(1), fixture.committed()), (1, 1, Some(7)));
}
