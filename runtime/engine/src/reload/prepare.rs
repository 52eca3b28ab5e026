//! From files to a generation that could take over. Blocks, and is not in a hurry: the pipeline runs meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_host::Host;
use tokio::sync::oneshot;

use super::changes::{self, Change, EndsChange};
use super::files::{self, Files};
use super::{Environment, Refusal, Reloading};
use crate::config::{self, Diagnostic, LoadContext, ModuleRef, Pipeline, TestConfig};
use crate::plan::{Plan, Shipped};
use crate::test;
use crate::tree::StageTree;

/// Differences of one test that a refusal tells.
const DIFFERENCES_TOLD_MAX: usize = 5;

/// What is to be prepared.
pub(super) struct Job {
    pub host: Host,
    pub shipped: Shipped,
    pub environment: Environment,
    pub now: Arc<Plan>,
    /// Candidates in place of those of the file.
    pub shadows: BTreeMap<String, Option<PathBuf>>,
    /// How many lanes run at present.
    pub lanes: usize,
}

/// What has been prepared.
pub(super) struct Next {
    pub plan: Arc<Plan>,
    pub changes: Vec<Change>,
    pub ends: EndsChange,
    pub trees: Vec<StageTree>,
}

impl Job {
    pub fn new(
        reloading: &Reloading,
        now: Arc<Plan>,
        shadows: BTreeMap<String, Option<PathBuf>>,
        lanes: usize,
    ) -> Job {
        let Reloading { host, shipped, environment, .. } = reloading.clone();
        Job { host, shipped, environment, now, shadows, lanes }
    }
}

/// Prepares what the files hold now. `None`: nothing is other than what runs. Tells in `found` which files it looked at.
pub(super) fn next(job: &Job, found: oneshot::Sender<Files>) -> Result<Option<Next>, Refusal> {
    let file = job.now.pipeline.file.as_path();
    let text = config::read_text(file).map_err(|diagnostic| refused(&[diagnostic], ""))?;
    // Whoever waits for it may have given up.
    let _ = found.send(files::named_by(&text, &job.now));
    let pipeline = pipeline(job, file, &text)?;
    if let Some(why) = changes::only_by_restart(&job.now.pipeline, &pipeline) {
        let reason = format!("{}: only a restart applies this change: {why}", file.display());
        return Err(Refusal { needs_restart: true, ..Refusal::new(reason) });
    }
    let plan = Plan::new(&job.host, pipeline, job.shipped);
    let plan = Arc::new(plan.map_err(|diagnostics| refused(&diagnostics, &text))?);
    let (changes, ends) = changes::between(&job.now, &plan);
    if changes.is_empty() {
        return Ok(None);
    }
    run_tests(&plan, &text)?;
    let trees = trees(&plan, job.lanes)?;
    Ok(Some(Next { plan, changes, ends, trees }))
}

fn pipeline(job: &Job, file: &Path, text: &str) -> Result<Pipeline, Refusal> {
    let shipped: Vec<&str> = job.shipped.iter().map(|(name, _)| *name).collect();
    let context = LoadContext { shipped: &shipped, environment: &*job.environment };
    let loaded = config::parse(text, file, &context);
    let loaded = loaded.map_err(|diagnostics| refused(&diagnostics, text))?;
    if !loaded.warnings.is_empty() && job.now.pipeline.file_hash != loaded.pipeline.file_hash {
        tracing::warn!("{}", config::render_all(&loaded.warnings, text).trim_end());
    }
    let mut pipeline = loaded.pipeline;
    for stage in &mut pipeline.stages {
        if let Some(shadow) = job.shadows.get(&stage.name) {
            stage.shadow = shadow.as_ref().map(|path| ModuleRef::File(beside_file(file, path)));
            stage.place.shadow = stage.place.module.clone();
        }
    }
    Ok(pipeline)
}

/// A path of which a relative one begins at the folder of the pipeline file.
pub(super) fn beside_file(file: &Path, path: &Path) -> PathBuf {
    let path = file.parent().unwrap_or(Path::new("")).join(path);
    std::path::absolute(&path).unwrap_or(path)
}

/// Runs the file's own tests through the new modules.
fn run_tests(plan: &Arc<Plan>, text: &str) -> Result<(), Refusal> {
    let report = test::run(plan, plan.pipeline.tests.iter());
    let failed = report.tests.iter().filter(|test| !test.differences.is_empty());
    let diagnostics: Vec<_> = failed.map(|test| failed_test(plan, test)).collect();
    if diagnostics.is_empty() { Ok(()) } else { Err(refused(&diagnostics, text)) }
}

fn failed_test(plan: &Plan, test: &test::TestReport) -> Diagnostic {
    let told = test.differences.iter().take(DIFFERENCES_TOLD_MAX).map(|it| it.to_string());
    let records = test.failed_records.iter().take(DIFFERENCES_TOLD_MAX).cloned();
    let help: Vec<String> = told.chain(records).collect();
    let place = plan.pipeline.tests.iter().find(|it: &&TestConfig| it.name == test.name);
    let span = place.map_or(0..0, |config| config.place.clone());
    let message = format!("test `{}` fails with this change", test.name);
    Diagnostic::error(plan.pipeline.file.clone(), span, message).help(help.join("\n"))
}

/// Stages for every lane that runs, with their instances made.
fn trees(plan: &Arc<Plan>, lanes: usize) -> Result<Vec<StageTree>, Refusal> {
    let tree = |_| {
        let mut tree = StageTree::new(plan.clone());
        tree.prepare().map_err(|error| Refusal::new(format!("{error:#}")))?;
        Ok(tree)
    };
    // One at least, so that a module that cannot start is refused also while nothing is read.
    (0..lanes.max(1)).map(tree).collect()
}

fn refused(diagnostics: &[Diagnostic], text: &str) -> Refusal {
    let reason = config::render_all(diagnostics, text);
    Refusal { mistakes: diagnostics.len(), ..Refusal::new(reason.trim_end()) }
}
