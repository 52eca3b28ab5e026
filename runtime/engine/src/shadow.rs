//! A candidate for a stage's module: given the same rows as the live one, without effect, and compared.
//!
//! The candidate runs on a thread of its own, behind a short queue. What it does not get through is counted as skipped:
//! a candidate that is slow, hangs, traps or eats memory costs its own instances, and never a row of the pipeline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow_array::ArrayRef;
use gristmill_host::{Lane, LaneOutput, Stage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::batch::{Batch, gather};
use crate::offsets::TopicPartition;
use crate::plan::Plan;

mod compare;

use compare::Comparison;

/// Batches that wait for the candidate, over all lanes.
const WAITING_MAX: usize = 4;
/// Samples of one kind of difference.
const SAMPLES_MAX: usize = 5;

/// What a candidate has done so far, beside the live module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    pub stage: String,
    /// Hashes of the two modules.
    pub live: String,
    pub candidate: String,
    /// Input rows that both have had.
    pub rows_compared: u64,
    /// Both made the same of them.
    pub rows_equal: u64,
    /// Both kept them, with other values or as another number of rows.
    pub rows_different: u64,
    pub rows_kept_by_live_only: u64,
    pub rows_kept_by_candidate_only: u64,
    pub rows_failed_by_live_only: u64,
    pub rows_failed_by_candidate_only: u64,
    /// Input rows that the candidate has not had, because it was busy.
    pub rows_skipped: u64,
    /// Input rows of batches that the candidate as such failed on; `last_failure` says how.
    pub rows_lost: u64,
    /// Instances of the candidate that trapped, hung or broke a limit.
    pub instances_lost: u64,
    pub last_failure: Option<String>,
    /// Columns that only one of them makes, or that they make with other types: not compared.
    pub columns_not_compared: Vec<String>,
    /// Time per input row, in ns.
    pub live_ns_per_row: f64,
    pub candidate_ns_per_row: f64,
    /// A few of each kind of difference, the first ones.
    pub samples: Vec<ShadowSample>,
}

/// A row of which the two did not make the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowSample {
    pub kind: Outcome,
    /// Where the row's record stands in the source.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The columns that the candidate reads.
    pub input: Map<String, Value>,
    /// The columns that both make, of each row that became of it.
    pub live: Vec<Map<String, Value>>,
    pub candidate: Vec<Map<String, Value>>,
    /// Why one of them failed.
    pub reason: Option<String>,
}

/// What the two made of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Equal,
    Different,
    KeptByLiveOnly,
    KeptByCandidateOnly,
    FailedByLiveOnly,
    FailedByCandidateOnly,
}

/// See the module's documentation. The thread ends when this is dropped.
pub(crate) struct Shadow {
    live: Arc<Stage>,
    candidate: Arc<Stage>,
    queue: mpsc::Sender<Offer>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    report: Mutex<ShadowReport>,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    live: Duration,
    candidate: Duration,
    rows: u64,
}

/// A batch that the live stage has done.
struct Offer {
    partition: TopicPartition,
    /// Of each row, the offset of its record.
    offsets: Vec<i64>,
    /// What the candidate reads.
    columns: Vec<ArrayRef>,
    live: LaneOutput,
    live_time: Duration,
}

impl Shadow {
    fn start(name: &str, live: &Arc<Stage>, candidate: &Arc<Stage>) -> Result<Shadow> {
        let (queue, offers) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        {
            let mut report = locked(&shared.report);
            report.stage = name.to_string();
            report.live = live.module().hash().to_string();
            report.candidate = candidate.module().hash().to_string();
        }
        let worker = Worker {
            comparison: Comparison::new(live, candidate),
            lane: Lane::new(candidate.clone()),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("shadow".into());
        thread.spawn(move || worker.work(&offers)).context("cannot start a thread")?;
        Ok(Shadow { live: live.clone(), candidate: candidate.clone(), queue, shared })
    }

    /// Hands over what the live stage made of `input`, unless the candidate has enough to do.
    pub fn offer(
        &self,
        input: &mut Batch,
        live: &LaneOutput,
        live_time: Duration,
        partition: &TopicPartition,
        offsets: &[i64],
    ) -> Result<()> {
        let rows = input.row_count();
        if self.shared.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING_MAX {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            locked(&self.shared.report).rows_skipped += rows as u64;
            return Ok(());
        }
        let origin = |row: u32| offsets[input.origin(row) as usize];
        let offer = Offer {
            partition: partition.clone(),
            offsets: (0..rows as u32).map(origin).collect(),
            columns: gather(input, self.candidate.reads())?,
            live: live.clone(),
            live_time,
        };
        // A worker that has panicked compares nothing any more.
        if self.queue.send(offer).is_err() {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            locked(&self.shared.report).rows_skipped += rows as u64;
        }
        Ok(())
    }

    pub fn report(&self) -> ShadowReport {
        let mut report = locked(&self.shared.report).clone();
        let times = locked(&self.shared.times);
        let per_row = |time: Duration| match times.rows {
            0 => 0.0,
            rows => time.as_nanos() as f64 / rows as f64,
        };
        report.live_ns_per_row = per_row(times.live);
        report.candidate_ns_per_row = per_row(times.candidate);
        report
    }

    fn is_for(&self, live: &Stage, candidate: &Stage) -> bool {
        let same = |one: &Stage, other: &Stage| {
            one.module().hash() == other.module().hash()
                && one.request() == other.request()
                && one.limits() == other.limits()
        };
        same(&self.live, live) && same(&self.candidate, candidate)
    }
}

/// The candidates of a plan, as [`Plan::stages`]. One that was compared with the same module in `before` goes on.
pub(crate) fn start_all(
    plan: &Plan,
    before: &[Option<Arc<Shadow>>],
) -> Result<Vec<Option<Arc<Shadow>>>> {
    let start = |planned: &crate::plan::PlannedStage| {
        let Some(candidate) = &planned.shadow else { return Ok(None) };
        let goes_on = before.iter().flatten().find(|shadow| {
            locked(&shadow.shared.report).stage == planned.name
                && shadow.is_for(&planned.stage, candidate)
        });
        match goes_on {
            Some(shadow) => Ok(Some(shadow.clone())),
            None => Ok(Some(Arc::new(Shadow::start(&planned.name, &planned.stage, candidate)?))),
        }
    };
    plan.stages.iter().map(start).collect()
}

/// Runs the candidate.
struct Worker {
    comparison: Comparison,
    lane: Lane,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(mut self, offers: &mpsc::Receiver<Offer>) {
        while let Ok(offer) = offers.recv() {
            self.compare(&offer);
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn compare(&mut self, offer: &Offer) {
        let rows = offer.offsets.len();
        let began = Instant::now();
        let made = self.lane.process(&offer.columns, rows);
        let took = began.elapsed();
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                let mut report = locked(&self.shared.report);
                report.rows_lost += rows as u64;
                report.instances_lost += 1;
                report.last_failure = Some(error.to_string());
                return;
            }
        };
        {
            let mut times = locked(&self.shared.times);
            times.rows += rows as u64;
            times.live += offer.live_time;
            times.candidate += took;
        }
        let outcomes = self.comparison.of(offer, &made);
        let mut report = locked(&self.shared.report);
        report.instances_lost += made.instances_lost as u64;
        report.columns_not_compared.clone_from(&self.comparison.not_compared);
        if let Some(failure) = made.failures.last() {
            report.last_failure = Some(failure.reason.clone());
        }
        for (row, outcome) in outcomes.into_iter().enumerate() {
            report.count(outcome);
            let shown = report.samples.iter().filter(|sample| sample.kind == outcome).count();
            if outcome != Outcome::Equal && shown < SAMPLES_MAX {
                let sample = self.comparison.sample(offer, &made, row, outcome);
                report.samples.push(sample);
            }
        }
    }
}

impl ShadowReport {
    fn count(&mut self, outcome: Outcome) {
        self.rows_compared += 1;
        *match outcome {
            Outcome::Equal => &mut self.rows_equal,
            Outcome::Different => &mut self.rows_different,
            Outcome::KeptByLiveOnly => &mut self.rows_kept_by_live_only,
            Outcome::KeptByCandidateOnly => &mut self.rows_kept_by_candidate_only,
            Outcome::FailedByLiveOnly => &mut self.rows_failed_by_live_only,
            Outcome::FailedByCandidateOnly => &mut self.rows_failed_by_candidate_only,
        } += 1;
    }
}

/// Counters: a panic elsewhere leaves them usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
