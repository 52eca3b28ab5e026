use std::path::Path;

use crate::support::{self, Finished, succeed};

const GOOD: &str = r#"
name = "bad-input"
[source]
topics = ["orders"]
trigger = "available-now"
[[stage]]
name = "parse"
module = "parse-json"
with = { schema = "order_id long, city string, line_items array<struct<order_item_id long>>" }
[[stage]]
name = "flatten"
module = "flatten"
with = { explode = "line_items" }
[[sink]]
name = "lake"
delta = "./lake/items"
"#;

/// Runs [`GOOD`] with one text replaced, on a fresh data folder and a free port.
fn run_with(replace: &str, by: &str) -> (tempfile::TempDir, Finished) {
    let folder = tempfile::tempdir().unwrap();
    assert!(GOOD.contains(replace), "{replace:?} is not in the pipeline");
    let finished = run_text(folder.path(), &GOOD.replace(replace, by), &support::free_address());
    (folder, finished)
}

fn run_text(folder: &Path, text: &str, address: &str) -> Finished {
    let pipeline = folder.join("bad.toml");
    std::fs::write(&pipeline, text).unwrap();
    let data_dir = folder.join("data");
    let arguments = ["run", pipeline.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()];
    support::run(arguments.into_iter().chain(["--listen", address]))
}

/// Exit code 2, every one of `texts` on standard error, and no table begun.
fn refused((folder, finished): (tempfile::TempDir, Finished), texts: &[&str]) {
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    for text in texts {
        assert!(finished.stderr.contains(text), "{text:?} is not in\n{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    assert!(!folder.path().join("lake").exists(), "a table was begun");
}

#[test]
fn wrong_toml_is_shown_at_its_place() {
    refused(
        run_with("name = \"lake\"", "name = lake"),
        &["bad.toml:15:8: error:", "name = lake", "^"],
    );
}

#[test]
fn unknown_keys_get_a_suggestion_and_all_mistakes_are_told_at_once() {
    let text = GOOD.replace("trigger", "tigger").replace("\"flatten\"\nwith", "\"flaten\"\nwith");
    let folder = tempfile::tempdir().unwrap();
    let finished = run_text(folder.path(), &text, &support::free_address());
    refused(
        (folder, finished),
        &["did you mean `trigger`?", "did you mean `flatten`?", "2 mistakes"],
    );
}

#[test]
fn a_missing_module_says_where_it_was_looked_for() {
    refused(
        run_with("module = \"flatten\"", "module = \"./flatten.wasm\""),
        &["bad.toml:12:10: error:", "flatten.wasm"],
    );
    refused(run_with("module = \"flatten\"", "module = \"flaten\""), &["did you mean `flatten`?"]);
}

#[test]
fn a_module_that_is_no_stage_is_refused_by_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let text = GOOD.replace("module = \"flatten\"", "module = \"./other.wasm\"");
    std::fs::write(folder.path().join("other.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let finished = run_text(folder.path(), &text, &support::free_address());
    refused((folder, finished), &["bad.toml:12:10: error:", "does not export"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.wasm"), "MZ this is no module").unwrap();
    let finished = run_text(folder.path(), &text, &support::free_address());
    refused((folder, finished), &["not a WebAssembly module"]);
}

#[test]
fn an_edge_that_does_not_fit_is_refused_at_its_place() {
    refused(
        run_with("explode = \"line_items\"", "explode = \"items\""),
        &["bad.toml:13:10: error: stage `flatten`", "line_items"],
    );
    refused(
        run_with("delta = \"./lake/items\"", "delta = \"./lake/items\"\ncolumns = [\"cty\"]"),
        &["sink `lake`: no column `cty` arrives here", "`city`"],
    );
    refused(
        run_with("schema = \"order_id long", "schema = \"order_id lung"),
        &["bad.toml:9:10: error: stage `parse`", "lung"],
    );
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let broker = support::broker(&folder.path().join("broker"), &address);
    succeed(["topic", "create", "ordres", "--bootstrap", &address]);
    let text = GOOD.replace("[source]", &format!("[source]\nbrokers = \"{address}\""));
    let finished = run_text(folder.path(), &text, &support::free_address());
    support::stop(broker);
    refused((folder, finished), &["no topic `orders`", "ordres"]);
}

#[test]
fn a_topic_that_the_built_in_broker_lacks_is_told_with_both_ways_to_make_it() {
    let missing = run_with("trigger", "start = \"earliest\"\ntrigger");
    refused(
        missing,
        &["no topic `orders`", "it has none", "--create-topics", "topic create orders"],
    );
}

#[test]
fn a_broker_that_cannot_be_reached_is_named() {
    let nobody = support::free_address();
    refused(
        run_with("[source]", &format!("[source]\nbrokers = \"{nobody}\"")),
        &["cannot reach a Kafka broker", &nobody, "is it running, and does it speak PLAINTEXT?"],
    );
}

#[test]
fn a_port_in_use_and_a_folder_that_cannot_be_written_are_named_with_the_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let finished = run_text(folder.path(), GOOD, &address);
    refused((folder, finished), &[&address, "--listen"]);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file where the folder should be").unwrap();
    let finished = run_text(folder.path(), GOOD, &support::free_address());
    refused((folder, finished), &["data/broker", "--data-dir"]);
}

#[test]
fn a_listener_that_would_let_everybody_in_is_refused() {
    for listen in ["0.0.0.0:0", "SSL://0.0.0.0:0"] {
        let folder = tempfile::tempdir().unwrap();
        let finished = run_text(folder.path(), GOOD, listen);
        refused((folder, finished), &[listen, "SASL_SSL", "--allow-unauthenticated-network"]);
    }
}

#[test]
fn a_data_folder_that_another_broker_uses_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = support::broker(&folder.path().join("data"), &support::free_address());
    let finished = run_text(folder.path(), GOOD, &support::free_address());
    support::stop(broker);
    refused((folder, finished), &["data/broker", "--data-dir"]);
}

#[test]
fn a_sink_folder_that_holds_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, address) = (folder.path().join("data"), support::free_address());
    let broker = support::broker(&data_dir, &address);
    succeed(["topic", "create", "orders", "--bootstrap", &address]);
    support::stop(broker);
    std::fs::create_dir_all(folder.path().join("photos")).unwrap();
    std::fs::write(folder.path().join("photos/cat.jpg"), "meow").unwrap();
    let finished = run_text(folder.path(), &GOOD.replace("./lake/items", "./photos"), &address);
    refused((folder, finished), &["sink `lake`", "photos"]);
}
