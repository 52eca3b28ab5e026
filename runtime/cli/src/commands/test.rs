//! `gristmill test PIPELINE…`: the `[[test]]`s of pipeline files through their real modules; needs no broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use gristmill_engine::config::TestConfig;
use gristmill_engine::plan::Plan;
use gristmill_engine::test::{self, Report, TestReport};
use serde_json::{Value, json};

use crate::output::{Output, counted};
use crate::pipelines;
use crate::user_error::UserError;

#[derive(Debug, clap::Args)]
pub struct TestFlags {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "PIPELINE")]
    pub pipelines: Vec<PathBuf>,

    /// Run only the tests whose name contains this
    #[arg(long, value_name = "NAME")]
    pub filter: Option<String>,
}

/// Every file is read before the first test runs. Exit code 1: a test failed; 2: a file is wrong.
pub fn run(flags: &TestFlags, output: Output) -> Result<()> {
    let host = pipelines::host()?;
    let files = pipelines::files(&flags.pipelines)?;
    let plans = files.iter().map(|file| pipelines::plan_for_test(&host, file));
    let plans = plans.collect::<Result<Vec<Plan>>>()?;
    refuse_empty_choice(flags, &plans)?;
    let (mut all, mut failed) = (0, 0);
    for plan in plans {
        let plan = Arc::new(plan);
        let report = test::run(&plan, chosen(flags, &plan));
        all += report.tests.len();
        failed += report.failed();
        let file = plan.pipeline.file.as_path();
        output.answer(text(file, &report), &document(&plan, &report))?;
    }
    if failed > 0 {
        bail!("{failed} of {} failed", counted(all, "test"));
    }
    output.remark(format!("{} passed", counted(all, "test")))
}

fn chosen<'p>(flags: &'p TestFlags, plan: &'p Plan) -> impl Iterator<Item = &'p TestConfig> {
    let named = |test: &&TestConfig| {
        flags.filter.as_ref().is_none_or(|part| test.name.contains(part.as_str()))
    };
    plan.pipeline.tests.iter().filter(named)
}

/// A filter that meets nothing would pass for ever.
fn refuse_empty_choice(flags: &TestFlags, plans: &[Plan]) -> Result<()> {
    let Some(part) = &flags.filter else { return Ok(()) };
    if plans.iter().any(|plan| chosen(flags, plan).next().is_some()) {
        return Ok(());
    }
    let tests = plans.iter().flat_map(|plan| &plan.pipeline.tests);
    let names: Vec<String> = tests.map(|test| format!("`{}`", test.name)).collect();
    let there = match names.as_slice() {
        [] => "there are no tests".to_string(),
        names => format!("the tests are {}", names.join(", ")),
    };
    Err(UserError::new(format!("no test's name contains `{part}`; {there}")).into())
}

fn text(file: &Path, report: &Report) -> String {
    let mut lines = vec![file.display().to_string()];
    if report.tests.is_empty() {
        lines.push("  no tests".to_string());
    }
    let source = std::fs::read_to_string(file).unwrap_or_default();
    for test in &report.tests {
        if test.differences.is_empty() {
            lines.push(format!("  ok      {}", test.name));
            continue;
        }
        lines.push(format!("  FAILED  {} (line {})", test.name, line(&source, test)));
        lines.extend(test.differences.iter().map(|difference| format!("          {difference}")));
        let failed = test.failed_records.iter();
        lines.extend(failed.map(|record| format!("          note: {record}")));
    }
    lines.join("\n")
}

/// Of the test's name in the file, from 1.
fn line(source: &str, test: &TestReport) -> usize {
    let before = source.as_bytes().get(..test.place.start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn document(plan: &Plan, report: &Report) -> Value {
    let tests = report.tests.iter().map(|test| {
        json!({
            "name": test.name,
            "passed": test.differences.is_empty(),
            "differences": test.differences,
            "failed_records": test.failed_records,
        })
    });
    json!({
        "file": plan.pipeline.file,
        "pipeline": plan.pipeline.name,
        "failed": report.failed(),
        "tests": tests.collect::<Vec<_>>(),
    })
}
