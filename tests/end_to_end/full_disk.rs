//! A disk without room, as the kernel tells it: the limit on the size of a file stands for it.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::support::{self, Process, succeed};

const RECORDS: usize = 3_000;
const VALUE_BYTES: usize = 1_000;
/// Less than the records need.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The broker with a limit on its files. The shell has it ignore the signal that goes with that, so
/// that writes fail as on a full disk.
fn broker_with_limit(folder: &str, address: &str) -> Process {
    let script = "trap '' XFSZ; exec prlimit --fsize=\"$1\": -- \"$2\" broker --data-dir \"$3\" \
                  --listen \"$4\"";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, "bash", &FILE_BYTES_MAX.to_string()]);
    command.arg(support::binary()).args([folder, address]);
    let mut process = Process::spawn(&mut command);
    process.wait_until_said("listening");
    process
}

#[test]
fn a_full_disk_holds_producers_up_serves_readers_and_passes_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (place, address) = (folder.path().to_str().unwrap(), support::free_address());
    let mut broker = broker_with_limit(place, &address);
    succeed(["topic", "create", "orders", "--bootstrap", &address]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &address).set("enable.idempotence", "true");
    config.set("message.timeout.ms", "0").set("batch.size", "20000").set("retries", "1000000");
    let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
        config.create().unwrap();
    for number in 0..RECORDS {
        let value = format!("{number:0VALUE_BYTES$}");
        let record: BaseRecord<'_, str, str> = BaseRecord::to("orders").payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    broker.wait_until_said("not appended: orders-0");
    broker.wait_until_said("File too large");
    assert!(producer.in_flight_count() > 0, "more was taken than fits");
    let before = consume(&config, 100);
    assert_eq!(before, (0..100).collect::<Vec<_>>());

    let pid = broker.id().to_string();
    let mut raise = std::process::Command::new("prlimit");
    let raised = raise.args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap();
    assert!(raised.success());
    producer.flush(support::DEADLINE).unwrap();
    assert_eq!(consume(&config, RECORDS), (0..RECORDS).collect::<Vec<_>>());
    support::stop(broker);
    // And what was left on the disk is a log in order.
    let broker = support::broker(folder.path(), &address);
    assert_eq!(consume(&config, RECORDS), (0..RECORDS).collect::<Vec<_>>());
    assert!(!broker.has_said("cut an unfinished append"));
    support::stop(broker);
}

/// The numbers in the first `count` records.
fn consume(config: &ClientConfig, count: usize) -> Vec<usize> {
    let mut config = config.clone();
    let consumer: BaseConsumer = config.set("group.id", "reader").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("orders", 0, Offset::Offset(0)).unwrap();
    consumer.assign(&place).unwrap();
    let next = || {
        let message = consumer.poll(Duration::from_secs(60)).expect("a record").unwrap();
        std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap()
    };
    std::iter::repeat_with(next).take(count).collect()
}
