//! What a commit to a Delta table costs, and that it costs the same after 10,000 of them.
//!
//! Every commit writes a data file of some rows and one log entry, both synced; checkpoints are written beside, every
//! 100 commits. Printed after 100, 1,000 and 10,000: milliseconds per commit (of the 100 before it), CPU per commit with
//! all checkpoints, the size of the log, and what a start on that table takes.
//! `COMMITS=n ROWS=n FOLDER=path cargo xtask bench table`; a folder in memory shows the cost without the disk's.

#[path = "chain/measure.rs"]
#[allow(dead_code)]
mod measure;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_connectors::{DeltaSink, DeltaSinkSetup};
use gristmill_engine::config::{CommitEvery, DeltaSinkConfig, SchemaEvolution};
use gristmill_engine::cursors::Cursors;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::{Commit, Sink, SinkRows, When};
use measure::{peak_rss_mb, process_cpu, setting};

/// Commits whose median is shown.
const SHOWN: usize = 100;

fn main() -> Result<()> {
    let (commits, rows) = (setting("COMMITS", 10_000), setting("ROWS", 100));
    let folder = std::env::var("FOLDER").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    println!("{rows} rows a commit, in {}", folder.path().display());
    println!(
        "{:>8}{:>12}{:>10}{:>10}{:>14}{:>12}{:>12}{:>10}{:>10}",
        "commits",
        "ms median",
        "ms p99",
        "ms most",
        "CPU ms/commit",
        "log files",
        "log KiB",
        "start ms",
        "RSS MB"
    );
    tokio::runtime::Runtime::new()?.block_on(run(&folder.path().join("lake"), commits, rows))
}

async fn run(table: &Path, commits: usize, rows: usize) -> Result<()> {
    let mut sink = open(table).await?;
    let mut times = Vec::with_capacity(commits);
    let mut began_cpu = process_cpu();
    for number in 1..=commits {
        let began = Instant::now();
        commit(&sink, number, rows).await?;
        times.push(began.elapsed());
        if number >= SHOWN && (number == commits || [100, 1_000, 10_000].contains(&number)) {
            settle(&sink, number, rows).await?;
            let cpu = (process_cpu() - began_cpu) / u32::try_from(number)?;
            drop(sink);
            let began = Instant::now();
            sink = open(table).await?;
            report(table, &times, cpu, began.elapsed())?;
            began_cpu = process_cpu() - cpu * u32::try_from(number)?;
        }
    }
    Ok(())
}

async fn open(table: &Path) -> Result<DeltaSink> {
    let config = DeltaSinkConfig {
        table: table.display().to_string(),
        partition_by: Vec::new(),
        commit_every: CommitEvery { rows: 1, ..CommitEvery::default() },
        schema_evolution: SchemaEvolution::Refuse,
        storage: BTreeMap::new(),
    };
    let setup = DeltaSinkSetup {
        pipeline: "bench".into(),
        sink: "lake".into(),
        index: 0,
        config,
        rows: schema(),
    };
    DeltaSink::open(setup).await
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
        Field::new("total", DataType::Float64, true),
    ]))
}

async fn commit(sink: &DeltaSink, number: usize, rows: usize) -> Result<()> {
    let partition = TopicPartition::new("orders", 0);
    let (begin, end) = (((number - 1) * rows) as i64, (number * rows) as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(begin..end)),
        Arc::new(StringArray::from_iter_values((begin..end).map(|id| format!("city {}", id % 50)))),
        Arc::new(Float64Array::from_iter_values((begin..end).map(|id| id as f64 / 100.0))),
    ];
    let batch = RecordBatch::try_new(schema(), columns)?;
    let rows =
        SinkRows { partition: partition.clone(), rows: batch, offsets: (begin..end).collect() };
    let mut writer = sink.writer()?;
    tokio::task::spawn_blocking(move || writer.write(&rows)).await??;
    let cursors = Cursors::of(&Offsets::from([(partition, end)]), 1);
    let committed = sink.commit(&cursors, When::Due).await?;
    ensure!(committed.len() == 1, "a commit of {committed:?}");
    Ok(())
}

/// Waits for the checkpoint that is being written.
async fn settle(sink: &DeltaSink, number: usize, rows: usize) -> Result<()> {
    let end = Offsets::from([(TopicPartition::new("orders", 0), (number * rows) as i64)]);
    sink.commit(&Cursors::of(&end, 1), When::Last).await?;
    Ok(())
}

fn report(table: &Path, times: &[Duration], cpu: Duration, start: Duration) -> Result<()> {
    let mut last: Vec<f64> =
        times[times.len() - SHOWN..].iter().map(|time| time.as_secs_f64() * 1e3).collect();
    last.sort_by(f64::total_cmp);
    let (files, bytes) = size(&table.join("_delta_log"))?;
    println!(
        "{:>8}{:>12.2}{:>10.2}{:>10.2}{:>14.2}{files:>12}{:>12}{:>10}{:>10}",
        times.len(),
        last[SHOWN / 2],
        last[SHOWN - 2],
        last[SHOWN - 1],
        cpu.as_secs_f64() * 1e3,
        bytes >> 10,
        start.as_millis(),
        peak_rss_mb()?
    );
    Ok(())
}

/// Files in a folder, and their bytes.
fn size(folder: &Path) -> Result<(usize, u64)> {
    let entries = std::fs::read_dir(folder).context("no log")?;
    let sizes = entries.map(|entry| Ok(entry?.metadata()?.len()));
    let sizes = sizes.collect::<Result<Vec<u64>>>()?;
    Ok((sizes.len(), sizes.iter().sum()))
}
