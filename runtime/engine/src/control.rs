//! The handle by which others steer and watch a running pipeline.
//!
//! Everything that is asked for here takes effect between two micro-batches and nowhere else: the pipeline looks at its
//! handle there, and a micro-batch that is under way is shortened to whole batches.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::plan::Plan;
use crate::reload::{Answer, Prepared, Receipt, Refusal, Request, now_ms};
use crate::shadow::{Shadow, ShadowReport};
use crate::status::{Snapshot, Status};
use crate::tap::{self, TapRow, Taps};

/// Receipts that are kept, the newest ones.
const RECEIPTS_MAX: usize = 100;

type Requests = mpsc::UnboundedReceiver<(Request, Answer)>;

/// How a pipeline is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Its ends are being opened; nothing is read yet.
    Starting,
    Running,
    /// Stands between two micro-batches; everything that was begun is committed.
    Paused,
    /// Has ended as it should: a stop, or `available-now` with nothing left.
    Stopped,
    /// Has ended with an error.
    Failed {
        error: String,
    },
}

/// See the module's documentation. Cheap to clone; it may outlive the pipeline and then tells how that ended.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    pipeline: String,
    file: PathBuf,
    current: RwLock<Current>,
    state: Mutex<RunState>,
    pause_wanted: AtomicBool,
    /// Something was asked for: wakes a pipeline that waits.
    asked: Notify,
    /// Ends the micro-batch that is under way at its next batch.
    micro_batch_end: Mutex<CancellationToken>,
    requests: mpsc::UnboundedSender<(Request, Answer)>,
    /// For the task that serves them; taken when the pipeline begins.
    served: Mutex<Option<Requests>>,
    reloads: Mutex<Reloads>,
    taps: Arc<Taps>,
    /// As [`Plan::stages`].
    shadows: Mutex<Vec<Option<Arc<Shadow>>>>,
}

#[derive(Default)]
struct Reloads {
    prepared: Option<Prepared>,
    /// Newest first.
    receipts: VecDeque<Receipt>,
    last_refusal: Option<Refusal>,
    refusals: u64,
    has_ended: bool,
}

/// What runs at present.
struct Current {
    plan: Arc<Plan>,
    status: Arc<Status>,
    generation: u64,
}

impl Control {
    /// Of a pipeline that will run ([`Run::opened`](crate::run::Run::opened)). It can be watched from now on; what is
    /// asked for takes effect once it runs.
    pub fn starting(plan: Plan) -> Control {
        let stages = plan.stages.iter().map(|stage| stage.name.clone());
        let sinks = plan.sinks.iter().map(|sink| sink.name.clone());
        let status = Arc::new(Status::new(&plan.pipeline.name, stages, sinks));
        let plan = Arc::new(plan);
        let (requests, served) = mpsc::unbounded_channel();
        let shared = Shared {
            pipeline: plan.pipeline.name.clone(),
            file: plan.pipeline.file.clone(),
            current: RwLock::new(Current { plan, status, generation: 1 }),
            state: Mutex::new(RunState::Starting),
            pause_wanted: AtomicBool::new(false),
            asked: Notify::new(),
            micro_batch_end: Mutex::default(),
            requests,
            served: Mutex::new(Some(served)),
            reloads: Mutex::default(),
            taps: Arc::default(),
            shadows: Mutex::default(),
        };
        Control { shared: Arc::new(shared) }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.shared.pipeline
    }

    /// The pipeline file.
    pub fn file(&self) -> &Path {
        &self.shared.file
    }

    pub fn state(&self) -> RunState {
        locked(&self.shared.state).clone()
    }

    /// Stops the flow between two micro-batches, with everything committed that was begun. The state is
    /// [`RunState::Paused`] once that is so. The process stays a member of its group. Without effect on a pipeline that
    /// has ended.
    pub fn pause(&self) {
        self.shared.pause_wanted.store(true, Ordering::Release);
        self.ask();
    }

    /// Lets the flow go on.
    pub fn resume(&self) {
        self.shared.pause_wanted.store(false, Ordering::Release);
        self.ask();
    }

    /// What the pipeline has done since it was started.
    pub fn snapshot(&self) -> Snapshot {
        self.current(|current| current.status.snapshot())
    }

    /// The stages and sinks that run at present.
    pub fn plan(&self) -> Arc<Plan> {
        self.current(|current| current.plan.clone())
    }

    /// Which plan that is: 1 at the start, one more with every reload.
    pub fn generation(&self) -> u64 {
        self.current(|current| current.generation)
    }

    /// Looks at the files now and applies what is other than what runs. Nothing other: a receipt without changes.
    ///
    /// # Errors
    /// What is wrong with the change; the pipeline runs on as it was.
    pub async fn reload(&self) -> Result<Receipt, Refusal> {
        self.request(Request::Reload).await
    }

    /// What was applied so far, newest first: the last hundred.
    pub fn receipts(&self) -> Vec<Receipt> {
        locked(&self.shared.reloads).receipts.iter().cloned().collect()
    }

    /// Why the newest change was not applied; absent once the files hold what runs.
    pub fn last_refusal(&self) -> Option<Refusal> {
        locked(&self.shared.reloads).last_refusal.clone()
    }

    /// How many changes were refused so far.
    pub fn refusals(&self) -> u64 {
        locked(&self.shared.reloads).refusals
    }

    /// Rows behind a stage as they pass, or with `source` the records: a sample of at most so many a second, until the
    /// receiver is dropped. One who is slow misses rows; the flow never waits.
    ///
    /// # Errors
    /// No stage of this name; too many taps.
    pub fn tap(&self, stage: &str, rows_per_second: u32) -> Result<mpsc::Receiver<TapRow>> {
        if stage != tap::SOURCE {
            let known = self.plan().stage_index(stage);
            known.map_err(|error| anyhow!("{error}; `{}` are the records", tap::SOURCE))?;
        }
        self.shared.taps.open(stage, rows_per_second).context("too many look at this pipeline")
    }

    /// Gives a stage a candidate that gets the same rows without effect, or takes it away. The path begins at the folder
    /// of the pipeline file. Holds in place of the file's `shadow` until the process ends.
    ///
    /// # Errors
    /// What is wrong with the candidate; nothing has changed.
    pub async fn set_shadow(
        &self,
        stage: &str,
        module: Option<PathBuf>,
    ) -> Result<Receipt, Refusal> {
        self.request(Request::Shadow { stage: stage.to_string(), module }).await
    }

    /// How a stage's candidate does beside the live module; absent: it has none.
    pub fn shadow(&self, stage: &str) -> Option<ShadowReport> {
        let plan = self.plan();
        let index = plan.stages.iter().position(|planned| planned.name == stage)?;
        let shadow = locked(&self.shared.shadows).get(index)?.clone()?;
        let report = shadow.report();
        (report.stage == stage).then_some(report)
    }

    /// Makes a stage's candidate its module: puts it in the place of the module's file, of which a copy with the ending
    /// `.before` is kept, and reloads.
    ///
    /// # Errors
    /// What a reload refuses, no candidate, a shipped module, a file that cannot be written; nothing has changed.
    pub async fn promote(&self, stage: &str) -> Result<Receipt, Refusal> {
        self.request(Request::Promote { stage: stage.to_string() }).await
    }

    async fn request(&self, request: Request) -> Result<Receipt, Refusal> {
        let ended = |_| match locked(&self.shared.reloads).has_ended {
            true => Refusal::new("the pipeline has ended"),
            false => Refusal::new("this pipeline cannot be changed while it runs"),
        };
        let (answer, answered) = oneshot::channel();
        self.shared.requests.send((request, answer)).map_err(|error| ended(error.to_string()))?;
        answered.await.map_err(|error| ended(error.to_string()))?
    }

    /// What the task serves that prepares changes.
    pub(crate) fn requests(&self) -> Option<Requests> {
        locked(&self.shared.served).take()
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.current(|current| current.status.clone())
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.current(|current| current.status.partition_count())
    }

    /// A generation is ready: it takes over at the end of the micro-batch that is under way.
    pub(crate) fn hand_over(&self, prepared: Prepared) {
        let mut reloads = locked(&self.shared.reloads);
        if !reloads.has_ended {
            reloads.prepared = Some(prepared);
        }
        drop(reloads);
        self.ask();
    }

    pub(crate) fn has_prepared(&self) -> bool {
        locked(&self.shared.reloads).prepared.is_some()
    }

    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        locked(&self.shared.reloads).prepared.take()
    }

    pub(crate) fn took_over(&self, plan: Arc<Plan>, status: Arc<Status>, receipt: &Receipt) {
        let changes: Vec<_> = receipt.changes.iter().map(|change| change.to_string()).collect();
        tracing::info!(
            pipeline = self.pipeline(),
            generation = receipt.generation,
            changes = changes.join("; "),
            offsets = serde_json::to_string(&receipt.offsets).unwrap_or_default(),
            prepare_ms = format!("{:.1}", receipt.prepare_ms),
            pause_ms = format!("{:.1}", receipt.pause_ms),
            "reloaded"
        );
        let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { plan, status, generation: receipt.generation };
        drop(current);
        let mut reloads = locked(&self.shared.reloads);
        reloads.last_refusal = None;
        reloads.receipts.push_front(receipt.clone());
        reloads.receipts.truncate(RECEIPTS_MAX);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let mut reloads = locked(&self.shared.reloads);
        reloads.last_refusal = Some(refusal);
        reloads.refusals += 1;
    }

    /// The files hold what runs.
    pub(crate) fn nothing_to_do(&self) -> Receipt {
        locked(&self.shared.reloads).last_refusal = None;
        Receipt {
            generation: self.generation(),
            at_ms: now_ms(),
            changes: Vec::new(),
            offsets: Default::default(),
            prepare_ms: 0.0,
            pause_ms: 0.0,
        }
    }

    pub(crate) fn taps(&self) -> Arc<Taps> {
        self.shared.taps.clone()
    }

    pub(crate) fn show_shadows(&self, shadows: Vec<Option<Arc<Shadow>>>) {
        *locked(&self.shared.shadows) = shadows;
    }

    /// The pipeline has ended: nothing that was asked for will come.
    pub(crate) fn end(&self, state: RunState) {
        let mut reloads = locked(&self.shared.reloads);
        reloads.has_ended = true;
        reloads.prepared = None;
        drop(reloads);
        drop(self.requests());
        self.show_shadows(Vec::new());
        self.enter(state);
    }

    pub(crate) fn pause_wanted(&self) -> bool {
        self.shared.pause_wanted.load(Ordering::Acquire)
    }

    pub(crate) fn enter(&self, state: RunState) {
        *locked(&self.shared.state) = state;
    }

    /// Waits until something is asked for; what was asked for since the last wait counts.
    pub(crate) async fn asked(&self) {
        self.shared.asked.notified().await;
    }

    /// What ends the micro-batch that begins now, before its time is over.
    pub(crate) fn begin_micro_batch(&self, stop: &CancellationToken) -> CancellationToken {
        let end = stop.child_token();
        *locked(&self.shared.micro_batch_end) = end.clone();
        if self.pause_wanted() || self.has_prepared() {
            end.cancel();
        }
        end
    }

    fn ask(&self) {
        locked(&self.shared.micro_batch_end).cancel();
        self.shared.asked.notify_one();
    }

    fn current<T>(&self, read: impl FnOnce(&Current) -> T) -> T {
        read(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is locked here holds no invariant that a panic elsewhere could break.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
