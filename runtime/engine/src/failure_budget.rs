//! How many rows a stage may fail before the pipeline stops, over all its lanes.
//!
//! A budget counts rows, not time, so that the same records meet the same end whatever the hour. It is not kept on disk:
//! a run begins with a fresh one, and meets again the records that the last run did not commit. Records that one run
//! reads again, because a sink was away say, count once.

use std::collections::VecDeque;
use std::fmt;

use crate::config::MaxFailures;
use crate::offsets::{Offsets, TopicPartition};

/// Failures that an error names, the last ones.
const LAST_SHOWN_MAX: usize = 3;
/// A longer reason is cut in the error; a dead letter has all of it.
const REASON_CHARS_MAX: usize = 200;

/// What one stage failed lately.
#[derive(Debug, Default)]
pub(crate) struct FailureBudget {
    /// Rows that the stage was given since the run began.
    rows: u64,
    failed: u64,
    /// Numbers of the failed rows, counted from the run's first, as far back as the window reaches. At most one more
    /// than the budget allows.
    recent: VecDeque<u64>,
    last: VecDeque<String>,
    /// Records below have been counted.
    counted: Offsets,
}

/// What a stage was given of one partition.
pub(crate) struct Given<'a> {
    pub partition: &'a TopicPartition,
    /// Of the batch's last record.
    pub last_offset: i64,
    pub rows: u64,
}

/// A row that a stage has failed.
pub(crate) struct FailedRow {
    /// Its number in the batch.
    pub row: u32,
    /// Of its record.
    pub offset: i64,
    pub what: String,
}

/// A budget that is used up.
#[derive(Debug)]
pub(crate) struct Exceeded {
    failed: u64,
    of_rows: u64,
    limit: MaxFailures,
    last: Vec<String>,
}

impl FailureBudget {
    /// Counts one batch and its failures, which come in ascending order.
    ///
    /// # Errors
    /// At the first failure that is one too many.
    pub fn spend(
        &mut self,
        limit: MaxFailures,
        given: &Given<'_>,
        failures: impl Iterator<Item = FailedRow>,
    ) -> Result<(), Exceeded> {
        let counted = self.counted.get(given.partition).copied().unwrap_or(i64::MIN);
        if given.last_offset < counted {
            return Ok(());
        }
        self.counted.insert(given.partition.clone(), given.last_offset + 1);
        let first = self.rows;
        self.rows += given.rows;
        for failed in failures.filter(|failed| failed.offset >= counted) {
            self.fail(limit, first + u64::from(failed.row), &failed.what)?;
        }
        Ok(())
    }

    fn fail(&mut self, limit: MaxFailures, row: u64, what: &str) -> Result<(), Exceeded> {
        self.failed += 1;
        if self.last.len() == LAST_SHOWN_MAX {
            self.last.pop_front();
        }
        self.last.push_back(cut(what));
        let failed = match limit.window_rows {
            None => self.failed,
            Some(window_rows) => {
                self.recent.push_back(row);
                while self.recent.front().is_some_and(|old| old + window_rows <= row) {
                    self.recent.pop_front();
                }
                self.recent.len() as u64
            }
        };
        if failed <= limit.count {
            return Ok(());
        }
        let of_rows = limit.window_rows.map_or(row + 1, |window| window.min(row + 1));
        Err(Exceeded { failed, of_rows, limit, last: self.last.iter().cloned().collect() })
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { failed, of_rows, limit, last } = self;
        let span = if limit.window_rows.is_some() { "the last" } else { "its" };
        write!(
            f,
            "failed {failed} of {span} {of_rows} rows, `max_failures` allows {}",
            limit.count
        )?;
        f.write_str("; the last were: ")?;
        f.write_str(&last.join("; "))?;
        f.write_str(
            " (nothing of this micro-batch is committed: mend the records' producer or the stage, or raise \
             `max_failures`, and start again)",
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spend(
        budget: &mut FailureBudget,
        limit: MaxFailures,
        rows: u64,
        failed: &[u32],
    ) -> Result<(), String> {
        let begin = budget.counted.values().next().copied().unwrap_or(0);
        spend_from(budget, limit, begin, rows, failed)
    }

    /// A batch of partition 0 whose records begin at offset `begin`.
    fn spend_from(
        budget: &mut FailureBudget,
        limit: MaxFailures,
        begin: i64,
        rows: u64,
        failed: &[u32],
    ) -> Result<(), String> {
        let partition = TopicPartition::new("t", 0);
        let given = Given { partition: &partition, last_offset: begin + rows as i64 - 1, rows };
        let failures = failed.iter().map(|row| FailedRow {
            row: *row,
            offset: begin + i64::from(*row),
            what: format!("offset {row}: no"),
        });
        budget.spend(limit, &given, failures).map_err(|exceeded| exceeded.to_string())
    }

    /// A broker that went away three times used up a budget that nothing new had failed.
    #[test]
    fn records_that_are_read_again_count_once() {
        let limit = MaxFailures { count: 3, window_rows: None };
        let mut budget = FailureBudget::default();
        for _ in 0..5 {
            spend_from(&mut budget, limit, 0, 100, &[7, 8]).unwrap();
            spend_from(&mut budget, limit, 100, 100, &[]).unwrap();
        }
        assert_eq!((budget.rows, budget.failed), (200, 2));
        // Read again in other batches, and on.
        spend_from(&mut budget, limit, 50, 200, &[20, 160]).unwrap();
        assert_eq!(budget.failed, 3);
        assert!(spend_from(&mut budget, limit, 250, 10, &[0]).is_err());
    }

    #[test]
    fn a_count_holds_for_the_whole_run() {
        let limit = MaxFailures { count: 3, window_rows: None };
        let mut budget = FailureBudget::default();
        spend(&mut budget, limit, 1_000, &[1, 2]).unwrap();
        spend(&mut budget, limit, 1_000_000, &[7]).unwrap();
        let error = spend(&mut budget, limit, 10, &[5, 6]).unwrap_err();
        let begin = "failed 4 of its 1001006 rows, `max_failures` allows 3; \
                     the last were: offset 2: no; offset 7: no; offset 5: no (nothing";
        assert!(error.starts_with(begin), "{error}");
    }

    #[test]
    fn a_share_holds_for_the_rows_of_its_window() {
        let limit = MaxFailures { count: 2, window_rows: Some(100) };
        let mut budget = FailureBudget::default();
        // One failure in 50 rows, for ever.
        for _ in 0..1_000 {
            spend(&mut budget, limit, 50, &[0]).unwrap();
        }
        assert!(budget.recent.len() <= 3);
        spend(&mut budget, limit, 100, &[99]).unwrap();
        spend(&mut budget, limit, 10, &[0]).unwrap();
        let error = spend(&mut budget, limit, 10, &[9]).unwrap_err();
        assert!(error.starts_with("failed 3 of the last 100 rows"), "{error}");
    }

    #[test]
    fn the_first_rows_of_a_run_are_judged_by_the_count_of_their_window() {
        let limit = MaxFailures { count: 1, window_rows: Some(100) };
        let mut budget = FailureBudget::default();
        spend(&mut budget, limit, 1, &[0]).unwrap();
        let error = spend(&mut budget, limit, 1, &[0]).unwrap_err();
        assert!(error.starts_with("failed 2 of the last 2 rows"), "{error}");
    }
}
