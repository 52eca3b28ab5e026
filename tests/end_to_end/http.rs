//! The page and its API, of the real process: topics, records, pipelines, metrics, and who is turned away.

use std::path::Path;

use serde_json::{Value, json};

use crate::site::{self, Answer, Site};
use crate::support::{self, Process, gristmill, wait_for};

const TOPICS: &str = "/api/v1/clusters/local/topics";

/// A broker alone with its page.
struct Broker {
    _process: Process,
    site: Site,
    _folder: tempfile::TempDir,
}

impl Broker {
    fn start(arguments: &[&str]) -> Broker {
        let folder = tempfile::tempdir().unwrap();
        let (broker, page) = (support::free_address(), support::free_address());
        let data = folder.path().to_str().unwrap();
        let mut all = vec!["broker", "--data-dir", data, "--http", &page];
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", &broker]);
        }
        all.extend(arguments);
        let mut process = Process::spawn(&mut gristmill(all));
        process.wait_until_said("the page is at");
        Broker { _process: process, site: Site::new(&page), _folder: folder }
    }

    fn topic(&self, name: &str, partitions: i32) {
        let made =
            self.site.send("POST", TOPICS, &json!({ "name": name, "partitions": partitions }));
        assert_eq!(made.status, 201, "{}", made.text());
    }

    fn produce(&self, topic: &str, message: &Value) -> Answer {
        self.site.send("POST", &format!("{TOPICS}/{topic}/messages"), message)
    }

    fn messages(&self, topic: &str, query: &str) -> Value {
        let answer = self.site.get(&format!("{TOPICS}/{topic}/messages{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

fn offsets(messages: &Value) -> Vec<(i64, i64)> {
    let messages = messages["messages"].as_array().unwrap();
    let place = |it: &Value| (it["partition"].as_i64().unwrap(), it["offset"].as_i64().unwrap());
    messages.iter().map(place).collect()
}

#[test]
fn topics_are_made_described_changed_and_deleted() {
    let broker = Broker::start(&[]);
    let site = &broker.site;
    let new = json!({ "name": "orders", "partitions": 3, "retention_ms": 86_400_000 });
    assert_eq!(site.send("POST", TOPICS, &new).status, 201);
    let again = site.send("POST", TOPICS, &new);
    assert_eq!(
        (again.status, again.json()["error"].as_str()),
        (400, Some("topic `orders` exists already"))
    );
    for bad in [
        json!({ "name": "a b" }),
        json!({ "name": "a", "partitions": 0 }),
        json!({ "nome": "a" }),
        json!([]),
    ] {
        assert_eq!(site.send("POST", TOPICS, &bad).status, 400, "{bad}");
    }

    let described = site.get(&format!("{TOPICS}/orders")).json();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(
        described["settings"]["retention.ms"],
        json!({ "value": "86400000", "is_default": false })
    );

    let settings = format!("{TOPICS}/orders/settings");
    let change = json!({ "segment.bytes": "1048576" });
    assert_eq!(site.send("PUT", &settings, &change).status, 200);
    let bad = site.send("PUT", &settings, &json!({ "retention.ms": "soon" }));
    assert_eq!(bad.status, 400, "{}", bad.text());
    assert_eq!(site.send("PUT", &settings, &json!({ "retention.ms": null })).status, 200);
    let settings = site.get(&format!("{TOPICS}/orders")).json()["settings"].clone();
    assert_eq!(settings["segment.bytes"]["value"], "1048576", "the others stay");
    assert_eq!(settings["retention.ms"]["is_default"], true);

    assert_eq!(site.send("DELETE", &format!("{TOPICS}/orders"), &Value::Null).status, 200);
    assert_eq!(site.get(&format!("{TOPICS}/orders")).status, 404);
    let listed = site.get(TOPICS).json();
    assert!(listed.as_array().unwrap().iter().all(|topic| topic["name"] != "orders"), "{listed}");
}

#[test]
fn records_are_produced_and_found_again_by_place_time_key_and_text() {
    let broker = Broker::start(&[]);
    broker.topic("t", 2);
    for number in 0..120 {
        let message = json!({
            "partition": number % 2, "key": format!("k{}", number % 10),
            "value": format!("{{\"n\": {number}}}"), "json": true, "headers": { "trace": format!("T-{number}") },
        });
        let stored = broker.produce("t", &message);
        assert_eq!(stored.status, 201, "{}", stored.text());
        assert_eq!(stored.json(), json!({ "partition": number % 2, "offset": number / 2 }));
    }

    let newest = broker.messages("t", "");
    assert_eq!(offsets(&newest).len(), 50);
    assert!(offsets(&newest).contains(&(1, 59)) && offsets(&newest).contains(&(0, 59)));
    let before = newest["before"].as_str().unwrap();
    let older = broker.messages("t", &format!("?before={before}&limit=500"));
    let mut all = [offsets(&newest), offsets(&older)].concat();
    all.sort_unstable();
    let expected: Vec<_> =
        (0..2).flat_map(|partition| (0..60).map(move |offset| (partition, offset))).collect();
    assert_eq!(all, expected, "two pages hold every record once");
    assert_eq!(older["is_complete"], true);

    let at = broker.messages("t", "?partition=1&offset=30&limit=2");
    assert_eq!(offsets(&at), [(1, 30), (1, 29)]);
    let newer = broker.messages("t", "?partition=1&after=1:31&limit=2");
    assert_eq!(offsets(&newer), [(1, 32), (1, 31)]);
    let by_key = broker.messages("t", "?key=k3");
    assert_eq!(offsets(&by_key).len(), 12);
    let by_text = broker.messages("t", "?text=t-77");
    assert_eq!(offsets(&by_text), [(1, 38)], "in a header, in letters of either case");
    assert_eq!(by_text["messages"][0]["value"]["text"], "{\"n\": 77}");
    let time = at["messages"][0]["timestamp_ms"].as_i64().unwrap();
    let by_time = broker.messages("t", &format!("?partition=1&time={time}&since={time}"));
    assert!(offsets(&by_time).contains(&(1, 30)), "{by_time}");
    assert!(
        broker.messages("t", "?since=2100-01-01T00:00:00Z")["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    for (query, why) in [
        ("?partition=7", "no partition 7"),
        ("?offset=3", "choose which"),
        ("?time=noon", "no time"),
        ("?partition=x", "no number"),
    ] {
        let answer = broker.site.get(&format!("{TOPICS}/t/messages{query}"));
        let error = answer.json()["error"].as_str().unwrap().to_string();
        assert!(answer.status == 400 && error.contains(why), "{query}: {error}");
    }
}

#[test]
fn a_value_that_is_no_json_is_refused_with_its_place() {
    let broker = Broker::start(&[]);
    broker.topic("t", 1);
    let refused = broker.produce("t", &json!({ "value": "{\n  \"a\": 1,\n  b\n}", "json": true }));
    let answer = refused.json();
    assert_eq!(
        (refused.status, &answer["line"], &answer["column"]),
        (400, &json!(3), &json!(3)),
        "{answer}"
    );
    assert_eq!(broker.produce("t", &json!({ "value": "{", "json": false })).status, 201);
    assert_eq!(broker.produce("t", &json!({ "key": "k", "value": null })).status, 201);
    assert_eq!(broker.produce("t", &json!({ "partition": 9, "value": "x" })).status, 400);
    assert_eq!(broker.produce("none", &json!({ "value": "x" })).status, 404);
    assert_eq!(broker.messages("t", "")["messages"][0]["value"], Value::Null, "a tombstone");
}

#[test]
fn what_records_hold_is_never_markup_and_large_values_are_cut() {
    let broker = Broker::start(&[]);
    broker.topic("t", 1);
    let script = "<script>window.broken = 1</script><img src=x onerror=alert(1)>";
    let message = json!({ "key": script, "value": script, "headers": { script: script } });
    assert_eq!(broker.produce("t", &message).status, 201);
    let large = "x".repeat(1_000_000);
    assert_eq!(broker.produce("t", &json!({ "value": large })).status, 201);

    for path in ["/clusters/local/topics/t/messages", "/clusters/local/topics/t/messages/0/0"] {
        let page = broker.site.get(path);
        let text = page.text();
        assert!(page.status == 200 && text.contains("&lt;script&gt;"), "{path}: {text}");
        assert!(!text.contains("<script>") && !text.contains("<img"), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(text.len() < 100_000, "{path} has {} bytes", text.len());
    }
    let listed = broker.messages("t", "");
    assert_eq!(listed["messages"][0]["value"]["size"], 1_000_000);
    assert!(listed["messages"][0]["value"]["text"].as_str().unwrap().len() < 20_000);
    let whole = broker.site.get(&format!("{TOPICS}/t/messages/0/1/value"));
    assert_eq!(whole.text(), large);
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    assert!(whole.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(broker.site.get(&format!("{TOPICS}/t/messages/0/99")).status, 404);
}

#[test]
fn a_live_tail_shows_what_comes() {
    let broker = Broker::start(&[]);
    broker.topic("t", 1);
    let site = broker.site.clone();
    let tail = std::thread::spawn(move || {
        site.event("/live/clusters/local/topics/t/messages?text=wanted", "row")
    });
    // The tail begins at the end that it finds: records are sent until it has found one.
    wait_for("a row", || {
        assert_eq!(broker.produce("t", &json!({ "value": "other" })).status, 201);
        assert_eq!(broker.produce("t", &json!({ "value": "wanted <b>" })).status, 201);
        tail.is_finished().then_some(())
    });
    let row = tail.join().unwrap()["row"].as_str().unwrap().to_string();
    assert!(row.contains("wanted &lt;b&gt;"), "{row}");
}

#[test]
fn other_sites_are_turned_away() {
    let broker = Broker::start(&[]);
    let site = &broker.site;
    let json = ("content-type", "application/json");
    let topic = Some("{\"name\":\"t\"}");
    assert_eq!(site.ask("GET", "/", &[("host", "evil.example")], None).status, 421);
    assert_eq!(
        site.ask("POST", TOPICS, &[json, ("origin", "http://evil.example")], topic).status,
        403
    );
    assert_eq!(
        site.ask("POST", TOPICS, &[json, ("sec-fetch-site", "cross-site")], topic).status,
        403
    );
    assert_eq!(site.ask("POST", TOPICS, &[("content-type", "text/plain")], topic).status, 415);
    assert_eq!(site.ask("GET", TOPICS, &[("sec-fetch-site", "cross-site")], None).status, 403);
    let topics = site.get(TOPICS).json();
    let made = topics.as_array().unwrap().iter().any(|topic| topic["internal"] == false);
    assert!(!made, "nothing was made but what the broker keeps for itself: {topics}");
    let own = format!("http://{}", site.address);
    assert_eq!(site.ask("POST", TOPICS, &[json, ("origin", &own)], topic).status, 201);
    let long = "x".repeat(5 << 20);
    let refused = site.send("POST", &format!("{TOPICS}/t/messages"), &json!({ "value": long }));
    assert_eq!(refused.status, 413);
}

#[test]
fn where_the_broker_wants_keys_the_page_does_and_shows_what_the_key_may_see() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, page) = (support::free_address(), support::free_address());
    let data = folder.path().to_str().unwrap();
    let (plain, listen) = (support::free_address(), format!("SASL_SSL://{broker}"));
    let all = key(data, "cluster");
    let some = key(data, "none");
    let flags =
        ["broker", "--data-dir", data, "--listen", &plain, "--listen", &listen, "--http", &page];
    let mut process = Process::spawn(&mut gristmill(flags));
    process.wait_until_said("the page is at");
    let site = Site::new(&page);
    for path in ["/", TOPICS, "/metrics", "/pipelines", "/live/overview"] {
        let turned_away = site.get(path);
        assert_eq!(turned_away.status, 401, "{path}");
        assert!(turned_away.header("www-authenticate").unwrap().starts_with("Basic"));
    }
    assert_eq!(site.get("/health/live").status, 200);
    assert_eq!(with_key(&site, &all.0, "wrong").get("/").status, 401);

    let master = with_key(&site, &all.0, &all.1);
    for name in ["seen", "hidden"] {
        assert_eq!(master.send("POST", TOPICS, &json!({ "name": name })).status, 201);
    }
    assert_eq!(master.get("/metrics").status, 200);
    support::python(ALLOW, &[&plain, &some.0, "seen"]);
    let guest = with_key(&site, &some.0, &some.1);
    let names: Vec<_> =
        guest.get(TOPICS).json().as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["seen"]);
    assert_eq!(
        guest.send("POST", &format!("{TOPICS}/seen/messages"), &json!({ "value": "x" })).status,
        201
    );
    // Once it was 502, as if the broker were away.
    let hidden = guest.send("POST", &format!("{TOPICS}/hidden/messages"), &json!({ "value": "x" }));
    assert_eq!(hidden.status, 403, "{}", hidden.text());
    for path in [&format!("{TOPICS}/hidden"), "/clusters/local/topics/hidden/messages"] {
        let hidden = guest.get(path);
        assert_eq!(hidden.status, 403, "{path}: {}", hidden.text());
        assert!(hidden.text().contains("does not let this user see topic `hidden`"));
    }
    let mine = guest.send("POST", TOPICS, &json!({ "name": "mine" }));
    assert_eq!(mine.status, 403, "{}", mine.text());
    assert_eq!(guest.get("/metrics").status, 403);
    for secret in [&all.1, &some.1] {
        assert!(!master.get("/").text().contains(secret.as_str()) && !process.has_said(secret));
    }
    support::stop(process);
}

/// Lets a user do everything with one topic.
const ALLOW: &str = r#"
import sys
from confluent_kafka.admin import (AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType,
                                   ResourceType)
acl = AclBinding(ResourceType.TOPIC, sys.argv[3], ResourcePatternType.LITERAL, "User:" + sys.argv[2], "*",
                 AclOperation.ALL, AclPermissionType.ALLOW)
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for done in admin.create_acls([acl]).values():
    done.result(30)
"#;

fn key(data: &str, rights: &str) -> (String, String) {
    let flags = ["--output", "json", "api-key", "create", "--data-dir", data, "--resource", rights];
    let made = support::succeed(flags).stdout;
    let made: Value = serde_json::from_str(made.trim()).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_string();
    (text("api_key"), text("api_secret"))
}

fn with_key(site: &Site, key: &str, secret: &str) -> Site {
    let both = site::base64(format!("{key}:{secret}").as_bytes());
    let headers = vec![("authorization".to_string(), format!("Basic {both}"))];
    Site { headers, ..site.clone() }
}

#[test]
fn an_address_that_is_taken_or_open_to_all_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().to_str().unwrap();
    let run = |http: &str, more: &[&str]| {
        let flags = ["broker", "--data-dir", data, "--listen", "127.0.0.1:0", "--http", http];
        support::run([&flags[..], more].concat())
    };
    let finished = run(&address, &[]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("choose another address with --http"), "{}", finished.stderr);
    let finished = run("0.0.0.0:0", &[]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("--allow-unauthenticated-network"), "{}", finished.stderr);
    assert!(!Path::new(data).join("broker").exists(), "nothing was begun");
    assert_eq!(run("8080", &[]).code, Some(2));
}

const PIPELINE: &str = r#"
name = "pass"
[source]
topics = ["in"]
[[stage]]
name = "chicago"
module = "filter"
with = { column = "offset", not_equals = 1 }
[[sink]]
name = "out"
topic = "out"
"#;

#[test]
fn a_pipeline_is_watched_measured_paused_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass.toml");
    std::fs::write(&file, PIPELINE).unwrap();
    let (broker, page) = (support::free_address(), support::free_address());
    let data = folder.path().join("data");
    let mut process = Process::spawn(&mut gristmill([
        "run",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
        "--create-topics",
        "--listen",
        &broker,
        "--http",
        &page,
    ]));
    process.wait_until_said("the page is at");
    let site = Site::new(&page);
    wait_for("readiness", || (site.get("/health/ready").status == 200).then_some(()));
    let produce = |value: &str| {
        let path = format!("{TOPICS}/in/messages");
        assert_eq!(site.send("POST", &path, &json!({ "value": value })).status, 201);
    };
    let pipeline = || site.get("/api/v1/pipelines/pass").json();
    let committed = |rows: u64| {
        wait_for("rows in the sink", || {
            (pipeline()["snapshot"]["sinks"][0]["rows_committed"] == rows).then_some(())
        });
    };
    for city in ["Chicago", "Reno", "Chicago"] {
        produce(city);
    }
    committed(2);
    let shown = pipeline();
    assert_eq!((&shown["state"], &shown["generation"]), (&json!("running"), &json!(1)));
    let stage = &shown["snapshot"]["stages"][0];
    assert_eq!(
        (&stage["name"], &stage["rows_in"], &stage["rows_filtered"]),
        (&json!("chicago"), &json!(3), &json!(1))
    );
    assert!(
        stage["memory_bytes"].as_u64().unwrap() > 0 && stage["busy_ms"].as_f64().unwrap() > 0.0,
        "{stage}"
    );
    assert_eq!(site.get("/api/v1/pipelines").json()[0]["name"], "pass");
    assert_eq!(site.get("/api/v1/pipelines/none").status, 404);
    assert_eq!(site.get("/health/ready").status, 200);

    // The lag is told by the next look at the source.
    wait_for("no lag", || (pipeline()["snapshot"]["lag"] == 0).then_some(()));
    let metrics = site.get("/metrics").text();
    for line in [
        "gristmill_pipeline_records_total{pipeline=\"pass\"} 3",
        "gristmill_pipeline_state{pipeline=\"pass\",state=\"running\"} 1",
        "gristmill_pipeline_reloads_refused_total{pipeline=\"pass\"} 0",
        "gristmill_pipeline_lag_records{pipeline=\"pass\"} 0",
        "gristmill_stage_rows_filtered_total{pipeline=\"pass\",stage=\"chicago\"} 1",
        "gristmill_sink_rows_committed_total{pipeline=\"pass\",sink=\"out\"} 2",
        "gristmill_topic_end_offset{topic=\"in\",partition=\"0\"} 3",
        "gristmill_group_lag_records{group=\"gristmill-pass\",topic=\"in\",partition=\"0\"} 0",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }

    let command =
        |what: &str| site.send("POST", &format!("/api/v1/pipelines/pass/{what}"), &Value::Null);
    assert_eq!(command("pause").status, 200);
    wait_for("the pause", || (pipeline()["state"] == "paused").then_some(()));
    produce("Chicago, later");
    assert_eq!(pipeline()["snapshot"]["sinks"][0]["rows_committed"], 2);
    assert_eq!(command("resume").status, 200);
    committed(3);

    std::fs::write(&file, PIPELINE.replace("module", "modul")).unwrap();
    wait_for("a refused reload in the metrics", || {
        let counter = "gristmill_pipeline_reloads_refused_total{pipeline=\"pass\"} ";
        let metrics = site.get("/metrics").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(counter));
        line.is_some_and(|count| count != "0").then_some(())
    });

    for path in
        ["/", "/pipelines", "/pipelines/pass", "/topics", "/tables", "/clusters/local/topics/in"]
    {
        let answer = site.get(path);
        assert!([200, 303].contains(&answer.status), "{path}: {}", answer.text());
    }
    let values = site.event("/live/pipelines/pass", "values");
    assert_eq!(values["records"], "4", "{values}");
    process.interrupt();
    assert_eq!(process.wait().code, Some(0));
}
