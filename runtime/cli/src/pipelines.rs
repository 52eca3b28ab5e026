//! Pipeline files from the command line: found, read, planned, and refused with all their mistakes at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gristmill_engine::config::{self, Diagnostic, LoadContext, Pipeline, SinkKind};
use gristmill_engine::plan::Plan;
use gristmill_host::Host;

use gristmill_cli::shipped::{SHIPPED, names};

use crate::user_error::UserError;

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

/// Reads and plans every file; nothing has been started or opened yet.
///
/// # Errors
/// All mistakes of all files, printed to standard error as they are found; the error counts them.
pub fn plan(host: &Host, files: &[PathBuf]) -> Result<Vec<Plan>> {
    let mut mistakes = 0;
    let mut plans = Vec::new();
    for file in files {
        match plan_file(host, file) {
            Ok(plan) => plans.push(plan),
            Err(diagnostics) => {
                mistakes += diagnostics.len();
                print(&diagnostics);
            }
        }
    }
    if mistakes > 0 {
        let s = if mistakes == 1 { "" } else { "s" };
        bail!(UserError::new(format!("{mistakes} mistake{s}, nothing was started")));
    }
    refuse_twins(&plans)?;
    Ok(plans)
}

fn plan_file(host: &Host, file: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let shipped = names();
    let environment = |name: &str| std::env::var(name).ok();
    let context = LoadContext { shipped: &shipped, environment: &environment };
    let loaded = config::load(file, &context)?;
    print(&loaded.warnings);
    Plan::new(host, loaded.pipeline, SHIPPED)
}

fn print(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        eprintln!("{}\n", config::render_with_files(diagnostics).trim_end());
    }
}

/// Cursors are kept under a pipeline's name, so two of the same name would fight over them.
fn refuse_twins(plans: &[Plan]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for Pipeline { name, file, .. } in plans.iter().map(|plan| &plan.pipeline) {
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
