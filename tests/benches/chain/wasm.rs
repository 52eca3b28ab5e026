//! The engine's own lane: the shipped stages in their sandboxes, from record columns to the sink's record batch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use gristmill_cli::shipped::{SHIPPED, names};
use gristmill_engine::config::{self, LoadContext};
use gristmill_engine::lane::{BATCH_ROWS_MAX, Lane, LaneStop, LaneWriter};
use gristmill_engine::offsets::{OffsetRange, TopicPartition};
use gristmill_engine::plan::Plan;
use gristmill_engine::sink::{SinkRows, SinkWriter};
use gristmill_engine::source::{self, SourceBatch, SourceReader};
use gristmill_engine::status::Status;
use gristmill_host::{Host, HostConfig};
use tokio_util::sync::CancellationToken;

use super::orders::{Case, Input};

pub const SCHEMA: &str = "order_id long, customer_id long, customer_fname string, customer_lname string, city string, \
    state string, zipcode long, line_items array<struct<order_item_id long, order_item_product_id long, \
    order_item_quantity long, order_item_product_price float, order_item_subtotal float>>";

pub struct Chain {
    lane: Lane,
    batches: Arc<Vec<SourceBatch>>,
    position: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
    records: i64,
    /// Wall time of all runs.
    spent: Duration,
}

/// The pipeline file of a case.
fn pipeline(case: Case) -> String {
    let keep = if case == Case::PassesAll { "city is not null" } else { "city = 'Chicago'" };
    format!(
        r#"
name = "bench"
[source]
topics = ["orders"]
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "{SCHEMA}" }}
[[stage]]
name = "flatten"
module = "flatten"
with = {{ explode = "line_items", rename = {{ order_item_id = "item_id", order_item_product_id = "product_id", order_item_quantity = "quantity", order_item_product_price = "product_price", order_item_subtotal = "subtotal" }} }}
[[stage]]
name = "chicago"
module = "filter"
with = {{ where = "{keep}" }}
[[sink]]
name = "rows"
delta = "./never-opened"
columns = ["key", "order_id", "customer_id", "customer_fname", "customer_lname", "city", "state", "zipcode", "item_id", "product_id", "quantity", "product_price", "subtotal"]
"#
    )
}

/// A pipeline file's text, planned with the shipped stages.
pub fn plan(text: &str) -> Result<Plan> {
    let shipped = names();
    let context = LoadContext { shipped: &shipped, environment: &|_| None };
    let wrong = |diagnostics: Vec<config::Diagnostic>| {
        anyhow!("{}", config::render_all(&diagnostics, text))
    };
    let loaded = config::parse(text, Path::new("bench.toml"), &context).map_err(wrong)?;
    let host = Host::new(HostConfig::default())?;
    Plan::new(&host, loaded.pipeline, SHIPPED).map_err(wrong)
}

impl Chain {
    pub fn new(input: &Input) -> Result<Chain> {
        let plan = Arc::new(plan(&pipeline(input.case))?);
        let batches = Arc::new(batches(input, &plan.source_columns)?);
        let (position, rows) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let reader = Memory { batches: batches.clone(), position: position.clone() };
        let writer =
            LaneWriter { writer: Box::new(Count { rows: rows.clone() }), stored_below: i64::MIN };
        let stages = plan.stages.iter().map(|stage| stage.name.clone());
        let status = Arc::new(Status::new("bench", stages, ["rows".to_string()].into_iter()));
        let partition = TopicPartition::new("orders", 0);
        let lane = Lane::new(plan, partition, Box::new(reader), vec![writer], None, status);
        Ok(Chain {
            lane,
            batches,
            position,
            rows,
            records: input.len() as i64,
            spent: Duration::ZERO,
        })
    }

    /// All orders once through; returns the rows that reached the sink.
    pub fn run(&mut self) -> Result<u64> {
        self.position.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(3600);
        let stop = LaneStop { token: CancellationToken::new(), deadline };
        let began = Instant::now();
        self.lane.run(OffsetRange { begin: 0, end: self.records }, &stop)?;
        self.spent += began.elapsed();
        assert_eq!(self.position.load(Ordering::Relaxed), self.batches.len() as u64);
        Ok(self.rows.load(Ordering::Relaxed))
    }

    /// Which shares of the wall time of all runs so far went into the modules, between engine and modules, into the engine.
    pub fn shares(&self) -> [f64; 3] {
        let times = self.lane.times();
        let engine = self.spent.saturating_sub(times.guests + times.boundary);
        [times.guests, times.boundary, engine].map(|time| time.div_duration_f64(self.spent))
    }
}

/// Records that lie ready as columns, as after a fetch.
struct Memory {
    batches: Arc<Vec<SourceBatch>>,
    position: Arc<AtomicU64>,
}

impl SourceReader for Memory {
    fn next(
        &mut self,
        _end: i64,
        _rows_max: usize,
        _bytes_max: usize,
    ) -> Result<Option<SourceBatch>> {
        let next = self.position.load(Ordering::Relaxed) as usize;
        let batch = self.batches.get(next).cloned();
        if batch.is_some() {
            self.position.store(next as u64 + 1, Ordering::Relaxed);
        }
        Ok(batch)
    }

    fn choose_columns(&mut self, _columns: &[&'static str]) -> Result<()> {
        bail!("the records lie ready with their columns")
    }
}

struct Count {
    rows: Arc<AtomicU64>,
}

impl SinkWriter for Count {
    fn write(&mut self, rows: &SinkRows) -> Result<()> {
        std::hint::black_box(&rows.rows);
        self.rows.fetch_add(rows.rows.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// The records of `input` as the source gives them, with the columns that the plan reads.
pub fn batches(input: &Input, columns: &[&str]) -> Result<Vec<SourceBatch>> {
    let schema = source::schema();
    let fields: Vec<Field> = columns
        .iter()
        .map(|name| schema.field_with_name(name).cloned())
        .collect::<Result<_, _>>()?;
    let schema = Arc::new(Schema::new(fields));
    let starts = (0..input.len()).step_by(BATCH_ROWS_MAX);
    starts
        .map(|start| {
            let range = start..(start + BATCH_ROWS_MAX).min(input.len());
            let offsets: Vec<i64> = range.clone().map(|row| row as i64).collect();
            let count = offsets.len();
            let column = |name: &&str| -> ArrayRef {
                match *name {
                    "key" => Arc::new(BinaryArray::from_iter_values(&input.keys[range.clone()])),
                    "value" => {
                        Arc::new(BinaryArray::from_iter_values(&input.values[range.clone()]))
                    }
                    "topic" => Arc::new(StringArray::from(vec!["orders"; count])),
                    "offset" => Arc::new(Int64Array::from(offsets.clone())),
                    "timestamp" => Arc::new(
                        TimestampMicrosecondArray::from(vec![0; count]).with_timezone("UTC"),
                    ),
                    _ => Arc::new(Int32Array::from(vec![0; count])),
                }
            };
            let columns = columns.iter().map(column).collect();
            Ok(SourceBatch { records: RecordBatch::try_new(schema.clone(), columns)?, offsets })
        })
        .collect()
}
