//! What two modules made of the same rows, row by row.

use std::collections::BTreeMap;

use arrow_array::{Array, ArrayRef};
use arrow_schema::FieldRef;
use gristmill_host::{LaneOutput, Stage};
use serde_json::{Map, Value};

use super::{Offer, Outcome, ShadowSample};
use crate::test::row_object;

/// Rows that one input row became and that a sample shows.
const ROWS_SHOWN_MAX: usize = 10;

/// Which columns of the two outputs mean the same.
pub(super) struct Comparison {
    /// Name, place in the live output, place in the candidate's.
    columns: Vec<(String, usize, usize)>,
    /// What the candidate reads, in its order.
    read_names: Vec<String>,
    pub not_compared: Vec<String>,
}

/// One module's output, by input row.
struct Made<'a> {
    output: &'a LaneOutput,
    /// Numbers of the output's rows, those of the same input row beside each other.
    order: Vec<u32>,
    /// Of each input row, where its rows begin in `order`; one more at the end.
    starts: Vec<usize>,
    /// Input row → why it failed.
    failed: BTreeMap<u32, &'a str>,
}

impl Comparison {
    pub fn new(live: &Stage, candidate: &Stage) -> Comparison {
        let (ours, theirs) = (live.columns(), candidate.columns());
        let find = |columns: &[FieldRef], name: &str| {
            columns.iter().position(|field| field.name() == name)
        };
        let mut columns = Vec::new();
        let mut not_compared = Vec::new();
        for (at, field) in ours.iter().enumerate() {
            match find(theirs, field.name()) {
                Some(there) if theirs[there].data_type() == field.data_type() => {
                    columns.push((field.name().clone(), at, there));
                }
                _ => not_compared.push(field.name().clone()),
            }
        }
        let more = theirs.iter().filter(|field| find(ours, field.name()).is_none());
        not_compared.extend(more.map(|field| field.name().clone()));
        let input = candidate.input_schema();
        let reads = candidate.reads().iter();
        let read_names = reads.map(|index| input.field(*index).name().clone()).collect();
        Comparison { columns, read_names, not_compared }
    }

    /// One outcome for each input row.
    pub fn of(&self, offer: &Offer, candidate: &LaneOutput) -> Vec<Outcome> {
        let rows = offer.offsets.len();
        if self.are_equal(&offer.live, candidate) {
            return vec![Outcome::Equal; rows];
        }
        let (live, candidate) = (Made::new(&offer.live, rows), Made::new(candidate, rows));
        (0..rows).map(|row| self.of_row(&live, &candidate, row)).collect()
    }

    /// The usual case, without a look at each row.
    fn are_equal(&self, live: &LaneOutput, candidate: &LaneOutput) -> bool {
        let failed = |output: &LaneOutput| -> Vec<u32> {
            output.failures.iter().map(|failure| failure.row).collect()
        };
        live.rows == candidate.rows
            && live.row_count == candidate.row_count
            && failed(live) == failed(candidate)
            && self.columns.iter().all(|(_, ours, theirs)| {
                live.columns[*ours].as_ref() == candidate.columns[*theirs].as_ref()
            })
    }

    fn of_row(&self, live: &Made<'_>, candidate: &Made<'_>, row: usize) -> Outcome {
        let (ours, theirs) = (live.rows(row), candidate.rows(row));
        match (live.has_failed(row), candidate.has_failed(row)) {
            (true, true) => return Outcome::Equal,
            (true, false) => return Outcome::FailedByLiveOnly,
            (false, true) => return Outcome::FailedByCandidateOnly,
            (false, false) => {}
        }
        match (ours.is_empty(), theirs.is_empty()) {
            (true, true) => Outcome::Equal,
            (false, true) => Outcome::KeptByLiveOnly,
            (true, false) => Outcome::KeptByCandidateOnly,
            (false, false) if ours.len() != theirs.len() => Outcome::Different,
            (false, false) => {
                let mut pairs = ours.iter().zip(theirs);
                let same = pairs.all(|(one, other)| self.is_same(live, candidate, *one, *other));
                if same { Outcome::Equal } else { Outcome::Different }
            }
        }
    }

    fn is_same(&self, live: &Made<'_>, candidate: &Made<'_>, one: u32, other: u32) -> bool {
        let value = |array: &ArrayRef, row: u32| array.slice(row as usize, 1);
        self.columns.iter().all(|(_, ours, theirs)| {
            value(&live.output.columns[*ours], one).as_ref()
                == value(&candidate.output.columns[*theirs], other).as_ref()
        })
    }

    pub fn sample(
        &self,
        offer: &Offer,
        candidate: &LaneOutput,
        row: usize,
        kind: Outcome,
    ) -> ShadowSample {
        let rows = offer.offsets.len();
        let (live, candidate) = (Made::new(&offer.live, rows), Made::new(candidate, rows));
        let read = self.read_names.iter().map(String::as_str).zip(&offer.columns);
        let reason = live.failed.get(&(row as u32)).or(candidate.failed.get(&(row as u32)));
        ShadowSample {
            kind,
            topic: offer.partition.topic.to_string(),
            partition: offer.partition.partition,
            offset: offer.offsets[row],
            input: row_object(read, row),
            live: self.objects(&live, row, |(_, ours, _)| *ours),
            candidate: self.objects(&candidate, row, |(_, _, theirs)| *theirs),
            reason: reason.map(|reason| reason.to_string()),
        }
    }

    fn objects(
        &self,
        made: &Made<'_>,
        row: usize,
        place: impl Fn(&(String, usize, usize)) -> usize,
    ) -> Vec<Map<String, Value>> {
        let object = |at: &u32| {
            let columns = self.columns.iter();
            let columns =
                columns.map(|column| (column.0.as_str(), &made.output.columns[place(column)]));
            row_object(columns, *at as usize)
        };
        made.rows(row).iter().take(ROWS_SHOWN_MAX).map(object).collect()
    }
}

impl<'a> Made<'a> {
    fn new(output: &'a LaneOutput, rows: usize) -> Made<'a> {
        let from = |at: u32| output.rows.as_ref().map_or(at, |rows| rows[at as usize]);
        let mut order: Vec<u32> = (0..output.row_count as u32).collect();
        order.sort_by_key(|at| from(*at));
        let start = |row: usize| order.partition_point(|at| (from(*at) as usize) < row);
        let starts = (0..=rows).map(start).collect();
        let failed = output.failures.iter();
        let failed = failed.map(|failure| (failure.row, failure.reason.as_str())).collect();
        Made { output, starts, failed, order }
    }

    /// The output's rows that came of an input row.
    fn rows(&self, row: usize) -> &[u32] {
        &self.order[self.starts[row]..self.starts[row + 1]]
    }

    fn has_failed(&self, row: usize) -> bool {
        self.failed.contains_key(&(row as u32))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow_array::Int64Array;
    use gristmill_host::{FailureKind, RowFailure};

    use super::*;
    use crate::offsets::TopicPartition;

    fn made(rows: &[u32], values: &[i64], failed: &[u32]) -> LaneOutput {
        let failure =
            |row: &u32| RowFailure { row: *row, reason: "no".into(), kind: FailureKind::Rejected };
        LaneOutput {
            rows: Some(rows.to_vec().into()),
            row_count: rows.len(),
            columns: vec![Arc::new(Int64Array::from(values.to_vec()))],
            failures: failed.iter().map(failure).collect(),
            instances_lost: 0,
            log_lines: Vec::new(),
        }
    }

    fn offer(live: LaneOutput, rows: i64) -> Offer {
        Offer {
            partition: TopicPartition::new("t", 0),
            offsets: (100..100 + rows).collect(),
            columns: vec![Arc::new((0..rows).collect::<Int64Array>())],
            live,
            live_time: Duration::ZERO,
        }
    }

    fn comparison() -> Comparison {
        Comparison {
            columns: vec![("v".into(), 0, 0)],
            read_names: vec!["n".into()],
            not_compared: Vec::new(),
        }
    }

    #[test]
    fn rows_are_compared_by_the_input_row_that_they_come_from() {
        let offer = offer(made(&[0, 1, 1, 3], &[10, 11, 12, 13], &[4, 5]), 7);
        let candidate = made(&[1, 1, 0, 2, 4], &[11, 12, 99, 5, 6], &[5, 6]);
        let outcomes = comparison().of(&offer, &candidate);
        assert_eq!(
            outcomes,
            [
                Outcome::Different,
                Outcome::Equal,
                Outcome::KeptByCandidateOnly,
                Outcome::KeptByLiveOnly,
                Outcome::FailedByLiveOnly,
                Outcome::Equal,
                Outcome::FailedByCandidateOnly,
            ]
        );
        let sample = comparison().sample(&offer, &candidate, 0, outcomes[0]);
        assert_eq!((sample.offset, &sample.input["n"]), (100, &Value::from(0)));
        assert_eq!((&sample.live[0]["v"], &sample.candidate[0]["v"]), (&10.into(), &99.into()));
        let sample = comparison().sample(&offer, &candidate, 6, outcomes[6]);
        assert_eq!(sample.reason.as_deref(), Some("no"));
    }

    #[test]
    fn the_same_output_is_equal_row_by_row_and_as_a_whole() {
        let offer = offer(made(&[0, 2], &[1, 2], &[]), 3);
        assert_eq!(comparison().of(&offer, &made(&[0, 2], &[1, 2], &[])), [Outcome::Equal; 3]);
        // In another order: only the rows of one input row have one.
        assert_eq!(comparison().of(&offer, &made(&[2, 0], &[2, 1], &[])), [Outcome::Equal; 3]);
    }
}
