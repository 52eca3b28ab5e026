//! The producers, and what they believe to have sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{self, GROUP, PARTITIONS};
use crate::dice::Dice;
use crate::support;

/// How long a client may take in all to come through.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sent and not acknowledged at most.
const UNDER_WAY_MAX: i32 = 500;
/// Keys of `state`.
const KEYS: usize = 50;

/// What the idempotent producer has sent, all of it acknowledged.
#[derive(Debug, Default)]
pub struct Sent {
    /// Records of `plain` by partition; their values count from 0.
    pub plain: [u64; PARTITIONS as usize],
    /// Records of `state`; their values count from 0.
    pub state: u64,
    /// The last value of each key of `state`.
    pub last: BTreeMap<String, u64>,
}

/// Stops everything when a delivery fails: with endless time nothing but a wrong answer of the
/// broker makes it fail.
struct Deliveries {
    stop: Arc<AtomicBool>,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            println!("fatal: {reason}");
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    println!("not delivered: {error}");
                }
            }
        }
    }
}

type Client = ThreadedProducer<Deliveries>;

fn client(address: &str, stop: &Arc<AtomicBool>, settings: &[(&str, &str)]) -> Client {
    let mut config = client::config(address);
    // No batch may exceed a segment of `state`.
    config.set("linger.ms", "1").set("message.timeout.ms", "0").set("batch.size", "8000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
        .create_with_context(Deliveries {
            stop: Arc::clone(stop),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
        .unwrap()
}

/// A number, and so many bytes behind it that batches have many sizes.
fn value(number: u64) -> String {
    format!("{number} {}", "x".repeat(number as usize * 37 % 250))
}

/// The number in a value.
pub fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Sends to `plain` and `state` until told to stop; then waits for the last acknowledgement.
pub fn idempotent(address: &str, seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<Sent> {
    let settings = [("enable.idempotence", "true"), ("enable.gapless.guarantee", "true")];
    let client = client(address, stop, &settings);
    let (stop, mut dice) = (Arc::clone(stop), Dice::new(seed ^ 1));
    std::thread::spawn(move || {
        let mut sent = Sent::default();
        let mut all = 0;
        while !stop.load(Ordering::Relaxed) {
            if client.in_flight_count() > UNDER_WAY_MAX {
                support::pause();
                continue;
            }
            for _ in 0..dice.below(40) {
                send_one(&client, &mut dice, &mut sent);
                all += 1;
            }
            support::pause();
        }
        client.flush(PATIENCE).unwrap();
        let deliveries = client.context();
        assert_eq!(deliveries.failed.load(Ordering::Relaxed), 0, "records were refused");
        assert_eq!(deliveries.acknowledged.load(Ordering::Relaxed), all);
        println!("{all} records of the idempotent producer");
        sent
    })
}

fn send_one(client: &Client, dice: &mut Dice, sent: &mut Sent) {
    let partition = dice.below(PARTITIONS as usize + 1);
    let Some(next) = sent.plain.get_mut(partition) else {
        let key = format!("key {}", dice.below(KEYS));
        let value = value(sent.state);
        client.send(BaseRecord::to("state").key(&key).payload(&value)).map_err(|(e, _)| e).unwrap();
        sent.last.insert(key, sent.state);
        sent.state += 1;
        return;
    };
    let value = value(*next);
    let record: BaseRecord<'_, str, str> =
        BaseRecord::to("plain").partition(partition as i32).payload(&value);
    client.send(record).map_err(|(error, _)| error).unwrap();
    *next += 1;
}

/// How a transaction ended, as far as the producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Aborted,
    /// The producer never learned.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    pub records: usize,
    /// With the number of the transaction as the group's offset.
    pub with_offsets: bool,
    pub outcome: Outcome,
}

/// Runs transactions over `committed` and the group's offsets until told to stop.
pub fn transactional(
    address: &str,
    seed: u64,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Vec<Transaction>> {
    let (address, stop) = (address.to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut dice = Dice::new(seed ^ 2);
        let mut transactions = Vec::new();
        let mut group = client::config(&address);
        let group: BaseConsumer = group.set("group.id", GROUP).create().unwrap();
        while !stop.load(Ordering::Relaxed) {
            // A new client at each time that the old one has given up: the same producer to the
            // broker, which fences the old one.
            let settings = [("transactional.id", "torture"), ("transaction.timeout.ms", "60000")];
            let client = client(&address, &stop, &settings);
            if persist(|| client.init_transactions(PATIENCE)).is_err() {
                continue;
            }
            while !stop.load(Ordering::Relaxed) {
                let number = transactions.len();
                let transaction = run(&client, &group, number, &mut dice);
                transactions.push(transaction);
                if transaction.outcome == Outcome::Unknown {
                    break;
                }
            }
        }
        let count = |outcome| transactions.iter().filter(|it| it.outcome == outcome).count();
        println!(
            "{} transactions committed, {} aborted, {} unknown",
            count(Outcome::Committed),
            count(Outcome::Aborted),
            count(Outcome::Unknown)
        );
        transactions
    })
}

fn run(client: &Client, group: &BaseConsumer, number: usize, dice: &mut Dice) -> Transaction {
    let records = dice.below(20) + 1;
    let (with_offsets, aborts) = (dice.below(2) == 0, dice.below(4) == 0);
    let ended = |outcome| Transaction { records, with_offsets, outcome };
    if client.begin_transaction().is_err() {
        return ended(Outcome::Unknown);
    }
    let mut sent = true;
    for record in 0..records {
        let value = format!("{number} {record} {}", "x".repeat(dice.below(200)));
        let record: BaseRecord<'_, str, str> =
            BaseRecord::to("committed").partition(record as i32 % PARTITIONS).payload(&value);
        sent &= client.send(record).is_ok();
    }
    if with_offsets {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("plain", 0, Offset::Offset(number as i64)).unwrap();
        let member = group.group_metadata().unwrap();
        sent &= persist(|| client.send_offsets_to_transaction(&offsets, &member, PATIENCE)).is_ok();
    }
    if sent && !aborts {
        match persist(|| client.commit_transaction(PATIENCE)) {
            Ok(()) => return ended(Outcome::Committed),
            Err(Failure::MustAbort) => {}
            Err(Failure::Lost) => return ended(Outcome::Unknown),
        }
    }
    match persist(|| client.abort_transaction(PATIENCE)) {
        Ok(()) => ended(Outcome::Aborted),
        Err(_) => ended(Outcome::Unknown),
    }
}

#[derive(Debug)]
enum Failure {
    /// The transaction can't be committed any more.
    MustAbort,
    /// The client is of no use any more.
    Lost,
}

/// Tries again for as long as the client says that this may help.
fn persist(mut attempt: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Failure> {
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                return Err(Failure::MustAbort);
            }
            Err(error) => {
                println!("a transactional client is given up: {error}");
                return Err(Failure::Lost);
            }
        }
    }
}
