//! The `[[test]]`s of a pipeline file, run through its real modules: no broker, no table, nothing written.
//!
//! `gristmill test` runs them, and so may whoever is about to put a changed module to work. Records of a test enter in
//! their order; those beside each other of the same partition are one batch, so rows come out in the order of their
//! records. What a stage costs (`max_failures`) is not counted here.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::{OnFailure, TestConfig, TestRecord};
use crate::dead_letter::DeadLetter;
use crate::plan::{Plan, PlannedSink};
use crate::tree::{Passed, StageTree};

mod difference;
mod letters;
mod meets;
mod records;
mod rows;
pub mod stage;

pub use difference::{Difference, What};
use rows::Columns;
pub use rows::bytes as bytes_value;
pub(crate) use rows::object as row_object;

/// What became of the tests of one pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub tests: Vec<TestReport>,
}

/// What became of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    pub name: String,
    /// Byte range of the name in the pipeline file.
    #[serde(skip)]
    pub place: Range<usize>,
    /// None: the test has passed.
    pub differences: Vec<Difference>,
    /// Records that failed at a stage, and why: to understand the differences.
    pub failed_records: Vec<String>,
}

/// What the stages make of some records.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// As [`Plan::sinks`]: rows as JSON objects, null members included.
    pub sinks: Vec<Vec<Map<String, Value>>>,
    pub letters: Vec<DeadLetter>,
    /// Records that failed and were skipped or became a dead letter, in words.
    pub failed_records: Vec<String>,
    /// The pipeline stops with this error; what it made until then is not kept.
    pub stopped: Option<String>,
}

impl Report {
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.differences.is_empty()).count()
    }
}

/// Runs tests of a pipeline. The time is bounded by the stages' limits.
pub fn run<'t>(plan: &Arc<Plan>, tests: impl IntoIterator<Item = &'t TestConfig>) -> Report {
    let mut tree = StageTree::new(plan.clone());
    Report { tests: tests.into_iter().map(|test| run_one(plan, &mut tree, test)).collect() }
}

fn run_one(plan: &Plan, tree: &mut StageTree, test: &TestConfig) -> TestReport {
    let outcome = outcome(plan, tree, &test.input);
    TestReport {
        name: test.name.clone(),
        place: test.place.clone(),
        differences: differences(plan, test, &outcome),
        failed_records: outcome.failed_records,
    }
}

/// Runs records through the stages.
pub fn outcome(plan: &Plan, tree: &mut StageTree, input: &[TestRecord]) -> Outcome {
    let mut outcome = Outcome { sinks: vec![Vec::new(); plan.sinks.len()], ..Outcome::default() };
    if let Err(error) = collect(plan, tree, input, &mut outcome) {
        outcome.stopped = Some(format!("{error:#}"));
    }
    outcome
}

fn collect(
    plan: &Plan,
    tree: &mut StageTree,
    input: &[TestRecord],
    outcome: &mut Outcome,
) -> Result<()> {
    for (partition, records) in records::batches(&plan.pipeline.source, input)? {
        let passed = tree.pass(&partition, &records)?;
        for (planned, rows) in plan.sinks.iter().zip(&mut outcome.sinks) {
            if let Some(new) = passed.sink_rows(planned, &partition, &records.offsets, i64::MIN)? {
                rows.extend(rows::objects(&new.rows, &Columns::of_sink(planned)));
            }
        }
        outcome.letters.extend(passed.letters(plan, &partition, &records)?);
        outcome.failed_records.extend(failed_records(plan, &passed, &records.offsets));
    }
    Ok(())
}

fn failed_records(plan: &Plan, passed: &Passed, offsets: &[i64]) -> Vec<String> {
    let mut texts = Vec::new();
    for (planned, stage) in plan.stages.iter().zip(&passed.stages) {
        let becomes = match planned.on_failure {
            OnFailure::DeadLetter => "a dead letter",
            _ => "skipped",
        };
        texts.extend(stage.failures.iter().map(|failure| {
            let offset = offsets[failure.source_row as usize];
            format!("offset {offset}: {becomes} at stage `{}`: {}", planned.name, failure.reason)
        }));
    }
    texts
}

fn differences(plan: &Plan, test: &TestConfig, outcome: &Outcome) -> Vec<Difference> {
    match (&test.expect_stop, &outcome.stopped) {
        (None, Some(error)) => return vec![Difference::stopped(None, Some(error))],
        (Some(text), Some(error)) if error.contains(text) => return Vec::new(),
        (Some(text), stopped) => {
            return vec![Difference::stopped(Some(text), stopped.as_deref())];
        }
        (None, None) => {}
    }
    let mut found = Vec::new();
    for (planned, rows) in plan.sinks.iter().zip(&outcome.sinks) {
        if let Some(expected) = test.expect.get(&planned.name) {
            found.extend(sink_differences(planned, expected, rows));
        }
    }
    if let Some(expected) = &test.expect_dead_letters {
        let letters: Vec<_> = outcome.letters.iter().map(letters::object).collect();
        found.extend(difference::between("dead letters", &letters::columns(), expected, &letters));
    }
    found
}

fn sink_differences(
    planned: &PlannedSink,
    expected: &[Value],
    rows: &[Map<String, Value>],
) -> Vec<Difference> {
    let place = format!("sink `{}`", planned.name);
    difference::between(&place, &Columns::of_sink(planned), expected, rows)
}
