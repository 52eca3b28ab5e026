//! One batch of records through the tree of stages: what a lane of a running pipeline and a `[[test]]` have in common.
//!
//! Responsible for: which rows go where, what failed, that the rows add up. Not responsible for: reading, writing, and
//! what a failure costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use gristmill_host::{FailureKind, LogLevel, LogLine};

use crate::batch::{Batch, gather, source_rows};
use crate::config::{OnFailure, Upstream};
use crate::dead_letter::DeadLetter;
use crate::ledger::RowCounts;
use crate::offsets::TopicPartition;
use crate::plan::{Plan, PlannedSink, PlannedStage};
use crate::shadow::Shadow;
use crate::sink::SinkRows;
use crate::source::{self, SourceBatch};

/// An instance of every stage of a plan.
pub struct StageTree {
    plan: Arc<Plan>,
    stages: Vec<gristmill_host::Lane>,
    /// As [`Plan::stages`], or empty: nobody compares.
    shadows: Vec<Option<Arc<Shadow>>>,
    in_stages: Duration,
}

/// What became of one batch of records.
pub struct Passed {
    /// As [`Plan::stages`].
    pub stages: Vec<StagePassed>,
    source: Batch,
}

/// What one stage made of one batch.
pub struct StagePassed {
    pub counts: RowCounts,
    /// Ascending by row.
    pub failures: Vec<FailedRow>,
    /// Time in the stage: the module's, and what it takes to get there and back.
    pub busy: Duration,
    /// Linear memory of the stage's instance afterwards.
    pub memory_bytes: u64,
    output: Batch,
}

/// A row that a stage did not take.
#[derive(Debug, Clone)]
pub struct FailedRow {
    /// Of the stage's input.
    pub row: u32,
    /// The row's record within the batch of records.
    pub source_row: u32,
    pub kind: FailureKind,
    pub reason: String,
}

impl StageTree {
    /// Instances are made with the first batch.
    pub fn new(plan: Arc<Plan>) -> StageTree {
        let lane = |planned: &PlannedStage| gristmill_host::Lane::new(planned.stage.clone());
        let stages = plan.stages.iter().map(lane).collect();
        StageTree { plan, stages, shadows: Vec::new(), in_stages: Duration::ZERO }
    }

    /// Makes the instances now.
    ///
    /// # Errors
    /// A module that does not start, or describes itself in another way than before.
    pub fn prepare(&mut self) -> Result<()> {
        for (planned, stage) in self.plan.stages.iter().zip(&mut self.stages) {
            stage.prepare().with_context(|| format!("stage `{}`", planned.name))?;
        }
        Ok(())
    }

    /// Gives the candidates of these stages what the stages get; `shadows` as [`Plan::stages`].
    pub(crate) fn shadowed_by(&mut self, shadows: &[Option<Arc<Shadow>>]) {
        self.shadows = shadows.to_vec();
    }

    /// Time inside the modules' functions, and time between engine and modules.
    pub fn times(&self) -> (Duration, Duration) {
        let guests = self.stages.iter().map(gristmill_host::Lane::guest_time).sum();
        (guests, self.in_stages.saturating_sub(guests))
    }

    /// Runs a batch of one partition through all stages.
    ///
    /// # Errors
    /// A record fails at a stage with `on_failure = "stop"`; a stage does not work as such; the rows do not add up.
    pub fn pass(&mut self, partition: &TopicPartition, records: &SourceBatch) -> Result<Passed> {
        let plan = self.plan.clone();
        let source = Batch::from_source(records.offsets.len(), source_edge(&records.records));
        let mut stages: Vec<StagePassed> = Vec::with_capacity(plan.stages.len());
        for (index, planned) in plan.stages.iter().enumerate() {
            let mut input = match planned.from {
                Upstream::Source => source.clone(),
                Upstream::Stage(from) => stages[from].output.clone(),
            };
            let place = Place { partition, offsets: &records.offsets };
            let passed = self.stage(index, planned, &mut input, place)?;
            refuse_failures(planned, partition, records, &passed.failures)?;
            stages.push(passed);
        }
        Ok(Passed { stages, source })
    }

    fn stage(
        &mut self,
        index: usize,
        planned: &PlannedStage,
        input: &mut Batch,
        place: Place<'_>,
    ) -> Result<StagePassed> {
        let rows_in = input.row_count();
        if rows_in == 0 {
            let output = input.after_stage(0, None, &planned.empty, &planned.columns);
            let counts = RowCounts::default();
            let memory_bytes = self.stages[index].memory_bytes() as u64;
            let busy = Duration::ZERO;
            return Ok(StagePassed { counts, failures: Vec::new(), busy, memory_bytes, output });
        }
        let columns = gather(input, planned.stage.reads())?;
        let began = Instant::now();
        let made = self.stages[index].process(&columns, rows_in);
        let busy = began.elapsed();
        self.in_stages += busy;
        let made = made.with_context(|| format!("stage `{}`", planned.name))?;
        if let Some(Some(shadow)) = self.shadows.get(index) {
            shadow.offer(input, &made, busy, place.partition, place.offsets)?;
        }
        for line in &made.log_lines {
            place.log(planned, line, input);
        }
        let failed = made.failures.iter().map(|failure| failure.row);
        let rows = made.rows.as_deref();
        let counts = RowCounts::of(rows_in, made.row_count, rows, failed)
            .with_context(|| format!("stage `{}`", planned.name))?;
        let output =
            input.after_stage(made.row_count, made.rows.as_ref(), &made.columns, &planned.columns);
        let failures = made.failures.into_iter().map(|failure| FailedRow {
            row: failure.row,
            source_row: input.origin(failure.row),
            kind: failure.kind,
            reason: failure.reason,
        });
        let failures = failures.collect();
        let memory_bytes = self.stages[index].memory_bytes() as u64;
        Ok(StagePassed { counts, failures, busy, memory_bytes, output })
    }
}

/// Where the records of a batch come from.
#[derive(Clone, Copy)]
struct Place<'a> {
    partition: &'a TopicPartition,
    offsets: &'a [i64],
}

impl Place<'_> {
    /// A module's line with stage, partition and, if it speaks of a row, the offset of the row's record.
    fn log(&self, planned: &PlannedStage, line: &LogLine, input: &Batch) {
        let (stage, partition, text) = (planned.name.as_str(), self.partition, &line.text);
        // A module may name a row that is not there.
        let row = line.row.filter(|row| (*row as usize) < input.row_count());
        let offset = row.map(|row| self.offsets[input.origin(row) as usize]);
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(target: "gristmill::stage", stage, %partition, offset, "{text}")
            };
        }
        match line.level {
            LogLevel::Error => log!(error),
            LogLevel::Warn => log!(warn),
            LogLevel::Info => log!(info),
            LogLevel::Debug => log!(debug),
        }
    }
}

impl Passed {
    /// The rows of a sink, those of records below `stored_below` left out, in the sink's columns; `None`: no row.
    pub fn sink_rows(
        &self,
        sink: &PlannedSink,
        partition: &TopicPartition,
        offsets: &[i64],
        stored_below: i64,
    ) -> Result<Option<SinkRows>> {
        let mut batch = self.edge(sink.from).clone();
        let offset_of = |row: u32| offsets[row as usize];
        if offsets.first().is_some_and(|first| *first < stored_below) {
            let fresh: Vec<u32> = (0..batch.row_count() as u32)
                .filter(|row| offset_of(batch.origin(*row)) >= stored_below)
                .collect();
            batch = batch.keep(fresh.into());
        }
        if batch.row_count() == 0 {
            return Ok(None);
        }
        let offsets = source_rows(&batch).map(offset_of).collect();
        let columns = gather(&mut batch, &sink.columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.row_count()));
        let rows = RecordBatch::try_new_with_options(sink.schema.clone(), columns, &options)?;
        Ok(Some(SinkRows { partition: partition.clone(), rows, offsets }))
    }

    /// Rows on their way from an end of an edge.
    pub fn row_count(&self, from: Upstream) -> usize {
        self.edge(from).row_count()
    }

    pub(crate) fn edge(&self, from: Upstream) -> &Batch {
        match from {
            Upstream::Source => &self.source,
            Upstream::Stage(index) => &self.stages[index].output,
        }
    }

    /// The records that stages with `on_failure = "dead-letter"` did not take: one letter for each stage and record,
    /// also where several rows of a record failed there.
    pub fn letters(
        &self,
        plan: &Plan,
        partition: &TopicPartition,
        records: &SourceBatch,
    ) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for (planned, passed) in plan.stages.iter().zip(&self.stages) {
            if planned.on_failure == OnFailure::DeadLetter {
                for (first, rows) in by_record(&passed.failures) {
                    let offset = records.offsets[first.source_row as usize];
                    let row = first.source_row as usize;
                    let letter = DeadLetter::of_record(&records.records, row, partition, offset)?;
                    letters.push(DeadLetter {
                        pipeline: plan.pipeline.name.as_str().into(),
                        stage: planned.name.as_str().into(),
                        module_hash: planned.stage.module().hash().into(),
                        kind: kind_text(first.kind).into(),
                        reason: reason(first, rows),
                        ..letter
                    });
                }
            }
        }
        Ok(letters)
    }
}

/// The first failure of each record, and how many there are.
fn by_record(failures: &[FailedRow]) -> Vec<(&FailedRow, usize)> {
    let mut records: Vec<(&FailedRow, usize)> = Vec::new();
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    for failure in failures {
        let at = *seen.entry(failure.source_row).or_insert(records.len());
        match records.get_mut(at) {
            Some((_, rows)) => *rows += 1,
            None => records.push((failure, 1)),
        }
    }
    records
}

fn reason(first: &FailedRow, rows: usize) -> String {
    match rows - 1 {
        0 => first.reason.clone(),
        more => format!("{} (and {more} more rows of this record)", first.reason),
    }
}

/// One word for each way to fail, as dead letters have it.
pub fn kind_text(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Rejected => "rejected",
        FailureKind::Refused => "refused",
        FailureKind::Trapped => "trap",
        FailureKind::TimedOut => "time-out",
        FailureKind::MemoryLimit => "memory-limit",
        FailureKind::OutputLimit => "output-limit",
        FailureKind::BadOutput => "bad-output",
    }
}

/// # Errors
/// The stage is to stop the pipeline, and there is a failure.
fn refuse_failures(
    planned: &PlannedStage,
    partition: &TopicPartition,
    records: &SourceBatch,
    failures: &[FailedRow],
) -> Result<()> {
    let Some(first) = failures.first().filter(|_| planned.on_failure == OnFailure::Stop) else {
        return Ok(());
    };
    let does = match first.kind {
        FailureKind::Rejected | FailureKind::Refused => "rejects",
        _ => "breaks on",
    };
    bail!(
        "stage `{}` {does} the record at {partition} offset {}: {} \
         (set `on_failure = \"skip\"` or `\"dead-letter\"` to go on without such records)",
        planned.name,
        records.offsets[first.source_row as usize],
        first.reason,
    )
}

/// The columns of the source edge, in its order, from a batch that holds some of them.
fn source_edge(records: &RecordBatch) -> Vec<Option<ArrayRef>> {
    source::COLUMNS.iter().map(|name| records.column_by_name(name).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(row: u32, source_row: u32) -> FailedRow {
        FailedRow { row, source_row, kind: FailureKind::Rejected, reason: format!("row {row}") }
    }

    #[test]
    fn a_record_of_which_several_rows_fail_becomes_one_letter() {
        let failures = [failed(0, 7), failed(1, 7), failed(2, 3), failed(5, 7)];
        let records = by_record(&failures);
        let reasons: Vec<_> = records.iter().map(|(first, rows)| reason(first, *rows)).collect();
        assert_eq!(reasons, ["row 0 (and 2 more rows of this record)", "row 2"]);
    }
}
