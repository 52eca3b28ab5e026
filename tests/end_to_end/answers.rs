//! What the commands print with `--output json`, against the shapes that docs/commands.md promises, and the exit codes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::guests::stamping;
use crate::support::{self, Finished, Process, gristmill};

mod shape;

use shape::Shapes;

/// A folder that is home and data folder to everything that runs, a broker's address and a page's.
struct Scene {
    folder: tempfile::TempDir,
    broker: String,
    page: String,
    shapes: Shapes,
    /// Commands whose answers were looked at.
    seen: BTreeSet<String>,
}

const PIPELINE: &str = r#"
name = "answers"
[source]
topics = ["in"]
brokers = "BROKER"
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "dead-letter"
with = { schema = "id long, city string" }
[[stage]]
name = "stamp"
module = "./stamp.wasm"
[[sink]]
name = "lake"
delta = "./lake"
partition_by = ["city"]
commit_every = { rows = 1 }
[dead_letter]
topic = "letters"
[[test]]
name = "a city"
input = [{ value = '{"id":1,"city":"Reno"}' }]
expect = { lake = [{ city = "Reno" }] }
"#;

const EXAMPLES: &str = r#"
columns = "city string"
with = { column = "city", equals = "Chicago" }
[[example]]
name = "kept"
input = [{ city = "Chicago" }]
expect = [{ city = "Chicago" }]
"#;

/// A compiler that makes what `MODULE` names, or refuses the source of a stage.
const COMPILER: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1$2$REFUSE" = "-ostage.wasmyes" ]; then exit 1; fi
  if [ "$1" = -o ]; then cp "$MODULE" "$2" || exit 1; fi
  shift
done
"#;

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let page = std::fs::read_to_string(support::root().join("docs/commands.md")).unwrap();
        let (_, rest) = page.split_once("```shapes\n").unwrap();
        let (shapes, _) = rest.split_once("```").unwrap();
        let scene = Scene {
            folder,
            broker: support::free_address(),
            page: support::free_address(),
            shapes: Shapes::read(shapes),
            seen: BTreeSet::new(),
        };
        scene.write("pipeline.toml", PIPELINE.replace("BROKER", &scene.broker));
        scene.write("broken.toml", "nam = 1\n");
        scene.write("stamp.wasm", stamping(&["version"], 1));
        scene.write("new.wasm", stamping(&["version"], 2));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// `line` without the program's name, split at blanks.
    fn command(&self, line: &str) -> Command {
        let words = ["--output", "json"].into_iter().chain(line.split(' '));
        let mut command = gristmill(words);
        command.current_dir(self.folder.path());
        command.env("XDG_CONFIG_HOME", self.path("config")).env("XDG_DATA_HOME", self.path("data"));
        command.env("GRISTMILL_BOOTSTRAP", &self.broker).env("GRISTMILL_HTTP", &self.page);
        command
    }

    fn run(&self, line: &str) -> Finished {
        Process::spawn(&mut self.command(line)).wait()
    }

    fn run_with_input(&self, line: &str, input: &str) -> Finished {
        self.write("input", input);
        Process::spawn(self.command(line).stdin(File::open(self.path("input")).unwrap())).wait()
    }

    /// Runs what ends well and prints documents of that shape.
    fn expect(&mut self, shape: &str, line: &str) -> Value {
        let finished = self.run(line);
        self.look(&[shape], line, &finished, 0)
    }

    /// Each document has one of the shapes, each shape has a document. Answers the first one.
    fn look(&mut self, shapes: &[&str], line: &str, finished: &Finished, code: i32) -> Value {
        assert_eq!(finished.code, Some(code), "{line}: {}\n{}", finished.stdout, finished.stderr);
        let documents: Vec<Value> = finished
            .stdout
            .lines()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| panic!("{line}: {text}")))
            .collect();
        assert!(!documents.is_empty(), "{line} prints nothing\n{}", finished.stderr);
        let mut found = BTreeSet::new();
        for document in &documents {
            let checked = shapes.iter().map(|shape| (*shape, self.shapes.check(shape, document)));
            let (right, wrong): (Vec<_>, Vec<_>) = checked.partition(|(_, it)| it.is_ok());
            assert!(!right.is_empty(), "{line}: {wrong:?}\n{document}");
            found.extend(right.into_iter().map(|(shape, _)| shape));
        }
        assert_eq!(found.len(), shapes.len(), "{line} printed {found:?} of {shapes:?}");
        self.seen.extend(shapes.iter().map(ToString::to_string));
        documents[0].clone()
    }

    /// Environments, clusters and keys: files of ours, no broker.
    fn profiles(&mut self) {
        let address = std::mem::take(&mut self.broker);
        self.expect("environment create", "environment create test");
        self.expect("environment list", "environment list");
        self.expect("environment use", "environment use test");
        self.expect("kafka cluster create", "kafka cluster create one --bootstrap 127.0.0.1:1");
        self.expect("kafka cluster list", "kafka cluster list");
        self.expect("kafka cluster use", "kafka cluster use one");
        self.expect("kafka cluster delete", "kafka cluster delete one");
        self.expect("environment use", "environment use local");
        self.expect("environment delete", "environment delete test");
        let made = self.expect("api-key create", "api-key create --resource CLUSTER");
        let key = made["api_key"].as_str().unwrap().to_owned();
        self.expect("api-key list", "api-key list");
        self.expect("api-key use", &format!("api-key use {key} --resource local"));
        let store = "api-key store ELSEWHERE --resource local";
        let stored = self.run_with_input(store, "secret\n");
        self.look(&["api-key store"], store, &stored, 0);
        self.expect("api-key delete", &format!("api-key delete {key}"));
        self.broker = address;
    }

    fn topics_and_groups(&mut self) {
        self.expect("topic create", "topic create in --partitions 1");
        self.expect("topic create", "topic create other --partitions 2");
        self.expect("topic create", "topic create letters");
        self.expect("topic list", "topic list");
        let lines = "{\"id\":1,\"city\":\"Reno\"}\n{\"id\":2,\"city\":\"Chicago\"}\nno order\n";
        let produced = self.run_with_input("topic produce in", lines);
        self.look(&["topic produce"], "topic produce in", &produced, 0);
        let line = "topic produce other --print-offset --parse-key";
        let produced = self.run_with_input(line, "a:b\nc:d\n");
        self.look(&["topic produce --print-offset", "topic produce"], line, &produced, 0);
        self.expect("produce", "produce --topic other --orders 3");
        self.expect("topic describe", "topic describe in");
        self.expect("topic update", "topic update in --config retention.ms=3600000");
        let consume = "topic consume other --group shop --from-beginning --exit-at-end";
        self.expect("topic consume", consume);
        self.expect("group list", "group list");
        self.expect("group describe", "group describe shop");
        self.expect("group reset-offsets", "group reset-offsets shop --to-earliest");
        self.expect("group delete", "group delete shop");
        self.expect("topic delete", "topic delete other");
    }

    fn files(&mut self) {
        self.expect("validate", "validate pipeline.toml");
        let broken = self.run("validate broken.toml pipeline.toml");
        let first = self.look(&["validate"], "validate broken.toml", &broken, 2);
        assert_eq!((&first["valid"], &first["mistakes"][0]["line"]), (&false.into(), &1.into()));
        self.expect("explain", "explain pipeline.toml");
        self.expect("test", "test pipeline.toml");
        let other = std::fs::read_to_string(self.path("pipeline.toml")).unwrap();
        self.write("failing.toml", other.replace("lake = [{ city = \"Reno\" }]", "lake = []"));
        let failing = self.run("test failing.toml");
        self.look(&["test"], "test failing.toml", &failing, 1);
        self.expect("capture", "capture pipeline.toml");
        let wrong = self.run("doctor failing.toml broken.toml");
        self.look(&["doctor"], "doctor broken.toml", &wrong, 1);
    }

    fn running_pipeline(&mut self) {
        let mut process = Process::spawn(
            &mut self
                .command(&format!("run pipeline.toml --http {} --listen 127.0.0.1:0", self.page)),
        );
        process.wait_until_said("the page is at");
        self.wait_for("status answers", |status| {
            status["snapshot"]["sinks"][0]["rows_committed"] == 2
        });
        self.expect("status", "status");
        self.expect("pause", "pause answers");
        self.expect("resume", "resume answers");
        self.expect("reload", "reload answers");
        self.tap();
        self.expect("stage shadow FILE", "stage shadow answers stamp new.wasm");
        self.produce_one();
        self.wait_for("stage shadow answers stamp", |report| report["rows_different"] != 0);
        self.expect("stage shadow", "stage shadow answers stamp");
        self.expect("stage shadow --off", "stage shadow answers stamp --off");
        self.expect("stage shadow FILE", "stage shadow answers stamp new.wasm");
        let receipt = self.expect("stage promote", "stage promote answers stamp");
        assert!(receipt["generation"].as_u64() > Some(1), "{receipt}");
        let text = std::fs::read_to_string(self.path("pipeline.toml")).unwrap();
        self.write("pipeline.toml", text.replace("parse-json", "parse-jsn"));
        let refused = self.run("reload answers");
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
        assert_eq!(refused.stderr.matches("error:").count(), 1, "{}", refused.stderr);
        let status = self.expect("status PIPELINE", "status answers");
        assert_eq!(status["last_refusal"]["mistakes"], 1, "{status}");
        assert!(status["last_receipt"].is_object(), "{status}");
        self.write("pipeline.toml", text);
        process.interrupt();
        let finished = process.wait();
        let last = self.look(&["run"], "run pipeline.toml", &finished, 0);
        assert_eq!(last["pipeline"], "answers");
    }

    fn produce_one(&self) {
        let line = "topic produce in";
        assert_eq!(self.run_with_input(line, "{\"id\":3,\"city\":\"Fargo\"}\n").code, Some(0));
    }

    /// Only what passes while it looks is shown.
    fn tap(&mut self) {
        let line = "tap answers stamp --max 1";
        let mut tap = Process::spawn(&mut self.command(line));
        support::wait_for("a row", || {
            self.produce_one();
            tap.has_ended().then_some(())
        });
        self.look(&["tap"], line, &tap.wait(), 0);
    }

    fn wait_for(&self, line: &str, condition: impl Fn(&Value) -> bool) {
        support::wait_for(line, || {
            let printed = self.run(line).stdout;
            serde_json::from_str(&printed).ok().filter(|document| condition(document))
        });
    }

    fn letters_and_tables(&mut self) {
        self.expect("dead-letters list", "dead-letters list pipeline.toml");
        self.expect("dead-letters show", "dead-letters show pipeline.toml");
        self.expect("dead-letters replay", "dead-letters replay pipeline.toml");
        self.expect("table show", "table show lake");
        self.expect("table history", "table history lake");
        self.expect("table optimize", "table optimize lake");
        self.expect("table vacuum", "table vacuum lake --dry-run");
    }

    /// `shape`: empty where nothing is printed.
    fn build(&mut self, shape: &str, line: &str, refuse: &str, code: i32) {
        let path = std::env::var("PATH").unwrap();
        let mut command = self.command(line);
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        command.env("MODULE", self.path("stamp.wasm")).env("REFUSE", refuse);
        let finished = Process::spawn(&mut command).wait();
        if shape.is_empty() {
            assert_eq!(finished.code, Some(code), "{}", finished.stderr);
        } else {
            self.look(&[shape], line, &finished, code);
        }
    }

    fn stages(&mut self) {
        self.expect("stage new", "stage new keep --lang c");
        self.write("clang", COMPILER);
        let chmod = Command::new("chmod").arg("+x").arg(self.path("clang")).status();
        assert!(chmod.unwrap().success());
        self.build("stage build", "stage build keep", "no", 0);
        self.build("stage build --dry-run", "stage build keep --dry-run", "no", 0);
        self.build("", "stage build keep", "yes", 1);
        self.expect("stage inspect", "stage inspect stamp.wasm");
        self.expect("stage inspect", "stage inspect parse-json");
        self.write("kept.toml", EXAMPLES);
        self.expect("stage test", "stage test filter --examples kept.toml");
        self.write(
            "failing.toml",
            EXAMPLES.replace("[{ city = \"Chicago\" }]\nexpect", "[]\nexpect"),
        );
        let failing = self.run("stage test filter --examples failing.toml");
        self.look(&["stage test"], "stage test", &failing, 1);
        // Words are split at blanks, columns at any white space.
        let line = "stage test parse-json --with schema=city\tstring --text x";
        let row = self.run(line);
        self.look(&["stage test --text"], line, &row, 1);
    }
}

#[test]
fn every_command_prints_what_its_page_promises() {
    let mut scene = Scene::new();
    scene.profiles();
    scene.stages();
    scene.expect("version", "version");
    let line = format!("broker --listen {} --http off", scene.broker);
    let mut broker = Process::spawn(&mut scene.command(&line));
    broker.wait_until_said("listening");
    scene.topics_and_groups();
    scene.files();
    scene.running_pipeline();
    scene.letters_and_tables();
    broker.interrupt();
    scene.look(&["broker"], &line, &broker.wait(), 0);
    let promised: BTreeSet<String> = scene.shapes.commands().map(str::to_owned).collect();
    let unseen: Vec<_> = promised.difference(&scene.seen).collect();
    assert!(unseen.is_empty(), "nobody has looked at {unseen:?}");
}

/// `gristmill validate FILE | head -1` ended in a panic now and then: it printed line by line, and `head` was gone after
/// the first.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let pipeline = support::root().join("pipelines/orders_to_delta.toml");
    let pipeline = pipeline.to_str().unwrap();
    for command in [&["validate", pipeline][..], &["explain", pipeline], &["schema"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = gristmill(command).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{command:?}");
    }
}
