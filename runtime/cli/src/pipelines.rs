//! Pipeline files from the command line: found, read, planned, and refused with all their mistakes at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gristmill_connectors::Cluster;
use gristmill_engine::config::{self, Diagnostic, LoadContext, Pipeline, SinkKind, SourceConfig};
use gristmill_engine::plan::Plan;
use gristmill_host::{Host, HostConfig};

use gristmill_cli::shipped::{SHIPPED, names};

use crate::flags::BootstrapFlags;
use crate::user_error::UserError;

/// The host of a command that starts nothing: it shares compiled modules with `run`, where there is a data folder.
pub fn host() -> Result<Host> {
    let cache_dir = crate::local::data_dir(None).ok().map(|folder| folder.join("cache"));
    Ok(Host::new(HostConfig { cache_dir, ..HostConfig::default() })?)
}

/// The pipeline files that `paths` name: files as they are, folders by their `*.toml`, sorted.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| {
            UserError::new(format!("cannot read folder `{}`: {error}", path.display()))
        })?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        if found.is_empty() {
            let folder = path.display();
            bail!(UserError::new(format!("no pipeline file (*.toml) in folder `{folder}`")));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Reads one file, without its modules.
///
/// # Errors
/// All its mistakes, printed to standard error; the error counts them.
pub fn load(file: &Path) -> Result<Pipeline> {
    load_with(file, &|name| std::env::var(name).ok()).map_err(|diagnostics| refused(&diagnostics))
}

/// Reads and plans one file, to run its tests: a cluster and its secrets are not needed, so that a variable that is not
/// set is no mistake.
///
/// # Errors
/// All its mistakes, printed to standard error; the error counts them.
pub fn plan_for_test(host: &Host, file: &Path) -> Result<Plan> {
    let placeholder = |name: &str| std::env::var(name).ok().or(Some("unset:9092".to_string()));
    let loaded = load_with(file, &placeholder).or_else(|_| {
        // Not every place takes the placeholder, and then its mistakes are not the author's.
        load_with(file, &|name| std::env::var(name).ok())
    });
    loaded
        .and_then(|pipeline| Plan::new(host, pipeline, SHIPPED))
        .map_err(|diagnostics| refused(&diagnostics))
}

fn refused(diagnostics: &[Diagnostic]) -> anyhow::Error {
    print(diagnostics);
    mistakes(diagnostics.len()).into()
}

/// What ends a command that found so many.
pub fn mistakes(count: usize) -> UserError {
    let s = if count == 1 { "" } else { "s" };
    UserError::new(format!("{count} mistake{s}, nothing was started"))
}

/// Reads and plans one file.
///
/// # Errors
/// All its mistakes, printed to standard error; the error counts them.
pub fn plan_one(host: &Host, file: &Path) -> Result<Plan> {
    plan_file(host, file).map_err(|diagnostics| refused(&diagnostics))
}

/// The cluster that a pipeline reads from, as a client beside it reaches it; `broker` says where the built-in one is.
pub fn cluster(source: &SourceConfig, broker: &BootstrapFlags) -> Result<Cluster> {
    let mut cluster = match &source.brokers {
        Some(brokers) => Cluster::new(brokers),
        None => broker.built_in()?,
    };
    let properties = source.connection_properties();
    cluster.properties.extend(properties.map(|(name, value)| (name.clone(), value.clone())));
    Ok(cluster)
}

/// Reads and plans every file; nothing has been started or opened yet.
///
/// # Errors
/// All mistakes of all files, printed to standard error as they are found; the error counts them.
pub fn plan(host: &Host, files: &[PathBuf]) -> Result<Vec<Plan>> {
    let mut found = 0;
    let mut plans = Vec::new();
    for file in files {
        match plan_file(host, file) {
            Ok(plan) => plans.push(plan),
            Err(diagnostics) => {
                found += diagnostics.len();
                print(&diagnostics);
            }
        }
    }
    if found > 0 {
        bail!(mistakes(found));
    }
    refuse_twins(&plans)?;
    Ok(plans)
}

/// A file, and all that is to be said of it.
pub struct Examined {
    /// Absent: it has mistakes.
    pub plan: Option<Plan>,
    /// Mistakes, or warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and plans every file, and prints nothing.
///
/// # Errors
/// Two of them have one name.
pub fn examine(host: &Host, files: &[PathBuf]) -> Result<Vec<Examined>> {
    let examined: Vec<Examined> = files.iter().map(|file| examine_file(host, file)).collect();
    refuse_twins(examined.iter().filter_map(|file| file.plan.as_ref()))?;
    Ok(examined)
}

fn examine_file(host: &Host, file: &Path) -> Examined {
    let context = LoadContext { shipped: &names(), environment: &|name| std::env::var(name).ok() };
    let loaded = match config::load(file, &context) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return Examined { plan: None, diagnostics },
    };
    match Plan::new(host, loaded.pipeline, SHIPPED) {
        Ok(plan) => Examined { plan: Some(plan), diagnostics: loaded.warnings },
        Err(diagnostics) => Examined { plan: None, diagnostics },
    }
}

fn plan_file(host: &Host, file: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let pipeline = load_with(file, &|name| std::env::var(name).ok())?;
    Plan::new(host, pipeline, SHIPPED)
}

fn load_with(
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Pipeline, Vec<Diagnostic>> {
    let context = LoadContext { shipped: &names(), environment };
    let loaded = config::load(file, &context)?;
    print(&loaded.warnings);
    Ok(loaded.pipeline)
}

fn print(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        eprintln!("{}\n", config::render_with_files(diagnostics).trim_end());
    }
}

/// Cursors are kept under a pipeline's name, so two of the same name would fight over them.
fn refuse_twins<'p>(plans: impl IntoIterator<Item = &'p Plan>) -> Result<()> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for Pipeline { name, file, .. } in plans.into_iter().map(|plan| &plan.pipeline) {
        if let Some(first) = seen.insert(name, file) {
            bail!(UserError::new(format!(
                "`{}` and `{}` are both named `{name}`: a pipeline's name is where its cursors are kept, give each its own",
                first.display(),
                file.display()
            )));
        }
    }
    Ok(())
}

/// Whether any end of the pipeline is a topic of the built-in broker.
pub fn needs_broker(pipeline: &Pipeline) -> bool {
    let built_in_source = pipeline.source.brokers.is_none();
    built_in_source
        || pipeline.sinks.iter().any(|sink| match &sink.kind {
            SinkKind::Topic(topic) => topic.brokers.is_none() && built_in_source,
            SinkKind::Delta(_) => false,
        })
}
