//! `gristmill stage`: what a stage's author sees, without any other language's tool chain.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::guests::{answer, core_module};
use crate::support::{self, Finished, gristmill, succeed};

/// The folder of compiled modules is the test's own.
fn run(folder: &Path, arguments: &[&str]) -> Finished {
    let mut command = gristmill(arguments);
    command.current_dir(folder).env("XDG_DATA_HOME", folder);
    support::Process::spawn(&mut command).wait()
}

fn json_of(finished: &Finished) -> Value {
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

#[test]
fn a_tool_that_is_missing_is_named_with_what_installs_it() {
    for (language, missing, help) in [
        ("rust", "cargo is missing", "rustup"),
        ("c", "a C compiler for WebAssembly", "pip install ziglang"),
        ("cpp", "a C compiler for WebAssembly", "apt-get install clang"),
        ("go", "go is missing", "go.dev"),
        ("js", "npm is missing", "nodejs"),
        ("ts", "npm is missing", "nodejs"),
        ("python", "componentize-py is missing", "pip install"),
        ("zig", "Zig 0.17 is missing", "pip install ziglang"),
        ("as", "npm is missing", "nodejs"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        succeed_in(folder.path(), &["stage", "new", "keep", "--lang", language]);
        let mut command = gristmill(["stage", "build", "keep"]);
        command.current_dir(folder.path()).env("PATH", folder.path());
        let finished = support::Process::spawn(&mut command).wait();
        assert_eq!(finished.code, Some(2), "{language}: {}", finished.stderr);
        assert!(finished.stderr.contains(missing), "{language}: {}", finished.stderr);
        assert!(finished.stderr.contains(help), "{language}: {}", finished.stderr);
        assert!(!folder.path().join("keep/stage.wasm").exists());
    }
}

fn succeed_in(folder: &Path, arguments: &[&str]) -> Finished {
    let finished = run(folder, arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}\n{}", finished.stderr);
    finished
}

#[test]
fn a_command_without_a_project_or_module_says_what_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["stage", "build"][..], "gristmill stage new"),
        (&["stage", "test"], "gristmill stage build"),
        (&["stage", "inspect", "no-such-stage"], "shipped stage"),
        (&["stage", "new", "a b", "--lang", "c"], "no name for a stage"),
        (&["stage", "test", "filter", "--examples", "none.toml"], "no file `none.toml`"),
        (&["stage", "test", "filter", "--text", "x"], "the stage refuses"),
    ] {
        let finished = run(folder.path(), arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(said), "{arguments:?}: {}", finished.stderr);
    }
    assert!(run(folder.path(), &["stage", "new", "twice", "--lang", "c"]).code == Some(0));
    assert!(run(folder.path(), &["stage", "new", "twice", "--lang", "c"]).code == Some(2));
}

const EXAMPLES: &str = r#"
columns = "id long, city string"
with = { column = "city", equals = "Chicago" }
[[example]]
name = "right"
input = [{ id = 1, city = "Chicago" }, { id = 2 }]
expect = [{ id = 1 }]
[[example]]
name = "wrong"
input = [{ id = 1, city = "Chicago" }]
expect = [{ id = 2 }]
[[example]]
name = "refused"
with = { column = "town", equals = "Chicago" }
expect_refusal = "town"
"#;

#[test]
fn examples_that_fail_are_told_and_the_exit_code_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("examples.toml"), EXAMPLES).unwrap();
    let finished = run(folder.path(), &["stage", "test", "filter"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for said in [
        "ok      right",
        "FAILED  wrong",
        "output, row 1, column `id`: expected 2, got 1",
        "ok      refused",
    ] {
        assert!(finished.stdout.contains(said), "{said} is not in {}", finished.stdout);
    }
    assert!(finished.stderr.contains("1 of 3 examples failed"), "{}", finished.stderr);
    succeed_in(folder.path(), &["stage", "test", "filter", "--filter", "right"]);
    let finished = run(folder.path(), &["stage", "test", "filter", "--filter", "no such"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    std::fs::write(folder.path().join("examples.toml"), "[[example]]\nnam = 1").unwrap();
    let finished = run(folder.path(), &["stage", "test", "filter"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("examples.toml") && finished.stderr.contains("line 2"));
}

#[test]
fn rows_come_from_the_command_line_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let filter = [
        "stage",
        "test",
        "filter",
        "--with",
        "column=city",
        "--with",
        "equals=Chicago",
        "--output",
        "json",
    ];
    let (one, two) = (r#"{"id":9007199254740993,"city":"Chicago"}"#, r#"{"id":2,"city":null}"#);
    let expected = json!({
        "rows_in": 2,
        "rows": [{ "row": 0, "columns": { "id": 9_007_199_254_740_993_i64, "city": "Chicago" } }],
        "filtered": [1],
        "failures": [],
        "log": [],
    });

    let by_text = [&filter[..], &["--text", one, "--text", two]].concat();
    assert_eq!(json_of(&run(folder.path(), &by_text)), expected);

    let file = folder.path().join("rows.jsonl");
    std::fs::write(&file, format!("{one}\n\n{two}\n")).unwrap();
    let by_file = [&filter[..], &["--file", "rows.jsonl"]].concat();
    assert_eq!(json_of(&run(folder.path(), &by_file)), expected);

    for more in [&["--file", "-"][..], &[]] {
        let mut command = gristmill([&filter[..], more].concat());
        command.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{one}\n{two}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(printed, expected, "{more:?}");
    }
}

#[test]
fn a_stage_that_reads_records_gets_the_text_as_their_value() {
    let folder = tempfile::tempdir().unwrap();
    let parse = ["stage", "test", "parse-json", "--with", "schema=city string"];
    let right = [&parse[..], &["--text", r#"{"city":"Reno"}"#]].concat();
    let finished = succeed_in(folder.path(), &right);
    assert!(finished.stdout.contains(r#""city":"Reno""#), "{}", finished.stdout);
    let wrong = [&parse[..], &["--text", "not JSON"]].concat();
    let finished = run(folder.path(), &wrong);
    assert_eq!(finished.code, Some(1), "{}", finished.stdout);
    assert!(finished.stdout.contains("row 1 failed (rejected)"), "{}", finished.stdout);
    assert!(finished.stderr.contains("1 of 1 rows failed"), "{}", finished.stderr);
}

#[test]
fn a_core_module_by_hand_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let answer = answer(&["n"], json!([]), &[]);
    // Answers the frame of a filter that keeps nothing.
    let body = "(call $result (i32.const 0) (i32.const 128) (i32.const 64))";
    let data = r#"(data (i32.const 128) "GMF1\40\00\20\00\40\00\00\00")"#;
    std::fs::write(folder.path().join("none.wasm"), core_module(&answer, body, data)).unwrap();
    let inspect = ["stage", "inspect", "none.wasm", "--columns", "n long", "--output", "json"];
    let document = json_of(&run(folder.path(), &inspect));
    assert_eq!(document["kind"], "core module");
    assert_eq!(document["stage"]["contract"], "1.0");
    assert_eq!(document["stage"]["reads"], json!(["n"]));
    assert_eq!(document["imports"], json!([]));
    assert_eq!(document["hash"].as_str().unwrap().len(), 64);
    let test =
        ["stage", "test", "none.wasm", "--columns", "n long", "--text", "1", "--output", "json"];
    assert_eq!(json_of(&run(folder.path(), &test))["filtered"], json!([0]));
}

#[test]
fn inspect_tells_what_a_shipped_stage_takes() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeed_in(
        folder.path(),
        &["stage", "inspect", "parse-json", "--with", "schema=city string"],
    )
    .stdout;
    for said in [
        "core module",
        "reads     value binary",
        "makes     city string",
        "schema string",
        "imports   none",
    ] {
        assert!(printed.contains(said), "{said} is not in {printed}");
    }
    let printed = succeed_in(folder.path(), &["stage", "inspect", "parse-json"]).stdout;
    assert!(printed.contains("refuses   config.schema"), "{printed}");
}

const WASI: &str = "wasi_snapshot_preview1";

#[test]
fn a_module_that_asks_for_more_than_it_gets_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let answer = answer(&[], json!([]), &[]);
    for (name, import) in [
        (
            "files.wasm",
            format!(
                r#"(import "{WASI}" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#
            ),
        ),
        (
            "network.wasm",
            format!(
                r#"(import "{WASI}" "sock_send" (func (param i32 i32 i32 i32 i32) (result i32)))"#
            ),
        ),
    ] {
        let wat = core_module_with_import(&answer, &import);
        std::fs::write(folder.path().join(name), wat).unwrap();
        let finished = run(folder.path(), &["stage", "inspect", name]);
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        let function = import.split('"').nth(3).unwrap();
        assert!(finished.stderr.contains(&format!("{WASI}.{function}")), "{}", finished.stderr);
        assert!(finished.stdout.contains("refused: no stage gets it"), "{}", finished.stdout);
    }
    let component = wat::parse_str(
        r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func)))))"#,
    );
    std::fs::write(folder.path().join("clock.wasm"), component.unwrap()).unwrap();
    let printed = run(folder.path(), &["stage", "inspect", "clock.wasm"]);
    assert_eq!(printed.code, Some(2));
    assert!(
        printed.stdout.contains("opened by `clock` under `[stage.grant]`"),
        "{}",
        printed.stdout
    );
}

/// Imports come before everything else of a module.
fn core_module_with_import(answer: &str, import: &str) -> Vec<u8> {
    let size = answer.len();
    let data = crate::guests::literal(answer.as_bytes());
    let text = format!(
        r#"(module {import}
  (memory (export "memory") 3)
  (data (i32.const 1024) "{data}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{length}")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "process") (param i32 i32) (result i32) unreachable))"#,
        length = crate::guests::literal(&(size as u32).to_le_bytes()),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Traps unless there is one variable, and then keeps nothing.
pub fn wants_a_variable() -> Vec<u8> {
    let answer = answer(&["value"], json!([]), &[]);
    let text = format!(
        r#"(module
  (import "{WASI}" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 3)
  (data (i32.const 1024) "{data}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{size}")
  (data (i32.const 128) "GMF1\40\00\20\00\40\00\00\00")
  (data (i32.const 256) "\00\00\00\00\80\00\00\00\40\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "process") (param i32 i32) (result i32)
    (drop (call $sizes (i32.const 512) (i32.const 516)))
    (if (i32.ne (i32.load (i32.const 512)) (i32.const 1)) (then unreachable))
    (i32.const 256)))"#,
        data = crate::guests::literal(answer.as_bytes()),
        size = crate::guests::literal(&(answer.len() as u32).to_le_bytes()),
    );
    wat::parse_str(&text).unwrap()
}

#[test]
fn a_pipeline_grants_environment_variables_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wants.wasm"), wants_a_variable()).unwrap();
    let pipeline = |grant: &str, expect: &str| {
        let text = format!(
            "name = \"p\"\n[source]\ntopics = [\"t\"]\n[[stage]]\nname = \"wants\"\nmodule = \"./wants.wasm\"\n\
             {grant}\n[[sink]]\nname = \"out\"\ntopic = \"o\"\n[[test]]\nname = \"t\"\n\
             input = [{{ value = \"a\" }}]\n{expect}\n"
        );
        let file = folder.path().join("p.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = gristmill(["test", "p.toml"]);
        command.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path()).env("REGION", "eu");
        support::Process::spawn(&mut command).wait()
    };
    let granted = pipeline("grant = { env = [\"REGION\"] }", "expect = { out = [] }");
    assert_eq!(granted.code, Some(0), "{}{}", granted.stdout, granted.stderr);
    let closed = pipeline("", "expect_stop = \"unreachable\"");
    assert_eq!(closed.code, Some(0), "{}{}", closed.stdout, closed.stderr);
    let unset = pipeline("grant = { env = [\"NO-SUCH\"] }", "");
    assert_eq!(unset.code, Some(2), "{}", unset.stderr);
    assert!(
        unset.stderr.contains("p.toml:7:18: error: `NO-SUCH` is not the name"),
        "{}",
        unset.stderr
    );
    succeed(["stage", "--help"]);
}
