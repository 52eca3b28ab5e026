//! A new generation takes over, between two micro-batches.
//!
//! - Everything that the old generation made is committed first: what is on one side of the boundary was made by one
//!   generation, also after a crash.
//! - Stages alone: lanes keep their reader with what it fetched ahead, and their writers; their instances are ready.
//! - Other ends too: they are opened anew, and going on is the same act as starting: the cursors are read from the stores.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::Run;
use crate::lane::Lane;
use crate::plan::Plan;
use crate::reload::{EndsChange, Prepared, Receipt, Refusal, by_topic, now_ms};
use crate::shadow;
use crate::sink::When;
use crate::tree::StageTree;

impl Run {
    /// Without effect where nothing is prepared.
    ///
    /// Errors: what the old generation made cannot be committed; the new one goes on waiting.
    pub(super) async fn take_over(&mut self) -> Result<()> {
        if !self.control.has_prepared() {
            return Ok(());
        }
        let began = Instant::now();
        self.commit(When::Now).await?;
        let Some(prepared) = self.control.take_prepared() else { return Ok(()) };
        let Prepared { plan, changes, ends, trees, prepare_time, taken } = prepared;
        let offsets = by_topic(&self.cursors.next());
        if let Err(error) = self.change_ends(&plan, ends).await {
            // Whoever asked may be gone.
            let _ = taken.send(Err(Refusal::new(format!("{error:#}"))));
            return self.drop_uncommitted().await;
        }
        let generation = self.control.generation() + 1;
        self.change_plan(plan, trees, generation);
        let receipt = Receipt {
            generation,
            at_ms: now_ms(),
            changes,
            offsets,
            prepare_ms: prepare_time.as_secs_f64() * 1e3,
            pause_ms: began.elapsed().as_secs_f64() * 1e3,
        };
        self.control.took_over(self.plan.clone(), self.status.clone(), &receipt);
        self.control.show_shadows(self.shadows.clone());
        let _ = taken.send(Ok(receipt));
        Ok(())
    }

    async fn change_ends(&mut self, plan: &Plan, ends: EndsChange) -> Result<()> {
        let Some(reopen) = self.reloading.as_ref().map(|reloading| reloading.ends.clone()) else {
            return Ok(());
        };
        if !ends.any() {
            return Ok(());
        }
        let connected = reopen.reopen(plan, &self.connected, ends.source).await?;
        // A reader gives its partition back before another one takes it.
        self.lanes.clear();
        self.cursors.clear();
        let before = std::mem::replace(&mut self.connected, connected);
        // Clients take their time to end.
        tokio::task::spawn_blocking(move || drop(before));
        Ok(())
    }

    fn change_plan(&mut self, plan: Arc<Plan>, mut trees: Vec<StageTree>, generation: u64) {
        let status = Arc::new(self.status.for_plan(&plan));
        let shadows = shadow::start_all(&plan, &self.shadows).unwrap_or_else(|error| {
            tracing::warn!("candidates are not compared: {error:#}");
            vec![None; plan.stages.len()]
        });
        let mut retired = Vec::new();
        for (partition, mut lane) in std::mem::take(&mut self.lanes) {
            let tree = trees.pop().unwrap_or_else(|| StageTree::new(plan.clone()));
            match lane.change_stages(plan.clone(), tree, status.clone()) {
                Ok(old) => {
                    retired.push(old);
                    lane.observed_by(&self.control.taps(), &shadows);
                    self.lanes.insert(partition, lane);
                }
                // It is opened anew, from the same offset.
                Err(error) => tracing::warn!(%partition, "{error:#}"),
            }
        }
        let (new, old) = (&plan.pipeline.source, &self.plan.pipeline.source);
        if new.trigger != old.trigger || new.topics != old.topics {
            (self.start, self.frozen_ends) = (None, None);
        }
        self.plan = plan;
        self.status = status;
        self.shadows = shadows;
        self.tell_sinks(generation);
        tokio::task::spawn_blocking(move || drop((retired, trees)));
    }

    /// Tells the sinks which code makes the rows from now on.
    pub(super) fn tell_sinks(&self, generation: u64) {
        for (sink, planned) in self.connected.sinks.iter().zip(&self.plan.sinks) {
            sink.made_by(&Arc::new(self.plan.provenance(planned, generation)));
        }
    }

    /// Shows a lane's rows to whoever looks.
    pub(super) fn observe(&self, lane: &mut Lane) {
        lane.observed_by(&self.control.taps(), &self.shadows);
    }
}
