//! The producer: idempotent, it never gives up, and each record is in the source once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::client;
use crate::dice::Dice;
use crate::record::{self, Fate, Identity, OWNERS};
use crate::support;

/// Sent and not acknowledged at most.
const UNDER_WAY_MAX: i32 = 500;

/// Records that have a place in a topic to come to.
#[derive(Default)]
pub struct Sent {
    pub visible: AtomicUsize,
}

/// Sends until told to stop, then waits for the last acknowledgement. Answers how many records of
/// each owner there are.
pub fn start(
    address: &str,
    seed: u64,
    sent: &Arc<Sent>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Vec<usize>> {
    let mut config = client::config(address);
    config.set("enable.idempotence", "true").set("enable.gapless.guarantee", "true");
    config.set("partitioner", "murmur2_random").set("linger.ms", "2");
    config.set("message.timeout.ms", "0");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    let (sent, stop, mut dice) = (sent.clone(), stop.clone(), Dice::new(seed ^ 1));
    std::thread::spawn(move || {
        let mut next = vec![0; OWNERS];
        while !stop.load(Ordering::Relaxed) {
            if producer.in_flight_count() < UNDER_WAY_MAX {
                for _ in 0..dice.below(16) {
                    send_one(&producer, &mut next, &mut dice, &sent);
                }
            }
            support::pause();
        }
        producer.flush(support::DEADLINE).unwrap();
        next
    })
}

fn send_one(
    producer: &ThreadedProducer<DefaultProducerContext>,
    next: &mut [usize],
    dice: &mut Dice,
    sent: &Sent,
) {
    let owner = dice.below(OWNERS);
    let (key, value) =
        (owner.to_string(), record::value(Identity { owner, number: next[owner] }, dice));
    let record = BaseRecord::to("in").key(&key).payload(&value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    next[owner] += 1;
    let is_visible = record::fate(value.as_bytes()) != Fate::Filtered;
    sent.visible.fetch_add(usize::from(is_visible), Ordering::Relaxed);
}
