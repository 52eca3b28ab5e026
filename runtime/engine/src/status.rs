//! What a running pipeline has done so far: counters that lanes add to and anybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::config::MaxFailures;
use crate::failure_budget::FailureBudget;
use crate::ledger::RowCounts;
use crate::offsets::{Offsets, TopicPartition};
use crate::sink::Committed;

/// Live counters of one pipeline.
#[derive(Debug)]
pub struct Status {
    pipeline: String,
    stages: Vec<StageCounters>,
    sinks: Vec<SinkCounters>,
    records: AtomicU64,
    micro_batches: AtomicU64,
    rewinds: AtomicU64,
    last_failure: Mutex<Option<String>>,
    partitions: Mutex<BTreeMap<TopicPartition, u64>>,
    positions: Mutex<Positions>,
}

#[derive(Debug, Default)]
struct Positions {
    next: Offsets,
    end: Offsets,
}

#[derive(Debug)]
struct StageCounters {
    name: String,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    rows_filtered: AtomicU64,
    rows_failed: AtomicU64,
    /// Counts only where the stage has a `max_failures`.
    budget: Mutex<FailureBudget>,
}

#[derive(Debug)]
struct SinkCounters {
    name: String,
    written: AtomicU64,
    committed: AtomicU64,
    commits: AtomicU64,
    last: Mutex<String>,
    /// The counters as they were at the sink's last commit.
    at_last_commit: Mutex<Reading>,
}

/// What has come in and gone through the stages, at one moment.
#[derive(Debug, Clone, Default)]
struct Reading {
    records: u64,
    stages: Vec<RowCounts>,
}

/// A reading of [`Status`].
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    pub pipeline: String,
    /// Records read from the source.
    pub records: u64,
    pub micro_batches: u64,
    /// How often a failure that may pass sent the pipeline back to its cursors.
    pub rewinds: u64,
    /// The last of these failures.
    pub last_failure: Option<String>,
    /// Records that are in the source and not yet committed by every sink.
    pub lag: u64,
    pub stages: Vec<(String, RowCounts)>,
    pub sinks: Vec<SinkSnapshot>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SinkSnapshot {
    pub name: String,
    pub rows_written: u64,
    pub rows_committed: u64,
    pub commits: u64,
    /// The last commit, in words.
    pub last_commit: String,
}

impl Status {
    pub fn new(
        pipeline: &str,
        stages: impl Iterator<Item = String>,
        sinks: impl Iterator<Item = String>,
    ) -> Status {
        let zero = || AtomicU64::new(0);
        let stage = |name| StageCounters {
            name,
            rows_in: zero(),
            rows_out: zero(),
            rows_filtered: zero(),
            rows_failed: zero(),
            budget: Mutex::default(),
        };
        let sink = |name| SinkCounters {
            name,
            written: zero(),
            committed: zero(),
            commits: zero(),
            last: Mutex::default(),
            at_last_commit: Mutex::default(),
        };
        Status {
            pipeline: pipeline.to_string(),
            stages: stages.map(stage).collect(),
            sinks: sinks.map(sink).collect(),
            records: zero(),
            micro_batches: zero(),
            rewinds: zero(),
            last_failure: Mutex::default(),
            partitions: Mutex::default(),
            positions: Mutex::default(),
        }
    }

    pub(crate) fn add_records(&self, partition: &TopicPartition, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        *locked(&self.partitions).entry(partition.clone()).or_default() += records;
    }

    pub(crate) fn add_rows(&self, stage: usize, counts: RowCounts) {
        let counters = &self.stages[stage];
        counters.rows_in.fetch_add(counts.rows_in, Ordering::Relaxed);
        counters.rows_out.fetch_add(counts.rows_out, Ordering::Relaxed);
        counters.rows_filtered.fetch_add(counts.rows_filtered, Ordering::Relaxed);
        counters.rows_failed.fetch_add(counts.rows_failed, Ordering::Relaxed);
    }

    /// # Errors
    /// The stage has failed more rows than `limit` allows.
    pub(crate) fn spend_failures(
        &self,
        stage: usize,
        limit: MaxFailures,
        rows_in: u64,
        failures: impl Iterator<Item = (u32, String)>,
    ) -> Result<()> {
        let spent = locked(&self.stages[stage].budget).spend(limit, rows_in, failures);
        spent.map_err(|exceeded| anyhow!("{exceeded}"))
    }

    pub(crate) fn add_written(&self, sink: usize, rows: u64) {
        self.sinks[sink].written.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_committed(&self, sink: usize, committed: &Committed) {
        let counters = &self.sinks[sink];
        counters.committed.fetch_add(committed.rows, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        locked(&counters.last).clone_from(&committed.detail);
        self.log_commit(counters, committed);
    }

    /// What became of all rows since the sink's last commit. Lanes stand still while sinks commit, so the numbers are
    /// those of whole micro-batches.
    fn log_commit(&self, sink: &SinkCounters, committed: &Committed) {
        let now = self.reading();
        let before = std::mem::replace(&mut *locked(&sink.at_last_commit), now.clone());
        tracing::debug!(
            pipeline = self.pipeline,
            sink = sink.name,
            rows = committed.rows,
            detail = committed.detail,
            records = now.records - before.records,
            stages = self.stages_text(&now, &before),
            "committed"
        );
    }

    fn reading(&self) -> Reading {
        Reading {
            records: self.records.load(Ordering::Relaxed),
            stages: self.stages.iter().map(|stage| stage.snapshot().1).collect(),
        }
    }

    /// `parse: 1000 in, 990 out, 7 filtered, 3 failed; …`
    fn stages_text(&self, now: &Reading, before: &Reading) -> String {
        let text = |(index, stage): (usize, &StageCounters)| {
            let before = before.stages.get(index).copied().unwrap_or_default();
            format!("{}: {}", stage.name, now.stages[index].since(before))
        };
        self.stages.iter().enumerate().map(text).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn add_rewind(&self, error: &anyhow::Error) {
        self.rewinds.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_failure) = Some(format!("{error:#}"));
    }

    pub(crate) fn micro_batch_done(&self) {
        self.micro_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_positions(&self, next: &Offsets, end: Offsets) {
        *locked(&self.positions) = Positions { next: next.clone(), end };
    }

    pub fn snapshot(&self) -> Snapshot {
        let positions = locked(&self.positions);
        let behind = |(partition, end): (&TopicPartition, &i64)| {
            positions.next.get(partition).map_or(0, |next| (end - next).max(0) as u64)
        };
        Snapshot {
            pipeline: self.pipeline.clone(),
            records: self.records.load(Ordering::Relaxed),
            micro_batches: self.micro_batches.load(Ordering::Relaxed),
            rewinds: self.rewinds.load(Ordering::Relaxed),
            last_failure: locked(&self.last_failure).clone(),
            lag: positions.end.iter().map(behind).sum(),
            stages: self.stages.iter().map(StageCounters::snapshot).collect(),
            sinks: self.sinks.iter().map(SinkCounters::snapshot).collect(),
        }
    }
}

impl StageCounters {
    fn snapshot(&self) -> (String, RowCounts) {
        let counts = RowCounts {
            rows_in: self.rows_in.load(Ordering::Relaxed),
            rows_out: self.rows_out.load(Ordering::Relaxed),
            rows_filtered: self.rows_filtered.load(Ordering::Relaxed),
            rows_failed: self.rows_failed.load(Ordering::Relaxed),
        };
        (self.name.clone(), counts)
    }
}

impl SinkCounters {
    fn snapshot(&self) -> SinkSnapshot {
        SinkSnapshot {
            name: self.name.clone(),
            rows_written: self.written.load(Ordering::Relaxed),
            rows_committed: self.committed.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            last_commit: locked(&self.last).clone(),
        }
    }
}

/// The counters hold no invariant across fields, so a panic elsewhere leaves them usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
