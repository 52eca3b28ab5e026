//! The pipeline loop: micro-batches of plan → read → stages → write → commit. Read this first.
//!
//! Invariants:
//! - The engine keeps no cursor of its own. Where a pipeline begins is read from its sinks, at the smallest cursor, and each
//!   sink is given only what it lacks.
//! - Stop enters between two micro-batches. A stop shortens the running micro-batch to whole batches, then everything
//!   written is committed: nothing is left half done.
//! - A micro-batch that fails commits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{OnDataLoss, Trigger};
use crate::dead_letter::DeadLetterSink;
use crate::lane::{Lane, LaneProgress, LaneStop, LaneWriter};
use crate::offsets::{OffsetRange, Offsets, TopicPartition, share_out};
use crate::plan::Plan;
use crate::sink::Sink;
use crate::source::Source;
use crate::status::{Snapshot, Status};

/// A micro-batch ends at the first batch after this long, so that commits, reloads and stops come in time however
/// much there is to read.
const MICRO_BATCH_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a pipeline with nothing to do waits before it looks again: first and at most.
const IDLE_WAIT_MIN: Duration = Duration::from_millis(2);
const IDLE_WAIT_MAX: Duration = Duration::from_millis(100);

/// The ends of a pipeline, opened.
pub struct Connected {
    pub source: Arc<dyn Source>,
    /// As [`Plan::sinks`].
    pub sinks: Vec<Arc<dyn Sink>>,
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
    /// The next offset to read, per partition known so far.
    positions: Offsets,
    /// Per partition and sink: below this offset the sink wants nothing, it has it or begins later.
    begins: BTreeMap<TopicPartition, Vec<i64>>,
    lanes_at_once: Arc<Semaphore>,
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
            positions: Offsets::new(),
            begins: BTreeMap::new(),
            // More lanes than cores: some of them wait for the network.
            lanes_at_once: Arc::new(Semaphore::new(2 * cores)),
        }
    }

    /// Counters that may be read while the pipeline runs.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Runs until stopped, or with `available-now` until what was there at the start is done.
    ///
    /// # Errors
    /// The first failure that could not be mended; what was not committed will be read again by the next run.
    pub async fn run(mut self) -> Result<Snapshot> {
        self.micro_batches().await?;
        self.commit(true).await?;
        Ok(self.status.snapshot())
    }

    async fn micro_batches(&mut self) -> Result<()> {
        let mut frozen_end = None;
        let mut idle_wait = IDLE_WAIT_MIN;
        let mut last_start: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            if let (Trigger::Every(interval), Some(last)) = (self.trigger(), last_start) {
                self.wait((last + interval).saturating_duration_since(Instant::now())).await;
            }
            last_start = Some(Instant::now());
            let stop = self.stop.clone();
            // A cluster that does not answer must not hold up a stop.
            let available = tokio::select! {
                available = self.available(&mut frozen_end) => available?,
                () = stop.cancelled() => return Ok(()),
            };
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
    async fn available(
        &mut self,
        frozen_end: &mut Option<Offsets>,
    ) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        let mut ranges = self.connected.source.available().await.context("source")?;
        if self.trigger() == Trigger::AvailableNow {
            let ends = frozen_end.get_or_insert_with(|| ends(&ranges));
            ranges.retain(|partition, _| ends.contains_key(partition));
            for (partition, range) in &mut ranges {
                range.end = range.end.min(ends[partition]);
            }
        }
        self.begin_new_partitions(&ranges).await?;
        for (partition, range) in &mut ranges {
            range.begin = self.position(partition, range)?;
        }
        self.status.set_positions(&self.positions, ends(&ranges));
        Ok(ranges)
    }

    /// Our position in a partition, checked against what is still there.
    fn position(&mut self, partition: &TopicPartition, range: &OffsetRange) -> Result<i64> {
        let position = self.positions[partition];
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
        self.positions.insert(partition.clone(), position);
        self.lanes.remove(partition);
        Ok(position)
    }

    /// Positions for partitions that were not there before: at the smallest cursor of the sinks. A sink that has no cursor
    /// at all begins where `start` says; one that knows other partitions begins a new one at the earliest offset.
    async fn begin_new_partitions(
        &mut self,
        ranges: &BTreeMap<TopicPartition, OffsetRange>,
    ) -> Result<()> {
        let fresh: Vec<_> = ranges
            .keys()
            .filter(|partition| !self.positions.contains_key(partition))
            .cloned()
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let mut cursors = Vec::new();
        for (sink, planned) in self.connected.sinks.iter().zip(&self.plan.sinks) {
            let stored = sink.cursors(&fresh).await;
            cursors
                .push(stored.with_context(|| {
                    format!("sink `{}`: cannot read its cursors", planned.name)
                })?);
        }
        let first = self.positions.is_empty();
        let start = &self.plan.pipeline.source.start;
        let starts = self.connected.source.start_offsets(start, &fresh).await.context("source")?;
        for partition in fresh {
            let earliest = ranges[&partition].begin;
            let begins = cursors.iter().map(|stored| match stored.get(&partition) {
                Some(cursor) => *cursor,
                None if first && stored.is_empty() => {
                    starts.get(&partition).copied().unwrap_or(earliest)
                }
                None => earliest,
            });
            let begins: Vec<i64> = begins.collect();
            tracing::debug!(%partition, ?begins, "sinks take the partition up");
            let smallest = begins.iter().copied().min().unwrap_or(earliest);
            self.positions.insert(partition.clone(), smallest);
            self.begins.insert(partition, begins);
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
                    self.positions.insert(partition.clone(), reached);
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
        let mut writers = Vec::new();
        for (sink, stored_below) in self.connected.sinks.iter().zip(&self.begins[partition]) {
            writers.push(LaneWriter { writer: sink.writer()?, stored_below: *stored_below });
        }
        let letters = self.connected.dead_letters.clone();
        let (plan, status) = (self.plan.clone(), self.status.clone());
        Ok(Lane::new(plan, partition.clone(), reader, writers, letters, status))
    }

    /// Dead letters first: a cursor may only pass a rejected record when its letter is safe.
    async fn commit(&mut self, now: bool) -> Result<()> {
        if self.positions.is_empty() {
            return Ok(());
        }
        if let Some(letters) = &self.connected.dead_letters {
            letters.flush().await.context("cannot write dead letters")?;
        }
        let sinks = self.connected.sinks.iter();
        let commits = sinks.map(|sink| sink.commit(&self.positions, now));
        let ended = futures::future::join_all(commits).await;
        for (index, (committed, planned)) in ended.into_iter().zip(&self.plan.sinks).enumerate() {
            let committed = committed.with_context(|| format!("sink `{}`", planned.name))?;
            if let Some(committed) = committed {
                tracing::debug!(
                    sink = planned.name,
                    rows = committed.rows,
                    detail = committed.detail,
                    "committed"
                );
                self.status.add_committed(index, &committed);
            }
        }
        Ok(())
    }
}

fn ends(ranges: &BTreeMap<TopicPartition, OffsetRange>) -> Offsets {
    ranges.iter().map(|(partition, range)| (partition.clone(), range.end)).collect()
}
