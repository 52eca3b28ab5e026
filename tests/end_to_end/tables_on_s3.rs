use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::object_store::{self, ObjectStore, SECRET};
use crate::support::{self, Finished, Process, gristmill, succeed};

/// Rows before, between and after the kills.
const ROWS: usize = 3_000;
/// Commits between checkpoints. On a busy machine there are few commits, and a writer may be killed right before its
/// checkpoint: with 5 there was none now and then.
const CHECKPOINT_EVERY: &str = "2";

/// The program, with what it must know of the store in its environment.
fn program(store: &ObjectStore, arguments: &[&str]) -> Command {
    let mut command = gristmill(arguments);
    object_store::told(&mut command, &store.endpoint());
    command
}

struct Scene {
    folder: tempfile::TempDir,
    broker: String,
    store: ObjectStore,
}

impl Scene {
    fn run(&self, pipeline: &Path, place: &str) -> Process {
        let data_dir = self.folder.path().join(place);
        let arguments = ["run", path(pipeline), "--data-dir", path(&data_dir)];
        Process::spawn(program(&self.store, &arguments).env("S3_SECRET", SECRET))
    }

    fn produce(&self, topic: &str, numbers: std::ops::Range<usize>) {
        let arguments = ["topic", "produce", topic, "--parse-key", "--bootstrap", &self.broker];
        let mut child =
            gristmill(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines: String =
            numbers.map(|number| format!("{number}:{{\"number\":{number}}}\n")).collect();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A pipeline from the topic of its name into the table that all share.
    fn pipeline(&self, name: &str, trigger: &str, storage: &str) -> PathBuf {
        let text = format!(
            r#"
name = "{name}"
[source]
topics = ["{name}"]
brokers = "{}"
trigger = "{trigger}"
kafka = {{ "session.timeout.ms" = "6000" }}
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "number long" }}
[[sink]]
name = "table"
delta = "s3://lake/some/numbers"
columns = ["number"]
commit_every = {{ rows = 100, time = "100ms" }}
{storage}
"#,
            self.broker
        );
        let file = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn writers_of_one_table_on_s3_are_killed_and_every_row_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let broker = support::broker(&folder.path().join("broker"), &address);
    for topic in ["left", "right"] {
        succeed(["topic", "create", topic, "--partitions", "4", "--bootstrap", &address]);
    }
    let scene = Scene { folder, broker: address, store: ObjectStore::start(false) };
    make_table(&scene.store);
    let in_file = format!(
        "[sink.storage]\nendpoint = \"{}\"\nsecret_access_key = \"${{S3_SECRET}}\"",
        scene.store.endpoint()
    );
    let left = scene.pipeline("left", "continuous", "");
    let right = scene.pipeline("right", "continuous", &in_file);
    scene.produce("left", 0..ROWS);
    scene.produce("right", 3 * ROWS..4 * ROWS);
    let mut writers =
        [(&left, "left-1"), (&left, "left-2"), (&right, "right")].map(|(file, place)| {
            let mut process = scene.run(file, place);
            process.wait_until_said("the group has shared out");
            (file, place, process)
        });
    scene.produce("left", ROWS..2 * ROWS);
    for (file, place, process) in &mut writers[1..] {
        process.kill_now();
        *process = scene.run(file, place);
    }
    scene.produce("left", 2 * ROWS..3 * ROWS);
    scene.produce("right", 4 * ROWS..5 * ROWS);
    for (_, _, process) in writers {
        process.interrupt();
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    for (name, storage) in [("left", ""), ("right", in_file.as_str())] {
        let ended = scene.run(&scene.pipeline(name, "available-now", storage), "last").wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    check_rows(&scene.store);
    support::stop(broker);
}

/// Made by somebody else, with checkpoints of its own rhythm.
fn make_table(store: &ObjectStore) {
    const SCRIPT: &str = "
import json, sys, pyarrow, deltalake
rows = pyarrow.table({'number': pyarrow.array([], pyarrow.int64())})
deltalake.write_deltalake('s3://lake/some/numbers', rows, storage_options=json.loads(sys.argv[1]),
                          configuration={'delta.checkpointInterval': sys.argv[2]})
";
    support::python(SCRIPT, &[&store.options().to_string(), CHECKPOINT_EVERY]);
}

fn check_rows(store: &ObjectStore) {
    let rows = support::table_rows_at("s3://lake/some/numbers", "number", &store.options());
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(row["number"].as_u64().unwrap() as usize).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    assert!(counts.keys().copied().eq(0..5 * ROWS), "{} rows", counts.len());
    const HAS_CHECKPOINT: &str = "
import boto3, sys
s3 = boto3.client('s3', endpoint_url=sys.argv[1], aws_access_key_id='key',
                  aws_secret_access_key='secret', region_name='us-east-1')
s3.head_object(Bucket='lake', Key='some/numbers/_delta_log/_last_checkpoint')
";
    support::python(HAS_CHECKPOINT, &[&store.endpoint()]);

    let show = ["table", "show", "s3://lake/some/numbers", "--output", "json"];
    let shown = Process::spawn(&mut program(store, &show)).wait();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"));
    assert_eq!(shown["rows"], 5 * ROWS);
    assert_eq!(shown["cursors"].as_object().unwrap().len(), 8);
}

/// Runs a pipeline into a table of this address, with these lines of storage.
fn run(store: &ObjectStore, table: &str, storage: &str) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refused.toml");
    let text = format!(
        "name = \"refused\"\n[source]\ntopics = [\"orders\"]\ntrigger = \"available-now\"\n\
         [[sink]]\nname = \"lake\"\ndelta = \"{table}\"\n[sink.storage]\nregion = \"us-east-1\"\n\
         {storage}\n"
    );
    std::fs::write(&file, text).unwrap();
    let data_dir = folder.path().join("data");
    let arguments = ["run", path(&file), "--data-dir", path(&data_dir), "--create-topics"];
    let listen = support::free_address();
    let arguments: Vec<_> = arguments.into_iter().chain(["--listen", &listen]).collect();
    Process::spawn(&mut program(store, &arguments)).wait()
}

#[test]
fn what_is_wrong_with_a_store_is_told_before_anything_starts() {
    let (store, guarded) = (ObjectStore::start(false), ObjectStore::start(true));
    let nobody = support::free_address();
    let at = |endpoint: &str| format!("endpoint = \"{endpoint}\"");
    let cases = [
        (&store, "s3://attic/orders", String::new(), "there is no bucket `attic` at http://"),
        (&guarded, "s3://lake/orders", String::new(), "refuses our credentials for bucket `lake`"),
        (
            &store,
            "s3://lake/orders",
            at(&format!("http://{nobody}")),
            "bucket `lake` cannot be reached at http://",
        ),
        (&store, "s3://lake/orders", at(&nobody), "is no URL"),
        (&store, "s3://lake/orders", "allow_http = \"false\"".into(), "is not encrypted"),
        (&store, "s3://lake/orders", "acess_key = \"x\"".into(), "no option `acess_key`"),
    ];
    for (store, table, storage, said) in cases {
        let ended = run(store, table, &storage);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        for told in ["sink `lake`", &format!("table `{table}`"), said] {
            assert!(ended.stderr.contains(told), "{told:?} is not in\n{}", ended.stderr);
        }
    }
    let show = ["table", "show", "s3://attic/orders"];
    let shown = Process::spawn(&mut program(&store, &show)).wait();
    assert_eq!(shown.code, Some(2), "{}", shown.stderr);
    assert!(shown.stderr.contains("there is no bucket `attic`"), "{}", shown.stderr);
}
