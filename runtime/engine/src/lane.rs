//! One partition on its way through the stages into the sinks' writers.
//!
//! A lane owns an instance of every stage and a writer of every sink, so lanes share nothing and run in parallel. It keeps
//! no rows between two micro-batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ListArray, RecordBatch, RecordBatchOptions, types};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, gather, source_rows};
use crate::config::{OnFailure, Upstream};
use crate::dead_letter::{DeadLetter, DeadLetterSink};
use crate::offsets::{OffsetRange, TopicPartition};
use crate::plan::{Plan, PlannedSink, PlannedStage};
use crate::sink::{SinkRows, SinkWriter};
use crate::source::{self, SourceBatch, SourceReader};
use crate::status::{RowCounts, Status};

/// Rows of one batch through the stages: about what stays in a core's cache (measured best).
pub const BATCH_ROWS_MAX: usize = 1_000;
/// Bytes of record values of one batch.
pub const BATCH_BYTES_MAX: usize = 512 << 10;

/// What one lane did in one micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct LaneProgress {
    /// Everything below this offset has been handed to the writers.
    pub reached: i64,
    /// Records read.
    pub records: u64,
}

/// When a lane ends its part of a micro-batch early, at the next batch.
#[derive(Clone)]
pub struct LaneStop {
    pub token: CancellationToken,
    pub deadline: Instant,
}

/// See the module's documentation.
pub struct Lane {
    plan: Arc<Plan>,
    partition: TopicPartition,
    reader: Box<dyn SourceReader>,
    stages: Vec<gristmill_host::Lane>,
    writers: Vec<LaneWriter>,
    dead_letters: Option<LaneLetters>,
    status: Arc<Status>,
    in_stages: Duration,
}

/// Where a lane's time went so far.
#[derive(Debug, Clone, Copy)]
pub struct LaneTimes {
    /// Inside the modules.
    pub guests: Duration,
    /// Between engine and modules: frames written, checked and copied.
    pub boundary: Duration,
}

/// A sink's writer and the offset below which the sink wants no rows of this partition: it has them, or begins later.
pub struct LaneWriter {
    pub writer: Box<dyn SinkWriter>,
    pub stored_below: i64,
}

/// Where dead letters go, and the source offset below which they are there already.
pub struct LaneLetters {
    pub sink: Arc<dyn DeadLetterSink>,
    pub stored_below: i64,
}

impl Lane {
    pub fn new(
        plan: Arc<Plan>,
        partition: TopicPartition,
        reader: Box<dyn SourceReader>,
        writers: Vec<LaneWriter>,
        dead_letters: Option<LaneLetters>,
        status: Arc<Status>,
    ) -> Lane {
        let stages =
            plan.stages.iter().map(|planned| gristmill_host::Lane::new(planned.stage.clone()));
        let stages = stages.collect();
        Lane {
            plan,
            partition,
            reader,
            stages,
            writers,
            dead_letters,
            status,
            in_stages: Duration::ZERO,
        }
    }

    pub fn times(&self) -> LaneTimes {
        let guests = self.stages.iter().map(gristmill_host::Lane::guest_time).sum();
        LaneTimes { guests, boundary: self.in_stages.saturating_sub(guests) }
    }

    /// Reads, transforms and writes the offsets of `range`, or as many of them as `stop` allows (at least one batch).
    pub fn run(&mut self, range: OffsetRange, stop: &LaneStop) -> Result<LaneProgress> {
        let mut progress = LaneProgress { reached: range.begin, records: 0 };
        loop {
            let next = self.reader.next(range.end, BATCH_ROWS_MAX, BATCH_BYTES_MAX);
            let next = next.with_context(|| format!("cannot read partition {}", self.partition))?;
            let Some(records) = next else {
                progress.reached = range.end;
                return Ok(progress);
            };
            let Some(last) = records.offsets.last() else { continue };
            progress.reached = last + 1;
            progress.records += records.offsets.len() as u64;
            self.pass(&records)?;
            let stopped = stop.token.is_cancelled() || Instant::now() >= stop.deadline;
            if stopped || progress.reached >= range.end {
                return Ok(progress);
            }
        }
    }

    /// One batch through the whole tree.
    fn pass(&mut self, records: &SourceBatch) -> Result<()> {
        let plan = self.plan.clone();
        let first = Batch::from_source(records.offsets.len(), source_edge(&records.records));
        let mut outputs: Vec<Option<Batch>> = Vec::with_capacity(plan.stages.len());
        for (index, planned) in plan.stages.iter().enumerate() {
            let mut input = match planned.from {
                Upstream::Source => first.clone(),
                Upstream::Stage(from) => outputs[from].clone().context("stages out of order")?,
            };
            outputs.push(Some(self.stage(index, planned, &mut input, records)?));
        }
        self.status.add_records(&self.partition, records.offsets.len() as u64);
        for (index, sink) in plan.sinks.iter().enumerate() {
            let mut batch = match sink.from {
                Upstream::Source => first.clone(),
                Upstream::Stage(from) => outputs[from].clone().context("stages out of order")?,
            };
            self.write(index, sink, &mut batch, &records.offsets)?;
        }
        Ok(())
    }

    fn stage(
        &mut self,
        index: usize,
        planned: &PlannedStage,
        input: &mut Batch,
        records: &SourceBatch,
    ) -> Result<Batch> {
        let rows_in = input.row_count();
        if rows_in == 0 {
            return Ok(input.after_stage(0, None, &planned.empty, &planned.columns));
        }
        let columns = gather(input, planned.stage.reads())?;
        let began = Instant::now();
        let output = self.stages[index].process(&columns, rows_in);
        self.in_stages += began.elapsed();
        let output = output.with_context(|| format!("stage `{}`", planned.name))?;
        for failure in &output.failures {
            self.reject(planned, input.origin(failure.row), &failure.reason, records)?;
        }
        let batch = input.after_stage(
            output.row_count,
            output.rows.as_ref(),
            &output.columns,
            &planned.columns,
        );
        let failed = output.failures.len();
        let passed = output.rows.as_ref().map_or(rows_in, |rows| distinct(rows, rows_in));
        self.status.add_rows(index, RowCounts::of(rows_in, batch.row_count(), passed, failed)?);
        Ok(batch)
    }

    /// A record that a stage rejected: what happens is the pipeline's choice.
    fn reject(
        &self,
        planned: &PlannedStage,
        source_row: u32,
        reason: &str,
        records: &SourceBatch,
    ) -> Result<()> {
        let offset = records.offsets[source_row as usize];
        match planned.on_failure {
            OnFailure::Skip => Ok(()),
            OnFailure::Stop => bail!(
                "stage `{}` rejects the record at {} offset {offset}: {reason} \
                 (set `on_failure = \"skip\"` or `\"dead-letter\"` to go on without such records)",
                planned.name,
                self.partition,
            ),
            OnFailure::DeadLetter => {
                let letters = self.dead_letters.as_ref().context("no dead letter topic is open")?;
                if offset < letters.stored_below {
                    return Ok(());
                }
                let letter = DeadLetter {
                    stage: planned.name.as_str().into(),
                    module_hash: planned.stage.module().hash().into(),
                    reason: reason.to_string(),
                    ..original(&records.records, source_row as usize, &self.partition, offset)?
                };
                letters.sink.write(letter).context("cannot write a dead letter")
            }
        }
    }

    fn write(
        &mut self,
        index: usize,
        sink: &PlannedSink,
        batch: &mut Batch,
        source_offsets: &[i64],
    ) -> Result<()> {
        let writer = &mut self.writers[index];
        let offset_of = |row: u32| source_offsets[row as usize];
        if source_offsets.first().is_some_and(|first| *first < writer.stored_below) {
            let fresh: Vec<u32> = (0..batch.row_count() as u32)
                .filter(|row| offset_of(batch.origin(*row)) >= writer.stored_below)
                .collect();
            *batch = batch.keep(fresh.into());
        }
        if batch.row_count() == 0 {
            return Ok(());
        }
        let offsets = source_rows(batch).map(offset_of).collect();
        let columns = gather(batch, &sink.columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.row_count()));
        let rows = RecordBatch::try_new_with_options(sink.schema.clone(), columns, &options)?;
        self.status.add_written(index, rows.num_rows() as u64);
        let rows = SinkRows { partition: self.partition.clone(), rows, offsets };
        writer.writer.write(&rows).with_context(|| format!("sink `{}`", sink.name))
    }
}

/// The columns of the source edge, in its order, from a batch that holds some of them.
fn source_edge(records: &RecordBatch) -> Vec<Option<arrow_array::ArrayRef>> {
    source::COLUMNS.iter().map(|name| records.column_by_name(name).cloned()).collect()
}

/// How many different input rows `rows` names.
fn distinct(rows: &[u32], row_count: usize) -> usize {
    let mut seen = vec![false; row_count];
    rows.iter().filter(|row| !std::mem::replace(&mut seen[**row as usize], true)).count()
}

/// The record as it was produced, byte for byte; who rejected it and why is not filled in yet.
fn original(
    records: &RecordBatch,
    row: usize,
    partition: &TopicPartition,
    offset: i64,
) -> Result<DeadLetter> {
    let column = |name: &str| {
        records.column_by_name(name).with_context(|| format!("column `{name}` was not read"))
    };
    let bytes = |name: &str| -> Result<Option<Vec<u8>>> {
        let column = column(name)?;
        Ok(column.is_valid(row).then(|| column.as_binary::<i32>().value(row).to_vec()))
    };
    let timestamp = column("timestamp")?.as_primitive::<types::TimestampMicrosecondType>();
    Ok(DeadLetter {
        key: bytes("key")?,
        value: bytes("value")?,
        headers: headers(column("headers")?.as_list::<i32>(), row),
        partition: partition.clone(),
        offset,
        timestamp_ms: timestamp.is_valid(row).then(|| timestamp.value(row).div_euclid(1_000)),
        stage: "".into(),
        module_hash: "".into(),
        reason: String::new(),
    })
}

fn headers(headers: &ListArray, row: usize) -> Vec<(String, Option<Vec<u8>>)> {
    if headers.is_null(row) {
        return Vec::new();
    }
    let entries = headers.value(row);
    let entries = entries.as_struct();
    let (keys, values) =
        (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let value = |i: usize| values.is_valid(i).then(|| values.value(i).to_vec());
    (0..keys.len()).map(|i| (keys.value(i).to_string(), value(i))).collect()
}
