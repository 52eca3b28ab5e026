//! The pipeline loop: micro-batches of plan → read → stages → write → commit. Read this first.
//!
//! Invariants:
//! - The engine keeps no cursor of its own. Where a pipeline begins is read from its sinks, at the smallest cursor, and each
//!   sink is given only what it lacks.
//! - Stop, pause, reload and rebalance enter between two micro-batches. A stop shortens the running micro-batch to whole batches,
//!   then everything written is committed: nothing is left half done.
//! - A micro-batch that fails commits nothing. If the failure may pass, everything since the last commits is dropped and
//!   the cursors are read again: going on is the same act as starting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{OnDataLoss, Start, Trigger};
use crate::control::{Control, RunState};
use crate::cursors::Cursors;
use crate::dead_letter::DeadLetterSink;
use crate::failure::Rewind;
use crate::lane::{Lane, LaneLetters, LaneProgress, LaneStop, LaneWriter};
use crate::offsets::{OffsetRange, Offsets, TopicPartition, share_out};
use crate::plan::Plan;
use crate::reload::{Reloader, Reloading};
use crate::shadow::{self, Shadow};
use crate::sink::{Commit, Sink, When};
use crate::source::{Rebalance, Source};
use crate::status::{Snapshot, Status};

mod beginning;
mod takeover;

/// A micro-batch ends at the first batch after this long, so that commits, reloads and stops come in time however
/// much there is to read.
const MICRO_BATCH_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a pipeline with nothing to do waits before it looks again: first and at most. In between an eighth more each
/// time, so that a record that comes after a pause waits for about an eighth of that pause.
const IDLE_WAIT_MIN: Duration = Duration::from_millis(2);
const IDLE_WAIT_MAX: Duration = Duration::from_millis(100);
/// A wait that may take longer than this looks in between at what the group asks for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause before a micro-batch that failed is run again: first and at most, doubled each time.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(10);
/// `available-now` gives up when nothing could be committed for this long; a continuous pipeline never does.
const RETRY_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a pipeline that has failed takes to drop what it had begun.
const ABORT_TIME_MAX: Duration = Duration::from_secs(5);
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
    control: Control,
    stop: CancellationToken,
    /// Absent: the plan stays what it is.
    reloading: Option<Reloading>,
    /// As [`Plan::stages`].
    shadows: Vec<Option<Arc<Shadow>>>,
    /// Idle lanes; a lane is taken out while it runs.
    lanes: BTreeMap<TopicPartition, Lane>,
    cursors: Cursors,
    /// `available-now`: the end of every partition when the run began. What comes later, in these or in new partitions,
    /// is left to the next run.
    frozen_ends: Option<Offsets>,
    /// Where a sink without any cursor begins; looked at with the first partitions.
    start: Option<Start>,
    failures: Failures,
    /// When partitions were last left for later, because another process holds a transaction over them.
    unsettled_at: Option<Instant>,
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
        Run::opened(Control::starting(plan), connected, stop)
    }

    /// As [`new`](Self::new), where `control` was handed out before the ends were open.
    pub fn opened(control: Control, connected: Connected, stop: CancellationToken) -> Run {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Run {
            plan: control.plan(),
            connected,
            status: control.status(),
            control,
            stop,
            reloading: None,
            shadows: Vec::new(),
            lanes: BTreeMap::new(),
            cursors: Cursors::default(),
            frozen_ends: None,
            start: None,
            failures: Failures::default(),
            unsettled_at: None,
            // More lanes than cores: some of them wait for the network.
            lanes_at_once: Arc::new(Semaphore::new(2 * cores)),
        }
    }

    /// Lets the pipeline be changed while it runs.
    pub fn reloading(mut self, reloading: Reloading) -> Run {
        self.reloading = Some(reloading);
        self
    }

    /// Ends the run when cancelled, as described for [`Run::new`].
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Steers the pipeline while it runs, and tells what it has done.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs until stopped, or with `available-now` until what was there at the start is done.
    ///
    /// # Errors
    /// The first failure that will not pass; what was not committed will be read again by the next run.
    pub async fn run(mut self) -> Result<Snapshot> {
        self.shadows = shadow::start_all(&self.plan, &[])?;
        self.control.enter(RunState::Running);
        self.control.show_shadows(self.shadows.clone());
        self.tell_sinks(self.control.generation());
        let reloader = self.reloader();
        let ended = self.with_rewinds().await;
        self.control.end(match &ended {
            Ok(()) => RunState::Stopped,
            Err(error) => RunState::Failed { error: format!("{error:#}") },
        });
        if let Some(reloader) = reloader {
            reloader.end().await;
        }
        let ended = ended.map(|()| self.status.snapshot());
        // Clients wait for answers before they end: not on a thread that the broker in this process may need to answer.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        ended
    }

    fn reloader(&self) -> Option<Task> {
        let requests = self.control.requests()?;
        let reloading = self.reloading.clone()?;
        let reloader = Reloader::new(reloading, self.control.clone(), requests);
        Some(Task(tokio::spawn(reloader.serve())))
    }

    async fn with_rewinds(&mut self) -> Result<()> {
        while let Err(error) = self.until_the_end().await {
            if let Err(error) = self.rewind(error).await {
                // Readers of committed records must not wait for a transaction that nobody will end.
                let _ = tokio::time::timeout(ABORT_TIME_MAX, self.drop_uncommitted()).await;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn until_the_end(&mut self) -> Result<()> {
        self.micro_batches().await?;
        self.commit(When::Last).await
    }

    async fn micro_batches(&mut self) -> Result<()> {
        let mut idle_wait = IDLE_WAIT_MIN;
        let mut last_start: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            self.let_go().await?;
            self.take_over().await?;
            self.stand_while_paused().await?;
            if let (Trigger::Every(interval), Some(last)) = (self.trigger(), last_start) {
                let rest = (last + interval).saturating_duration_since(Instant::now());
                if !rest.is_zero() {
                    // A commit may become due meanwhile.
                    self.commit(When::Due).await?;
                    self.wait(rest.min(LOOK_EVERY)).await;
                    continue;
                }
            }
            last_start = Some(Instant::now());
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
            } else if self.trigger() == Trigger::AvailableNow && self.unsettled_at.is_none() {
                return Ok(());
            } else {
                self.commit(When::Due).await?;
                self.wait(idle_wait).await;
                idle_wait = (idle_wait + idle_wait / 8).min(IDLE_WAIT_MAX);
            }
        }
        Ok(())
    }

    fn trigger(&self) -> Trigger {
        self.plan.pipeline.source.trigger
    }

    /// Waits, but not longer than until something is asked for.
    async fn wait(&mut self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.control.asked() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Between two micro-batches: commits what was begun and stands as long as the pipeline is to pause.
    async fn stand_while_paused(&mut self) -> Result<()> {
        if !self.control.pause_wanted() {
            return Ok(());
        }
        self.commit(When::Last).await?;
        self.control.enter(RunState::Paused);
        tracing::info!(pipeline = self.plan.pipeline.name, "paused");
        while self.control.pause_wanted() && !self.stop.is_cancelled() {
            self.wait(LOOK_EVERY).await;
            self.let_go().await?;
            self.take_over().await?;
        }
        self.control.enter(RunState::Running);
        tracing::info!(pipeline = self.plan.pipeline.name, "goes on");
        Ok(())
    }

    /// What each partition has beyond our position. `available-now` keeps to the ends that were there first.
    async fn available(&mut self) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        self.look_first().await.context("source")?;
        let mut ranges = self.connected.source.available().await.context("source")?;
        if let Some(frozen) = &self.frozen_ends {
            ranges.retain(|partition, _| frozen.contains_key(partition));
        }
        self.begin_new_partitions(&ranges).await?;
        if self.connected.source.rebalance().is_some() {
            return Ok(BTreeMap::new());
        }
        ranges.retain(|partition, _| self.cursors.holds(partition));
        for (partition, range) in &mut ranges {
            range.begin = self.position(partition, range)?;
        }
        self.status.set_positions(&self.cursors.next(), ends(&ranges));
        for (partition, range) in &mut ranges {
            let frozen = self.frozen_ends.as_ref().and_then(|ends| ends.get(partition));
            range.end = frozen.map_or(range.end, |end| range.end.min(*end));
        }
        Ok(ranges)
    }

    /// Before anything is read: what `available-now` will read, and where `start` means. Topics that are not there yet
    /// are new ones later, whatever `start` says.
    async fn look_first(&mut self) -> Result<()> {
        if self.start.is_some() {
            return Ok(());
        }
        let source = &self.connected.source;
        let all = source.partitions().await?;
        if self.trigger() == Trigger::AvailableNow {
            self.frozen_ends = Some(source.start_offsets(&Start::Latest, &all).await?);
        }
        let start = self.plan.pipeline.source.start.clone();
        self.start = Some(if all.is_empty() { Start::Earliest } else { start });
        Ok(())
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

    /// Gives up what the group takes away: commits what was begun, unless others may own it already.
    async fn let_go(&mut self) -> Result<()> {
        match self.connected.source.rebalance() {
            None => return Ok(()),
            Some(Rebalance::Revoked(partitions)) => {
                self.commit(When::Last).await?;
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
                say_lost(&partitions);
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
        // With that, what the group takes away is let go of too.
        if let Some(rebalance) = self.connected.source.rebalance() {
            if let Rebalance::Lost(partitions) = &rebalance {
                say_lost(partitions);
            }
            self.connected.source.released();
        }
        Ok(())
    }

    /// Forgets everything but what is stored.
    async fn drop_uncommitted(&mut self) -> Result<()> {
        self.lanes.clear();
        self.cursors.clear();
        self.unsettled_at = None;
        for commit in &self.connected.commits {
            commit.abort().await.context("cannot drop what was not committed")?;
        }
        Ok(())
    }

    async fn micro_batch(&mut self, shares: BTreeMap<TopicPartition, OffsetRange>) -> Result<()> {
        let token = self.control.begin_micro_batch(&self.stop);
        let stop = LaneStop { token, deadline: Instant::now() + MICRO_BATCH_TIME_MAX };
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
        self.commit(When::Due).await
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
        let mut lane = Lane::new(plan, partition.clone(), reader, writers, letters, status);
        self.observe(&mut lane);
        Ok(lane)
    }

    async fn commit(&mut self, when: When) -> Result<()> {
        if self.cursors.is_empty() {
            return Ok(());
        }
        let commits = self.connected.commits.iter();
        let commits = commits.map(|commit| commit.commit(&self.cursors, when));
        for committed in futures::future::join_all(commits).await {
            for (sink, committed) in committed? {
                self.status.add_committed(sink, &committed);
                self.failures = Failures::default();
            }
        }
        Ok(())
    }
}

/// A task that ends with its handle.
struct Task(tokio::task::JoinHandle<()>);

impl Task {
    /// Returns when everything that the task held is dropped.
    async fn end(mut self) {
        self.0.abort();
        // That it was cancelled is what we asked for.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn say_lost(partitions: &BTreeSet<TopicPartition>) {
    tracing::warn!(
        partitions = partitions.len(),
        "FENCED: the group has given the partitions to others, who did not hear from this process in time; what was not \
         committed is dropped here and read there"
    );
}

fn ends(ranges: &BTreeMap<TopicPartition, OffsetRange>) -> Offsets {
    ranges.iter().map(|(partition, range)| (partition.clone(), range.end)).collect()
}
