use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::guests::{answer, literal, picky};
use crate::support::{self, Finished, gristmill, succeed};

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_shipped_pipeline_has_tests_and_meets_them() {
    let folder = support::root().join("pipelines");
    let printed = succeed(["test", path(&folder), "--output", "json"]).stdout;
    let documents: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "toml"));
    assert_eq!(documents.len(), files.count());
    for document in documents {
        assert!(!document["tests"].as_array().unwrap().is_empty(), "{document}");
        assert_eq!(document["failed"], 0, "{document}");
    }
}

const PIPELINE: &str = r#"
name = "chicago"
[source]
topics = ["orders"]
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "dead-letter"
with = { schema = "order_id long, city string" }
[[stage]]
name = "only-chicago"
module = "filter"
with = { column = "city", equals = "Chicago" }
[[sink]]
name = "out"
topic = "orders-chicago"
[dead_letter]
topic = "rejected"
"#;

const INPUT: &str = r#"input = [
  { key = "1", value = '{"order_id":1,"city":"Chicago"}' },
  { key = "2", value = 'not JSON' },
  { key = "3", value = '{"order_id":3,"city":"Reno"}' },
  { key = "4", value = '{"order_id":4,"city":"Chicago"}' },
]"#;

/// Runs [`PIPELINE`] with these tests.
fn test(tests: &str, flags: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chicago.toml");
    std::fs::write(&file, format!("{PIPELINE}{tests}")).unwrap();
    support::run(["test", path(&file)].iter().chain(flags))
}

fn named(name: &str, expect: &str) -> String {
    format!("[[test]]\nname = \"{name}\"\n{INPUT}\n{expect}\n")
}

#[test]
fn a_difference_is_told_by_sink_row_and_column_and_the_exit_code_says_so() {
    let right = named("right", "expect = { out = [{ key = \"1\" }, { order_id = 4 }] }");
    let wrong = named(
        "wrong",
        "expect = { out = [{ key = \"1\", city = \"Chicagoo\" }] }\nexpect_dead_letters = []",
    );
    let finished = test(&format!("{right}{wrong}"), &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for said in [
        "ok      right",
        "FAILED  wrong (line 29)",
        "sink `out`: 1 expected, 2 came",
        "sink `out`, row 1, column `city`: expected \"Chicagoo\", got \"Chicago\"",
        "sink `out`: row 2 is not expected: {",
        "dead letters: row 1 is not expected: {",
        "note: offset 1: a dead letter at stage `parse`: ",
    ] {
        assert!(finished.stdout.contains(said), "{said:?} is not in\n{}", finished.stdout);
    }
    assert!(finished.stderr.contains("1 of 2 tests failed"), "{}", finished.stderr);

    let finished = test(&format!("{right}{wrong}"), &["--filter", "right"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("1 test passed"), "{}", finished.stdout);

    let finished = test(&wrong, &["--output", "json"]);
    let document: Value = serde_json::from_str(finished.stdout.trim()).unwrap();
    let difference = &document["tests"][0]["differences"][1];
    assert_eq!(difference["place"], "sink `out`");
    assert_eq!((&difference["row"], &difference["column"]), (&1.into(), &"city".into()));
    assert_eq!(
        (&difference["expected"], &difference["got"]),
        (&"Chicagoo".into(), &"Chicago".into())
    );
}

#[test]
fn a_broken_file_and_a_filter_that_meets_nothing_are_mistakes() {
    let finished = test(&named("x", "expect = { oute = [] }"), &[]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("did you mean `out`?"), "{}", finished.stderr);
    let finished = test(&named("x", "expect = { out = [] }"), &["--filter", "y"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("the tests are `x`"), "{}", finished.stderr);
    let finished = test(&named("x", "expect = { out = [{ cty = 1 }] }"), &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let said = r#"sink `out` has no column `cty`, it has ["key","order_id","city"]"#;
    assert!(finished.stdout.contains(said), "{}", finished.stdout);
}

/// A module of the author's own that traps: in a test as in a run, the record is found.
#[test]
fn a_module_that_traps_fails_the_test_by_its_record() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("picky.wasm"), picky()).unwrap();
    let file = folder.path().join("picky.toml");
    let text = r#"
name = "picky"
[source]
topics = ["numbers"]
[[stage]]
name = "parse"
module = "parse-json"
with = { schema = "n long" }
[[stage]]
name = "hostile"
module = "./picky.wasm"
[[sink]]
name = "out"
topic = "kept"
[[test]]
name = "numbers pass"
input = [{ value = '{"n":1}' }, { value = '{"n":6661}' }]
expect = { out = [{ n = 1 }] }
[[test]]
name = "poison stops it"
input = [{ value = '{"n":6661}', partition = 3, offset = 77 }]
expect_stop = "breaks on the record at numbers-3 offset 77: stage trapped"
"#;
    std::fs::write(&file, text).unwrap();
    let finished = support::run(["test", path(&file)]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let said = "the pipeline stops: stage `hostile` breaks on the record at numbers-0 offset 1";
    assert!(finished.stdout.contains(said), "{}", finished.stdout);
    assert!(finished.stdout.contains("ok      poison stops it"), "{}", finished.stdout);
}

/// A stage that logs about row 1 of a batch and filters everything.
fn noisy() -> Vec<u8> {
    let answer = answer(&["offset"], json!([]), &[]);
    let line = "error: row 1: how odd\nrow 9: not there";
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (data (i32.const 1024) "{answer_bytes}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{answer_size}")
  (data (i32.const 32) "\40\00\00\00{line_size}")
  (data (i32.const 64) "{line_bytes}")
  (data (i32.const 160) "GMF1\40\00\20\00\40\00\00\00")
  (data (i32.const 256) "\00\00\00\00\a0\00\00\00\40\00\00\00")
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "process") (param i32 i32) (result i32)
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 2048)))
    (i32.const 256)))"#,
        answer_bytes = literal(answer.as_bytes()),
        answer_size = literal(&(answer.len() as u32).to_le_bytes()),
        line_bytes = literal(line.as_bytes()),
        line_size = literal(&(line.len() as u32).to_le_bytes()),
    );
    wat::parse_str(&text).unwrap()
}

#[test]
fn a_modules_lines_name_stage_partition_level_and_the_rows_offset() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("noisy.wasm"), noisy()).unwrap();
    let file = folder.path().join("noisy.toml");
    let text = r#"
name = "noisy"
[source]
topics = ["orders"]
[[stage]]
name = "talks"
module = "./noisy.wasm"
[[sink]]
name = "out"
topic = "kept"
value = "value"
[[test]]
name = "nothing passes"
input = [{ offset = 70, partition = 2 }, { offset = 77, partition = 2 }]
expect = { out = [] }
"#;
    std::fs::write(&file, text).unwrap();
    let finished = succeed(["test", path(&file)]);
    let line = |part: &str| finished.stderr.lines().find(|line| line.contains(part));
    let odd = line("how odd").unwrap_or_else(|| panic!("{}", finished.stderr));
    for part in ["ERROR", "stage=\"talks\"", "partition=orders-2", "offset=77"] {
        assert!(odd.contains(part), "{part} is not in {odd}");
    }
    let lost = line("not there").unwrap_or_else(|| panic!("{}", finished.stderr));
    assert!(lost.contains("INFO") && !lost.contains("offset="), "{lost}");
}

#[test]
fn what_is_captured_is_a_test_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let broker = support::broker(&folder.path().join("data"), &address);
    succeed(["topic", "create", "orders", "--partitions", "3", "--bootstrap", &address]);
    let mut command =
        gristmill(["topic", "produce", "orders", "--bootstrap", &address, "--parse-key"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines: &[u8] = b"1:{\"order_id\":1,\"city\":\"Chicago\"}\n2:it's \"no\" JSON \xff\n\
                         3:{\"order_id\":3,\"city\":\"Reno\"}\n4:{\"order_id\":4,\"city\":\"Chicago\"}\n";
    child.stdin.take().unwrap().write_all(lines).unwrap();
    assert!(child.wait().unwrap().success());

    let file = folder.path().join("chicago.toml");
    std::fs::write(&file, PIPELINE).unwrap();
    let captured =
        succeed(["capture", path(&file), "--count", "4", "--bootstrap", &address]).stdout;
    support::stop(broker);
    assert!(captured.contains("order_id = 4") && captured.contains("hex = "), "{captured}");
    std::fs::write(&file, format!("{PIPELINE}\n{captured}")).unwrap();
    let finished = support::run(["test", path(&file)]);
    assert_eq!(finished.code, Some(0), "{captured}\n{}\n{}", finished.stdout, finished.stderr);
    // The test is none that cannot fail.
    let changed = captured.replace("order_id = 4", "order_id = 5");
    std::fs::write(&file, format!("{PIPELINE}\n{changed}")).unwrap();
    assert_eq!(support::run(["test", path(&file)]).code, Some(1));
}
