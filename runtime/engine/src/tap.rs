//! Rows shown as they pass, to whoever looks at a running pipeline.
//!
//! A tap sees a sample, never all: a lane gives it at most so many rows a second, and none where the one who looks is
//! slow or where another lane is just giving. So no tap holds up the flow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use arrow_array::ArrayRef;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::config::Upstream;
use crate::offsets::TopicPartition;
use crate::plan::Plan;
use crate::test::row_object;
use crate::tree::Passed;

/// The name that stands for the records of the source.
pub const SOURCE: &str = "source";
/// A tap shows no more rows in a second, whatever is asked for.
pub const ROWS_PER_SECOND_MAX: u32 = 1_000;
/// Rows that wait for the one who looks.
const WAITING_MAX: usize = 256;
/// Taps of one pipeline at the same time.
const TAPS_MAX: usize = 64;

/// A row on its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TapRow {
    /// The stage that the row comes from, or `source`.
    pub stage: String,
    /// Where the row's record stands in the source.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Its columns, those left out that nothing further down needs.
    pub row: Map<String, Value>,
}

/// The taps of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// Looked at with every batch: no lock is taken where nobody looks.
    count: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
}

#[derive(Debug)]
struct Tap {
    stage: String,
    rows: mpsc::Sender<TapRow>,
    per_second: f64,
    /// Rows that may be shown now.
    allowance: f64,
    filled_at: Instant,
}

impl Taps {
    /// Shows rows behind `stage` until the receiver is dropped. `None`: too many look already.
    pub fn open(&self, stage: &str, rows_per_second: u32) -> Option<mpsc::Receiver<TapRow>> {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|tap| !tap.rows.is_closed());
        if taps.len() >= TAPS_MAX {
            return None;
        }
        let (rows, receiver) = mpsc::channel(WAITING_MAX);
        let per_second = f64::from(rows_per_second.clamp(1, ROWS_PER_SECOND_MAX));
        let stage = stage.to_string();
        taps.push(Tap { stage, rows, per_second, allowance: 1.0, filled_at: Instant::now() });
        self.count.store(taps.len(), Ordering::Release);
        Some(receiver)
    }

    /// Shows some rows of a batch that has passed.
    pub fn show(
        &self,
        plan: &Plan,
        passed: &Passed,
        partition: &TopicPartition,
        offsets: &[i64],
    ) -> Result<()> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let Ok(mut taps) = self.taps.try_lock() else { return Ok(()) };
        taps.retain(|tap| !tap.rows.is_closed());
        self.count.store(taps.len(), Ordering::Release);
        for tap in taps.iter_mut() {
            let Some(from) = edge_of(plan, &tap.stage) else { continue };
            for row in tap.sample(passed, plan, from, partition, offsets)? {
                // One who is slow misses rows.
                let _ = tap.rows.try_send(row);
            }
        }
        Ok(())
    }
}

impl Tap {
    fn sample(
        &mut self,
        passed: &Passed,
        plan: &Plan,
        from: Upstream,
        partition: &TopicPartition,
        offsets: &[i64],
    ) -> Result<Vec<TapRow>> {
        let now = Instant::now();
        let earned = self.per_second * (now - self.filled_at).as_secs_f64();
        self.allowance = (self.allowance + earned).min(self.per_second);
        self.filled_at = now;
        let rows = spread(passed.row_count(from), self.allowance as usize);
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.allowance -= rows.len() as f64;
        let mut batch = passed.edge(from).keep(rows.into());
        let schema = plan.edge(from);
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            if batch.has(index) {
                columns.push((field.name(), batch.column(index)?));
            }
        }
        let row = |row: usize| TapRow {
            stage: self.stage.clone(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
            offset: offsets[batch.origin(row as u32) as usize],
            row: row_object(columns.iter().map(|(name, column)| (*name, column)), row),
        };
        Ok((0..batch.row_count()).map(row).collect())
    }
}

fn edge_of(plan: &Plan, stage: &str) -> Option<Upstream> {
    if stage == SOURCE {
        return Some(Upstream::Source);
    }
    plan.stages.iter().position(|planned| planned.name == stage).map(Upstream::Stage)
}

/// At most `count` of `rows` row numbers, with the same distance between them.
fn spread(rows: usize, count: usize) -> Vec<u32> {
    let count = count.min(rows);
    (0..count).map(|index| (index * rows / count) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_batch() {
        assert_eq!(spread(10, 3), [0, 3, 6]);
        assert_eq!(spread(2, 5), [0, 1]);
        assert!(spread(0, 5).is_empty() && spread(5, 0).is_empty());
    }

    #[test]
    fn a_tap_that_nobody_reads_is_closed_and_there_is_a_limit() {
        let taps = Taps::default();
        let open: Vec<_> = (0..TAPS_MAX).map(|_| taps.open("a", 1).is_some()).collect();
        assert!(open.iter().all(|opened| *opened), "each receiver is dropped at once");
        let held: Vec<_> = std::iter::from_fn(|| taps.open("a", 1)).collect();
        assert_eq!(held.len(), TAPS_MAX);
    }
}
