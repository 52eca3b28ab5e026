//! Clusters other than the built-in broker on the page: of a pipeline's file, and of the user's environments.

use serde_json::{Value, json};

use crate::site::Site;
use crate::support::{self, Process, free_address, gristmill, wait_for};

/// A broker that the page's own process does not know but by its address.
struct Elsewhere {
    _process: Process,
    address: String,
    _folder: tempfile::TempDir,
}

impl Elsewhere {
    fn start() -> Elsewhere {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let process = support::broker(folder.path(), &address);
        Elsewhere { _process: process, address, _folder: folder }
    }
}

#[test]
fn clusters_of_the_users_environments_are_chosen_looked_at_and_changed() {
    let elsewhere = Elsewhere::start();
    let folder = tempfile::tempdir().unwrap();
    let profiles = folder.path().join("gristmill/profiles.toml");
    std::fs::create_dir_all(profiles.parent().unwrap()).unwrap();
    let text = format!(
        r#"environment = "cloud"
[environments.cloud]
cluster = "prod"
[environments.cloud.clusters.prod]
bootstrap = "{}"
[environments.cloud.clusters.closed]
bootstrap = "127.0.0.1:1"
properties = {{ "security.protocol" = "SASL_SSL", "sasl.mechanisms" = "PLAIN", "sasl.password" = "xyzzy" }}
"#,
        elsewhere.address
    );
    std::fs::write(&profiles, text).unwrap();
    let (page, broker) = (free_address(), free_address());
    let data = folder.path().join("data");
    let flags =
        ["broker", "--data-dir", data.to_str().unwrap(), "--listen", &broker, "--http", &page];
    let mut process = Process::spawn(gristmill(flags).env("XDG_CONFIG_HOME", folder.path()));
    process.wait_until_said("the page is at");
    let site = Site::new(&page);

    let known = site.get("/api/v1/clusters").json();
    let prod = json!({
        "name": "cloud:prod", "bootstrap": elsewhere.address, "built_in": false, "environment": "cloud",
    });
    assert!(known.as_array().unwrap().contains(&prod), "{known}");
    let shown = site.get("/clusters").text();
    assert!(shown.contains("cloud:prod") && !shown.contains("xyzzy"), "{shown}");
    assert!(!known.to_string().contains("xyzzy"), "{known}");

    let topics = "/api/v1/clusters/cloud:prod/topics";
    let new = json!({ "name": "orders", "partitions": 2 });
    assert_eq!(site.send("POST", topics, &new).status, 201);
    assert!(site.get("/clusters/cloud:prod/topics").text().contains("orders"));
    assert!(!site.get("/clusters/local/topics").text().contains("orders"), "another cluster");
    let message = json!({ "partition": 1, "value": "first" });
    assert_eq!(site.send("POST", &format!("{topics}/orders/messages"), &message).status, 201);
    assert!(site.get("/clusters/cloud:prod/topics/orders/messages").text().contains("first"));

    let settings = format!("{topics}/orders/settings");
    let change = json!({ "retention.ms": "3600000" });
    assert_eq!(site.send("PUT", &settings, &change).status, 200);
    let refused = site.send("PUT", &settings, &json!({ "retention.ms": "soon" }));
    let words = refused.json()["error"].as_str().unwrap().to_string();
    assert!(refused.status == 400 && words.contains("keeps its settings"), "{words}");
    assert!(words.contains("retention.ms"), "the cluster's own words: {words}");

    let closed = site.get("/clusters/cloud:closed/topics");
    assert_eq!(closed.status, 409, "{}", closed.text());
    assert!(closed.text().contains("api-key store"), "{}", closed.text());
    assert_eq!(site.get("/clusters/cloud:none/topics").status, 404);
    std::fs::write(&profiles, "environment = 1").unwrap();
    let broken = site.get("/clusters");
    assert!(broken.status == 200 && broken.text().contains("profiles.toml"), "{}", broken.text());
}

#[test]
fn groups_lag_and_sizes_of_another_cluster_are_shown_and_a_pipeline_shows_before_it_is_open() {
    let elsewhere = Elsewhere::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.toml");
    let text = format!(
        "name = \"copy\"\n[source]\ntopics = [\"in\"]\nbrokers = \"{0}\"\n[[sink]]\nname = \"out\"\ntopic = \"out\"\n\
         partitions = 1\n",
        elsewhere.address
    );
    std::fs::write(&file, &text).unwrap();
    support::succeed(["topic", "create", "in", "--bootstrap", &elsewhere.address]);
    let page = free_address();
    let run = |file: &str, page: &str, data: &str| {
        let data = folder.path().join(data);
        let flags = ["run", file, "--data-dir", data.to_str().unwrap(), "--http", page];
        Process::spawn(&mut gristmill(flags))
    };
    let mut process = run(file.to_str().unwrap(), &page, "data");
    process.wait_until_said("the page is at");
    let site = Site::new(&page);
    wait_for("readiness", || (site.get("/health/ready").status == 200).then_some(()));
    let topic = format!("/api/v1/clusters/{}/topics/in", elsewhere.address);
    let produce = || {
        let sent = site.send("POST", &format!("{topic}/messages"), &json!({ "value": "x" }));
        assert_eq!(sent.status, 201, "{}", sent.text());
    };
    produce();
    let shown = || site.get(&topic.replacen("/api/v1", "", 1)).text();
    wait_for("the pipeline's group without lag", || {
        let text = shown();
        (text.contains("gristmill-copy") && text.contains("<td class=\"number\">0</td></tr>"))
            .then_some(())
    });
    let command = |what: &str| {
        site.send("POST", &format!("/api/v1/pipelines/copy/{what}"), &Value::Null).status
    };
    assert_eq!(command("pause"), 200);
    wait_for("the pause", || {
        (site.get("/api/v1/pipelines/copy").json()["state"] == "paused").then_some(())
    });
    produce();
    produce();
    wait_for("a lag of two", || shown().contains("<td class=\"number\">2</td></tr>").then_some(()));
    assert!(shown().contains("<dt>Size</dt>"), "the cluster tells sizes: {}", shown());
    assert!(shown().contains("Stable"), "{}", shown());

    // Nobody listens there: what cannot be opened yet is shown as starting.
    let (second_page, nowhere) = (free_address(), free_address());
    let second = folder.path().join("nowhere.toml");
    std::fs::write(&second, text.replace(&elsewhere.address, &nowhere)).unwrap();
    let mut starting = run(second.to_str().unwrap(), &second_page, "second");
    starting.wait_until_said("the page is at");
    let second_site = Site::new(&second_page);
    assert_eq!(second_site.get("/api/v1/pipelines/copy").json()["state"], "starting");
    assert_eq!(second_site.get("/health/ready").status, 503);
    assert!(second_site.get("/pipelines").text().contains("starting"));
    assert!(second_site.get("/").text().contains("has not answered yet"), "it is not waited for");
    starting.kill();
}
