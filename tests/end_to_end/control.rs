use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_broker::{BrokerConfig, Listener, Server, TopicConfigs};
use gristmill_cli::shipped::{SHIPPED, names};
use gristmill_connectors::admin::RecordProducer;
use gristmill_connectors::{Cluster, Process, open_to_reload};
use gristmill_engine::config::{self, LoadContext};
use gristmill_engine::control::{Control, RunState};
use gristmill_engine::plan::Plan;
use gristmill_engine::reload::{Change, Reloading, Reopen};
use gristmill_engine::run::{Connected, Run};
use gristmill_engine::shadow::Outcome;
use gristmill_engine::status::Snapshot;
use gristmill_host::{Host, HostConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::guests::{answer, core_module, picky, stamping};
use crate::support::{self, DEADLINE};

mod changes;

/// A broker and a pipeline in this process.
struct Live {
    folder: tempfile::TempDir,
    server: Server,
    control: Control,
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<Snapshot>>,
    producer: RecordProducer,
}

/// Watches nothing: what happens was asked for.
const PIPELINE: &str = r#"
name = "live"
watch = "off"
[source]
topics = ["in"]
[[stage]]
name = "parse"
module = "parse-json"
on_failure = "skip"
with = { schema = "n long" }
[[stage]]
name = "stamp"
module = "./stamp.wasm"
[[sink]]
name = "out"
topic = "out"
columns = ["n", "version"]
headers = "modules"
"#;

impl Live {
    async fn start(text: &str) -> Live {
        Live::start_with(text, |ends| ends).await
    }

    /// `ends`: what opens the pipeline's ends anew.
    async fn start_with(text: &str, ends: impl FnOnce(Arc<dyn Reopen>) -> Arc<dyn Reopen>) -> Live {
        let folder = tempfile::tempdir().unwrap();
        let listeners = vec![Listener::plaintext("127.0.0.1:0".parse().unwrap())];
        let data_dir = folder.path().join("data");
        let config = BrokerConfig { data_dir, listeners, ..BrokerConfig::default() };
        let server = Server::start(config).await.unwrap();
        for topic in ["in", "out"] {
            server.broker().create_topic(topic, Some(1), TopicConfigs::new()).unwrap();
        }
        let bootstrap = server.address().to_string();
        let producer = RecordProducer::open(&Cluster::new(&bootstrap), "in").await.unwrap();
        std::fs::write(folder.path().join("live.toml"), text).unwrap();
        std::fs::write(folder.path().join("stamp.wasm"), stamping(&["version"], 1)).unwrap();
        let run = run(&folder.path().join("live.toml"), bootstrap, ends).await;
        let (control, stop) = (run.control(), run.stop_token());
        let run = tokio::spawn(run.run());
        Live { folder, server, control, stop, run, producer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn produce(&self, values: impl Iterator<Item = i64>) {
        for value in values {
            self.producer.send(None, Some(format!("{{\"n\":{value}}}").as_bytes()), &[]).unwrap();
        }
        self.producer.flush().await.unwrap();
    }

    /// Waits until so many rows are committed.
    async fn committed(&self, rows: u64) {
        let what = format!("{rows} rows");
        until(&what, || self.control.snapshot().sinks[0].rows_committed == rows).await;
    }

    /// Sends records that then are read at once, in one batch.
    async fn produce_together(&self, values: impl Iterator<Item = i64>) {
        self.control.pause();
        until("the pause", || self.control.state() == RunState::Paused).await;
        self.produce(values).await;
        self.control.resume();
    }

    async fn end(self) -> Snapshot {
        self.stop.cancel();
        let snapshot = self.run.await.unwrap().unwrap();
        assert_eq!(self.control.state(), RunState::Stopped);
        let refused = self.control.reload().await.unwrap_err();
        assert_eq!(refused.reason, "the pipeline has ended");
        self.server.shutdown().await.unwrap();
        snapshot
    }
}

async fn run(
    file: &Path,
    bootstrap: String,
    wrap: impl FnOnce(Arc<dyn Reopen>) -> Arc<dyn Reopen>,
) -> Run {
    let host = Host::new(HostConfig::default()).unwrap();
    let context = LoadContext { shipped: &names(), environment: &environment };
    let refused = |all: Vec<_>| -> config::Loaded { panic!("{}", config::render_with_files(&all)) };
    let loaded = config::load(file, &context).unwrap_or_else(refused);
    let plan = Plan::new(&host, loaded.pipeline, SHIPPED);
    let plan = plan.unwrap_or_else(|all| panic!("{}", config::render_with_files(&all)));
    let process = Process { built_in: Some(bootstrap), instance: "live".into() };
    let (connected, ends) = open_to_reload(&plan, &process).await.unwrap();
    let ends = wrap(ends);
    let reloading = Reloading { host, shipped: SHIPPED, environment: Arc::new(environment), ends };
    Run::new(plan, connected, CancellationToken::new()).reloading(reloading)
}

/// What the process has of variables.
fn environment(name: &str) -> Option<String> {
    (name == "REGION").then(|| "eu".to_owned())
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_pipeline_reads_nothing_and_goes_on_where_it_stood() {
    let live = Live::start(PIPELINE).await;
    live.produce(0..100).await;
    live.committed(100).await;
    live.control.pause();
    until("the pause", || live.control.state() == RunState::Paused).await;
    let before = live.control.snapshot();
    live.produce(100..200).await;
    // A reload is taken over while the pipeline stands, and reads nothing either.
    std::fs::write(live.path("stamp.wasm"), stamping(&["version"], 2)).unwrap();
    let receipt = live.control.reload().await.unwrap();
    assert_eq!(receipt.offsets["in"][&0], 100);
    assert_eq!(live.control.snapshot().records, before.records);
    assert_eq!(live.control.state(), RunState::Paused);
    live.control.resume();
    live.committed(200).await;
    assert_eq!(live.control.state(), RunState::Running);
    assert_eq!(live.end().await.records, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reload_answers_with_its_receipt_and_the_records_name_their_code() {
    let live = Live::start(PIPELINE).await;
    live.produce(0..10).await;
    live.committed(10).await;
    let nothing = live.control.reload().await.unwrap();
    assert_eq!((nothing.generation, nothing.changes.len()), (1, 0));

    let old = live.control.plan().stages[1].stage.module().hash().to_string();
    std::fs::write(live.path("stamp.wasm"), "rubbish").unwrap();
    let refusal = live.control.reload().await.unwrap_err();
    assert!(refusal.reason.contains("live.toml:13:10: error: stage `stamp`"), "{refusal}");
    assert_eq!(live.control.last_refusal(), Some(refusal));

    let bytes = stamping(&["version"], 2);
    let new = gristmill_host::sha256_hex(&bytes);
    std::fs::write(live.path("stamp.wasm"), bytes).unwrap();
    let receipt = live.control.reload().await.unwrap();
    let change = Change::Module { stage: "stamp".into(), old: old.clone(), new: new.clone() };
    assert_eq!((receipt.generation, &receipt.changes), (2, &vec![change]));
    assert_eq!(live.control.receipts(), [receipt]);
    assert_eq!((live.control.generation(), live.control.last_refusal()), (2, None));
    live.produce(10..15).await;
    live.committed(15).await;

    let bootstrap = live.server.address().to_string();
    let headers = tokio::task::spawn_blocking(move || headers(&bootstrap, 15)).await.unwrap();
    for (number, headers) in headers.iter().enumerate() {
        let (generation, hash) = if number < 10 { ("1", &old) } else { ("2", &new) };
        assert_eq!(headers["gristmill.generation"], generation);
        assert_eq!(&headers["gristmill.module.stamp"], hash);
        assert_eq!(headers["gristmill.module.parse"].len(), 64);
    }
    live.end().await;
}

/// Of the first records of `out`.
fn headers(bootstrap: &str, count: usize) -> Vec<std::collections::BTreeMap<String, String>> {
    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "headers")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["out"]).unwrap();
    let mut found = Vec::new();
    let began = std::time::Instant::now();
    while found.len() < count {
        assert!(began.elapsed() < DEADLINE, "only {} records", found.len());
        // Nothing: the group has shared out, or it took too long.
        let Some(record) = consumer.poll(Duration::from_secs(1)) else { continue };
        let record = record.unwrap();
        let headers = record.headers().unwrap().iter();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        found.push(headers.map(|it| (it.key.to_string(), text(it.value))).collect());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tap_shows_rows_behind_a_stage_and_no_more_than_asked_for() {
    let live = Live::start(PIPELINE).await;
    assert!(live.control.tap("nowhere", 1).unwrap_err().to_string().contains("`source`"));
    let mut stamped = live.control.tap("stamp", 5).unwrap();
    let mut records = live.control.tap("source", 1_000).unwrap();
    live.produce(0..100).await;
    live.committed(100).await;
    let row = stamped.recv().await.unwrap();
    assert_eq!((row.stage.as_str(), row.topic.as_str(), row.partition), ("stamp", "in", 0));
    assert_eq!((&row.row["n"], &row.row["version"]), (&row.offset.into(), &1.into()));
    let row = records.recv().await.unwrap();
    assert_eq!(row.row["value"], format!("{{\"n\":{}}}", row.offset));
    // A tap that is held and not read holds up nothing.
    let _held = live.control.tap("parse", 1_000).unwrap();
    live.produce(100..5_000).await;
    live.committed(5_000).await;
    let mut shown = 1;
    while stamped.try_recv().is_ok() {
        shown += 1;
    }
    assert!(shown < 1_000, "{shown} rows of 5,000 at 5 a second");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_candidate_is_compared_without_effect_and_promoted() {
    let live = Live::start(PIPELINE).await;
    let refused = live.control.set_shadow("nobody", None).await.unwrap_err();
    assert_eq!(refused.reason, "no stage is named `nobody`, there are `parse`, `stamp`");
    assert!(live.control.shadow("stamp").is_none());
    let refused = live.control.promote("stamp").await.unwrap_err();
    assert!(refused.reason.contains("has no candidate"), "{refused}");

    std::fs::write(live.path("new.wasm"), stamping(&["version"], 2)).unwrap();
    live.control.set_shadow("stamp", Some("new.wasm".into())).await.unwrap();
    live.produce_together(0..50).await;
    live.committed(50).await;
    let report = || live.control.shadow("stamp").unwrap();
    until("the comparison", || report().rows_compared == 50).await;
    let found = report();
    assert_eq!(found.rows_different, 50, "{found:?}");
    let sample = &found.samples[0];
    assert_eq!((sample.kind, sample.topic.as_str()), (Outcome::Different, "in"));
    assert_eq!(
        (&sample.live[0]["version"], &sample.candidate[0]["version"]),
        (&1.into(), &2.into())
    );
    assert!(found.live_ns_per_row > 0.0 && found.candidate_ns_per_row > 0.0, "{found:?}");

    let receipt = live.control.promote("stamp").await.unwrap();
    assert!(matches!(&receipt.changes[0], Change::Module { stage, .. } if stage == "stamp"));
    live.produce(50..60).await;
    live.committed(60).await;
    // The next start runs what runs now, and what ran before is kept.
    assert_eq!(std::fs::read(live.path("stamp.wasm")).unwrap(), stamping(&["version"], 2));
    assert_eq!(std::fs::read(live.path("stamp.wasm.before")).unwrap(), stamping(&["version"], 1));
    assert!(live.control.shadow("stamp").is_none());
    let versions = versions(&live.server.address().to_string());
    assert_eq!(versions, [vec![1; 50], vec![2; 10]].concat());
    live.end().await;
}

/// What the records of `out` were stamped with.
fn versions(bootstrap: &str) -> Vec<i64> {
    let flags = ["--from-beginning", "--exit-at-end", "--bootstrap", bootstrap];
    let printed = support::succeed(["topic", "consume", "out"].iter().chain(&flags)).stdout;
    let version = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["version"].as_i64().unwrap()
    };
    printed.lines().map(version).collect()
}

/// A candidate may trap, hang and eat memory: the pipeline does not feel it, and the report says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hostile_candidate_costs_the_pipeline_no_row() {
    let live = Live::start(PIPELINE).await;
    std::fs::write(live.path("picky.wasm"), picky()).unwrap();
    let text = PIPELINE.replace(
        "module = \"./stamp.wasm\"",
        "module = \"./stamp.wasm\"\nshadow = \"./picky.wasm\"\nlimits = { batch_time = \"100ms\" }",
    );
    std::fs::write(live.path("live.toml"), text).unwrap();
    live.control.reload().await.unwrap();
    live.produce_together([1, crate::guests::TRAPS, 2, crate::guests::HANGS, -5].into_iter()).await;
    live.committed(5).await;
    let report = || live.control.shadow("stamp").unwrap();
    until("the comparison", || report().rows_compared == 5).await;
    let found = report();
    assert_eq!(found.rows_failed_by_candidate_only, 2, "{found:?}");
    assert_eq!(found.rows_kept_by_live_only, 1, "{found:?}");
    assert!(found.instances_lost >= 2, "{found:?}");
    assert_eq!(found.columns_not_compared, ["version"]);
    // The candidate reads a column that nobody else needs behind `parse` but the sink; it changes nothing.
    let refused = live.control.promote("stamp").await.unwrap_err();
    assert!(refused.reason.contains("no column `version` arrives here"), "{refused}");
    assert_eq!(std::fs::read(live.path("stamp.wasm")).unwrap(), stamping(&["version"], 1));
    live.produce(0..10).await;
    live.committed(15).await;
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_candidate_that_is_no_stage_is_refused_where_it_stands() {
    let live = Live::start(PIPELINE).await;
    let other = core_module(&answer(&["nowhere"], serde_json::json!([]), &[]), "unreachable", "");
    std::fs::write(live.path("other.wasm"), other).unwrap();
    let text = PIPELINE.replace("./stamp.wasm\"", "./stamp.wasm\"\nshadow = \"./other.wasm\"");
    std::fs::write(live.path("live.toml"), text).unwrap();
    let refusal = live.control.reload().await.unwrap_err();
    assert!(refusal.reason.contains("live.toml:14:10: error: stage `stamp`"), "{refusal}");
    live.end().await;
}

/// Opens the new ends, which fences the old ones, and then fails: once.
struct FailsOnce {
    ends: Arc<dyn Reopen>,
    has_failed: AtomicBool,
}

#[async_trait]
impl Reopen for FailsOnce {
    async fn check(&self, now: &Plan, next: &Plan) -> anyhow::Result<()> {
        self.ends.check(now, next).await
    }

    async fn reopen(
        &self,
        next: &Plan,
        connected: &Connected,
        source_too: bool,
    ) -> anyhow::Result<Connected> {
        let opened = self.ends.reopen(next, connected, source_too).await?;
        if self.has_failed.swap(true, Ordering::Relaxed) {
            return Ok(opened);
        }
        tokio::task::spawn_blocking(move || drop(opened)).await?;
        anyhow::bail!("the store went away just now")
    }
}

/// The worst moment for a new sink to fail: the old producer is fenced already. The old generation runs on all the same,
/// with nothing lost or doubled, and the change is applied when it is asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ends_that_fail_while_they_are_opened_leave_the_old_ones() {
    let fails = |ends| -> Arc<dyn Reopen> {
        Arc::new(FailsOnce { ends, has_failed: AtomicBool::new(false) })
    };
    let live = Live::start_with(PIPELINE, fails).await;
    live.produce(0..50).await;
    live.committed(50).await;
    let late = "[[sink]]\nname = \"late\"\ntopic = \"late\"\nfrom = \"source\"\n";
    std::fs::write(live.path("live.toml"), format!("{PIPELINE}{late}")).unwrap();
    let refusal = live.control.reload().await.unwrap_err();
    assert_eq!(refusal.reason, "the store went away just now");
    live.produce(50..100).await;
    live.committed(100).await;
    let receipt = live.control.reload().await.unwrap();
    assert_eq!(receipt.generation, 2);
    live.produce(100..150).await;
    live.committed(150).await;
    until("the late sink", || live.control.snapshot().sinks[1].rows_committed == 150).await;
    assert_eq!(versions(&live.server.address().to_string()), vec![1; 150]);
    live.end().await;
}
