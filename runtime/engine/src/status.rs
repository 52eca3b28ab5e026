//! What a running pipeline has done so far: counters that lanes add to and anybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::config::MaxFailures;
use crate::failure_budget::{FailedRow, FailureBudget, Given};
use crate::ledger::RowCounts;
use crate::offsets::{Offsets, TopicPartition};
use crate::plan::Plan;
use crate::sink::Committed;

/// Live counters of one pipeline, by the stages and sinks of one of its plans.
#[derive(Debug)]
pub struct Status {
    pipeline: String,
    stages: Vec<Arc<StageCounters>>,
    sinks: Vec<Arc<SinkCounters>>,
    totals: Arc<Totals>,
}

/// What is counted over all plans.
#[derive(Debug, Default)]
struct Totals {
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

#[derive(Debug, Default)]
struct StageCounters {
    name: String,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    rows_filtered: AtomicU64,
    rows_failed: AtomicU64,
    busy_ns: AtomicU64,
    memory_bytes: AtomicU64,
    /// Counts only where the stage has a `max_failures`.
    budget: Mutex<FailureBudget>,
}

#[derive(Debug, Default)]
struct SinkCounters {
    name: String,
    written: AtomicU64,
    committed: AtomicU64,
    commits: AtomicU64,
    last: Mutex<LastCommit>,
    /// When the first of the rows was written that are not yet committed.
    waiting_since: Mutex<Option<Instant>>,
    /// The counters as they were at the sink's last commit.
    at_last_commit: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct LastCommit {
    detail: String,
    at: Option<SystemTime>,
    latency: Duration,
}

/// What has come in and gone through the stages, at one moment.
#[derive(Debug, Clone, Default)]
struct Reading {
    records: u64,
    stages: BTreeMap<String, RowCounts>,
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
    pub stages: Vec<StageSnapshot>,
    pub sinks: Vec<SinkSnapshot>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StageSnapshot {
    pub name: String,
    #[serde(flatten)]
    pub counts: RowCounts,
    /// Time that lanes have spent in the stage, in ms: module and boundary.
    pub busy_ms: f64,
    /// Linear memory that the module's instances of all lanes hold.
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SinkSnapshot {
    pub name: String,
    pub rows_written: u64,
    pub rows_committed: u64,
    pub commits: u64,
    /// The last commit, in words.
    pub last_commit: String,
    /// When that was, in ms since 1970 UTC; absent: there was none.
    pub last_commit_ms: Option<u64>,
    /// How long the oldest of its rows had waited between stages and durable, in ms.
    pub last_commit_latency_ms: f64,
}

impl Status {
    pub fn new(
        pipeline: &str,
        stages: impl Iterator<Item = String>,
        sinks: impl Iterator<Item = String>,
    ) -> Status {
        Status {
            pipeline: pipeline.to_string(),
            stages: stages.map(|name| Arc::new(StageCounters::new(name))).collect(),
            sinks: sinks.map(|name| Arc::new(SinkCounters::new(name))).collect(),
            totals: Arc::default(),
        }
    }

    /// The counters for another plan of the same pipeline: stages and sinks of the same name go on counting.
    pub(crate) fn for_plan(&self, plan: &Plan) -> Status {
        let stage = |name: &str| {
            let known = self.stages.iter().find(|counters| counters.name == name);
            known.cloned().unwrap_or_else(|| Arc::new(StageCounters::new(name.to_string())))
        };
        let sink = |name: &str| {
            let known = self.sinks.iter().find(|counters| counters.name == name);
            known.cloned().unwrap_or_else(|| Arc::new(SinkCounters::new(name.to_string())))
        };
        Status {
            pipeline: self.pipeline.clone(),
            stages: plan.stages.iter().map(|planned| stage(&planned.name)).collect(),
            sinks: plan.sinks.iter().map(|planned| sink(&planned.name)).collect(),
            totals: self.totals.clone(),
        }
    }

    /// How many partitions are read at present.
    pub(crate) fn partition_count(&self) -> usize {
        locked(&self.totals.positions).next.len()
    }

    pub(crate) fn add_records(&self, partition: &TopicPartition, records: u64) {
        self.totals.records.fetch_add(records, Ordering::Relaxed);
        *locked(&self.totals.partitions).entry(partition.clone()).or_default() += records;
    }

    pub(crate) fn add_rows(&self, stage: usize, counts: RowCounts) {
        let counters = &self.stages[stage];
        counters.rows_in.fetch_add(counts.rows_in, Ordering::Relaxed);
        counters.rows_out.fetch_add(counts.rows_out, Ordering::Relaxed);
        counters.rows_filtered.fetch_add(counts.rows_filtered, Ordering::Relaxed);
        counters.rows_failed.fetch_add(counts.rows_failed, Ordering::Relaxed);
    }

    /// A lane's time in a stage, and how the memory of its instance has changed.
    pub(crate) fn add_cost(&self, stage: usize, busy: Duration, memory_before: u64, memory: u64) {
        let counters = &self.stages[stage];
        let busy_ns = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        counters.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        // Lanes take back only what they have added: the sum stays right through a wrap.
        counters.memory_bytes.fetch_add(memory.wrapping_sub(memory_before), Ordering::Relaxed);
    }

    /// # Errors
    /// The stage has failed more rows than `limit` allows.
    pub(crate) fn spend_failures(
        &self,
        stage: usize,
        limit: MaxFailures,
        given: &Given<'_>,
        failures: impl Iterator<Item = FailedRow>,
    ) -> Result<()> {
        let spent = locked(&self.stages[stage].budget).spend(limit, given, failures);
        spent.map_err(|exceeded| anyhow!("{exceeded}"))
    }

    pub(crate) fn add_written(&self, sink: usize, rows: u64) {
        let counters = &self.sinks[sink];
        counters.written.fetch_add(rows, Ordering::Relaxed);
        if rows > 0 {
            locked(&counters.waiting_since).get_or_insert_with(Instant::now);
        }
    }

    pub(crate) fn add_committed(&self, sink: usize, committed: &Committed) {
        let counters = &self.sinks[sink];
        counters.committed.fetch_add(committed.rows, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        let waited = locked(&counters.waiting_since).take();
        let mut last = locked(&counters.last);
        // A commit without rows says nothing about how long rows wait.
        let latency = waited.map_or(last.latency, |since| since.elapsed());
        *last =
            LastCommit { detail: committed.detail.clone(), at: Some(SystemTime::now()), latency };
        drop(last);
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
            records: self.totals.records.load(Ordering::Relaxed),
            stages: self.stages.iter().map(|it| (it.name.clone(), it.counts())).collect(),
        }
    }

    /// `parse: 1000 in, 990 out, 7 filtered, 3 failed; …`
    fn stages_text(&self, now: &Reading, before: &Reading) -> String {
        let text = |stage: &Arc<StageCounters>| {
            let of = |reading: &Reading| reading.stages.get(&stage.name).copied();
            let (now, before) = (of(now).unwrap_or_default(), of(before).unwrap_or_default());
            format!("{}: {}", stage.name, now.since(before))
        };
        self.stages.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn add_rewind(&self, error: &anyhow::Error) {
        self.totals.rewinds.fetch_add(1, Ordering::Relaxed);
        for sink in &self.sinks {
            *locked(&sink.waiting_since) = None;
        }
        *locked(&self.totals.last_failure) = Some(format!("{error:#}"));
    }

    pub(crate) fn micro_batch_done(&self) {
        self.totals.micro_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_positions(&self, next: &Offsets, end: Offsets) {
        *locked(&self.totals.positions) = Positions { next: next.clone(), end };
    }

    pub fn snapshot(&self) -> Snapshot {
        let positions = locked(&self.totals.positions);
        let behind = |(partition, end): (&TopicPartition, &i64)| {
            positions.next.get(partition).map_or(0, |next| (end - next).max(0) as u64)
        };
        Snapshot {
            pipeline: self.pipeline.clone(),
            records: self.totals.records.load(Ordering::Relaxed),
            micro_batches: self.totals.micro_batches.load(Ordering::Relaxed),
            rewinds: self.totals.rewinds.load(Ordering::Relaxed),
            last_failure: locked(&self.totals.last_failure).clone(),
            lag: positions.end.iter().map(behind).sum(),
            stages: self.stages.iter().map(|stage| stage.snapshot()).collect(),
            sinks: self.sinks.iter().map(|sink| sink.snapshot()).collect(),
        }
    }
}

impl StageCounters {
    fn new(name: String) -> StageCounters {
        StageCounters { name, ..StageCounters::default() }
    }

    fn counts(&self) -> RowCounts {
        RowCounts {
            rows_in: self.rows_in.load(Ordering::Relaxed),
            rows_out: self.rows_out.load(Ordering::Relaxed),
            rows_filtered: self.rows_filtered.load(Ordering::Relaxed),
            rows_failed: self.rows_failed.load(Ordering::Relaxed),
        }
    }

    fn snapshot(&self) -> StageSnapshot {
        let busy = Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed));
        StageSnapshot {
            name: self.name.clone(),
            counts: self.counts(),
            busy_ms: busy.as_secs_f64() * 1e3,
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
        }
    }
}

impl SinkCounters {
    fn new(name: String) -> SinkCounters {
        SinkCounters { name, ..SinkCounters::default() }
    }

    fn snapshot(&self) -> SinkSnapshot {
        let last = locked(&self.last);
        let at = last.at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        SinkSnapshot {
            name: self.name.clone(),
            rows_written: self.written.load(Ordering::Relaxed),
            rows_committed: self.committed.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            last_commit: last.detail.clone(),
            last_commit_ms: at.and_then(|at| u64::try_from(at.as_millis()).ok()),
            last_commit_latency_ms: last.latency.as_secs_f64() * 1e3,
        }
    }
}

/// The counters hold no invariant across fields, so a panic elsewhere leaves them usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
