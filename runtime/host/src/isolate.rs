//! Finds the rows that make a stage fail, and brings all others through.
//!
//! A batch that fails is run again in halves, each in a usable instance, until the failing part is
//! one row. The parts run from left to right, so that rows keep their order. This rests on stages
//! that keep no state from batch to batch (stage.wit).

use crate::error::DescribeError;
use crate::host::{Clock, TICK};
use crate::instance::Instance;
use crate::log_lines::LogLine;
use crate::output::{Failure, Output};
use crate::stage::Stage;
use crate::{Limits, ProcessError};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ScalarBuffer;
use std::sync::Arc;
use std::time::Duration;

/// A stage in one lane: an instance that is replaced when it fails.
pub struct Lane {
    stage: Arc<Stage>,
    instance: Option<Instance>,
    /// The instance has not run a batch yet.
    is_prepared: bool,
    /// Whether the last call was the first of its instance.
    was_fresh: bool,
    /// Of the last call.
    log_lines: Vec<LogLine>,
}

/// The output of one batch, with the rows that made the stage fail among the failures.
#[derive(Debug, Clone)]
pub struct LaneOutput {
    /// As in [`Output::rows`].
    pub rows: Option<ScalarBuffer<u32>>,
    pub row_count: usize,
    pub columns: Vec<ArrayRef>,
    /// Strictly ascending by row; none of them is in `rows`.
    pub failures: Vec<RowFailure>,
    /// Instances that failed and were replaced on the way.
    pub instances_lost: usize,
    /// At most [`Limits::log_lines_max`], and one that counts the others.
    pub log_lines: Vec<LogLine>,
}

/// An input row that gave no output, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    pub row: u32,
    pub reason: String,
    pub kind: FailureKind,
}

/// Whose word it is that a row failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The stage rejected the row in a good output.
    Rejected,
    /// The stage answered `Err` for a batch of this row alone.
    Refused,
    Trapped,
    TimedOut,
    MemoryLimit,
    OutputLimit,
    /// The stage's output for this row breaks the contract.
    BadOutput,
}

/// Why a lane gave no output: the stage as such does not work. Nothing was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneError {
    /// No new instance could be made.
    Instance(DescribeError),
    /// The search took longer than `isolation_time_max`; `last` is what failed last.
    IsolationTime { after: Duration, found: usize, rows: usize, last: ProcessError },
}

impl std::fmt::Display for LaneError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(error) => write!(f, "cannot make a new instance: {error}"),
            Self::IsolationTime { after, found, rows, last } => write!(
                f,
                "the search for the records that the module breaks on took longer than {} ms, with {found} found in \
                 {rows} rows; the last: {last} (mend the module, lower `limits.batch_time`, or raise \
                 `limits.isolation_time`)",
                after.as_millis()
            ),
        }
    }
}

impl std::error::Error for LaneError {}

/// A part of a batch that is searched gets a share of the batch's time, but never less than this
/// part.
const SEARCH_TIME_PARTS: u32 = 16;

impl Lane {
    /// Makes the instance with the first batch.
    pub fn new(stage: Arc<Stage>) -> Self {
        Self { stage, instance: None, is_prepared: false, was_fresh: false, log_lines: Vec::new() }
    }

    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// Makes the instance now and not with the first batch.
    ///
    /// # Errors
    /// As [`Stage::instance`].
    pub fn prepare(&mut self) -> Result<(), DescribeError> {
        if self.instance.is_none() {
            self.instance = Some(self.stage.instance()?);
            self.is_prepared = true;
        }
        Ok(())
    }

    /// Linear memory that the lane's guest holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory_bytes)
    }

    /// Time spent inside the functions of the lane's present instance; the rest of [`Lane::process`] is the
    /// boundary: frames written, checked and copied.
    pub fn guest_time(&self) -> Duration {
        self.instance.as_ref().map_or(Duration::ZERO, Instance::guest_time)
    }

    /// Runs a batch. `columns` are those of [`Stage::reads`], of `row_count` rows each.
    ///
    /// The time is bounded: one `batch_time_max` for the batch, then at most `isolation_time_max`
    /// and two last calls for the search. A row that traps costs about two calls for each halving,
    /// log2 of the row count; a batch of *n* rows at most 3 *n* calls. A row that hangs costs 2.3
    /// `batch_time_max` (1.3 for the halves' shares, one for itself alone), one more where its
    /// instance was not fresh: with the defaults about four of them in a batch of 1,000 rows are
    /// found before the search is given up.
    pub fn process(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
    ) -> Result<LaneOutput, LaneError> {
        let limits = self.stage.limits().clone();
        match self.run(columns, row_count, limits.batch_time_max)? {
            Ok(output) => Ok(whole(output, std::mem::take(&mut self.log_lines))),
            Err(error) => {
                let mut search = Search::begin(self, columns, row_count, &limits);
                search.halve(0, row_count, error)?;
                search.merged()
            }
        }
    }

    /// Runs rows in the lane's instance, or in a new one if that is lost.
    fn run(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
        time_max: Duration,
    ) -> Result<Result<Output, ProcessError>, LaneError> {
        self.was_fresh = self.instance.is_none() || std::mem::take(&mut self.is_prepared);
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.stage.instance().map_err(LaneError::Instance)?,
        };
        let output = instance.process_within(columns, row_count, time_max);
        self.log_lines = instance.take_log_lines();
        if output.as_ref().err().is_none_or(ProcessError::leaves_instance_usable) {
            self.instance = Some(instance);
        }
        Ok(output)
    }
}

/// The search for failing rows in one batch.
struct Search<'a> {
    lane: &'a mut Lane,
    columns: &'a [ArrayRef],
    row_count: usize,
    limits: &'a Limits,
    /// Tick of the host's clock at which the search is given up.
    deadline: u64,
    parts: Vec<(usize, Output)>,
    failures: Vec<RowFailure>,
    instances_lost: usize,
    /// Of the runs that count: those of parts that passed, and the last of a row that failed.
    log_lines: Vec<LogLine>,
    log_lines_dropped: u64,
}

impl<'a> Search<'a> {
    fn begin(
        lane: &'a mut Lane,
        columns: &'a [ArrayRef],
        row_count: usize,
        limits: &'a Limits,
    ) -> Self {
        let deadline = lane.stage.now_ticks() + Clock::ticks(limits.isolation_time_max);
        Self {
            lane,
            columns,
            row_count,
            limits,
            deadline,
            parts: Vec::new(),
            failures: Vec::new(),
            instances_lost: 0,
            log_lines: Vec::new(),
            log_lines_dropped: 0,
        }
    }

    /// Splits rows that are known to fail together. Recursion is as deep as a row count has bits.
    fn halve(&mut self, start: usize, length: usize, error: ProcessError) -> Result<(), LaneError> {
        self.instances_lost += usize::from(!error.leaves_instance_usable());
        if length <= 1 {
            return self.blame(start, length, error);
        }
        let left = length / 2;
        for (start, length) in [(start, left), (start + left, length - left)] {
            if self.lane.stage.now_ticks() >= self.deadline {
                return Err(LaneError::IsolationTime {
                    after: self.limits.isolation_time_max,
                    found: self.failures.len(),
                    rows: self.row_count,
                    last: error,
                });
            }
            match self.run(start, length)? {
                Ok(output) => self.take(start, output),
                Err(error) => self.halve(start, length, error)?,
            }
        }
        Ok(())
    }

    /// A row that failed alone is to blame, unless its instance is: one that leaks may end at its
    /// memory limit with any row. So the row gets a fresh instance once, if it had none.
    fn blame(&mut self, start: usize, length: usize, error: ProcessError) -> Result<(), LaneError> {
        if length == 0 {
            return Ok(());
        }
        let outcome = match error.leaves_instance_usable() || self.lane.was_fresh {
            true => Err(error),
            false => {
                let again = self.run(start, length)?;
                let lost = again.as_ref().is_err_and(|error| !error.leaves_instance_usable());
                self.instances_lost += usize::from(lost);
                again
            }
        };
        match outcome {
            Ok(output) => self.take(start, output),
            Err(error) => {
                self.keep_log_lines(start);
                self.failures.push(row_failure(start as u32, error));
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        start: usize,
        length: usize,
    ) -> Result<Result<Output, ProcessError>, LaneError> {
        let part: Vec<ArrayRef> =
            self.columns.iter().map(|column| column.slice(start, length)).collect();
        self.lane.run(&part, length, self.time_max(length))
    }

    /// A part gets its share of the batch's time, so that the search for a row that hangs takes a
    /// few times the limit and not a dozen. A single row gets all of it: no slow row is failed for
    /// being beside a hanging one.
    fn time_max(&self, length: usize) -> Duration {
        let whole = self.limits.batch_time_max;
        if length == 1 {
            return whole;
        }
        let share = whole.mul_f64(length as f64 / self.row_count as f64);
        share.max(whole / SEARCH_TIME_PARTS).max(TICK)
    }

    fn take(&mut self, start: usize, output: Output) {
        self.keep_log_lines(start);
        let own = output.failures.iter().map(|failure| rejected(start, failure));
        self.failures.extend(own);
        self.parts.push((start, output));
    }

    /// Those of the last run, whose first row is `start`.
    fn keep_log_lines(&mut self, start: usize) {
        for line in std::mem::take(&mut self.lane.log_lines) {
            if self.log_lines.len() < self.limits.log_lines_max {
                let row = line.row.map(|row| row.saturating_add(start as u32));
                self.log_lines.push(LogLine { row, ..line });
            } else {
                self.log_lines_dropped += 1;
            }
        }
    }

    /// All parts as one output, in order.
    fn merged(mut self) -> Result<LaneOutput, LaneError> {
        let mut rows: Vec<u32> = Vec::new();
        for (start, output) in &self.parts {
            let start = *start as u32;
            match &output.rows {
                Some(part) => rows.extend(part.iter().map(|row| start + row)),
                None => rows.extend((0..output.row_count as u32).map(|row| start + row)),
            }
        }
        if self.log_lines_dropped > 0 {
            self.log_lines.push(LogLine::dropped(self.log_lines_dropped));
        }
        let columns = (0..self.lane.stage.columns().len())
            .map(|index| self.column(index))
            .collect::<Result<_, _>>()?;
        Ok(LaneOutput {
            row_count: rows.len(),
            rows: Some(rows.into()),
            columns,
            failures: self.failures,
            instances_lost: self.instances_lost,
            log_lines: self.log_lines,
        })
    }

    fn column(&self, index: usize) -> Result<ArrayRef, LaneError> {
        let parts: Vec<&dyn Array> =
            self.parts.iter().map(|(_, output)| output.columns[index].as_ref()).collect();
        if parts.is_empty() {
            return Ok(arrow_array::new_empty_array(self.lane.stage.columns()[index].data_type()));
        }
        // Fails only where strings of all parts together pass 2 GiB, which the limits of output and
        // of rows keep them from in any sane setting.
        arrow_select::concat::concat(&parts).map_err(|error| {
            LaneError::Instance(DescribeError::stage(format!("cannot merge the output: {error}")))
        })
    }
}

fn whole(output: Output, log_lines: Vec<LogLine>) -> LaneOutput {
    LaneOutput {
        rows: output.rows,
        row_count: output.row_count,
        columns: output.columns,
        failures: output.failures.iter().map(|failure| rejected(0, failure)).collect(),
        instances_lost: 0,
        log_lines,
    }
}

fn rejected(start: usize, failure: &Failure) -> RowFailure {
    RowFailure {
        row: start as u32 + failure.row,
        reason: failure.reason.clone(),
        kind: FailureKind::Rejected,
    }
}

fn row_failure(row: u32, error: ProcessError) -> RowFailure {
    let kind = match &error {
        ProcessError::Refused(_) => FailureKind::Refused,
        ProcessError::Trap(_) | ProcessError::Poisoned => FailureKind::Trapped,
        ProcessError::Timeout { .. } => FailureKind::TimedOut,
        ProcessError::MemoryLimit { .. } => FailureKind::MemoryLimit,
        ProcessError::OutputLimit(_) => FailureKind::OutputLimit,
        ProcessError::BadOutput(_) => FailureKind::BadOutput,
    };
    let reason = match error {
        ProcessError::Refused(why) => why,
        other => other.to_string(),
    };
    RowFailure { row, reason, kind }
}
