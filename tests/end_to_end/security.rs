use serde_json::Value;

use crate::support;

fn api_key(arguments: &[&str]) -> support::Finished {
    support::run(["--output", "json", "api-key"].iter().chain(arguments))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn api_keys_are_made_listed_and_deleted_in_a_folder_that_no_broker_uses() {
    let folder = tempfile::tempdir().unwrap();
    let place = ["--data-dir", folder.path().to_str().unwrap()];
    let with = |arguments: &[&str]| api_key(&[arguments, place.as_slice()].concat());

    let made = with(&["create", "--resource", "CLUSTER"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let made = &lines(&made.stdout)[0];
    let key = made["api_key"].as_str().unwrap();
    let secret = made["api_secret"].as_str().unwrap();
    let listed = with(&["list"]);
    assert_eq!(lines(&listed.stdout)[0]["api_key"], key);
    assert!(!listed.stdout.contains(secret), "the secret is shown once");

    assert_eq!(with(&["delete", key]).code, Some(0));
    assert_eq!(with(&["list"]).stdout, "");
    let again = with(&["delete", key]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains(&format!("there is no API key `{key}`")), "{}", again.stderr);
}

#[test]
fn a_running_broker_makes_and_deletes_keys_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let broker = support::broker(folder.path(), &address);
    let place = ["--bootstrap", address.as_str()];
    let with = |arguments: &[&str]| api_key(&[arguments, place.as_slice()].concat());

    let made = with(&["create", "--resource", "CLUSTER"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = lines(&made.stdout)[0]["api_key"].as_str().unwrap().to_owned();
    let listed = lines(&with(&["list"]).stdout);
    assert_eq!(listed[0]["api_key"], key);
    assert_eq!(listed[0]["scram"], serde_json::json!(["SCRAM-SHA-256", "SCRAM-SHA-512"]));

    let in_use = api_key(&["list", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(in_use.code, Some(2));
    assert!(in_use.stderr.contains("--bootstrap"), "{}", in_use.stderr);

    assert_eq!(with(&["delete", &key]).code, Some(0));
    assert_eq!(with(&["delete", &key]).code, Some(2));
    support::stop(broker);
    let acls = std::fs::read_to_string(folder.path().join("broker/acls.json")).unwrap();
    assert!(!acls.contains(&key), "its rights went with it");
}

/// Pipelines have no API key: they reach their own broker over loopback.
#[test]
fn a_pipeline_runs_beside_a_listener_that_wants_keys() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("secured.toml");
    let text = r#"
name = "secured"
[source]
topics = ["orders"]
trigger = "available-now"
[[sink]]
name = "lake"
delta = "./lake/raw"
"#;
    std::fs::write(&pipeline, text).unwrap();
    let data = folder.path().join("data");
    let finished = support::succeed([
        "run",
        pipeline.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
        "--create-topics",
        "--listen",
        "SASL_SSL://127.0.0.1:0",
    ]);
    assert!(finished.stderr.contains("development-ca.pem"), "{}", finished.stderr);
    assert!(data.join("broker/tls/development-ca.pem").exists());
}
