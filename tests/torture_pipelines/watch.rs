//! Readers of committed records that read on through everything that happens: a record that comes
//! twice or out of order is seen when it comes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{self, PARTITIONS};
use crate::record::{self, Identity};

/// How far a reader is, and what it found wrong.
#[derive(Default)]
pub struct Seen {
    pub records: AtomicUsize,
    pub wrong: AtomicBool,
}

pub struct Watcher {
    pub seen: Arc<Seen>,
    thread: JoinHandle<()>,
}

impl Watcher {
    /// `in_order`: the records of one owner come by number.
    pub fn start(
        address: &str,
        topic: &'static str,
        in_order: bool,
        stop: &Arc<AtomicBool>,
    ) -> Watcher {
        let (seen, stop, address) = (Arc::<Seen>::default(), stop.clone(), address.to_owned());
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            if let Err(wrong) = watch(&address, topic, in_order, &shared, &stop) {
                shared.wrong.store(true, Ordering::Relaxed);
                panic!("{topic}: {wrong}");
            }
        });
        Watcher { seen, thread }
    }

    pub fn join(self) {
        self.thread.join().unwrap();
    }
}

fn watch(
    address: &str,
    topic: &str,
    in_order: bool,
    seen: &Seen,
    stop: &AtomicBool,
) -> Result<(), String> {
    let consumer = client::reader(address, topic, 0..PARTITIONS);
    let mut found = HashSet::new();
    let mut next = vec![0; record::OWNERS];
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                let id = record::identity(value).ok_or(format!("{value:?} is none of ours"))?;
                let place = (message.partition(), message.offset());
                take(id, place, in_order.then_some(&mut next), &mut found)?;
                seen.records.store(found.len(), Ordering::Relaxed);
            }
            Some(Err(KafkaError::MessageConsumption(error))) if is_of_the_log(error) => {
                return Err(format!("the reader's place is gone: {error}"));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn take(
    id: Identity,
    place: (i32, i64),
    next: Option<&mut Vec<usize>>,
    found: &mut HashSet<Identity>,
) -> Result<(), String> {
    if !found.insert(id) {
        return Err(format!("twice: {id:?}, the second time at {place:?}"));
    }
    let Some(next) = next else { return Ok(()) };
    let next = next.get_mut(id.owner).ok_or(format!("no such owner: {id:?}"))?;
    if id.number < *next {
        return Err(format!("out of order: {id:?} at {place:?}, {next} was to come"));
    }
    *next = id.number + 1;
    Ok(())
}

fn is_of_the_log(error: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, InvalidMessage, OffsetOutOfRange};
    [AutoOffsetReset, BadMessage, InvalidMessage, OffsetOutOfRange].contains(&error)
}
