//! One partition on its way through the stages into the sinks' writers.
//!
//! A lane owns an instance of every stage and a writer of every sink, so lanes share nothing and run in parallel. It keeps
//! no rows between two micro-batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::dead_letter::DeadLetterSink;
use crate::failure_budget::{FailedRow, Given};
use crate::ledger::Ledger;
use crate::offsets::{OffsetRange, TopicPartition};
use crate::plan::Plan;
use crate::shadow::Shadow;
use crate::sink::SinkWriter;
use crate::source::{SourceBatch, SourceReader};
use crate::status::Status;
use crate::tap::Taps;
use crate::tree::{Passed, StageTree};

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
    tree: StageTree,
    writers: Vec<LaneWriter>,
    dead_letters: Option<LaneLetters>,
    status: Arc<Status>,
    taps: Arc<Taps>,
    /// Memory of each stage's instance, as it was told to `status`.
    memory_bytes: Vec<u64>,
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
        let tree = StageTree::new(plan.clone());
        let (taps, memory_bytes) = (Arc::default(), vec![0; plan.stages.len()]);
        Lane { plan, partition, reader, tree, writers, dead_letters, status, taps, memory_bytes }
    }

    /// Shows its rows to whoever looks.
    pub(crate) fn observed_by(&mut self, taps: &Arc<Taps>, shadows: &[Option<Arc<Shadow>>]) {
        self.taps = taps.clone();
        self.tree.shadowed_by(shadows);
    }

    /// Goes on with other stages and the same reader and writers. Returns the stages that are of no use any more.
    ///
    /// # Errors
    /// The reader cannot give the columns that the plan asks for.
    pub(crate) fn change_stages(
        &mut self,
        plan: Arc<Plan>,
        tree: StageTree,
        status: Arc<Status>,
    ) -> Result<StageTree> {
        self.reader.choose_columns(&plan.source_columns)?;
        self.give_back_memory();
        self.memory_bytes = vec![0; plan.stages.len()];
        self.plan = plan;
        self.status = status;
        Ok(std::mem::replace(&mut self.tree, tree))
    }

    pub fn times(&self) -> LaneTimes {
        let (guests, boundary) = self.tree.times();
        LaneTimes { guests, boundary }
    }

    /// Reads, transforms and writes the offsets of `range`, or as many of them as `stop` allows (at least one batch).
    ///
    /// # Errors
    /// What stops the pipeline; nothing of this micro-batch may be committed.
    pub fn run(&mut self, range: OffsetRange, stop: &LaneStop) -> Result<LaneProgress> {
        let mut progress = LaneProgress { reached: range.begin, records: 0 };
        let mut ledger = Ledger::new(&self.plan);
        loop {
            let next = self.reader.next(range.end, BATCH_ROWS_MAX, BATCH_BYTES_MAX);
            let next = next.with_context(|| format!("cannot read partition {}", self.partition))?;
            let Some(records) = next else {
                progress.reached = range.end;
                break;
            };
            let Some(last) = records.offsets.last() else { continue };
            progress.reached = last + 1;
            progress.records += records.offsets.len() as u64;
            self.pass(&records, &mut ledger)?;
            let stopped = stop.token.is_cancelled() || Instant::now() >= stop.deadline;
            if stopped || progress.reached >= range.end {
                break;
            }
        }
        ledger.check(&self.plan)?;
        Ok(progress)
    }

    /// One batch through the whole tree.
    fn pass(&mut self, records: &SourceBatch, ledger: &mut Ledger) -> Result<()> {
        let passed = self.tree.pass(&self.partition, records)?;
        ledger.records += records.offsets.len() as u64;
        self.status.add_records(&self.partition, records.offsets.len() as u64);
        for (index, stage) in passed.stages.iter().enumerate() {
            ledger.stages[index].add(stage.counts);
            self.status.add_rows(index, stage.counts);
            let before = std::mem::replace(&mut self.memory_bytes[index], stage.memory_bytes);
            self.status.add_cost(index, stage.busy, before, stage.memory_bytes);
        }
        self.taps.show(&self.plan, &passed, &self.partition, &records.offsets)?;
        self.spend_failures(&passed, records)?;
        self.write_letters(&passed, records)?;
        for index in 0..self.plan.sinks.len() {
            self.write(index, &passed, &records.offsets, ledger)?;
        }
        Ok(())
    }

    /// # Errors
    /// A stage has failed more rows than its `max_failures` allows.
    fn spend_failures(&self, passed: &Passed, records: &SourceBatch) -> Result<()> {
        let Some(last_offset) = records.offsets.last().copied() else { return Ok(()) };
        for (index, (planned, stage)) in self.plan.stages.iter().zip(&passed.stages).enumerate() {
            let Some(limit) = planned.max_failures else { continue };
            let failures = stage.failures.iter().map(|failure| {
                let (row, offset) = (failure.row, records.offsets[failure.source_row as usize]);
                let what = format!("{} offset {offset}: {}", self.partition, failure.reason);
                FailedRow { row, offset, what }
            });
            let (partition, rows) = (&self.partition, stage.counts.rows_in);
            let given = Given { partition, last_offset, rows };
            let spent = self.status.spend_failures(index, limit, &given, failures);
            spent.with_context(|| format!("stage `{}`", planned.name))?;
        }
        Ok(())
    }

    fn write_letters(&self, passed: &Passed, records: &SourceBatch) -> Result<()> {
        for letter in passed.letters(&self.plan, &self.partition, records)? {
            let letters = self.dead_letters.as_ref().context("no dead letter topic is open")?;
            if letter.offset >= letters.stored_below {
                letters.sink.write(letter).context("cannot write a dead letter")?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        index: usize,
        passed: &Passed,
        offsets: &[i64],
        ledger: &mut Ledger,
    ) -> Result<()> {
        let sink = &self.plan.sinks[index];
        let writer = &mut self.writers[index];
        let arrived = passed.row_count(sink.from) as u64;
        let rows = passed.sink_rows(sink, &self.partition, offsets, writer.stored_below)?;
        let written = rows.as_ref().map_or(0, |rows| rows.rows.num_rows() as u64);
        ledger.sinks[index].written += written;
        ledger.sinks[index].stored_before += arrived.saturating_sub(written);
        self.status.add_written(index, written);
        match rows {
            Some(rows) => {
                writer.writer.write(&rows).with_context(|| format!("sink `{}`", sink.name))
            }
            None => Ok(()),
        }
    }
}

impl Lane {
    /// The stages' instances are of no use any more.
    fn give_back_memory(&self) {
        for (index, memory_bytes) in self.memory_bytes.iter().enumerate() {
            self.status.add_cost(index, Duration::ZERO, *memory_bytes, 0);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.give_back_memory();
    }
}
