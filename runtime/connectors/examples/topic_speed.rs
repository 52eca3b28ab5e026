//! How fast records go into and out of a topic of the built-in broker, without any stage.
//!
//! `cargo run --release -p gristmill-connectors --example topic_speed -- [RECORDS] [PARTITIONS]`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use gristmill_broker::{BrokerConfig, Listener, Server};
use gristmill_connectors::admin::{self, RecordProducer};
use gristmill_connectors::{Cluster, KafkaSource, KafkaSourceSetup};
use gristmill_engine::config::{OnDataLoss, Topics};
use gristmill_engine::source::Source;

/// As long as an average retail order.
const VALUE_BYTES: usize = 570;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let records: usize = arguments.next().unwrap_or(500_000);
    let partitions = i32::try_from(arguments.next().unwrap_or(1))?;
    let folder = tempfile::tempdir()?;
    let config = BrokerConfig {
        data_dir: folder.path().to_path_buf(),
        listeners: vec![Listener::plaintext("127.0.0.1:0".parse()?)],
        ..BrokerConfig::default()
    };
    let server = Server::start(config).await?;
    let cluster = Cluster::new(server.address().to_string());
    admin::create_topic(&cluster, "speed", partitions, None, &BTreeMap::new()).await?;
    produce(&cluster, records).await?;
    read(&cluster, records).await?;
    server.shutdown().await
}

async fn produce(cluster: &Cluster, records: usize) -> Result<()> {
    let producer = RecordProducer::open(cluster, "speed").await?;
    let value = vec![b'x'; VALUE_BYTES];
    let begun = Instant::now();
    let producer = tokio::task::spawn_blocking(move || -> Result<_> {
        for number in 0..records {
            producer.send(Some(number.to_string().as_bytes()), Some(&value), &[])?;
        }
        Ok(producer)
    });
    producer.await??.flush().await?;
    report("produced", records, begun.elapsed());
    Ok(())
}

async fn read(cluster: &Cluster, records: usize) -> Result<()> {
    let source = KafkaSource::open(KafkaSourceSetup {
        cluster: cluster.clone(),
        topics: Topics::Names(vec!["speed".into()]),
        group: "speed".into(),
        on_data_loss: OnDataLoss::Stop,
        read_time_max: Duration::from_secs(30),
    })
    .await?;
    let asked = Instant::now();
    let available = source.available().await?;
    println!("available() took {:?}", asked.elapsed());
    let begun = Instant::now();
    let mut lanes = Vec::new();
    for (partition, range) in available {
        let mut reader = source.reader(&partition, range.begin, &["value"]).await?;
        lanes.push(tokio::task::spawn_blocking(move || -> Result<(usize, usize)> {
            let (mut rows, mut batches) = (0, 0);
            while let Some(batch) = reader.next(range.end, 1_000, 512 << 10)? {
                rows += batch.offsets.len();
                batches += 1;
            }
            Ok((rows, batches))
        }));
    }
    let mut found = (0, 0);
    for lane in lanes {
        let (rows, batches) = lane.await??;
        found = (found.0 + rows, found.1 + batches);
    }
    report("read", found.0, begun.elapsed());
    println!("{} rows a batch", found.0 / found.1.max(1));
    anyhow::ensure!(found.0 == records, "{} of {records} records read", found.0);
    Ok(())
}

fn report(what: &str, records: usize, time: Duration) {
    println!("{what} {records} records in {time:?}: {:.0}/s", records as f64 / time.as_secs_f64());
}
