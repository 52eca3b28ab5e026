//! `gristmill run PIPELINE…`: the built-in broker, if any of them needs it, and the pipelines.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gristmill_connectors::Process;
use gristmill_engine::config::Topics;
use gristmill_engine::plan::Plan;
use gristmill_engine::run::Run;
use gristmill_engine::status::{Snapshot, Status};
use gristmill_host::{Host, HostConfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;
use crate::local::{self, LocalBroker, LocalFlags};
use crate::pipelines;
use crate::user_error::UserError;

#[derive(Debug, clap::Args)]
pub struct RunFlags {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "PIPELINE")]
    pub pipelines: Vec<PathBuf>,

    #[command(flatten)]
    pub local: LocalFlags,

    /// Make the topics that a pipeline reads and the built-in broker does not have yet
    #[arg(long)]
    pub create_topics: bool,
}

/// Runs until every pipeline has ended (`available-now`), one has failed, or Ctrl-C.
pub async fn run(flags: &RunFlags) -> Result<()> {
    let cache_dir = Some(flags.local.data_dir()?.join("cache"));
    let host = Host::new(HostConfig { cache_dir, ..HostConfig::default() })
        .map_err(|error| UserError::new(error.to_string()))?;
    let plans = pipelines::plan(&host, &pipelines::files(&flags.pipelines)?)?;
    let broker = match plans.iter().any(|plan| pipelines::needs_broker(&plan.pipeline)) {
        true => Some(LocalBroker::start_for_pipelines(&flags.local).await?),
        false => None,
    };
    let instance = Instance::claim(&flags.local.data_dir()?).map_err(UserError::from_error)?;
    let ended = run_all(plans, broker.as_ref(), &instance, flags.create_topics).await;
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    ended
}

async fn run_all(
    plans: Vec<Plan>,
    broker: Option<&LocalBroker>,
    instance: &Instance,
    create_topics: bool,
) -> Result<()> {
    let stop = CancellationToken::new();
    let running = start(plans, broker, instance, create_topics, stop.clone())
        .await
        .map_err(UserError::from_error)?;
    for status in &running.statuses {
        tracing::info!(pipeline = status.snapshot().pipeline, "running");
    }
    tokio::spawn(async move {
        local::stop_signal().await;
        tracing::info!("stopping: finishing and committing what was begun");
        stop.cancel();
    });
    for snapshot in running.join().await? {
        println!("{}", summary(&snapshot));
    }
    Ok(())
}

/// Pipelines under way.
pub struct Running {
    pub statuses: Vec<Arc<Status>>,
    tasks: JoinSet<(String, Result<Snapshot>)>,
    stop: CancellationToken,
}

/// Opens the ends of every pipeline, then starts them all: if one cannot be opened, none runs.
pub async fn start(
    plans: Vec<Plan>,
    broker: Option<&LocalBroker>,
    instance: &Instance,
    create_topics: bool,
    stop: CancellationToken,
) -> Result<Running> {
    let process = Process {
        built_in: broker.map(LocalBroker::bootstrap),
        instance: instance.name().to_string(),
    };
    let mut runs = Vec::new();
    for plan in plans {
        let name = plan.pipeline.name.clone();
        if let Some(broker) = broker {
            let missing = broker.missing(topics(&plan));
            match create_topics {
                true => broker.create_topics(&missing)?,
                false => refuse_missing(&name, &missing, broker)?,
            }
        }
        let connected = gristmill_connectors::open(&plan, &process).await;
        let connected = connected.with_context(|| format!("pipeline `{name}`"))?;
        runs.push((name, Run::new(plan, connected, stop.clone())));
    }
    let statuses = runs.iter().map(|(_, run)| run.status()).collect();
    let mut tasks = JoinSet::new();
    for (name, run) in runs {
        tasks.spawn(async move { (name, run.run().await) });
    }
    Ok(Running { statuses, tasks, stop })
}

impl Running {
    /// Waits for all of them. One that fails stops the others cleanly.
    pub async fn join(mut self) -> Result<Vec<Snapshot>> {
        let mut ended = Vec::new();
        let mut failed = None;
        while let Some(done) = self.tasks.join_next().await {
            let (name, result) = done.context("a pipeline panicked")?;
            match result {
                Ok(snapshot) => ended.push(snapshot),
                Err(error) => {
                    self.stop.cancel();
                    let error = error.context(format!("pipeline `{name}` stopped"));
                    tracing::error!("{error:#}");
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(ended),
        }
    }

    /// Whether all of them are still under way.
    pub fn all_running(&self) -> bool {
        self.tasks.len() == self.statuses.len()
    }
}

/// The topics that a pipeline reads by name from the built-in broker.
fn topics(plan: &Plan) -> Vec<String> {
    match (&plan.pipeline.source.brokers, &plan.pipeline.source.topics) {
        (None, Topics::Names(names)) => names.clone(),
        _ => Vec::new(),
    }
}

/// The built-in broker runs within this command, so that nobody could make the topic meanwhile.
fn refuse_missing(pipeline: &str, missing: &[String], broker: &LocalBroker) -> Result<()> {
    let Some(topic) = missing.first() else { return Ok(()) };
    let there = match broker.topics() {
        topics if topics.is_empty() => "it has none".to_string(),
        topics => format!("it has {}", topics.join(", ")),
    };
    bail!(UserError::new(format!(
        "pipeline `{pipeline}`: the built-in broker has no topic `{topic}` ({there}); add --create-topics to have it made \
         with one partition, or choose partitions with `gristmill topic create {topic} --partitions N` while \
         `gristmill broker` runs on this data folder"
    )))
}

fn summary(snapshot: &Snapshot) -> String {
    let sinks: Vec<_> = snapshot
        .sinks
        .iter()
        .map(|sink| {
            format!("{} rows to `{}` in {} commits", sink.rows_committed, sink.name, sink.commits)
        })
        .collect();
    let stages =
        snapshot.stages.iter().map(|(name, counts)| format!("\n  stage `{name}`: {counts}"));
    format!(
        "pipeline `{}`: {} records read, {}{}",
        snapshot.pipeline,
        snapshot.records,
        sinks.join(", "),
        stages.collect::<String>()
    )
}

/// For callers that wait for a state of the pipelines: an error if one of them has ended early.
pub fn ensure_running(running: &Running) -> Result<()> {
    if !running.all_running() {
        bail!("a pipeline ended early");
    }
    Ok(())
}
