//! What must be there in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::client::{self, GROUP, PARTITIONS};
use crate::load::{Outcome, Sent, Transaction, number};
use crate::support::DEADLINE;

/// All records of a partition, as a consumer of committed records gets them.
fn read(address: &str, topic: &str, partition: i32) -> Vec<OwnedMessage> {
    let mut config = client::config(address);
    let consumer: BaseConsumer = config
        .set("group.id", "checker")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
    consumer.assign(&all).unwrap();
    let mut records: Vec<OwnedMessage> = Vec::new();
    loop {
        match consumer.poll(DEADLINE) {
            Some(Ok(message)) => records.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            other => panic!("{topic}-{partition} can't be read to its end: {other:?}"),
        }
    }
    assert!(records.is_sorted_by(|a, b| a.offset() < b.offset()), "offsets out of order");
    records
}

/// Every record once, in its order.
pub fn plain(address: &str, sent: &Sent) {
    for (partition, sent) in sent.plain.iter().enumerate() {
        let records = read(address, "plain", partition as i32);
        for (expected, record) in records.iter().enumerate() {
            let found = number(record.payload().unwrap());
            let offset = record.offset();
            assert_eq!(found, expected as u64, "plain-{partition} at offset {offset}");
        }
        assert_eq!(records.len() as u64, *sent, "records of plain-{partition}");
    }
}

/// Of each key the last value, and nothing out of order.
pub fn state(address: &str, sent: &Sent) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut before = None;
    for record in read(address, "state", 0) {
        let key = std::str::from_utf8(record.key().unwrap()).unwrap();
        let value = number(record.payload().unwrap());
        assert!(before.is_none_or(|before| before < value), "{value} after {before:?}");
        before = Some(value);
        last.insert(key.to_owned(), value);
    }
    assert_eq!(last, sent.last);
}

/// The load must have been enough for compaction to have something to do.
pub fn was_compacted(folder: &Path, sent: &Sent) {
    let checkpoint = std::fs::read_to_string(folder.join("state-0/log-checkpoint"));
    let noted = checkpoint.is_ok_and(|text| text.contains("compacted-to"));
    let is_enough = sent.state > 1000;
    assert!(noted || !is_enough, "{} records of `state` and no compaction", sent.state);
}

/// Committed transactions whole, aborted ones not at all, unknown ones whole or not at all.
pub fn transactions(address: &str, transactions: &[Transaction]) {
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut before = 0;
        for record in read(address, "committed", partition) {
            let text = String::from_utf8(record.payload().unwrap().to_vec()).unwrap();
            let mut words = text.split(' ').map(str::parse);
            let (transaction, place) =
                (words.next().unwrap().unwrap(), words.next().unwrap().unwrap());
            assert!(transaction >= before, "transaction {transaction} after {before}");
            before = transaction;
            found.entry(transaction).or_default().push(place);
        }
    }
    let mut last_offset = None;
    let mut perhaps = Vec::new();
    for (number, transaction) in transactions.iter().enumerate() {
        let mut places = found.remove(&number).unwrap_or_default();
        places.sort_unstable();
        let whole = places == (0..transaction.records).collect::<Vec<_>>();
        let sound = match transaction.outcome {
            Outcome::Committed => whole,
            Outcome::Aborted => places.is_empty(),
            Outcome::Unknown => whole || places.is_empty(),
        };
        assert!(sound, "transaction {number}, {transaction:?}, has records {places:?}");
        if transaction.with_offsets && transaction.outcome == Outcome::Committed {
            (last_offset, perhaps) = (Some(number as i64), Vec::new());
        } else if transaction.with_offsets && !places.is_empty() {
            perhaps.push(Some(number as i64));
        }
    }
    assert!(found.is_empty(), "records of transactions that never were: {found:?}");
    perhaps.push(last_offset);
    let committed = committed_offset(address);
    assert!(perhaps.contains(&committed), "the group's offset is {committed:?}, not {perhaps:?}");
}

fn committed_offset(address: &str) -> Option<i64> {
    let mut config = client::config(address);
    let consumer: BaseConsumer = config.set("group.id", GROUP).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("plain", 0);
    let committed = consumer.committed_offsets(asked, Duration::from_secs(30)).unwrap();
    match committed.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}
