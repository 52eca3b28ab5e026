//! How fast rows go into a Delta table, and what a commit costs. The table stays for readers to look at.
//!
//! `cargo run --release -p gristmill-connectors --example delta_speed -- FOLDER [COMMITS] [ROWS]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_connectors::{DeltaSink, DeltaSinkSetup};
use gristmill_engine::config::{CommitEvery, DeltaSinkConfig, SchemaEvolution};
use gristmill_engine::cursors::Cursors;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::{Commit, Sink, SinkRows, When};

/// Rows that a stage hands over at a time.
const BATCH_ROWS: i64 = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let table = arguments.next().context("which folder?")?;
    let mut numbers = arguments.map(|argument| argument.parse::<i64>());
    let commits = numbers.next().transpose()?.unwrap_or(100);
    let rows = numbers.next().transpose()?.unwrap_or(10_000);
    let sink = DeltaSink::open(setup(table)).await?;
    let at = TopicPartition::new("orders", 0);
    let begin = sink.cursors(std::slice::from_ref(&at)).await?.get(&at).copied().unwrap_or(0);
    let (begun, mut times) = (Instant::now(), Vec::new());
    for commit in 0..commits {
        let first = begin + commit * rows;
        let (mut writer, partition) = (sink.writer()?, at.clone());
        let write = move || -> Result<()> {
            for start in (first..first + rows).step_by(BATCH_ROWS as usize) {
                let offsets = start..(start + BATCH_ROWS).min(first + rows);
                let batch = batch(offsets.clone())?;
                let (partition, offsets) = (partition.clone(), offsets.collect());
                writer.write(&SinkRows { partition, rows: batch, offsets })?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(write).await??;
        let committing = Instant::now();
        let next = Offsets::from([(at.clone(), first + rows)]);
        sink.commit(&Cursors::of(&next, 1), When::Last).await?;
        times.push(committing.elapsed());
    }
    report(commits * rows, begun.elapsed(), times);
    Ok(())
}

fn report(rows: i64, time: Duration, mut commits: Vec<Duration>) {
    commits.sort_unstable();
    let share = |part: f64| commits[((commits.len() - 1) as f64 * part) as usize];
    println!(
        "{rows} rows in {time:?}: {:.0}/s; a commit takes {:?}, at most {:?}",
        rows as f64 / time.as_secs_f64(),
        share(0.5),
        share(1.0)
    );
}

fn setup(table: String) -> DeltaSinkSetup {
    DeltaSinkSetup {
        pipeline: "speed".into(),
        sink: "lake".into(),
        index: 0,
        config: DeltaSinkConfig {
            table,
            partition_by: Vec::new(),
            commit_every: CommitEvery::default(),
            schema_evolution: SchemaEvolution::Refuse,
            storage: BTreeMap::new(),
        },
        rows: schema(),
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("order_id", DataType::Int64, true),
        Field::new("customer_id", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
        Field::new("state", DataType::Utf8, true),
        Field::new("product_price", DataType::Float32, true),
        Field::new("subtotal", DataType::Float32, true),
        Field::new("offset", DataType::Int64, true),
    ]))
}

fn batch(offsets: std::ops::Range<i64>) -> Result<RecordBatch> {
    let mixed = |offset: i64| (offset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let cities = ["Chicago", "Reno", "Caguas", "San Marcos", "Brownsville", "Littleton"];
    let states = ["IL", "NV", "PR", "CA", "TX", "CO"];
    let city = |offset| (mixed(offset) % 6) as usize;
    let price = |offset| (mixed(offset) % 300) as f32 + 0.99;
    let all = || offsets.clone();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(all())),
        Arc::new(Int64Array::from_iter_values(all().map(|at| (mixed(at) % 12_435) as i64))),
        Arc::new(StringArray::from_iter_values(all().map(|at| cities[city(at)]))),
        Arc::new(StringArray::from_iter_values(all().map(|at| states[city(at)]))),
        Arc::new(Float32Array::from_iter_values(all().map(price))),
        Arc::new(Float32Array::from_iter_values(all().map(|at| price(at) * 2.0))),
        Arc::new(Int64Array::from_iter_values(all())),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
