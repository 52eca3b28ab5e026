//! `gristmill demo`: the main job on one machine. Orders go into a topic while two pipelines run; then it shows what came out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gristmill_broker::Listener;
use gristmill_connectors::delta_table;
use gristmill_engine::control::Control;
use gristmill_host::{Host, HostConfig};
use tokio_util::sync::CancellationToken;

use crate::commands::topic_create::PARTITIONS_MAX;
use crate::commands::{produce, run};
use crate::http::{self, HttpFlags};
use crate::instance::Instance;
use crate::local::{DurabilityFlag, LocalBroker, LocalFlags};
use crate::output::Output;
use crate::pipelines;
use crate::security::SecurityFlags;
use crate::table;
use crate::user_error::UserError;

/// The pipelines of the demo, as they stand in `pipelines/`.
const PIPELINES: [(&str, &str); 2] = [
    ("orders_to_delta.toml", include_str!("../../../../pipelines/orders_to_delta.toml")),
    ("orders_to_topic.toml", include_str!("../../../../pipelines/orders_to_topic.toml")),
];
/// Marks a folder as ours to empty.
const MARK: &str = ".gristmill-demo";
/// Rows of the table that are shown.
const ROWS_SHOWN: usize = 5;
/// The demo gives up when nothing has moved for this long.
const STALL_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct DemoFlags {
    /// How many orders to generate, or a JSON-lines file of orders (.gz is unpacked)
    #[arg(long, default_value = "100000", value_name = "N|FILE")]
    orders: String,
    /// Folder of the demo; emptied if it is one already
    #[arg(long, default_value = "gristmill-demo", value_name = "DIR")]
    data_dir: PathBuf,
    /// Address of the built-in broker
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    #[command(flatten)]
    http: HttpFlags,
    /// Partitions of the topic `orders`
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: i32,
}

pub async fn run(flags: &DemoFlags) -> Result<()> {
    let orders = produce::Orders::parse(&flags.orders)?;
    let files = lay_out(&flags.data_dir)?;
    let data_dir = flags.data_dir.clone();
    let host =
        Host::new(HostConfig { cache_dir: Some(data_dir.join("cache")), ..HostConfig::default() })?;
    let plans = pipelines::plan(&host, &files)?;
    let local = LocalFlags {
        data_dir: Some(data_dir.clone()),
        listen: vec![Listener::plaintext(flags.listen)],
        http: flags.http.clone(),
        security: SecurityFlags::default(),
        durability: DurabilityFlag::Fsync,
    };
    let listener = http::listen(&local.http, &local).await?;
    let broker = LocalBroker::start(&local).await?;
    let instance = Instance::claim(&local.data_dir()?)?;
    let bootstrap = broker.bootstrap();
    say(format!("broker     {bootstrap}, data in {}", data_dir.display()))?;
    broker.create_topic("orders", flags.partitions)?;
    broker.create_topic("orders-chicago", 1)?;

    let stop = CancellationToken::new();
    let controls: Vec<_> = plans.into_iter().map(Control::starting).collect();
    let page = http::start(listener, Some(&broker), &controls, &local.http.telemetry)?;
    if let Some(address) = page.as_ref().and_then(|page| page.address) {
        say(format!("page       http://{address} while the demo runs"))?;
    }
    let running =
        run::start(&host, controls, Some(&broker), &instance, false, stop.clone()).await?;
    let began = Instant::now();
    let produced = produce::orders(&bootstrap, "orders", orders).await?;
    let produce_time = began.elapsed();
    wait_for(&running, produced).await?;
    let total_time = began.elapsed();
    stop.cancel();
    let snapshots = running.join().await?;

    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(1e-9);
    say(format!(
        "orders     {produced} into topic `orders` at {:.0}/s",
        rate(produced, produce_time)
    ))?;
    say(format!(
        "pipelines  {produced} orders through both at {:.0}/s, end to end",
        rate(produced, total_time)
    ))?;
    for snapshot in &snapshots {
        for sink in &snapshot.sinks {
            let (pipeline, name) = (&snapshot.pipeline, &sink.name);
            say(format!(
                "           `{pipeline}` → `{name}`: {} rows, {} commits",
                sink.rows_committed, sink.commits
            ))?;
        }
    }
    show_table(&data_dir.join("lake/orders")).await?;
    let sinks = snapshots.iter().flat_map(|snapshot| &snapshot.sinks);
    let chicago =
        sinks.filter(|sink| sink.name == "chicago-orders").map(|sink| sink.rows_committed);
    say(format!("\ntopic `orders-chicago` holds {} orders", chicago.sum::<u64>()))?;
    if let Some(page) = page {
        page.shutdown().await;
    }
    broker.shutdown().await?;
    where_next(&data_dir)
}

/// A fresh folder with the demo's pipeline files in it.
fn lay_out(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.exists() {
        let ours = folder.join(MARK).exists();
        let empty = folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        if !ours && !empty {
            bail!(UserError::new(format!(
                "`{}` holds something else than a demo; choose another folder with --data-dir",
                folder.display()
            )));
        }
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty `{}`", folder.display()))?;
    }
    let written =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(MARK), ""));
    written.map_err(|error| {
        UserError::new(format!("cannot make folder `{}`: {error}", folder.display()))
    })?;
    let mut files = Vec::new();
    for (name, text) in PIPELINES {
        let file = folder.join(name);
        std::fs::write(&file, text)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

/// Until every pipeline has read all `orders`.
async fn wait_for(running: &run::Running, orders: u64) -> Result<()> {
    let mut last = (0, Instant::now());
    loop {
        run::ensure_running(running)?;
        let read: Vec<u64> =
            running.controls.iter().map(|control| control.snapshot().records).collect();
        if read.iter().all(|records| *records >= orders) {
            return Ok(());
        }
        let sum = read.iter().sum();
        if sum != last.0 {
            last = (sum, Instant::now());
        }
        if last.1.elapsed() > STALL_MAX {
            bail!("the pipelines have read {read:?} of {orders} orders and go no further");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn show_table(folder: &Path) -> Result<()> {
    let table = folder.display().to_string();
    let local = BTreeMap::new();
    let described = delta_table::describe(&table, &local).await?;
    let (count, version, files) = (described.rows.unwrap_or(0), described.version, described.files);
    say(format!("\nDelta table {table}: {count} rows, version {version}, {files} files"))?;
    let rows = delta_table::first_rows(&table, &local, ROWS_SHOWN).await?;
    say(format!("\n{}", table::of_record_batches(&rows)?.render()))
}

fn where_next(folder: &Path) -> Result<()> {
    let folder = folder.display();
    say(format!(
        "\nWhere to look next\n  \
         {folder}/orders_to_delta.toml              the pipeline that filled the table: change it\n  \
         gristmill run {folder} --data-dir {folder}    run it again, from where it stopped\n  \
         gristmill table show {folder}/lake/orders    the table (Spark, DuckDB and pandas read it too)\n  \
         docs/pipeline-file.md                        everything that a pipeline file may say"
    ))
}

fn say(text: String) -> Result<()> {
    Output::Text.remark(text)
}
