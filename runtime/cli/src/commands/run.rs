//! `gristmill run PIPELINE…`: the built-in broker, if any of them needs it, and the pipelines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use gristmill_connectors::Process;
use gristmill_engine::control::Control;
use gristmill_engine::plan::Plan;
use gristmill_engine::status::Snapshot;
use gristmill_host::{Host, HostConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::instance::Instance;
use crate::local::{self, LocalBroker, LocalFlags};
use crate::output::Output;
use crate::pipelines;
use crate::user_error::UserError;

mod live;
mod opening;

use live::Live;
use opening::Opening;

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

    /// After SIGTERM or Ctrl-C, finish and commit what was begun for so many seconds at most, then end as kill -9 does
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub drain_limit: u64,
}

/// Runs until every pipeline has ended (`available-now`), one has failed, or Ctrl-C.
pub async fn run(flags: &RunFlags, output: Output) -> Result<()> {
    let cache_dir = Some(flags.local.data_dir()?.join("cache"));
    let host = Host::new(HostConfig { cache_dir, ..HostConfig::default() })
        .map_err(|error| UserError::new(error.to_string()))?;
    let plans = pipelines::plan(&host, &pipelines::files(&flags.pipelines)?)?;
    let listener = http::listen(&flags.local.http, &flags.local).await?;
    let broker = match plans.iter().any(|plan| pipelines::needs_broker(&plan.pipeline)) {
        true => Some(LocalBroker::start_for_pipelines(&flags.local).await?),
        false => None,
    };
    let instance = Instance::claim(&flags.local.data_dir()?).map_err(UserError::from_error)?;
    let ended = run_all(&host, plans, broker.as_ref(), &instance, flags, listener, output).await;
    if let Some(broker) = broker {
        broker.shutdown().await?;
    }
    ended
}

async fn run_all(
    host: &Host,
    plans: Vec<Plan>,
    broker: Option<&LocalBroker>,
    instance: &Instance,
    flags: &RunFlags,
    listener: Option<TcpListener>,
    output: Output,
) -> Result<()> {
    let controls: Vec<_> = plans.into_iter().map(Control::starting).collect();
    let page = http::start(listener, broker, &controls, &flags.local.http.telemetry)?;
    let ended = to_the_end(host, controls, broker, instance, flags, output).await;
    if let Some(page) = page {
        page.shutdown().await;
    }
    for snapshot in ended? {
        output.answer(summary(&snapshot), &live::document(&snapshot, None))?;
    }
    Ok(())
}

async fn to_the_end(
    host: &Host,
    controls: Vec<Control>,
    broker: Option<&LocalBroker>,
    instance: &Instance,
    flags: &RunFlags,
    output: Output,
) -> Result<Vec<Snapshot>> {
    let stop = CancellationToken::new();
    let running = start(host, controls, broker, instance, flags.create_topics, stop.clone())
        .await
        .map_err(UserError::from_error)?;
    for control in &running.controls {
        tracing::info!(pipeline = control.pipeline(), "running");
    }
    let controls = running.controls.clone();
    let read =
        move || controls.iter().map(|control| (control.snapshot(), control.state())).collect();
    let _live = Live::start(output, Arc::new(read));
    tokio::select! {
        ended = running.join() => ended,
        error = stop_at_signal(stop, Duration::from_secs(flags.drain_limit)) => Err(error),
    }
}

/// Lets the pipelines come to their end. Returns if that takes longer than `drain_limit`, or a second signal comes: then
/// they end as they are, which loses and doubles nothing either.
async fn stop_at_signal(stop: CancellationToken, drain_limit: Duration) -> anyhow::Error {
    local::stop_signal().await;
    tracing::info!("stopping: finishing and committing what was begun");
    stop.cancel();
    let why = tokio::select! {
        () = tokio::time::sleep(drain_limit) => format!("not finished within {} s", drain_limit.as_secs()),
        () = local::stop_signal() => "a second signal".to_string(),
    };
    anyhow!("{why}: ended as it was; the next run takes up from the last commit")
}

/// Pipelines under way.
pub struct Running {
    /// One for each pipeline, in the order of the files.
    pub controls: Vec<Control>,
    tasks: JoinSet<(String, Result<Snapshot>)>,
    stop: CancellationToken,
}

/// Opens the ends of every pipeline, then starts them all: if one cannot be opened, none runs.
pub async fn start(
    host: &Host,
    controls: Vec<Control>,
    broker: Option<&LocalBroker>,
    instance: &Instance,
    create_topics: bool,
    stop: CancellationToken,
) -> Result<Running> {
    let process = Process {
        built_in: broker.map(LocalBroker::bootstrap),
        instance: instance.name().to_string(),
    };
    let opening = Opening { host, broker, process, create_topics, stop: stop.clone() };
    let runs = opening.open_all(&controls).await?;
    let mut tasks = JoinSet::new();
    for (run, control) in runs.into_iter().zip(&controls) {
        let name = control.pipeline().to_string();
        tasks.spawn(async move { (name, run.run().await) });
    }
    Ok(Running { controls, tasks, stop })
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
        self.tasks.len() == self.controls.len()
    }
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
        snapshot.stages.iter().map(|stage| format!("\n  stage `{}`: {}", stage.name, stage.counts));
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
