use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::guests::{answer, core_module, stamping};
use crate::support::{self, Process, gristmill, succeed};

mod load;

const PARTITIONS: i32 = 2;

/// A topic `in`, a pipeline that stamps its records with the version of its module, and a topic `out` that gets where
/// each record stood in `in`, and the stamp.
struct Scene {
    folder: tempfile::TempDir,
    address: String,
    produced: usize,
}

/// What one record of `out` says.
#[derive(Debug, PartialEq)]
struct Stamped {
    key: String,
    partition: i32,
    offset: i64,
    version: i64,
}

/// A line of the log that says that a new generation has taken over.
#[derive(Debug, Clone)]
struct Receipt {
    generation: u64,
    changes: String,
    /// Partition of `in` → the first offset that the generation reads.
    offsets: BTreeMap<i32, i64>,
    prepare_ms: f64,
    pause_ms: f64,
}

const PIPELINE: &str = r#"
name = "stamp"
[source]
topics = ["in"]
[[stage]]
name = "stamp"
module = "./stamp.wasm"
[[sink]]
name = "out"
topic = "out"
columns = ["partition", "offset", "version"]
"#;

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let scene = Scene { folder, address: support::free_address(), produced: 0 };
        let broker = support::broker(&scene.data_dir(), &scene.address);
        for topic in ["in", "out"] {
            let partitions = PARTITIONS.to_string();
            let flags = ["--partitions", &partitions, "--bootstrap", &scene.address];
            succeed(["topic", "create", topic].iter().chain(&flags));
        }
        support::stop(broker);
        scene
    }

    /// With version 1 of the module beside the pipeline's file.
    fn with_pipeline(text: &str) -> (Scene, PathBuf) {
        let scene = Scene::new();
        let file = scene.path("stamp.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(scene.path("stamp.wasm"), version(1)).unwrap();
        (scene, file)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    fn run(&self, pipeline: &Path) -> Process {
        let data_dir = self.data_dir();
        let mut process = Process::spawn(&mut gristmill([
            "--log-format",
            "json",
            "run",
            pipeline.to_str().unwrap(),
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--listen",
            &self.address,
        ]));
        process.wait_until_said("the group has shared out");
        process
    }

    /// Sends so many records, keys in turn.
    fn produce(&mut self, count: usize) {
        self.produce_into("in", count);
    }

    fn produce_into(&mut self, topic: &str, count: usize) {
        let flags = [topic, "--parse-key", "--bootstrap", &self.address];
        let mut command = gristmill(["topic", "produce"].iter().chain(&flags));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = std::io::BufWriter::new(child.stdin.take().unwrap());
        for number in self.produced..self.produced + count {
            writeln!(lines, "key-{}:{number}", number % 7).unwrap();
        }
        drop(lines);
        assert!(child.wait().unwrap().success());
        self.produced += count;
    }

    fn consume(&self, topic: &str) -> Vec<Value> {
        let arguments = [
            "--output",
            "json",
            "topic",
            "consume",
            topic,
            "--from-beginning",
            "--exit-at-end",
            "--bootstrap",
            &self.address,
        ];
        let printed = succeed(arguments).stdout;
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn stamped(&self) -> Vec<Stamped> {
        self.consume("out").iter().map(Stamped::new).collect()
    }

    /// Waits until `out` has everything that was produced.
    fn wait_for_all(&self) -> Vec<Stamped> {
        support::wait_for("all records", || {
            Some(self.stamped()).filter(|stamped| stamped.len() >= self.produced)
        })
    }

    /// Sends some records; when they are through, they bear this stamp.
    fn expect_version(&mut self, version: i64) {
        let before = self.wait_for_all().len();
        self.produce(10);
        let stamped = self.wait_for_all();
        let old = stamped.len() - stamped.iter().filter(|one| one.version == version).count();
        assert!(old <= before, "{} of {} bear another stamp", old - before, self.produced - before);
    }
}

impl Stamped {
    fn new(record: &Value) -> Stamped {
        let value: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
        Stamped {
            key: record["key"].as_str().unwrap().to_string(),
            partition: value["partition"].as_i64().unwrap() as i32,
            offset: value["offset"].as_i64().unwrap(),
            version: value["version"].as_i64().unwrap(),
        }
    }
}

fn version(version: i64) -> Vec<u8> {
    stamping(&["version"], version)
}

/// The receipts in a log, oldest first.
fn receipts(process: &Process) -> Vec<Receipt> {
    let said = process.stderr();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let receipt = |line: Value| {
        let fields = &line["fields"];
        let text = |name: &str| fields[name].as_str().unwrap().to_string();
        let offsets: BTreeMap<String, BTreeMap<i32, i64>> =
            serde_json::from_str(&text("offsets")).unwrap();
        Receipt {
            generation: fields["generation"].as_u64().unwrap(),
            changes: text("changes"),
            offsets: offsets.get("in").cloned().unwrap_or_default(),
            prepare_ms: text("prepare_ms").parse().unwrap(),
            pause_ms: text("pause_ms").parse().unwrap(),
        }
    };
    lines.filter(|line| line["fields"]["message"] == "reloaded").map(receipt).collect()
}

fn wait_for_generation(process: &Process, generation: u64) -> Receipt {
    support::wait_for(&format!("generation {generation}\n{}", process.stderr()), || {
        receipts(process).into_iter().find(|receipt| receipt.generation == generation)
    })
}

/// Every record of `in` once in `out`, those of a key in their order, each with the stamp of the generation that the
/// receipts name for its offset; generation *g* has version *g*.
fn assert_boundaries(produced: usize, stamped: &[Stamped], receipts: &[Receipt]) {
    let mut seen = std::collections::BTreeSet::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for one in stamped {
        assert!(seen.insert((one.partition, one.offset)), "twice: {one:?}");
        let before = last.insert(&one.key, one.offset);
        assert!(before.is_none_or(|before| before < one.offset), "{one:?} comes after {before:?}");
        let reached = receipts.iter().rev().find(|receipt| {
            receipt.offsets.get(&one.partition).is_some_and(|begin| *begin <= one.offset)
        });
        let expected = reached.map_or(1, |receipt| receipt.generation as i64);
        assert_eq!(one.version, expected, "{one:?}: {reached:?}");
    }
    assert_eq!(stamped.len(), produced);
}

/// Editors write in place, or beside and rename; ConfigMaps and git-sync swap a link that leads to the file or to a
/// folder above it.
#[test]
fn every_way_to_change_a_file_is_noticed_and_no_record_sees_two_versions() {
    let mut scene = Scene::new();
    let mount = |revision: &str| scene.path(revision).join("mount");
    for revision in ["revision-1", "revision-2"] {
        let real = mount(revision).join("..1");
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("stamp.toml"), PIPELINE).unwrap();
        symlink("..1", mount(revision).join("..data")).unwrap();
        for name in ["stamp.toml", "stamp.wasm"] {
            symlink(format!("..data/{name}"), mount(revision).join(name)).unwrap();
        }
    }
    let module = mount("revision-1").join("..1/stamp.wasm");
    std::fs::write(&module, version(1)).unwrap();
    symlink("revision-1", scene.path("current")).unwrap();
    let process = scene.run(&scene.path("current/mount/stamp.toml"));
    scene.produce(100);

    std::fs::write(&module, version(2)).unwrap();
    wait_for_generation(&process, 2);
    scene.produce(10);

    let beside = module.with_extension("tmp");
    std::fs::write(&beside, version(3)).unwrap();
    std::fs::rename(&beside, &module).unwrap();
    wait_for_generation(&process, 3);
    scene.produce(10);

    std::fs::remove_file(&module).unwrap();
    support::wait_for("the file to be missed", || {
        process.has_said("no such module, looked for").then_some(())
    });
    scene.produce(10);
    std::fs::write(&module, version(4)).unwrap();
    wait_for_generation(&process, 4);
    scene.produce(10);

    // As Kubernetes does it.
    let mount = scene.path("revision-1/mount");
    std::fs::create_dir(mount.join("..2")).unwrap();
    std::fs::write(mount.join("..2/stamp.toml"), PIPELINE).unwrap();
    std::fs::write(mount.join("..2/stamp.wasm"), version(5)).unwrap();
    symlink("..2", mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    std::fs::remove_dir_all(mount.join("..1")).unwrap();
    wait_for_generation(&process, 5);
    scene.produce(10);

    // As git-sync does it.
    std::fs::write(scene.path("revision-2/mount/..1/stamp.wasm"), version(6)).unwrap();
    symlink("revision-2", scene.path("next")).unwrap();
    std::fs::rename(scene.path("next"), scene.path("current")).unwrap();
    wait_for_generation(&process, 6);
    scene.produce(10);

    let stamped = scene.wait_for_all();
    assert_boundaries(scene.produced, &stamped, &receipts(&process));
    assert!(stamped.iter().any(|one| one.version == 6));
    process.interrupt();
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn files_that_no_system_tells_about_are_polled() {
    let (mut scene, file) =
        Scene::with_pipeline(&PIPELINE.replacen("\n", "\nwatch = \"poll\"\n", 1));
    let process = scene.run(&file);
    scene.produce(10);
    std::fs::write(scene.path("beside"), version(2)).unwrap();
    std::fs::rename(scene.path("beside"), scene.path("stamp.wasm")).unwrap();
    wait_for_generation(&process, 2);
    scene.expect_version(2);
}

/// Each of these leaves the old module running and says why.
#[test]
fn a_module_that_is_broken_half_written_or_hostile_is_refused() {
    let (mut scene, file) = Scene::with_pipeline(PIPELINE);
    let mut process = scene.run(&file);
    let whole = version(2);
    let describing = |describe: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "process") (param i32 i32) (result i32) unreachable)
  (func (export "describe") (param i32 i32) (result i32) {describe}))"#
        );
        wat::parse_str(text).unwrap()
    };
    let imports = wat::parse_str(r#"(module (import "env" "steal" (func)))"#).unwrap();
    let other = core_module(&answer(&["nowhere"], serde_json::json!([]), &[]), "unreachable", "");
    for (bytes, said) in [
        (b"not wasm".to_vec(), "not a WebAssembly module"),
        (whole[..whole.len() / 2].to_vec(), "module does not compile"),
        (imports, "module does not export"),
        (describing("unreachable"), "module failed to describe itself"),
        (describing("(loop $hang (br $hang)) unreachable"), "took longer than 10000 ms"),
        (other, "nowhere"),
        (stamping(&["verzion"], 2), "no column `version` arrives here"),
    ] {
        std::fs::write(scene.path("stamp.wasm"), bytes).unwrap();
        process.wait_until_said(said);
        scene.expect_version(1);
    }
    assert!(process.stderr().contains("a change is refused, what ran before runs on"));
    // What was half written is whole now.
    std::fs::write(scene.path("stamp.wasm"), whole).unwrap();
    wait_for_generation(&process, 2);
    scene.expect_version(2);
    assert_eq!(receipts(&process).len(), 1);
}

#[test]
fn a_change_of_the_file_is_applied_and_a_broken_file_is_refused_with_its_places() {
    let (mut scene, file) = Scene::with_pipeline(PIPELINE);
    let mut process = scene.run(&file);
    scene.produce(20);
    let write = |text: &str| std::fs::write(&file, text).unwrap();

    write(&PIPELINE.replace("topics", "topicz"));
    process.wait_until_said("did you mean `topics`");
    write(&PIPELINE.replace("name = \"stamp\"\n[source]", "name = \"other\"\n[source]"));
    process.wait_until_said("only a restart applies this change");
    std::fs::remove_file(&file).unwrap();
    process.wait_until_said("cannot read it");
    scene.expect_version(1);

    // A sink that comes later gets everything, one that goes takes nothing with it.
    let late =
        "[[sink]]\nname = \"late\"\nfrom = \"source\"\ntopic = \"late\"\nvalue = \"value\"\n";
    write(&format!("{PIPELINE}{late}"));
    let receipt = wait_for_generation(&process, 2);
    assert!(receipt.changes.contains("sink `late` added"), "{}", receipt.changes);
    support::wait_for("the late sink", || {
        (scene.consume("late").len() == scene.produced).then_some(())
    });
    scene.produce(10);
    scene.wait_for_all();

    // Stages: another one, and settings of both.
    let filter = "[[stage]]\nname = \"few\"\nmodule = \"filter\"\nwith = { column = \"offset\", at_least = 0 }\n";
    let stages = PIPELINE.replace("[[sink]]", &format!("{filter}[[sink]]"));
    let stages = stages.replace("\"./stamp.wasm\"", "\"./stamp.wasm\"\non_failure = \"skip\"");
    write(&stages.replace("topics = [\"in\"]", "topics = [\"in\"]\nmax_offsets_per_trigger = 3"));
    let receipt = wait_for_generation(&process, 3);
    for change in [
        "max_offsets_per_trigger",
        "stage `few` added",
        "on_failure of stage",
        "sink `late` removed",
    ] {
        assert!(receipt.changes.contains(change), "{change}: {}", receipt.changes);
    }
    scene.expect_version(1);

    // Another topic beside the first one: the group shares out again.
    succeed(["topic", "create", "more", "--bootstrap", &scene.address]);
    write(&PIPELINE.replace("topics = [\"in\"]", "topics = [\"in\", \"more\"]"));
    let receipt = wait_for_generation(&process, 4);
    assert!(receipt.changes.contains("topics"), "{}", receipt.changes);
    scene.produce(10);
    scene.produce_into("more", 5);
    let stamped = scene.wait_for_all();
    assert_eq!(stamped.len(), scene.produced, "nothing twice");
    assert_eq!(receipts(&process).len(), 3);
}

/// The file's own tests are run through a changed module before it goes live.
#[test]
fn a_module_that_fails_the_files_tests_is_refused() {
    let test = "[[test]]\nname = \"small versions\"\ninput = [{ key = \"a\", value = \"b\" }]\n\
                expect = { out = [{ version = 1 }] }\n";
    let (mut scene, file) = Scene::with_pipeline(&format!("{PIPELINE}{test}"));
    let mut process = scene.run(&file);
    std::fs::write(scene.path("stamp.wasm"), version(2)).unwrap();
    process.wait_until_said("test `small versions` fails with this change");
    process.wait_until_said("column `version`: expected 1, got 2");
    scene.expect_version(1);
    // The same module is right for the changed test.
    let text = format!("{PIPELINE}{}", test.replace("version = 1", "version = 2"));
    std::fs::write(&file, text).unwrap();
    wait_for_generation(&process, 2);
    scene.expect_version(2);
}

/// Columns that the table takes are added before the first row that has them; what it does not take is refused while
/// the old module still runs. The table says which code made which rows.
#[test]
fn a_change_of_columns_is_applied_where_the_table_takes_it() {
    let text = |evolution: &str| {
        let table = format!(
            "delta = \"./lake\"\nschema_evolution = \"{evolution}\"\ncommit_every = \"1s\""
        );
        let text = PIPELINE.replace("topic = \"out\"", &table);
        text.replace("columns = [\"partition\", \"offset\", \"version\"]\n", "")
    };
    let (mut scene, file) = Scene::with_pipeline(&text("refuse"));
    let mut process = scene.run(&file);
    let (lake, module) = (scene.path("lake"), scene.path("stamp.wasm"));
    let rows = |count: usize, columns: &str| {
        support::wait_for("rows in the table", || {
            if !lake.join("_delta_log").exists() {
                return None;
            }
            Some(support::table_rows(&lake, columns)).filter(|rows| rows.len() == count)
        })
    };
    scene.produce(10);
    rows(10, "version");
    std::fs::write(&module, stamping(&["version", "extra"], 2)).unwrap();
    process.wait_until_said("column `extra` (long) is not in the table");
    std::fs::write(&file, text("add")).unwrap();
    wait_for_generation(&process, 2);
    scene.produce(10);
    let after = rows(20, "version,extra");
    let with = |row: &&Value| row["version"] == 2 && row["extra"] == 2;
    let without = |row: &&Value| row["version"] == 1 && row["extra"].is_null();
    assert_eq!(after.iter().filter(with).count(), 10, "{after:?}");
    assert_eq!(after.iter().filter(without).count(), 10, "{after:?}");

    // A column that goes leaves nulls, one of another type is no column of the table.
    let fields = serde_json::json!([{ "name": "version", "type": "string" }]);
    let other = core_module(&answer(&[], fields, &[]), "unreachable", "");
    std::fs::write(&module, other).unwrap();
    process.wait_until_said("column `version` is string here and long in the table");
    std::fs::write(&module, version(3)).unwrap();
    wait_for_generation(&process, 3);
    scene.produce(10);
    rows(30, "version");
    process.interrupt();
    assert_eq!(process.wait().code, Some(0));
    let entries = std::fs::read_dir(lake.join("_delta_log")).unwrap();
    let entries = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()));
    let log: Vec<String> = entries.map(|text| text.unwrap_or_default()).collect();
    for generation in 1..=3 {
        let said = format!("\"generation\":{generation},\"modules\":{{\"stamp\":\"");
        assert!(log.iter().any(|entry| entry.contains(&said)), "{said}");
    }
}
