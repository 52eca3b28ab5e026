//! How long the broker takes to start on a large data folder: after a clean stop, and after a kill.
//!
//! `cargo xtask bench restart [--gigabytes N]` writes N GB (10) into 8 partitions through the
//! broker's own log, and removes them in the end. What is read lies in the page cache as far as
//! memory reaches, as after a kill of the process.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::time::{Duration, Instant};

use gristmill_broker::log::batch_builder::BatchBuilder;
use gristmill_broker::{Broker, BrokerConfig, Durability, TopicConfigs};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 8;
const RECORDS_PER_BATCH: usize = 32;
const VALUE_BYTES: usize = 500;

fn main() {
    let gigabytes = gigabytes();
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).0;
    broker.create_topic(TOPIC, Some(PARTITIONS), TopicConfigs::new()).unwrap();
    let began = Instant::now();
    write(&broker, gigabytes * 1_000_000_000);
    println!("wrote {gigabytes} GB into {PARTITIONS} partitions in {:.1?}", began.elapsed());
    println!("{:<58} {:>9}", "start", "time");

    drop(broker);
    let (broker, took) = open(folder.path());
    report("after a kill, nothing noted since the last segments began", took);
    broker.close().unwrap();
    drop(broker);
    let (broker, took) = open(folder.path());
    assert!(broker.repairs().is_empty(), "{:?}", broker.repairs());
    report("after a clean stop", took);
    write(&broker, 8_000_000);
    drop(broker);
    let (broker, took) = open(folder.path());
    report("after a kill, 8 MB since the last checkpoint", took);
    broker.close().unwrap();
}

fn gigabytes() -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let place = arguments.iter().position(|argument| argument == "--gigabytes");
    let Some(place) = place else { return 10 };
    let number = arguments.get(place + 1).and_then(|number| number.parse().ok());
    number.expect("--gigabytes takes a whole number")
}

fn open(folder: &Path) -> (Broker, Duration) {
    let config = BrokerConfig {
        data_dir: folder.to_owned(),
        durability: Durability::PageCache,
        ..BrokerConfig::default()
    };
    let began = Instant::now();
    let broker = Broker::open(config).unwrap();
    (broker, began.elapsed())
}

fn write(broker: &Broker, bytes: u64) {
    let mut batch = BatchBuilder::new();
    let value: Vec<u8> = (0..VALUE_BYTES).map(|n| (n * n) as u8).collect();
    for n in 0..RECORDS_PER_BATCH {
        batch.push(1_700_000_000_000 + n as i64, Some(b"key"), Some(&value));
    }
    let batch = batch.build();
    for n in 0..bytes / batch.len() as u64 {
        let log = broker.log(TOPIC, (n % PARTITIONS as u64) as i32).unwrap();
        log.append(batch.clone()).unwrap();
    }
}

fn report(what: &str, took: Duration) {
    println!("{what:<58} {:>6} ms", took.as_millis());
}
