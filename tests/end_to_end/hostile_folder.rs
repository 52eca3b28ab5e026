//! Every module of `hostile/` in a pipeline of its own: the answer is the configured one, the process lives, and the
//! batches behind are right.

use std::path::{Path, PathBuf};

use crate::support::{self, Finished, gristmill};

/// What becomes of the record on which a module turns hostile: the kind of its dead letter.
const BREAKS: [(&str, &str); 8] = [
    ("endless_loop", "time-out"),
    ("memory_bomb", "memory-limit"),
    ("deep_recursion", "trap"),
    ("trap", "trap"),
    ("huge_output", "output-limit"),
    ("lying_rows", "bad-output"),
    ("broken_buffers", "bad-output"),
    ("not_utf8", "bad-output"),
];

/// What a pipeline is told whose module cannot be described.
const REFUSED: [(&str, &str); 3] = [
    ("traps_in_describe", "module failed to describe itself: stage trapped"),
    ("hangs_in_describe", "module failed to describe itself: stage took longer than"),
    ("wrong_contract", "module was built for contract 2.0, this host runs 1.0"),
];

/// Hostile for one batch, and right all the same.
const HARMLESS: &str = "log_flood";

fn folder() -> PathBuf {
    support::root().join("tests/end_to_end/hostile")
}

fn module(name: &str) -> Vec<u8> {
    let read = |name: &str| std::fs::read_to_string(folder().join(format!("{name}.wat"))).unwrap();
    let (hostile, skeleton) = (read(name), read("skeleton"));
    let mut text = format!("(module\n{hostile}\n{skeleton}\n");
    if !hostile.contains("func $describe") {
        let size =
            skeleton.split("(i32.const 1024) \"").nth(1).unwrap().split("\")").next().unwrap();
        let size = size.replace("\\\"", "\"").len();
        text.push_str(&format!(
            "(func $describe (param i32 i32) (result i32) (call $result (i32.const 0) (i32.const 1024) (i32.const {size})))"
        ));
    }
    if !hostile.contains("func $hostile") {
        text.push_str("(func $hostile (param i32 i32) (result i32) (unreachable))");
    }
    text.push(')');
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
}

/// Three batches: one with a record among good ones that the module breaks on, one with that record alone, a good one.
fn run(name: &str, batch_time: &str, expected: &str) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hostile.wasm"), module(name)).unwrap();
    let text = format!(
        r#"
name = "hostile"
[source]
topics = ["t"]
[[stage]]
name = "hostile"
module = "./hostile.wasm"
on_failure = "dead-letter"
limits = {{ batch_time = "{batch_time}", memory = "4MiB", output_rows = 1000 }}
[[sink]]
name = "out"
topic = "o"
[dead_letter]
topic = "d"
[[test]]
name = "the others go through"
input = [
  {{ value = "one" }}, {{ value = "two" }}, {{ value = "bad" }}, {{ value = "three" }},
  {{ value = "bad", partition = 1 }},
  {{ value = "four", partition = 2 }},
]
{expected}
"#
    );
    std::fs::write(folder.path().join("p.toml"), text).unwrap();
    let mut command = gristmill(["test", "p.toml"]);
    command.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path());
    support::Process::spawn(&mut command).wait()
}

fn check(name: &str) {
    let (_, kind) = BREAKS.iter().find(|(module, _)| *module == name).unwrap();
    let expected = format!(
        "expect = {{ out = [{{ made = \"one\" }}, {{ made = \"two\" }}, {{ made = \"three\" }}, {{ made = \"four\" }}] }}\n\
         expect_dead_letters = [{{ value = \"bad\", kind = \"{kind}\" }}, {{ value = \"bad\", kind = \"{kind}\", partition = 1 }}]"
    );
    let finished = run(name, "200ms", &expected);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
}

#[test]
fn every_module_of_the_folder_has_a_test() {
    let mut files: Vec<String> = folder()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .map(|path| Path::new(path.file_stem().unwrap()).display().to_string())
        .filter(|name| name != "skeleton")
        .collect();
    files.sort();
    let mut tested: Vec<&str> = BREAKS.iter().chain(&REFUSED).map(|(name, _)| *name).collect();
    tested.push(HARMLESS);
    tested.sort_unstable();
    assert_eq!(files, tested);
}

#[test]
fn an_endless_loop_costs_its_record() {
    check("endless_loop");
}

#[test]
fn a_memory_bomb_costs_its_record() {
    check("memory_bomb");
}

#[test]
fn deep_recursion_costs_its_record() {
    check("deep_recursion");
}

#[test]
fn a_trap_costs_its_record() {
    check("trap");
}

#[test]
fn a_huge_output_costs_its_record() {
    check("huge_output");
}

#[test]
fn row_numbers_that_lie_cost_their_record() {
    check("lying_rows");
}

#[test]
fn broken_buffers_cost_their_record() {
    check("broken_buffers");
}

#[test]
fn text_that_is_not_utf8_costs_its_record() {
    check("not_utf8");
}

#[test]
fn a_flood_of_log_lines_costs_nothing_but_a_count() {
    let made = ["one", "two", "bad", "three", "bad", "four"];
    let rows: Vec<String> = made.iter().map(|made| format!("{{ made = \"{made}\" }}")).collect();
    let expected = format!("expect = {{ out = [{}] }}\nexpect_dead_letters = []", rows.join(", "));
    let finished = run(HARMLESS, "1m", &expected);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    assert!(finished.stderr.len() < 100_000, "{} bytes of log", finished.stderr.len());
}

#[test]
fn a_module_that_cannot_be_described_is_refused_before_anything_starts() {
    for (name, said) in REFUSED {
        let finished = run(name, "200ms", "expect = {}");
        assert_eq!(finished.code, Some(2), "{name}: {}", finished.stderr);
        assert!(finished.stderr.contains(said), "{name}: {}", finished.stderr);
        assert!(finished.stderr.contains("p.toml:7:10"), "{name}: {}", finished.stderr);
    }
}
