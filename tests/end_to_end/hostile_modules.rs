use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::guests::{EATS_MEMORY, HANGS, LIES, RECURSES, REFUSES, TRAPS, picky};
use crate::support::{self, Finished, gristmill, succeed};

/// Three batches of 1,000 records.
const RECORDS: i64 = 3_000;

/// Where poison stands, and how it fails: several in the first batch, beside each other and at both of its ends.
const POISON: [(i64, i64, &str); 9] = [
    (0, TRAPS, "trap"),
    (17, REFUSES, "refused"),
    (18, LIES, "bad-output"),
    (500, EATS_MEMORY, "memory-limit"),
    (613, HANGS, "time-out"),
    (999, RECURSES, "trap"),
    (1_000, TRAPS, "trap"),
    (2_500, HANGS, "time-out"),
    (2_999, TRAPS, "trap"),
];

/// A record that the stage filters: its number is negative.
const FILTERED: i64 = 700;

struct Job {
    folder: tempfile::TempDir,
    address: String,
    broker: support::Process,
}

impl Job {
    /// A broker whose topic `numbers` holds `numbers`.
    fn new(numbers: impl Iterator<Item = i64>) -> Job {
        let folder = tempfile::tempdir().unwrap();
        let address = support::free_address();
        let broker = support::broker(&folder.path().join("data"), &address);
        for topic in ["numbers", "kept", "rejected"] {
            succeed(["topic", "create", topic, "--bootstrap", &address]);
        }
        let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let mut command = gristmill(["topic", "produce", "numbers", "--bootstrap", &address]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::write(folder.path().join("picky.wasm"), picky()).unwrap();
        Job { folder, address, broker }
    }

    /// Runs the pipeline over what is there; `stage` is the end of the hostile stage's table.
    fn run(&self, stage: &str) -> Finished {
        let address = &self.address;
        let dead_letter = match stage.contains("dead-letter") {
            true => "[dead_letter]\ntopic = \"rejected\"",
            false => "",
        };
        let text = format!(
            r#"
name = "picky"
[source]
topics = ["numbers"]
brokers = "{address}"
trigger = "available-now"
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "n long" }}
[[stage]]
name = "hostile"
module = "./picky.wasm"
{stage}
[[sink]]
name = "out"
topic = "kept"
value = "value"
{dead_letter}
"#
        );
        let file = self.folder.path().join("picky.toml");
        std::fs::write(&file, text).unwrap();
        let data_dir = self.folder.path().join("cache");
        support::run(["run", path(&file), "--data-dir", path(&data_dir)])
    }

    fn values(&self, topic: &str) -> Vec<i64> {
        let consume = ["topic", "consume", topic, "-b", "--exit-at-end", "--bootstrap"];
        let printed = succeed(consume.into_iter().chain([self.address.as_str()])).stdout;
        let number = |line: &str| -> Option<i64> {
            serde_json::from_str::<Value>(line).ok()?.get("n")?.as_i64()
        };
        printed.lines().map(|line| number(line).unwrap_or_else(|| panic!("{line}"))).collect()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// 0 to 2,999, with poison in its places.
fn poisoned() -> impl Iterator<Item = i64> {
    (0..RECORDS).map(|n| match POISON.iter().find(|(at, ..)| *at == n) {
        Some((_, poison, _)) => *poison,
        None if n == FILTERED => -1,
        None => n,
    })
}

/// What must come out, in this order.
fn kept() -> Vec<i64> {
    (0..RECORDS).filter(|n| *n != FILTERED && POISON.iter().all(|(at, ..)| at != n)).collect()
}

const LIMITS: &str = "limits = { batch_time = \"200ms\", memory = \"4MiB\" }";

#[test]
fn poison_records_become_dead_letters_and_all_others_go_through_in_order() {
    let job = Job::new(poisoned());
    let finished = job.run(&format!("on_failure = \"dead-letter\"\n{LIMITS}"));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(job.values("kept"), kept());
    let poison: Vec<i64> = POISON.iter().map(|(_, value, _)| *value).collect();
    assert_eq!(job.values("rejected"), poison);
    let counts = "stage `hostile`: 3000 in, 2990 out, 1 filtered, 9 failed";
    assert!(finished.stdout.contains(counts), "{}", finished.stdout);

    let listed = succeed([
        "dead-letters",
        "list",
        "rejected",
        "--bootstrap",
        &job.address,
        "--output",
        "json",
    ]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let count = |kind: &str| -> u64 {
        let groups = listed["groups"].as_array().unwrap().iter();
        let of_kind = groups.filter(|group| group["kind"] == kind && group["stage"] == "hostile");
        of_kind.map(|group| group["letters"].as_u64().unwrap()).sum()
    };
    for kind in ["trap", "refused", "bad-output", "memory-limit", "time-out"] {
        let expected = POISON.iter().filter(|(.., is)| *is == kind).count() as u64;
        assert_eq!(count(kind), expected, "{kind} in {listed}");
    }
    support::stop(job.broker);
}

#[test]
fn poison_records_are_skipped_and_counted() {
    let job = Job::new(poisoned());
    let finished = job.run(&format!("on_failure = \"skip\"\n{LIMITS}"));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(job.values("kept"), kept());
    assert!(finished.stdout.contains("9 failed"), "{}", finished.stdout);
    support::stop(job.broker);
}

#[test]
fn a_poison_record_stops_the_pipeline_by_name() {
    let job = Job::new(poisoned());
    let finished = job.run(LIMITS);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for said in
        ["stage `hostile` breaks on the record at numbers-0 offset 0", "stage trapped", "skip"]
    {
        assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
    }
    assert_eq!(job.values("kept"), [0; 0]);
    support::stop(job.broker);
}

/// The pipeline that used up its budget loses nothing: with a larger one it takes up where the last commit was.
#[test]
fn too_many_failures_stop_the_pipeline_and_nothing_is_lost() {
    let job = Job::new(poisoned());
    let finished = job.run(&format!("on_failure = \"skip\"\nmax_failures = 3\n{LIMITS}"));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for said in [
        "stage `hostile`: failed 4 of its 501 rows, `max_failures` allows 3",
        "numbers-0 offset 500: stage needs more memory",
        "numbers-0 offset 17: no sevens",
        "raise `max_failures`",
    ] {
        assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
    }
    assert_eq!(job.values("kept"), [0; 0]);
    let finished = job.run(&format!("on_failure = \"skip\"\nmax_failures = \"1%\"\n{LIMITS}"));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(job.values("kept"), kept());
    support::stop(job.broker);
}

/// A search without an end would be worse than a stop: every record of this batch hangs.
#[test]
fn a_module_that_hangs_on_everything_is_given_up() {
    let job = Job::new([HANGS; 200].into_iter());
    let stage =
        "on_failure = \"skip\"\nlimits = { batch_time = \"50ms\", isolation_time = \"500ms\" }";
    let finished = job.run(stage);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for said in ["stage `hostile`", "took longer than 500 ms", "`limits.isolation_time`"] {
        assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
    }
    support::stop(job.broker);
}
