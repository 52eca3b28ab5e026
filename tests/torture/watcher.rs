//! A consumer that reads through all kills. What it has seen stays: the next record is the next
//! number, and its place is never behind the end of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::client::{self, PARTITIONS};
use crate::load::number;

pub fn start(address: &str, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let mut config = client::config(address);
    let consumer: BaseConsumer = config
        .set("group.id", "watcher")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset("plain", partition, Offset::Offset(0)).unwrap();
    }
    consumer.assign(&all).unwrap();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut next = [0; PARTITIONS as usize];
        while !stop.load(Ordering::Relaxed) {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let next = &mut next[message.partition() as usize];
                    let found = number(message.payload().unwrap());
                    if found != *next {
                        stop.store(true, Ordering::Relaxed);
                        panic!("{} where {next} should follow: {message:?}", found);
                    }
                    *next += 1;
                }
                Some(Err(error)) if is_of_the_log(&error) => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("the watcher's place is gone: {error}");
                }
                Some(Err(_)) | None => {}
            }
        }
        println!("{next:?} records seen through all kills");
        assert!(next.iter().all(|seen| *seen > 0));
    })
}

/// Not that the broker is away.
fn is_of_the_log(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, InvalidMessage, OffsetOutOfRange};
    let code = error.rdkafka_error_code();
    [AutoOffsetReset, BadMessage, InvalidMessage, OffsetOutOfRange].map(Some).contains(&code)
}
