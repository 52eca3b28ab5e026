//! Other code and settings for a pipeline while it runs.
//!
//! What changed (`watch`) is prepared beside the running pipeline: read, compiled, described, checked against its
//! neighbours and the sinks' stores, run on the file's own tests, instances made. Only then the pipeline takes it over,
//! between two micro-batches (`run/takeover.rs`), with everything committed that the old generation made. What cannot be
//! prepared changes nothing: it is refused with the reason, and the old generation runs on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use async_trait::async_trait;
use gristmill_host::Host;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::control::Control;
use crate::offsets::Offsets;
use crate::plan::{Plan, Shipped};
use crate::run::Connected;
use crate::tree::StageTree;
use crate::watch::FileWatch;

mod changes;
mod files;
mod prepare;
mod promote;

pub(crate) use changes::EndsChange;
pub use changes::{Change, SinkChange};

/// Longest time for preparing a change.
const PREPARE_TIME_MAX: Duration = Duration::from_secs(120);

/// Value of an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a pipeline needs to be prepared anew while it runs.
#[derive(Clone)]
pub struct Reloading {
    pub host: Host,
    pub shipped: Shipped,
    pub environment: Environment,
    pub ends: Arc<dyn Reopen>,
}

/// Opens the ends of a running pipeline anew. Implemented in `connectors`.
#[async_trait]
pub trait Reopen: Send + Sync {
    /// Whether the stores of the sinks take what `next` writes. Changes nothing, while the pipeline runs.
    ///
    /// Errors name the end and what does not fit.
    async fn check(&self, now: &Plan, next: &Plan) -> Result<()>;

    /// The ends of `next`. Called between two micro-batches, with everything committed; `connected` are those of the
    /// present plan, and `source_too` says whether the topics to read are others.
    ///
    /// Errors: `connected` is still what the pipeline goes on with, once its commits are aborted.
    async fn reopen(
        &self,
        next: &Plan,
        connected: &Connected,
        source_too: bool,
    ) -> Result<Connected>;
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of the plan that runs since then.
    pub generation: u64,
    /// When it took over, in ms since 1970 UTC.
    pub at_ms: u64,
    /// Empty: nothing was other than what runs, and nothing was done.
    pub changes: Vec<Change>,
    /// Topic → partition → the first offset that the new generation reads.
    pub offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// From the look at the files until the new generation was ready; the pipeline ran meanwhile.
    pub prepare_ms: f64,
    /// How long the flow stood still.
    pub pause_ms: f64,
}

/// Why a change is not applied. The generation before it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When, in ms since 1970 UTC.
    pub at_ms: u64,
    /// A sentence, or the mistakes in the files, several lines each.
    pub reason: String,
    /// How many mistakes `reason` lists, each with its place and its own `error:`; 0: it is a sentence.
    pub mistakes: usize,
    /// The change is right, but only a restart applies it.
    pub needs_restart: bool,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Refusal {
        Refusal { at_ms: now_ms(), reason: reason.into(), mistakes: 0, needs_restart: false }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn by_topic(offsets: &Offsets) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for (at, offset) in offsets {
        topics.entry(at.topic.to_string()).or_default().insert(at.partition, *offset);
    }
    topics
}

/// A generation that is ready to take over.
pub(crate) struct Prepared {
    pub plan: Arc<Plan>,
    pub changes: Vec<Change>,
    pub ends: EndsChange,
    /// Stages with their instances made, one for each lane that runs now.
    pub trees: Vec<StageTree>,
    pub prepare_time: Duration,
    pub taken: oneshot::Sender<Result<Receipt, Refusal>>,
}

/// What is asked of the task that prepares. It answers with a receipt once the change is live.
pub(crate) enum Request {
    Reload,
    /// Sets a stage's candidate, or takes it away.
    Shadow {
        stage: String,
        module: Option<PathBuf>,
    },
    /// Makes a stage's candidate its module.
    Promote {
        stage: String,
    },
}

pub(crate) type Answer = oneshot::Sender<Result<Receipt, Refusal>>;

/// The task that prepares changes, one after the other.
pub(crate) struct Reloader {
    reloading: Reloading,
    control: Control,
    requests: mpsc::UnboundedReceiver<(Request, Answer)>,
    /// Candidates that were set while the pipeline runs: they hold in place of the file's.
    shadows: BTreeMap<String, Option<PathBuf>>,
    watch: Option<FileWatch>,
}

impl Reloader {
    pub fn new(
        reloading: Reloading,
        control: Control,
        requests: mpsc::UnboundedReceiver<(Request, Answer)>,
    ) -> Reloader {
        let watch = FileWatch::start()
            .map_err(|error| tracing::warn!("changes of files are not noticed: {error:#}"));
        Reloader { reloading, control, requests, shadows: BTreeMap::new(), watch: watch.ok() }
    }

    /// Serves until the pipeline has ended.
    pub async fn serve(mut self) {
        self.watch_files(&files::of_plan(&self.control.plan()));
        loop {
            let changed = async {
                match &mut self.watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some((request, answer)) => {
                        let answered = self.answer(request).await;
                        // Whoever asked may be gone.
                        let _ = answer.send(answered);
                    }
                    None => return,
                },
                () = changed => {
                    // Said in the log and kept by the handle.
                    let _ = self.apply().await;
                }
            }
        }
    }

    async fn answer(&mut self, request: Request) -> Result<Receipt, Refusal> {
        match request {
            Request::Reload => self.apply().await,
            Request::Shadow { stage, module } => {
                self.check_candidate(&stage, module.as_deref())?;
                let before = self.shadows.insert(stage.clone(), module);
                let applied = self.apply().await;
                if applied.is_err() {
                    match before {
                        Some(before) => drop(self.shadows.insert(stage, before)),
                        None => drop(self.shadows.remove(&stage)),
                    }
                }
                applied
            }
            Request::Promote { stage } => self.promote(&stage).await,
        }
    }

    /// A path that leads nowhere has no place in the pipeline file.
    fn check_candidate(&self, stage: &str, module: Option<&Path>) -> Result<(), Refusal> {
        let plan = self.control.plan();
        plan.stage_index(stage).map_err(|error| Refusal::new(error.to_string()))?;
        let Some(module) = module else { return Ok(()) };
        let path = prepare::beside_file(&plan.pipeline.file, module);
        match path.is_file() {
            true => Ok(()),
            false => Err(Refusal::new(format!("no such module, looked for `{}`", path.display()))),
        }
    }

    /// Looks at the files, prepares what is other than what runs, and has it taken over.
    async fn apply(&mut self) -> Result<Receipt, Refusal> {
        let applied = self.prepare_and_hand_over().await;
        if let Err(refusal) = &applied {
            tracing::warn!(
                pipeline = self.control.pipeline(),
                generation = self.control.generation(),
                "a change is refused, what ran before runs on\n{}",
                refusal.reason
            );
            self.control.refused(refusal.clone());
        }
        applied
    }

    async fn prepare_and_hand_over(&mut self) -> Result<Receipt, Refusal> {
        let began = Instant::now();
        let now = self.control.plan();
        let job = self.job(now.clone());
        let (found, mut files) = oneshot::channel();
        // The files count that were found, also where the rest of the work fails or hangs.
        let work = tokio::task::spawn_blocking(move || prepare::next(&job, found));
        let deadline = tokio::time::Instant::now() + PREPARE_TIME_MAX;
        let in_time = tokio::time::timeout_at(deadline, work).await;
        if let Ok(files) = files.try_recv() {
            self.watch_files(&files);
        }
        let next = match in_time {
            Ok(Ok(next)) => next?,
            Ok(Err(panicked)) => {
                return Err(Refusal::new(format!("cannot prepare it: {panicked}")));
            }
            Err(_) => {
                let seconds = PREPARE_TIME_MAX.as_secs();
                return Err(Refusal::new(format!("not prepared within {seconds} s")));
            }
        };
        let Some(next) = next else { return Ok(self.control.nothing_to_do()) };
        let checked = self.reloading.ends.check(&now, &next.plan).await;
        checked.map_err(|error| Refusal::new(format!("{error:#}")))?;
        let (taken, receipt) = oneshot::channel();
        self.control.hand_over(Prepared {
            plan: next.plan,
            changes: next.changes,
            ends: next.ends,
            trees: next.trees,
            prepare_time: began.elapsed(),
            taken,
        });
        receipt.await.unwrap_or_else(|_| Err(Refusal::new("the pipeline has ended")))
    }

    fn job(&self, now: Arc<Plan>) -> prepare::Job {
        let lanes = self.control.partition_count();
        prepare::Job::new(&self.reloading, now, self.shadows.clone(), lanes)
    }

    fn watch_files(&self, files: &files::Files) {
        if let Some(watch) = &self.watch {
            watch.watch(files.mode, files.known.clone());
        }
    }
}
