use std::io::Write;
use std::process::Stdio;

use crate::support::{self, Finished, gristmill, succeed};

const RECORDS: &str = r#"{"order_id":1,"city":"Chicago"}
not json at all
{"order_id":"two","city":"Chicago"}
{"order_id":4,"city":"chicago"}
{"order_id":5,"city":"Reno"}
"#;

/// Runs a pipeline over [`RECORDS`] with the given `on_failure`; `then` sees the broker afterwards.
fn run(on_failure: &str, then: impl FnOnce(&Finished, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, address) = (folder.path().join("data"), support::free_address());
    let broker = support::broker(&data_dir, &address);
    for topic in ["orders", "chicago-orders", "rejected"] {
        succeed(["topic", "create", topic, "--bootstrap", &address]);
    }
    produce(&address, RECORDS);
    let pipeline = folder.path().join("chicago.toml");
    std::fs::write(&pipeline, text(on_failure, &address)).unwrap();
    let arguments = ["run", pipeline.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()];
    let finished = support::run(arguments);
    then(&finished, &address);
    support::stop(broker);
}

fn produce(address: &str, lines: &str) {
    let mut command = gristmill(["topic", "produce", "orders", "--bootstrap", address]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn consume(address: &str, topic: &str) -> String {
    succeed([
        "topic",
        "consume",
        topic,
        "--from-beginning",
        "--exit-at-end",
        "--bootstrap",
        address,
    ])
    .stdout
}

fn text(on_failure: &str, address: &str) -> String {
    let dead_letter = match on_failure {
        "dead-letter" => "[dead_letter]\ntopic = \"rejected\"",
        _ => "",
    };
    format!(
        r#"
name = "chicago"
[source]
topics = ["orders"]
brokers = "{address}"
trigger = "available-now"
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "{on_failure}"
with = {{ schema = "order_id long, city string" }}
[[stage]]
name = "only-chicago"
module = "filter"
with = {{ column = "city", equals = "Chicago", ignore_case = true }}
[[sink]]
name = "out"
topic = "chicago-orders"
value = "value"
{dead_letter}
"#
    )
}

const CHICAGO: &str =
    "{\"order_id\":1,\"city\":\"Chicago\"}\n{\"order_id\":4,\"city\":\"chicago\"}\n";

#[test]
fn skip_counts_bad_records_and_goes_on() {
    run("skip", |finished, address| {
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(consume(address, "chicago-orders"), CHICAGO);
    });
}

#[test]
fn dead_letters_keep_the_original_bytes() {
    run("dead-letter", |finished, address| {
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(consume(address, "chicago-orders"), CHICAGO);
        let letters = "not json at all\n{\"order_id\":\"two\",\"city\":\"Chicago\"}\n";
        assert_eq!(consume(address, "rejected"), letters);
    });
}

#[test]
fn stop_names_the_record_and_the_mend() {
    run("stop", |finished, _| {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        for said in ["stage `parse`", "orders-0 offset 1", "on_failure = \"skip\""] {
            assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
        }
    });
}
