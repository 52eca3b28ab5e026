//! The pipeline loop: micro-batches of plan → read → stages → write → commit. Read this first.
//!
//! Invariants:
//! - The engine keeps no cursor of its own. Where a pipeline begins is read from its sinks, at the smallest cursor, and each
//!   sink is given only what it lacks.
//! - Stop and rebalance enter between two micro-batches. A stop shortens the running micro-batch to whole batches, then
//!   everything written is committed: nothing is left half done.
//! - A micro-batch that fails commits nothing. If the failure may pass, everything since the last commits is dropped and
//!   the cursors are read again: going on is the same act as starting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{OnDataLoss, Trigger};
use crate::cursors::{Cursors, Stored, moves_with_time};
use crate::dead_letter::DeadLetterSink;
use crate::failure::Rewind;
use crate::lane::{Lane, LaneLetters, LaneProgress, LaneStop, LaneWriter};
use crate::offsets::{OffsetRange, Offsets, TopicPartition, share_out};
use crate::plan::Plan;
use crate::sink::{Commit, Sink};
use crate::source::{Rebalance, Source};
use crate::status::{Snapshot, Status};

/// A micro-batch ends at the first batch after this long, so that commits, reloads and stops come in time however
/// much there is to read.
const MICRO_BATCH_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a pipeline with nothing to do waits before it looks again: first and at most.
const IDLE_WAIT_MIN: Duration = Duration::from_millis(2);
const IDLE_WAIT_MAX: Duration = Duration::from_millis(100);
/// Pause before a micro-batch that failed is run again: first and at most, doubled each time.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(10);
/// `available-now` gives up when nothing could be committed for this long; a continuous pipeline never does.
const RETRY_TIME_MAX: Duration = Duration::from_secs(120);
/// A pipeline that is fenced again and again has a twin that is not of its group: it stops.
const FENCED_MAX: u32 = 5;

/// The ends of a pipeline, opened.
pub struct Connected {
    pub source: Arc<dyn Source>,
    /// As [`Plan::sinks`].
    pub sinks: Vec<Arc<dyn Sink>>,
    /// What makes the writes of all sinks and the dead letters durable, each of them in one of these.
    pub commits: Vec<Arc<dyn Commit>>,
    pub dead_letters: Option<Arc<dyn DeadLetterSink>>,
}

/// A pipeline that is ready to run.
pub struct Run {
    plan: Arc<Plan>,
    connected: Connected,
    status: Arc<Status>,
    stop: CancellationToken,
    /// Idle lanes; a lane is taken out while it runs.
    lanes: BTreeMap<TopicPartition, Lane>,
    cursors: Cursors,
    /// `available-now`: the ends seen first.
    frozen_ends: Offsets,
    failures: Failures,
    lanes_at_once: Arc<Semaphore>,
}

/// Failures since the last commit.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    fenced: u32,
    since: Option<Instant>,
}

impl Run {
    /// `stop` ends the run after the current batch, with everything written committed.
    pub fn new(plan: Plan, connected: Connected, stop: CancellationToken) -> Run {
        let stages = plan.stages.iter().map(|stage| stage.name.clone());
        let sinks = plan.sinks.iter().map(|sink| sink.name.clone());
        let status = Arc::new(Status::new(&plan.pipeline.name, stages, sinks));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Run {
            plan: Arc::new(plan),
            connected,
            status,
            stop,
            lanes: BTreeMap::new(),
            cursors: Cursors::default(),
            frozen_ends: Offsets::new(),
            failures: Failures::default(),
            // More lanes than cores: some of them wait for the network.
            lanes_at_once: Arc::new(Semaphore::new(2 * cores)),
        }
    }

    /// Ends the run when cancelled, as described for [`Run::new`].
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Counters that may be read while the pipeline runs.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Runs until stopped, or with `available-now` until what was there at the start is done.
    ///
    /// # Errors
    /// The first failure that will not pass; what was not committed will be read again by the next run.
    pub async fn run(mut self) -> Result<Snapshot> {
        while let Err(error) = self.until_the_end().await {
            self.rewind(error).await?;
        }
        Ok(self.status.snapshot())
    }

    async fn until_the_end(&mut self) -> Result<()> {
        self.micro_batches().await?;
        self.commit(true).await
    }

    async fn micro_batches(&mut self) -> Result<()> {
        let mut idle_wait = IDLE_WAIT_MIN;
        let mut last_start: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            if let (Trigger::Every(interval), Some(last)) = (self.trigger(), last_start) {
                self.wait((last + interval).saturating_duration_since(Instant::now())).await;
            }
            last_start = Some(Instant::now());
            self.let_go().await?;
            let stop = self.stop.clone();
            // A cluster that does not answer must not hold up a stop.
            let available = tokio::select! {
                available = self.available() => available?,
                () = stop.cancelled() => return Ok(()),
            };
            if self.connected.source.rebalance().is_some() {
                continue;
            }
            let shares = share_out(&available, self.plan.pipeline.source.max_offsets_per_trigger);
            if !shares.is_empty() {
                idle_wait = IDLE_WAIT_MIN;
                self.micro_batch(shares).await?;
            } else if self.trigger() == Trigger::AvailableNow {
                return Ok(());
            } else {
                self.commit(false).await?;
                self.wait(idle_wait).await;
                idle_wait = (2 * idle_wait).min(IDLE_WAIT_MAX);
            }
        }
        Ok(())
    }

    fn trigger(&self) -> Trigger {
        self.plan.pipeline.source.trigger
    }

    async fn wait(&mut self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// What each partition has beyond our position. `available-now` keeps to the ends seen first.
    async fn available(&mut self) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        let mut ranges = self.connected.source.available().await.context("source")?;
        if self.trigger() == Trigger::AvailableNow {
            for (partition, range) in &mut ranges {
                let end = self.frozen_ends.entry(partition.clone()).or_insert(range.end);
                range.end = range.end.min(*end);
            }
        }
        self.begin_new_partitions(&ranges).await?;
        for (partition, range) in &mut ranges {
            range.begin = self.position(partition, range)?;
        }
        self.status.set_positions(&self.cursors.next(), ends(&ranges));
        Ok(ranges)
    }

    /// Our position in a partition, checked against what is still there.
    fn position(&mut self, partition: &TopicPartition, range: &OffsetRange) -> Result<i64> {
        let position = self.cursors.position(partition).context("a partition was not begun")?;
        if (range.begin..=range.end).contains(&position) {
            return Ok(position);
        }
        if self.plan.pipeline.source.on_data_loss == OnDataLoss::Stop {
            bail!(
                "partition {partition}: the pipeline is at offset {position}, the topic holds offsets {} to {}: records were \
                 deleted before they were read, or the topic was made anew (set `on_data_loss = \"continue\"` under \
                 [source] to go on with what is there)",
                range.begin,
                range.end,
            );
        }
        tracing::warn!(%partition, position, earliest = range.begin, end = range.end, "records are gone; going on");
        let position = position.clamp(range.begin, range.end.max(range.begin));
        self.cursors.advance(partition, position);
        self.lanes.remove(partition);
        Ok(position)
    }

    /// Takes up partitions that this process did not have before.
    async fn begin_new_partitions(
        &mut self,
        available: &BTreeMap<TopicPartition, OffsetRange>,
    ) -> Result<()> {
        let fresh: Vec<_> =
            available.keys().filter(|at| !self.cursors.holds(at)).cloned().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let source = &self.connected.source;
        let all = source.partitions().await.context("source")?;
        let mut sinks = Vec::new();
        for (sink, planned) in self.connected.sinks.iter().zip(&self.plan.sinks) {
            let name = &planned.name;
            let stored = sink.cursors(&all).await;
            sinks.push(stored.with_context(|| format!("sink `{name}`: cannot read its cursors"))?);
        }
        let letters = match &self.connected.dead_letters {
            Some(letters) => letters.cursors(&all).await.context("dead letters")?,
            None => Offsets::new(),
        };
        let start = &self.plan.pipeline.source.start;
        let starts = source.start_offsets(start, &fresh).await.context("source")?;
        let stored = Stored { sinks: &sinks, letters: &letters, starts: &starts, available };
        for partition in &fresh {
            self.cursors.begin(partition, &stored);
        }
        if moves_with_time(start) && sinks.iter().any(Offsets::is_empty) {
            self.commit(true).await.context("cannot write down where the pipeline begins")?;
        }
        Ok(())
    }

    /// Gives up what the group takes away: commits what was begun, unless others may own it already.
    async fn let_go(&mut self) -> Result<()> {
        match self.connected.source.rebalance() {
            None => return Ok(()),
            Some(Rebalance::Revoked(partitions)) => {
                self.commit(true).await?;
                tracing::info!(
                    partitions = partitions.len(),
                    "the group shares the partitions out anew"
                );
                for partition in &partitions {
                    self.lanes.remove(partition);
                    self.cursors.give_up(partition);
                }
            }
            Some(Rebalance::Lost(partitions)) => {
                tracing::warn!(
                    partitions = partitions.len(),
                    "FENCED: the group has given the partitions to others, who did not hear from this process in time; \
                     what was not committed is dropped here and read there"
                );
                self.drop_uncommitted().await?;
            }
        }
        self.connected.source.released();
        Ok(())
    }

    /// After a failure: back to what is committed, after a pause. Errors: the failure is final.
    async fn rewind(&mut self, error: Error) -> Result<()> {
        let Some(rewind) = Rewind::of(&error) else { return Err(error) };
        let since = *self.failures.since.get_or_insert_with(Instant::now);
        self.failures.count += 1;
        self.failures.fenced += u32::from(rewind == Rewind::Fenced);
        let patient = self.trigger() != Trigger::AvailableNow || since.elapsed() < RETRY_TIME_MAX;
        if self.stop.is_cancelled() || !patient || self.failures.fenced > FENCED_MAX {
            return Err(error);
        }
        let wait = RETRY_WAIT_MIN * (1 << self.failures.count.min(10));
        let wait = wait.min(RETRY_WAIT_MAX);
        tracing::warn!(
            attempt = self.failures.count,
            wait_ms = wait.as_millis(),
            "going back to what is committed, then on: {error:#}"
        );
        self.status.add_rewind(&error);
        self.wait(wait).await;
        // What fails here fails again below, with its own pause.
        if let Err(error) = self.drop_uncommitted().await {
            tracing::warn!("{error:#}");
        }
        if self.connected.source.rebalance().is_some() {
            self.connected.source.released();
        }
        Ok(())
    }

    /// Forgets everything but what is stored.
    async fn drop_uncommitted(&mut self) -> Result<()> {
        self.lanes.clear();
        self.cursors.clear();
        for commit in &self.connected.commits {
            commit.abort().await.context("cannot drop what was not committed")?;
        }
        Ok(())
    }

    async fn micro_batch(&mut self, shares: BTreeMap<TopicPartition, OffsetRange>) -> Result<()> {
        let stop =
            LaneStop { token: self.stop.clone(), deadline: Instant::now() + MICRO_BATCH_TIME_MAX };
        let mut running = JoinSet::new();
        for (partition, range) in shares {
            let mut lane = match self.lanes.remove(&partition) {
                Some(lane) => lane,
                None => self.open_lane(&partition, range.begin).await?,
            };
            let (stop, permits) = (stop.clone(), self.lanes_at_once.clone());
            running.spawn(async move {
                let permit = permits.acquire_owned().await;
                let work = move || {
                    let progress = lane.run(range, &stop);
                    drop(permit);
                    (partition, lane, progress)
                };
                tokio::task::spawn_blocking(work).await
            });
        }
        let mut failed = None;
        while let Some(ended) = running.join_next().await {
            let (partition, lane, progress) =
                ended.and_then(|inner| inner).context("a lane panicked")?;
            match progress {
                Ok(LaneProgress { reached, .. }) => {
                    self.cursors.advance(&partition, reached);
                    self.lanes.insert(partition, lane);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.status.micro_batch_done();
        self.commit(false).await
    }

    async fn open_lane(&mut self, partition: &TopicPartition, begin: i64) -> Result<Lane> {
        let source = &self.connected.source;
        let reader = source.reader(partition, begin, &self.plan.source_columns).await;
        let reader = reader.with_context(|| format!("cannot read partition {partition}"))?;
        let (sinks, letters) = self.cursors.stored_below(partition);
        let mut writers = Vec::new();
        for (sink, stored_below) in self.connected.sinks.iter().zip(sinks) {
            writers.push(LaneWriter { writer: sink.writer()?, stored_below: *stored_below });
        }
        let letters = self
            .connected
            .dead_letters
            .clone()
            .map(|sink| LaneLetters { sink, stored_below: letters });
        let (plan, status) = (self.plan.clone(), self.status.clone());
        Ok(Lane::new(plan, partition.clone(), reader, writers, letters, status))
    }

    async fn commit(&mut self, now: bool) -> Result<()> {
        if self.cursors.is_empty() {
            return Ok(());
        }
        let commits = self.connected.commits.iter();
        let commits = commits.map(|commit| commit.commit(&self.cursors, now));
        for committed in futures::future::join_all(commits).await {
            for (sink, committed) in committed? {
                self.status.add_committed(sink, &committed);
                self.failures = Failures::default();
            }
        }
        Ok(())
    }
}

fn ends(ranges: &BTreeMap<TopicPartition, OffsetRange>) -> Offsets {
    ranges.iter().map(|(partition, range)| (partition.clone(), range.end)).collect()
}
