//! The rows of every stage and sink, counted on both sides: none vanishes unseen.
//!
//! Three rules, each checked where it can break, and any breach stops the pipeline before a cursor passes the rows:
//! - Per stage and batch, every input row is exactly one of *passed* (one output row or more comes from it), *failed*
//!   (its stage rejected it, or broke on it) and *filtered* (neither): `in = passed + filtered + failed`.
//! - A stage's output has as many rows as it names input rows for. More than passed, where a row became several
//!   (flatten); never fewer.
//! - Per micro-batch, what goes into a stage or a sink is what came out of the one before it.

use std::fmt;

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use crate::config::Upstream;
use crate::plan::Plan;

/// Rows of one stage. Invariant: `rows_in` = passed + `rows_filtered` + `rows_failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RowCounts {
    pub rows_in: u64,
    /// Rows that the stage gave; a row that passed gives one or more.
    pub rows_out: u64,
    pub rows_filtered: u64,
    pub rows_failed: u64,
}

/// What became of an input row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Filtered,
    Passed,
    Failed,
}

impl RowCounts {
    /// Of one batch. `rows` names the input row of each output row (absent: each of itself), `failed` the input rows that
    /// failed.
    ///
    /// # Errors
    /// A row is both passed and failed, failed twice, not there, or output without an input: our own mistake.
    pub fn of(
        rows_in: usize,
        rows_out: usize,
        rows: Option<&[u32]>,
        failed: impl ExactSizeIterator<Item = u32>,
    ) -> Result<RowCounts> {
        let failed_count = failed.len();
        let Some(rows) = rows else {
            ensure!(
                rows_out == rows_in && failed_count == 0,
                "row accounting is off: {rows_in} rows in, {rows_out} out and {failed_count} failed, none named"
            );
            return Ok(RowCounts::sum_of(rows_in, rows_out, 0, 0));
        };
        ensure!(
            rows.len() == rows_out,
            "row accounting is off: {rows_out} rows out, but {} input rows named",
            rows.len()
        );
        if let (0, Some(passed)) = (failed_count, count_ascending(rows, rows_in)) {
            return Ok(RowCounts::sum_of(rows_in, rows_out, rows_in - passed, 0));
        }
        let mut fates = vec![Fate::Filtered; rows_in];
        for row in failed {
            mark(&mut fates, row, Fate::Failed)?;
        }
        for row in rows {
            match fates.get(*row as usize) {
                Some(Fate::Passed) => {}
                _ => mark(&mut fates, *row, Fate::Passed)?,
            }
        }
        let count = |fate| fates.iter().filter(|is| **is == fate).count();
        let (filtered, failed) = (count(Fate::Filtered), count(Fate::Failed));
        Ok(RowCounts::sum_of(rows_in, rows_out, filtered, failed))
    }

    fn sum_of(rows_in: usize, rows_out: usize, filtered: usize, failed: usize) -> RowCounts {
        RowCounts {
            rows_in: rows_in as u64,
            rows_out: rows_out as u64,
            rows_filtered: filtered as u64,
            rows_failed: failed as u64,
        }
    }

    pub fn add(&mut self, other: RowCounts) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.rows_filtered += other.rows_filtered;
        self.rows_failed += other.rows_failed;
    }

    /// What was counted since an earlier reading of the same counters.
    pub fn since(self, earlier: RowCounts) -> RowCounts {
        RowCounts {
            rows_in: self.rows_in.saturating_sub(earlier.rows_in),
            rows_out: self.rows_out.saturating_sub(earlier.rows_out),
            rows_filtered: self.rows_filtered.saturating_sub(earlier.rows_filtered),
            rows_failed: self.rows_failed.saturating_sub(earlier.rows_failed),
        }
    }
}

impl fmt::Display for RowCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowCounts { rows_in, rows_out, rows_filtered, rows_failed } = self;
        write!(f, "{rows_in} in, {rows_out} out, {rows_filtered} filtered, {rows_failed} failed")
    }
}

/// How many different rows are named, if no row stands behind a later one and all of them are there: so it is with nearly
/// every stage. Without an early exit, so that it is a loop of vector instructions.
fn count_ascending(rows: &[u32], rows_in: usize) -> Option<usize> {
    let Some(last) = rows.last() else { return Some(0) };
    let (falls, steps) = rows.windows(2).fold((false, 0_u32), |(falls, steps), pair| {
        (falls | (pair[1] < pair[0]), steps + u32::from(pair[0] < pair[1]))
    });
    (!falls && (*last as usize) < rows_in).then_some(steps as usize + 1)
}

fn mark(fates: &mut [Fate], row: u32, fate: Fate) -> Result<()> {
    let rows_in = fates.len();
    match fates.get_mut(row as usize) {
        Some(unmarked @ Fate::Filtered) => *unmarked = fate,
        Some(_) => bail!("row accounting is off: row {row} of {rows_in} failed and is named again"),
        None => bail!("row accounting is off: row {row} of {rows_in} is named"),
    }
    Ok(())
}

/// The rows of one lane in one micro-batch, on every edge of the pipeline.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub records: u64,
    /// As [`Plan::stages`].
    pub stages: Vec<RowCounts>,
    /// As [`Plan::sinks`].
    pub sinks: Vec<SinkRowCounts>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SinkRowCounts {
    pub written: u64,
    /// Below the sink's cursor: it has them already, or begins later.
    pub stored_before: u64,
}

impl Ledger {
    pub fn new(plan: &Plan) -> Ledger {
        Ledger {
            records: 0,
            stages: vec![RowCounts::default(); plan.stages.len()],
            sinks: vec![SinkRowCounts::default(); plan.sinks.len()],
        }
    }

    /// # Errors
    /// An edge has other rows at its end than at its beginning: our own mistake.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        for (stage, counts) in plan.stages.iter().zip(&self.stages) {
            self.check_edge(plan, stage.from, &stage.name, counts.rows_in)?;
        }
        for (sink, counts) in plan.sinks.iter().zip(&self.sinks) {
            let arrived = counts.written + counts.stored_before;
            self.check_edge(plan, sink.from, &sink.name, arrived)?;
        }
        Ok(())
    }

    fn check_edge(&self, plan: &Plan, from: Upstream, to: &str, arrived: u64) -> Result<()> {
        let (name, left) = match from {
            Upstream::Source => ("source", self.records),
            Upstream::Stage(index) => {
                (plan.stages[index].name.as_str(), self.stages[index].rows_out)
            }
        };
        ensure!(
            left == arrived,
            "row accounting is off: {left} rows left `{name}` and {arrived} arrived at `{to}`"
        );
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::Path;

    use gristmill_host::{Host, HostConfig};

    use crate::config::{self, LoadContext};

    fn of(rows_in: usize, rows: &[u32], failed: &[u32]) -> Result<RowCounts> {
        RowCounts::of(rows_in, rows.len(), Some(rows), failed.iter().copied())
    }

    #[test]
    fn every_row_is_passed_filtered_or_failed() {
        let counts = of(5, &[0, 4], &[2]).unwrap();
        let expected = RowCounts { rows_in: 5, rows_out: 2, rows_filtered: 2, rows_failed: 1 };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_row_that_became_several_passed_once() {
        let counts = of(3, &[0, 0, 0, 2], &[]).unwrap();
        let expected = RowCounts { rows_in: 3, rows_out: 4, rows_filtered: 1, rows_failed: 0 };
        assert_eq!(counts, expected);
    }

    #[test]
    fn rows_in_any_order_are_counted_alike() {
        for rows in [&[][..], &[0, 0, 1, 3, 3, 3], &[3, 3, 0, 3, 1, 0]] {
            let mut named = rows.to_vec();
            named.sort_unstable();
            named.dedup();
            let filtered = 5 - named.len() as u64;
            let (rows_in, rows_out) = (5, rows.len() as u64);
            let expected = RowCounts { rows_in, rows_out, rows_filtered: filtered, rows_failed: 0 };
            assert_eq!(of(5, rows, &[]).unwrap(), expected, "{rows:?}");
        }
    }

    #[test]
    fn what_leaves_an_end_of_an_edge_arrives_at_the_other() {
        let text = "name = \"p\"\n[source]\ntopics = [\"t\"]\n\
                    [[sink]]\nname = \"out\"\ntopic = \"o\"\n[[sink]]\nname = \"also\"\ntopic = \"a\"\n";
        let context = LoadContext { shipped: &[], environment: &|_| None };
        let loaded = config::parse(text, Path::new("p.toml"), &context).unwrap();
        let host = Host::new(HostConfig::default()).unwrap();
        let plan = Plan::new(&host, loaded.pipeline, &[]).unwrap_or_else(|_| panic!("no plan"));
        let mut ledger = Ledger::new(&plan);
        ledger.records = 5;
        ledger.sinks[0] = SinkRowCounts { written: 3, stored_before: 2 };
        ledger.sinks[1] = SinkRowCounts { written: 5, stored_before: 0 };
        ledger.check(&plan).unwrap();
        ledger.sinks[1].written = 4;
        let error = ledger.check(&plan).unwrap_err().to_string();
        assert_eq!(error, "row accounting is off: 5 rows left `source` and 4 arrived at `also`");
    }

    #[test]
    fn rows_that_do_not_add_up_are_refused() {
        for (rows, failed) in
            [(&[0, 1][..], &[1][..]), (&[3], &[]), (&[], &[3]), (&[], &[1, 1]), (&[1, 0, 1], &[0])]
        {
            let error = of(3, rows, failed).unwrap_err().to_string();
            assert!(error.starts_with("row accounting is off"), "{error}");
        }
        assert!(RowCounts::of(3, 2, None, [].into_iter()).is_err());
        assert!(RowCounts::of(3, 3, None, [1].into_iter()).is_err());
        assert!(RowCounts::of(3, 1, Some(&[0, 1]), [].into_iter()).is_err());
    }
}
