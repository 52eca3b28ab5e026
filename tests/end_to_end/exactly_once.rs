use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{self, Process, gristmill, succeed};

const KEYS: usize = 50;
/// One record in so many cannot be parsed.
const BROKEN_EVERY: usize = 97;

/// A broker of its own, a topic with numbered records, and pipelines that bring them into a topic, a table and a topic
/// of dead letters.
struct Scene {
    folder: tempfile::TempDir,
    address: String,
}

impl Scene {
    fn new(partitions: usize) -> (Scene, Process) {
        let scene =
            Scene { folder: tempfile::tempdir().unwrap(), address: support::free_address() };
        let broker = scene.broker();
        for topic in ["in", "out", "letters"] {
            scene.create(topic, partitions);
        }
        (scene, broker)
    }

    fn broker(&self) -> Process {
        support::broker(&self.data_dir(), &self.address)
    }

    fn create(&self, topic: &str, partitions: usize) {
        let partitions = partitions.to_string();
        succeed([
            "topic",
            "create",
            topic,
            "--partitions",
            &partitions,
            "--bootstrap",
            &self.address,
        ]);
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// Sends the records `numbers`, every key's in ascending order.
    fn produce(&self, numbers: std::ops::Range<usize>) {
        let mut command =
            gristmill(["topic", "produce", "in", "--parse-key", "--bootstrap", &self.address]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = std::io::BufWriter::new(child.stdin.take().unwrap());
        for number in numbers {
            writeln!(lines, "{}:{}", number % KEYS, record(number)).unwrap();
        }
        drop(lines);
        assert!(child.wait().unwrap().success());
    }

    /// `brokers`: with a cluster that runs by itself, or with the broker in the process.
    fn pipeline(&self, trigger: &str, brokers: bool) -> PathBuf {
        let brokers = match brokers {
            true => format!("brokers = \"{}\"", self.address),
            false => String::new(),
        };
        self.write(&format!(
            r#"
name = "once"
[source]
topics = ["in"]
{brokers}
trigger = "{trigger}"
max_offsets_per_trigger = 400
kafka = {{ "session.timeout.ms" = "6000" }}
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "dead-letter"
with = {{ schema = "number long" }}
[[sink]]
name = "records"
topic = "out"
value = "value"
[[sink]]
name = "table"
delta = "./lake"
columns = ["number"]
commit_every = {{ rows = 2_000, time = "1s" }}
[dead_letter]
topic = "letters"
"#
        ))
    }

    fn write(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join("once.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, pipeline: &Path) -> Process {
        let data_dir = self.data_dir();
        let arguments = [
            "run",
            pipeline.to_str().unwrap(),
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--listen",
            &self.address,
        ];
        Process::spawn(&mut gristmill(arguments))
    }

    /// What readers of committed records see, partition by partition.
    fn consume(&self, topic: &str) -> Vec<String> {
        let arguments = [
            "topic",
            "consume",
            topic,
            "--from-beginning",
            "--exit-at-end",
            "--bootstrap",
            &self.address,
        ];
        succeed(arguments).stdout.lines().map(str::to_string).collect()
    }

    /// Every record of `0..count` once in the topic, the table or the dead letters; each key in order.
    fn compare(&self, count: usize) {
        let whole = (0..count).filter(|number| number % BROKEN_EVERY != 0);
        let broken = (0..count).filter(|number| number % BROKEN_EVERY == 0);
        let out = self.consume("out");
        let numbers =
            |lines: &[String]| -> Vec<usize> { lines.iter().map(|line| number_in(line)).collect() };
        assert_once("topic", numbers(&out), whole.clone());
        assert_once("dead letters", numbers(&self.consume("letters")), broken);
        let rows = support::table_rows(&self.table(), "number");
        let rows = rows.iter().map(|row| row["number"].as_u64().unwrap() as usize).collect();
        assert_once("table", rows, whole);
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for number in numbers(&out) {
            let before = last.insert(number % KEYS, number);
            assert!(before.is_none_or(|before| before < number), "{number} comes after {before:?}");
        }
    }
}

fn record(number: usize) -> String {
    match number % BROKEN_EVERY {
        0 => format!("{{\"number\":\"broken {number}\"}}"),
        _ => format!("{{\"number\":{number}}}"),
    }
}

fn number_in(record: &str) -> usize {
    let digits: String = record.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn assert_once(place: &str, found: Vec<usize>, expected: impl Iterator<Item = usize>) {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for number in found {
        *counts.entry(number).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "{place}: more than once: {twice:?}");
    let lost: Vec<_> = expected.filter(|number| counts.remove(number).is_none()).take(5).collect();
    assert!(lost.is_empty(), "{place}: lost: {lost:?}");
    assert!(counts.is_empty(), "{place}: not expected: {counts:?}");
}

#[test]
fn kill_9_at_any_moment_loses_and_doubles_nothing_in_topic_table_and_dead_letters() {
    const COUNT: usize = 20_000;
    let (scene, broker) = Scene::new(3);
    scene.produce(0..COUNT);
    support::stop(broker);
    let pipeline = scene.pipeline("continuous", false);
    for round in 0..12u64 {
        let mut process = scene.run(&pipeline);
        process.wait_until_said("running");
        let moment = Instant::now() + Duration::from_millis(10 + 41 * round);
        while Instant::now() < moment {
            support::pause();
        }
        process.kill();
    }
    let finished = scene.run(&scene.pipeline("available-now", false)).wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let broker = scene.broker();
    scene.compare(COUNT);
    support::stop(broker);
}

#[test]
fn processes_share_the_partitions_and_may_come_go_die_and_sleep() {
    const COUNT: usize = 24_000;
    let (scene, broker) = Scene::new(6);
    let pipeline = scene.pipeline("continuous", true);
    let mut first = scene.run(&pipeline);
    first.wait_until_said("the group has shared out");
    scene.produce(0..4_000);
    let mut second = scene.run(&pipeline);
    second.wait_until_said("partitions=3");
    scene.produce(4_000..8_000);
    let mut third = scene.run(&pipeline);
    third.wait_until_said("partitions=2");
    scene.produce(8_000..12_000);
    first.kill();
    scene.produce(12_000..16_000);
    // Longer than the session: the others take over, and the sleeper must not write on.
    second.signal("-STOP");
    third.wait_until_said("partitions=6");
    scene.produce(16_000..20_000);
    second.signal("-CONT");
    second.wait_until_said("FENCED");
    scene.produce(20_000..COUNT);
    third.interrupt();
    assert_eq!(third.wait().code, Some(0));
    second.wait_until_said("partitions=6");
    second.interrupt();
    let second = second.wait();
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    let finished = scene.run(&scene.pipeline("available-now", true)).wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    scene.compare(COUNT);
    support::stop(broker);
}

#[test]
fn a_sink_that_is_added_later_gets_everything_and_the_others_nothing_twice() {
    const COUNT: usize = 3_000;
    let (scene, broker) = Scene::new(2);
    scene.create("late", 1);
    scene.produce(0..COUNT);
    let finished = scene.run(&scene.pipeline("available-now", true)).wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let text = std::fs::read_to_string(scene.pipeline("available-now", true)).unwrap();
    let more = "\n[[sink]]\nname = \"late\"\ntopic = \"late\"\nvalue = \"value\"\n[dead_letter]";
    let pipeline = scene.write(&text.replace("[dead_letter]", more.trim_start()));
    let finished = scene.run(&pipeline).wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    scene.compare(COUNT);
    let late = scene.consume("late").iter().map(|line| number_in(line)).collect();
    assert_once("late sink", late, (0..COUNT).filter(|number| number % BROKEN_EVERY != 0));
    support::stop(broker);
}

#[test]
fn a_broker_that_is_away_for_a_while_is_waited_for() {
    const COUNT: usize = 6_000;
    let (scene, broker) = Scene::new(2);
    let mut process = scene.run(&scene.pipeline("continuous", true));
    process.wait_until_said("the group has shared out");
    scene.produce(0..COUNT / 2);
    broker.kill();
    let broker = scene.broker();
    scene.produce(COUNT / 2..COUNT);
    support::wait_for("all records", || {
        (scene.consume("out").len() >= COUNT - COUNT.div_ceil(BROKEN_EVERY)).then_some(())
    });
    process.interrupt();
    let finished = process.wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    scene.compare(COUNT);
    support::stop(broker);
}
