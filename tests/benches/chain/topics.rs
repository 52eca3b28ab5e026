//! The whole pipeline from topic to topic, on the built-in broker in this process, over loopback as a client would.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use gristmill_broker::{BrokerConfig, Listener, Server, TopicConfigs};
use gristmill_connectors::admin::RecordProducer;
use gristmill_connectors::{Cluster, Process, open};
use gristmill_engine::run::Run;
use tokio_util::sync::CancellationToken;

use super::measure;
use super::orders::Input;
use super::wasm::{SCHEMA, plan};

const PARTITIONS: i32 = 2;

fn pipeline(round: usize) -> String {
    format!(
        r#"
name = "bench-{round}"
[source]
topics = ["orders"]
trigger = "available-now"
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "{SCHEMA}" }}
[[stage]]
name = "flatten"
module = "flatten"
with = {{ explode = "line_items" }}
[[stage]]
name = "chicago"
module = "filter"
with = {{ column = "city", equals = "Chicago" }}
[[sink]]
name = "items"
topic = "items-{round}"
"#
    )
}

/// Three runs of the pipeline over the same topic; the process does the broker's work and the pipeline's.
pub fn bench(input: &Input) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let listeners = vec![Listener::plaintext("127.0.0.1:0".parse()?)];
        let data_dir = folder.path().to_path_buf();
        let server =
            Server::start(BrokerConfig { data_dir, listeners, ..BrokerConfig::default() }).await?;
        let bootstrap = server.address().to_string();
        let made = server.broker().create_topic("orders", Some(PARTITIONS), TopicConfigs::new());
        made.map_err(|refusal| anyhow!("{refusal}"))?;
        fill(&bootstrap, input).await?;
        for round in 0..3 {
            pass(&bootstrap, input, round).await?;
        }
        server.shutdown().await
    })
}

async fn fill(bootstrap: &str, input: &Input) -> Result<()> {
    let cluster = Cluster { bootstrap: bootstrap.to_string(), properties: Default::default() };
    let producer = RecordProducer::open(&cluster, "orders").await?;
    for (key, value) in input.keys.iter().zip(&input.values) {
        producer.send(Some(key.as_bytes()), Some(value.as_bytes()), &[])?;
    }
    producer.flush().await
}

async fn pass(bootstrap: &str, input: &Input, round: usize) -> Result<()> {
    let plan = plan(&pipeline(round))?;
    let process =
        Process { built_in: Some(bootstrap.to_string()), instance: format!("bench-{round}") };
    let connected = open(&plan, &process).await?;
    let (began, cpu) = (Instant::now(), measure::process_cpu());
    let snapshot = Run::new(plan, connected, CancellationToken::new()).run().await?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (measure::process_cpu() - cpu).as_secs_f64());
    ensure!(snapshot.records == input.len() as u64, "read {} of {}", snapshot.records, input.len());
    let count = input.len() as f64;
    println!(
        "topic to topic, run {round}: {:.0} orders/s of wall time, {:.2} µs of CPU per order (broker, clients and stages \
         together), {} rows out",
        count / wall,
        cpu * 1e6 / count,
        snapshot.sinks[0].rows_committed
    );
    Ok(())
}
