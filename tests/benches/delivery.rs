//! What exactly once costs: the same pipeline, topic to topic on the built-in broker, with and without transactions.
//!
//! - Throughput over a topic that is full: runs alternate, medians, the ratio is printed (aim: at least 0.85).
//! - The time from a record's production to its result's visibility for a consumer of committed records, at a steady
//!   1,000 orders a second (aim: p99 of 50 ms or less).
//!
//! Broker, clients and stages share this process. `ORDERS=n ROUNDS=n SECONDS=n cargo xtask bench delivery`.

#[path = "chain/measure.rs"]
#[allow(dead_code)]
mod measure;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use gristmill_broker::{BrokerConfig, Listener, Server, TopicConfigs};
use gristmill_cli::shipped::{SHIPPED, names};
use gristmill_connectors::admin::RecordProducer;
use gristmill_connectors::{Cluster, Process, open};
use gristmill_engine::config::{LoadContext, load, render_with_files};
use gristmill_engine::plan::Plan;
use gristmill_engine::run::Run;
use gristmill_host::{Host, HostConfig};
use gristmill_orders::{Orders, SEED};
use measure::{Figures, setting};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 2;
const RATE: u64 = 1_000;
const WAYS: [&str; 2] = ["exactly-once", "at-least-once"];

fn main() -> Result<()> {
    let (orders, rounds) = (setting("ORDERS", 200_000), setting("ROUNDS", 3));
    let seconds = setting("SECONDS", 15);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let scene = Scene::start().await?;
        scene.throughput(orders, rounds).await?;
        for way in WAYS {
            scene.latency(way, seconds as u64).await?;
        }
        scene.server.shutdown().await
    })
}

/// A broker in this process.
struct Scene {
    server: Server,
    bootstrap: String,
    host: Host,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Result<Scene> {
        let folder = tempfile::tempdir()?;
        let data_dir = folder.path().join("broker");
        let listeners = vec![Listener::plaintext("127.0.0.1:0".parse()?)];
        let config = BrokerConfig { data_dir, listeners, ..BrokerConfig::default() };
        let server = Server::start(config).await?;
        let bootstrap = server.address().to_string();
        let host = Host::new(HostConfig { cache_dir: None, ..HostConfig::default() })?;
        Ok(Scene { server, bootstrap, host, folder })
    }

    fn topic(&self, name: &str) -> Result<()> {
        let made = self.server.broker().create_topic(name, Some(PARTITIONS), TopicConfigs::new());
        made.map(drop).map_err(|refusal| anyhow!("{refusal}"))
    }

    async fn producer(&self, topic: &str) -> Result<RecordProducer> {
        RecordProducer::open(&Cluster::new(&self.bootstrap), topic).await
    }

    /// Orders in, the whole orders of some cities out.
    async fn run(&self, name: &str, from: &str, way: &str, trigger: &str) -> Result<Run> {
        let text = format!(
            r#"
name = "{name}"
delivery = "{way}"
[source]
topics = ["{from}"]
trigger = "{trigger}"
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "order_id long, city string" }}
[[stage]]
name = "known"
module = "filter"
with = {{ where = "order_id is not null" }}
[[sink]]
name = "out"
topic = "{name}-out"
value = "value"
"#
        );
        let file = self.folder.path().join("pipeline.toml");
        std::fs::write(&file, text)?;
        let (shipped, environment) = (names(), |name: &str| std::env::var(name).ok());
        let context = LoadContext { shipped: &shipped, environment: &environment };
        let refused = |all: Vec<_>| anyhow!("{}", render_with_files(&all));
        let loaded = load(&file, &context).map_err(refused)?;
        let plan = Plan::new(&self.host, loaded.pipeline, SHIPPED).map_err(refused)?;
        self.topic(&format!("{name}-out"))?;
        let process =
            Process { built_in: Some(self.bootstrap.clone()), instance: format!("bench-{name}") };
        let connected = open(&plan, &process).await?;
        Ok(Run::new(plan, connected, CancellationToken::new()))
    }

    async fn throughput(&self, orders: usize, rounds: usize) -> Result<()> {
        self.topic("full")?;
        let producer = self.producer("full").await?;
        for order in Orders::new(SEED).take(orders) {
            producer.send(
                Some(order.customer_id.to_string().as_bytes()),
                Some(order.json.as_bytes()),
                &[],
            )?;
        }
        producer.flush().await?;
        let mut times = WAYS.map(|_| Figures::new());
        for round in 0..=rounds {
            for (way, times) in WAYS.iter().zip(&mut times) {
                let name = format!("{way}-{round}");
                let run = self.run(&name, "full", way, "available-now").await?;
                let began = Instant::now();
                let snapshot = run.run().await?;
                ensure!(snapshot.sinks[0].rows_committed == orders as u64, "{snapshot:?}");
                // The first round warms caches up.
                if round > 0 {
                    times.push(began.elapsed());
                }
            }
        }
        let [once, twice] = times.map(|times| orders as f64 / times.median());
        println!("topic to topic, {orders} orders, every one passes, median of {rounds} rounds");
        println!("  exactly once   {once:>9.0} orders/s");
        println!("  at least once  {twice:>9.0} orders/s");
        println!("  exactly once at {:.2} of at least once", once / twice);
        Ok(())
    }

    async fn latency(&self, way: &str, seconds: u64) -> Result<()> {
        let (name, from) = (format!("steady-{way}"), format!("steady-{way}-in"));
        self.topic(&from)?;
        let run = self.run(&name, &from, way, "continuous").await?;
        let stop = run.stop_token();
        let running = tokio::spawn(run.run());
        let producer = self.producer(&from).await?;
        let expected = usize::try_from(seconds * RATE)?;
        let bootstrap = self.bootstrap.clone();
        let out = format!("{name}-out");
        let waits = tokio::task::spawn_blocking(move || waits(&bootstrap, &out, expected));
        let sent = move || steady(&producer, expected).map(|()| producer);
        tokio::task::spawn_blocking(sent).await??.flush().await?;
        let mut waits = waits.await??;
        stop.cancel();
        running.await??;
        // The first two seconds open connections and begin the first transactions.
        let mut waits = waits.split_off(2 * RATE as usize);
        waits.sort_unstable();
        let at =
            |share: f64| waits[(share * (waits.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
        println!(
            "{RATE} orders/s for {seconds} s, {way}: produced to visible p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        Ok(())
    }
}

/// Sends an order each millisecond, with the time in it.
#[expect(clippy::disallowed_methods, reason = "the ticker of a steady load")]
fn steady(producer: &RecordProducer, count: usize) -> Result<()> {
    let began = Instant::now();
    for (number, order) in Orders::new(SEED).take(count).enumerate() {
        let due = began + Duration::from_secs(number as u64) / RATE as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let rest = order.json.strip_prefix('{').context("an order is an object")?;
        let stamped = format!("{{\"sent_us\":{},{rest}", now_us()?);
        producer.send(
            Some(order.customer_id.to_string().as_bytes()),
            Some(stamped.as_bytes()),
            &[],
        )?;
    }
    Ok(())
}

/// From production to visibility, of `count` records in the order in which they are seen.
fn waits(bootstrap: &str, topic: &str, count: usize) -> Result<Vec<Duration>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{topic}-reader"))
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    consumer.subscribe(&[topic])?;
    let mut waits = Vec::with_capacity(count);
    while waits.len() < count {
        let message = consumer.poll(Duration::from_secs(20)).context("nothing for 20 s")??;
        let seen = now_us()?;
        let value = message.payload().context("a value")?;
        let text = std::str::from_utf8(value)?;
        let sent = text.strip_prefix("{\"sent_us\":").and_then(|rest| rest.split(',').next());
        let sent: u64 = sent.context("a stamp")?.parse()?;
        waits.push(Duration::from_micros(seen.saturating_sub(sent)));
    }
    Ok(waits)
}

fn now_us() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
