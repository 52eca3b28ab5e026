//! From nothing to a stage in a pipeline, in each language: `gristmill stage new`, `build`, `test`, then a pipeline.
//!
//! A language whose tool chain is not there is left out, unless `GRISTMILL_LANGUAGES` names it (as in the contract
//! test of the SDKs). Each language makes the kind that its line here names; `GRISTMILL_STAGE_KINDS=all`, as set by
//! `cargo xtask projects`, makes all three.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::support::{Finished, gristmill};

/// Languages that must be there: `all`, or names with commas between.
const REQUIRED_VARIABLE: &str = "GRISTMILL_LANGUAGES";
const KINDS_VARIABLE: &str = "GRISTMILL_STAGE_KINDS";
/// A folder of programs that comes before those of `PATH`.
const TOOLS_VARIABLE: &str = "GRISTMILL_TOOLS";

/// What all projects of these tests share, so that each crate and each module is compiled once.
fn shared() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stage-projects")
}

fn run(arguments: &[&str]) -> Finished {
    let mut command = gristmill(arguments);
    let tools = std::env::var_os(TOOLS_VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools.into_iter().chain(std::env::split_paths(&path));
    let path: OsString = std::env::join_paths(folders).unwrap();
    command.env("PATH", path).env("XDG_DATA_HOME", shared().join("data"));
    command.env("CARGO_TARGET_DIR", shared().join("cargo"));
    // Flags of the build that runs these tests are not those of a stage.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Not by `Process`: a build may take longer than what counts as hung there.
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn succeed(arguments: &[&str]) -> Finished {
    let finished = run(arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}\n{}\n{}", finished.stdout, finished.stderr);
    finished
}

fn is_required(language: &str) -> bool {
    let sdk = match language {
        "typescript" => "javascript",
        language => language,
    };
    let required = std::env::var(REQUIRED_VARIABLE).unwrap_or_default();
    required.split(',').any(|name| name == "all" || name == sdk)
}

/// Makes, builds and tests a project of each kind that is asked for, and runs it in a pipeline.
fn project(language: &str, kind: &str) {
    let kinds = match std::env::var(KINDS_VARIABLE) {
        Ok(all) if all == "all" => vec!["filter", "map", "flatten"],
        _ => vec![kind],
    };
    for kind in kinds {
        let began = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        if !one_project(folder.path(), language, kind) {
            return;
        }
        eprintln!("{language}, {kind}: from nothing to a pipeline in {:.1?}", began.elapsed());
    }
}

/// False: the tool chain is not there.
fn one_project(folder: &Path, language: &str, kind: &str) -> bool {
    let project = folder.join("my-stage");
    let project = project.to_str().unwrap();
    succeed(&["stage", "new", "my-stage", "--lang", language, "--kind", kind, "--dir", project]);
    let built = run(&["stage", "build", project]);
    if built.code == Some(2) && !is_required(language) {
        eprintln!("left out: {}", built.stderr);
        return false;
    }
    assert_eq!(built.code, Some(0), "{}\n{}", built.stdout, built.stderr);
    assert!(built.stderr.contains("$ "), "the command is not shown: {}", built.stderr);

    let tested = succeed(&["stage", "test", project, "--output", "json"]).stdout;
    let examples: Vec<Value> =
        tested.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!examples.is_empty() && examples.iter().all(|example| example["passed"] == true));

    let inspected = succeed(&["stage", "inspect", project, "--output", "json"]).stdout;
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["stage"]["name"], "my_stage", "{inspected}");
    let keys = inspected["stage"]["config"].as_array().unwrap();
    assert_eq!(keys.is_empty(), kind == "flatten", "{inspected}");
    assert!(
        keys.iter().all(|key| key["type"] == "string" && key["required"] == true),
        "{inspected}"
    );

    let file = folder.join("pipeline.toml");
    std::fs::write(&file, pipeline(kind)).unwrap();
    let piped = succeed(&["test", file.to_str().unwrap()]);
    assert!(piped.stdout.contains("1 test passed"), "{}", piped.stdout);
    true
}

fn pipeline(kind: &str) -> String {
    let (schema, with, input, expect) = match kind {
        "filter" => (
            "order_id long, city string",
            "city = \"Chicago\"",
            r#"'{"order_id":1,"city":"Chicago"}', '{"order_id":2,"city":"Reno"}', '{"order_id":3}'"#,
            "{ order_id = 1 }",
        ),
        "map" => (
            "order_id long, price double, quantity int",
            "currency = \"USD\"",
            r#"'{"order_id":9007199254740993,"price":2.5,"quantity":4}'"#,
            "{ total = 10.0, label = \"order 9007199254740993 in USD\" }",
        ),
        _ => (
            "order_id long, items array<struct<item_id long, name string>>",
            "",
            r#"'{"order_id":7,"items":[{"item_id":1,"name":"pipe"},{"item_id":2}]}'"#,
            "{ order_id = 7, item_id = 1, name = \"pipe\" }, { order_id = 7, item_id = 2 }",
        ),
    };
    let input: Vec<String> = input
        .split(", '")
        .map(|value| format!("{{ value = '{} }}", value.trim_start_matches('\'')))
        .collect();
    format!(
        r#"
name = "mine"
[source]
topics = ["orders"]
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "{schema}" }}
[[stage]]
name = "mine"
module = "my-stage/stage.wasm"
with = {{ {with} }}
limits = {{ memory = "128MiB" }}
[[sink]]
name = "out"
topic = "made"
[[test]]
name = "goes through"
input = [{input}]
expect = {{ out = [{expect}] }}
"#,
        input = input.join(", "),
    )
}

#[test]
fn a_project_in_rust_goes_from_nothing_to_a_pipeline() {
    project("rust", "filter");
}

#[test]
fn a_project_in_c_goes_from_nothing_to_a_pipeline() {
    project("c", "map");
}

#[test]
fn a_project_in_cpp_goes_from_nothing_to_a_pipeline() {
    project("cpp", "flatten");
}

#[test]
fn a_project_in_go_goes_from_nothing_to_a_pipeline() {
    project("go", "filter");
}

#[test]
fn a_project_in_typescript_goes_from_nothing_to_a_pipeline() {
    project("typescript", "map");
}

/// The tool chain is that of TypeScript: among all kinds only.
#[test]
fn a_project_in_javascript_has_its_files() {
    if std::env::var(KINDS_VARIABLE).is_ok_and(|all| all == "all") {
        return project("javascript", "filter");
    }
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("my-stage");
    let made = ["stage", "new", "my-stage", "--lang", "js", "--dir", project.to_str().unwrap()];
    succeed(&made);
    let stage = std::fs::read_to_string(project.join("stage.js")).unwrap();
    assert!(stage.contains("my_stage"), "{stage}");
}

#[test]
fn a_project_in_python_goes_from_nothing_to_a_pipeline() {
    project("python", "map");
}

#[test]
fn a_project_in_zig_goes_from_nothing_to_a_pipeline() {
    project("zig", "flatten");
}

#[test]
fn a_project_in_assemblyscript_goes_from_nothing_to_a_pipeline() {
    project("assemblyscript", "flatten");
}

#[test]
fn a_project_in_kotlin_goes_from_nothing_to_a_pipeline() {
    project("kotlin", "map");
}
