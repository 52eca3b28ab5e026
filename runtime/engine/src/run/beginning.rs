//! Where a pipeline begins in partitions that it did not have before.
//!
//! - With cursors: at the smallest of them. Without: where `start` says, or at the earliest offset for a partition that
//!   is newer than its sink.
//! - A beginning that depends on when one looks is decided once, and written down before anything is read. That of a
//!   whole pipeline is written by the process that has the first partition; that of a sink that is added later, to a
//!   store of its own, by whoever comes first, in all partitions at once. A store that the sink shares with others knows
//!   by their cursors which partitions were there before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{IDLE_WAIT_MAX, Run};
use crate::config::Start;
use crate::cursors::{Cursors, Stored, moves_with_time};
use crate::offsets::{OffsetRange, Offsets, TopicPartition};
use crate::sink::{Unsettled, When};

/// Partitions over which another process holds a transaction are looked at again after this long.
const UNSETTLED_WAIT: Duration = Duration::from_millis(500);
/// How long they are waited for where nothing can be done without them.
const UNSETTLED_TIME_MAX: Duration = Duration::from_secs(120);

impl Run {
    /// Takes up partitions that this process did not have before; none of them while the group shares out anew. Those over
    /// which another process holds a transaction, which may be dead, are left for later: the others do not wait for its end.
    pub(super) async fn begin_new_partitions(
        &mut self,
        available: &BTreeMap<TopicPartition, OffsetRange>,
    ) -> Result<()> {
        let mut fresh: Vec<_> =
            available.keys().filter(|at| !self.cursors.holds(at)).cloned().collect();
        if self.unsettled_at.is_some_and(|at| at.elapsed() < UNSETTLED_WAIT) {
            return Ok(());
        }
        let mut unsettled = 0;
        while !fresh.is_empty() {
            let Err(error) = self.begin_partitions(&fresh, available).await else { break };
            let Some(Unsettled(others)) = error.downcast_ref() else { return Err(error) };
            let asked = fresh.len();
            fresh.retain(|partition| !others.contains(partition));
            unsettled += asked - fresh.len();
            if fresh.len() == asked {
                return Err(error);
            }
        }
        if unsettled > 0 && self.unsettled_at.is_none() {
            tracing::info!(
                partitions = unsettled,
                "waiting for the end of another process's transaction"
            );
        }
        self.unsettled_at = (unsettled > 0).then(Instant::now);
        Ok(())
    }

    async fn begin_partitions(
        &mut self,
        fresh: &[TopicPartition],
        available: &BTreeMap<TopicPartition, OffsetRange>,
    ) -> Result<()> {
        let source = self.connected.source.clone();
        let start = self.start.clone().unwrap_or(Start::Earliest);
        let mut sinks = self.stored_cursors(fresh).await?;
        // Whether a sink without a cursor here is a new one is told by all partitions.
        let is_complete = sinks.iter().all(|stored| stored.len() == fresh.len());
        if !is_complete {
            let all = source.partitions().await.context("source")?;
            sinks = self.settled_cursors(&all).await?;
            if moves_with_time(&start) && sinks.iter().any(Offsets::is_empty) {
                let leads = all.first().is_some_and(|first| available.contains_key(first));
                match sinks.iter().all(Offsets::is_empty) {
                    false => self.write_down_added(&start, &all, &sinks).await?,
                    true if leads => self.write_down_beginning(&start, &all).await?,
                    true => self.wait_for_beginning(&all).await?,
                }
                if source.rebalance().is_some() {
                    return Ok(());
                }
                sinks = self.settled_cursors(&all).await?;
            }
        }
        let letters = match &self.connected.dead_letters {
            Some(letters) => letters.cursors(fresh).await.context("dead letters")?,
            None => Offsets::new(),
        };
        let older = match moves_with_time(&start) && !is_complete {
            true => self.older_than_sinks(fresh).await?,
            false => vec![BTreeSet::new(); sinks.len()],
        };
        let begins = sinks.iter().any(Offsets::is_empty) || older.iter().any(|it| !it.is_empty());
        // `start` means nothing to a pipeline that goes on: what it names may be long gone.
        let starts = match begins {
            true => source.start_offsets(&start, fresh).await.context("source")?,
            false => Offsets::new(),
        };
        let stored =
            Stored { sinks: &sinks, older: &older, letters: &letters, starts: &starts, available };
        for partition in fresh {
            self.cursors.begin(partition, &stored);
        }
        if moves_with_time(&start) && begins {
            self.commit(When::Last).await.context("cannot write down where a sink begins")?;
        }
        Ok(())
    }

    /// The cursors of each sink.
    async fn stored_cursors(&mut self, all: &[TopicPartition]) -> Result<Vec<Offsets>> {
        let mut sinks = Vec::new();
        for (sink, planned) in self.connected.sinks.iter().zip(&self.plan.sinks) {
            let stored = sink.cursors(all).await;
            let name = &planned.name;
            sinks.push(stored.with_context(|| format!("sink `{name}`: cannot read its cursors"))?);
        }
        Ok(sinks)
    }

    /// The same, after transactions of other processes over these partitions have ended.
    async fn settled_cursors(&mut self, all: &[TopicPartition]) -> Result<Vec<Offsets>> {
        let begun = Instant::now();
        loop {
            match self.stored_cursors(all).await {
                Err(error)
                    if error.downcast_ref::<Unsettled>().is_some()
                        && begun.elapsed() < UNSETTLED_TIME_MAX =>
                {
                    tokio::time::sleep(UNSETTLED_WAIT).await;
                }
                answer => return answer,
            }
        }
    }

    /// Per sink, the partitions that were there before it.
    async fn older_than_sinks(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<BTreeSet<TopicPartition>>> {
        let mut sinks = Vec::new();
        for (sink, planned) in self.connected.sinks.iter().zip(&self.plan.sinks) {
            let older = sink.older(partitions).await;
            let name = &planned.name;
            sinks.push(older.with_context(|| format!("sink `{name}`: cannot read its cursors"))?);
        }
        Ok(sinks)
    }

    /// For all partitions, those of other processes too: they would else take theirs for new ones, and begin them at the
    /// earliest offset.
    async fn write_down_beginning(&mut self, start: &Start, all: &[TopicPartition]) -> Result<()> {
        let starts = self.connected.source.start_offsets(start, all).await.context("source")?;
        let beginning = Cursors::of(&starts, self.plan.sinks.len());
        for commit in &self.connected.commits {
            let written = commit.commit(&beginning, When::Last).await;
            written.context("cannot write down where the pipeline begins")?;
        }
        Ok(())
    }

    /// The same for the sinks that were added to a pipeline.
    async fn write_down_added(
        &mut self,
        start: &Start,
        all: &[TopicPartition],
        stored: &[Offsets],
    ) -> Result<()> {
        let starts = self.connected.source.start_offsets(start, all).await.context("source")?;
        for (sink, stored) in self.connected.sinks.iter().zip(stored) {
            if stored.is_empty() {
                let written = sink.begin(&starts).await;
                written.context("cannot write down where a sink begins")?;
            }
        }
        Ok(())
    }

    /// Until the process that has the first partition has written it down; or the group shares out anew.
    async fn wait_for_beginning(&mut self, all: &[TopicPartition]) -> Result<()> {
        while self.connected.source.rebalance().is_none() {
            if self.settled_cursors(all).await?.iter().any(|stored| !stored.is_empty()) {
                break;
            }
            self.wait(IDLE_WAIT_MAX).await;
        }
        Ok(())
    }
}
