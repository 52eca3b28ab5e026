//! What exactly once costs: the same pipeline, topic to topic on the built-in broker, with and without transactions.
//!
//! - Throughput over a topic that is full: runs alternate, medians, the ratio is printed (aim: at least 0.85).
//! - The time from a record's production to its result's visibility for a consumer of committed records, at a steady
//!   1,000 orders a second (aim: p99 of 50 ms or less); with `--streams` beside Kafka Streams with exactly_once_v2 on
//!   the same broker. Several rounds: what else the machine does shows in the worst of them.
//!
//! Broker, clients and stages share this process. `ORDERS=n ROUNDS=n SECONDS=n cargo xtask bench delivery`; with
//! `ORDERS=0` the second part alone.

#[path = "chain/measure.rs"]
#[allow(dead_code)]
mod measure;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gristmill_broker::{BrokerConfig, Listener, Server, TopicConfigs};
use gristmill_cli::shipped::{SHIPPED, names};
use gristmill_connectors::admin::RecordProducer;
use gristmill_connectors::{Cluster, Process, open};
use gristmill_engine::config::{LoadContext, load, render_with_files};
use gristmill_engine::plan::Plan;
use gristmill_engine::run::Run;
use gristmill_host::{Host, HostConfig};
use gristmill_orders::{Orders, SEED};
use measure::{Figures, process_cpu, setting};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 2;
const RATE: u64 = 1_000;
/// A result that does not come for so long does not come at all.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(20);
const WAYS: [&str; 2] = ["exactly-once", "at-least-once"];

fn main() -> Result<()> {
    let (orders, rounds) = (setting("ORDERS", 200_000), setting("ROUNDS", 3));
    let seconds = setting("SECONDS", 15);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let scene = Scene::start().await?;
        if orders > 0 {
            scene.throughput(orders, rounds).await?;
        }
        println!("{RATE} orders/s for {seconds} s: ms from produced to visible, and CPU of broker, clients and pipeline");
        println!("{:<34}{:>8}{:>8}{:>8}{:>12}", "", "p50", "p99", "most", "CPU ms/s");
        for round in 0..rounds {
            for way in WAYS {
                scene.latency(way, round, seconds as u64).await?;
            }
            if let Some(jars) = std::env::var_os("STREAMS_JARS") {
                scene.streams_latency(Path::new(&jars), round, seconds as u64).await?;
            }
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

    async fn latency(&self, way: &str, round: usize, seconds: u64) -> Result<()> {
        let name = format!("steady-{way}-{round}");
        let (from, out) = (format!("{name}-in"), format!("{name}-out"));
        self.topic(&from)?;
        let run = self.run(&name, &from, way, "continuous").await?;
        let stop = run.stop_token();
        let mut running = tokio::spawn(run.run());
        let steady = self.steady(&from, &out, seconds);
        let waits = tokio::select! {
            waits = steady => waits?,
            ended = &mut running => bail!("the pipeline has ended: {ended:?}"),
        };
        stop.cancel();
        running.await??;
        waits.print(way);
        Ok(())
    }

    /// The same by Kafka Streams, in a process of its own.
    async fn streams_latency(&self, jars: &Path, round: usize, seconds: u64) -> Result<()> {
        let name = format!("streams-{round}");
        let (from, out) = (format!("{name}-in"), format!("{name}-out"));
        self.topic(&from)?;
        self.topic(&out)?;
        let mut java = Command::new("java");
        java.arg("--class-path").arg(jars.join("*"));
        java.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/streams/Streams.java"));
        java.args([&self.bootstrap, &from, &out]).arg(self.folder.path().join(&name));
        let mut java = java.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut said = BufReader::new(java.stdout.take().context("piped")?).lines();
        let running = said.next().transpose()?;
        let waits = match running.as_deref() {
            Some("running") => self.steady(&from, &out, seconds).await,
            _ => Err(anyhow!(
                "Kafka Streams does not start; it needs the Java compiler (default-jdk-headless)"
            )),
        };
        java.kill()?;
        java.wait()?;
        waits?.print("Kafka Streams, exactly_once_v2 *");
        if round == 0 {
            println!("* its own CPU, in a process of its own, is not counted");
        }
        Ok(())
    }

    async fn steady(&self, from: &str, out: &str, seconds: u64) -> Result<Waits> {
        let producer = self.producer(from).await?;
        let expected = usize::try_from(seconds * RATE)?;
        let (bootstrap, out) = (self.bootstrap.clone(), out.to_string());
        let (began, began_cpu) = (Instant::now(), process_cpu());
        let waits = tokio::task::spawn_blocking(move || waits(&bootstrap, &out, expected));
        let sent = move || steady(&producer, expected).map(|()| producer);
        tokio::task::spawn_blocking(sent).await??.flush().await?;
        let mut waits = waits.await??;
        let cpu = (process_cpu() - began_cpu).as_secs_f64() * 1e3 / began.elapsed().as_secs_f64();
        // The first two seconds open connections and begin the first transactions.
        let mut waits = waits.split_off(2 * RATE as usize);
        waits.sort_unstable();
        Ok(Waits { waits, cpu_ms_per_s: cpu })
    }
}

/// From production to visibility, ascending.
struct Waits {
    waits: Vec<Duration>,
    cpu_ms_per_s: f64,
}

impl Waits {
    fn at(&self, share: f64) -> f64 {
        self.waits[(share * (self.waits.len() - 1) as f64) as usize].as_secs_f64() * 1e3
    }

    fn print(&self, way: &str) {
        let (half, most_of_all, most) = (self.at(0.5), self.at(0.99), self.at(1.0));
        println!("{way:<34}{half:>8.1}{most_of_all:>8.1}{most:>8.1}{:>12.0}", self.cpu_ms_per_s);
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
    let mut seen_last = Instant::now();
    while waits.len() < count {
        // Nothing is often told long before the time is over: something else has happened.
        let Some(message) = consumer.poll(SILENCE_TIME_MAX) else {
            ensure!(seen_last.elapsed() < SILENCE_TIME_MAX, "nothing for {SILENCE_TIME_MAX:?}");
            continue;
        };
        let (message, seen) = (message?, now_us()?);
        seen_last = Instant::now();
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
