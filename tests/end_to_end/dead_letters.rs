use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::support::{self, Process, gristmill, python, succeed};

/// A broker, topics and a pipeline whose `parse` stage takes no text for a number.
struct Job {
    folder: tempfile::TempDir,
    address: String,
    broker: Process,
}

/// Sends records with keys, headers and bytes that are no text.
const PRODUCE: &str = r#"
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1]})
for key, value, headers in [
    (b"a", b'{"order_id":1}', []),
    (b"b", b'{"order_id":"two"}', [("trace", b"1"), ("trace", b"2"), ("none", None)]),
    (None, b"\xff\xfe not text", []),
    (b"d", b'{"order_id":"four"}', []),
]:
    producer.produce("orders", key=key, value=value, headers=headers, timestamp=1700000000000)
producer.flush()
"#;

/// Prints the records of a topic from an offset on, one JSON document a line, as somebody else's client sees them.
const CONSUME: &str = r#"
import json, sys
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "reader", "enable.partition.eof": True,
                     "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
consumer.assign([TopicPartition(sys.argv[2], 0, int(sys.argv[3]))])
while True:
    message = consumer.poll(30)
    if message is None or message.error():
        break
    text = lambda data: None if data is None else data.decode("latin-1")
    print(json.dumps({"key": text(message.key()), "value": text(message.value()), "timestamp": message.timestamp()[1],
                      "headers": [[name, text(value)] for name, value in message.headers() or []]}))
"#;

impl Job {
    fn new() -> Job {
        let folder = tempfile::tempdir().unwrap();
        let address = support::free_address();
        let broker = support::broker(&folder.path().join("data"), &address);
        for topic in ["orders", "ids", "rejected"] {
            succeed(["topic", "create", topic, "--bootstrap", &address]);
        }
        python(PRODUCE, &[&address]);
        Job { folder, address, broker }
    }

    fn pipeline(&self, schema: &str) -> PathBuf {
        let address = &self.address;
        let text = format!(
            r#"
name = "ids"
[source]
topics = ["orders"]
brokers = "{address}"
trigger = "available-now"
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "dead-letter"
with = {{ schema = "{schema}" }}
[[sink]]
name = "out"
topic = "ids"
key = "key"
columns = ["order_id"]
[dead_letter]
topic = "rejected"
"#
        );
        let file = self.folder.path().join("ids.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, schema: &str) {
        let file = self.pipeline(schema);
        let data_dir = self.folder.path().join("cache");
        succeed(["run", path(&file), "--data-dir", path(&data_dir)]);
    }

    /// Runs `dead-letters COMMAND` for the pipeline and answers its JSON document.
    fn letters(&self, command: &str, flags: &[&str]) -> Value {
        let file = self.folder.path().join("ids.toml");
        let arguments = ["dead-letters", command, path(&file), "--output", "json"];
        let printed = succeed(arguments.iter().chain(flags)).stdout;
        serde_json::from_str(&printed).unwrap()
    }

    fn records(&self, topic: &str, from: usize) -> Vec<Value> {
        let output = python(CONSUME, &[&self.address, topic, &from.to_string()]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn sent(replayed: &Value) -> u64 {
    replayed["sent"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn letters_are_listed_shown_and_each_replayed_once() {
    let job = Job::new();
    job.run("order_id long");

    let listed = job.letters("list", &[]);
    let groups = listed["groups"].as_array().unwrap();
    let letters: u64 = groups.iter().map(|group| group["letters"].as_u64().unwrap()).sum();
    assert_eq!(letters, 3, "{listed}");
    assert!(groups.iter().all(|group| group["stage"] == "parse" && group["replayed"] == 0));

    let shown = job.letters("show", &["--offset", "0"]);
    assert_eq!((&shown["pipeline"], &shown["kind"]), (&"ids".into(), &"rejected".into()));
    assert_eq!(shown["module"].as_str().unwrap().len(), 64);
    let record = &shown["record"];
    assert_eq!((record["topic"].as_str(), record["offset"].as_i64()), (Some("orders"), Some(1)));
    assert_eq!(record["timestamp_ms"], 1_700_000_000_000_i64);
    assert_eq!(record["value"], r#"{"order_id":"two"}"#);
    assert_eq!(record["headers"].as_array().unwrap().len(), 3);
    let binary = job.letters("show", &["--offset", "1"]);
    assert_eq!(binary["record"]["key"], Value::Null);
    assert_eq!(binary["record"]["value"]["hex"], "fffe206e6f742074657874");

    // A choice, what is left, and nothing twice.
    assert_eq!(sent(&job.letters("replay", &["--dry-run"])), 3);
    assert_eq!(job.records("orders", 4).len(), 0);
    let last = job.letters("replay", &["--offset", "2"]);
    assert_eq!((sent(&last), last["left"].as_u64()), (1, Some(2)));
    assert_eq!(sent(&job.letters("replay", &["--dry-run"])), 2);
    assert_eq!(sent(&job.letters("replay", &["--stage", "parse"])), 2);
    assert_eq!(sent(&job.letters("replay", &[])), 0);

    let replayed = job.records("orders", 4);
    let values: Vec<_> = replayed.iter().map(|record| record["value"].as_str().unwrap()).collect();
    assert_eq!(
        values,
        [r#"{"order_id":"four"}"#, r#"{"order_id":"two"}"#, "\u{ff}\u{fe} not text"]
    );
    let expected = serde_json::json!({
        "key": "b",
        "value": r#"{"order_id":"two"}"#,
        "timestamp": 1_700_000_000_000_i64,
        "headers": [["trace", "1"], ["trace", "2"], ["none", null], ["gristmill.replays", "1"]],
    });
    assert_eq!(replayed[1], expected);

    // The stage was not mended: the records fail again, and their letters say so.
    job.run("order_id long");
    let listed = job.letters("list", &[]);
    let sum = |name: &str| -> u64 {
        let groups = listed["groups"].as_array().unwrap().iter();
        groups.map(|group| group[name].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("letters"), sum("replayed"), sum("failed_again")), (6, 3, 3), "{listed}");

    // Now it is: texts are taken.
    assert_eq!(sent(&job.letters("replay", &["--reason", "order_id"])), 2);
    let records = job.records("orders", 4);
    let tries = records[3..].iter().map(|record| record["headers"].as_array().unwrap().last());
    let tries: Vec<_> = tries.map(|header| header.unwrap()[1].as_str().unwrap()).collect();
    assert_eq!(tries, ["2", "2"]);
    job.run("order_id string");
    let ids = job.records("ids", 0);
    let ids: Vec<_> = ids.iter().map(|record| record["value"].as_str().unwrap()).collect();
    assert_eq!(ids, [r#"{"order_id":1}"#, r#"{"order_id":"four"}"#, r#"{"order_id":"two"}"#]);
    support::stop(job.broker);
}

#[test]
fn a_replay_that_is_killed_at_any_moment_sends_each_letter_once() {
    const LETTERS: usize = 12_000;
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let broker = support::broker(&folder.path().join("data"), &address);
    let job = Job { folder, address, broker };
    for topic in ["orders", "ids", "rejected"] {
        succeed(["topic", "create", topic, "--bootstrap", &job.address]);
    }
    let mut command = gristmill(["topic", "produce", "orders", "--bootstrap", &job.address]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufWriter::new(child.stdin.take().unwrap());
    (0..LETTERS).for_each(|number| writeln!(lines, "broken {number}").unwrap());
    drop(lines);
    assert!(child.wait().unwrap().success());
    job.run("order_id long");

    let file = job.folder.path().join("ids.toml");
    let mut config = ClientConfig::new();
    let watcher: BaseConsumer = config.set("bootstrap.servers", &job.address).create().unwrap();
    // The end of the topic, with what readers of committed records do not see.
    let end = || watcher.fetch_watermarks("orders", 0, support::DEADLINE).unwrap().1;
    for round in 0..6 {
        // Some way into a transaction of 1,000, or where the next one begins.
        let until = end() + 1 + 250 * round;
        let mut replay = Process::spawn(&mut gristmill(["dead-letters", "replay", path(&file)]));
        support::wait_for("records of the replay", || {
            (end() >= until || replay.has_ended()).then_some(())
        });
        replay.kill_now();
    }
    let left = sent(&job.letters("replay", &["--dry-run"]));
    assert!((1..LETTERS as u64).contains(&left), "no replay was killed in the middle: {left}");
    assert_eq!(sent(&job.letters("replay", &[])), left);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in job.records("orders", 0) {
        *counts.entry(record["value"].as_str().unwrap().to_string()).or_default() += 1;
    }
    assert_eq!(counts.len(), LETTERS);
    let other = counts.iter().find(|(_, count)| **count != 2);
    assert_eq!(other, None, "the record itself, and once more");
    support::stop(job.broker);
}

/// A replay died between its offsets and the end of its transaction. Those that came after waited for the group until
/// that transaction timed out, and gave up shortly before.
#[test]
fn a_replay_that_died_with_its_progress_in_the_air_holds_up_nobody() {
    let job = Job::new();
    job.run("order_id long");
    let group = "gristmill-ids-replay";
    let client = |settings: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &job.address);
        config.extend(settings.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        config
    };
    let dead: BaseProducer =
        client(&[("transactional.id", group), ("transaction.timeout.ms", "900000")])
            .create()
            .unwrap();
    let member: BaseConsumer = client(&[("group.id", group)]).create().unwrap();
    dead.init_transactions(support::DEADLINE).unwrap();
    dead.begin_transaction().unwrap();
    dead.send(BaseRecord::<str, str>::to("orders").payload("of the dead")).unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("rejected", 0, Offset::Offset(3)).unwrap();
    let metadata = member.group_metadata().unwrap();
    dead.send_offsets_to_transaction(&offsets, &metadata, support::DEADLINE).unwrap();

    assert_eq!(job.letters("list", &[])["groups"][0]["replayed"], 0);
    assert_eq!(sent(&job.letters("replay", &["--dry-run"])), 3);
    assert_eq!(sent(&job.letters("replay", &[])), 3);
    assert!(dead.commit_transaction(support::DEADLINE).is_err());
    assert_eq!(job.records("orders", 4).len(), 3);
    support::stop(job.broker);
}

#[test]
fn mistakes_are_told() {
    let job = Job::new();
    let refused = |arguments: &[&str], said: &str| {
        let finished = support::run(arguments);
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
    };
    let at = job.address.as_str();
    refused(&["dead-letters", "list", "rejcted", "--bootstrap", at], "no topic `rejcted`");
    refused(&["dead-letters", "show", "rejected", "--bootstrap", at], "no such dead letter");
    refused(&["dead-letters", "list", "no-such.toml"], "no-such.toml");
    let without = job.folder.path().join("without.toml");
    let text = format!(
        "name = \"w\"\n[source]\ntopics = [\"orders\"]\nbrokers = \"{at}\"\n[[sink]]\nname = \"o\"\ntopic = \"ids\"\n"
    );
    std::fs::write(&without, text).unwrap();
    refused(&["dead-letters", "replay", path(&without)], "no [dead_letter] table");
    let listed = succeed(["dead-letters", "list", "orders", "--bootstrap", at]).stdout;
    assert!(listed.contains("0 dead letters, 4 records that are none"), "{listed}");
    support::stop(job.broker);
}
