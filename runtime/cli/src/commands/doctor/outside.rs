//! The cluster in use, and what pipelines need: their files, clusters, topics and tables.

use std::path::PathBuf;

use anyhow::Result;
use gristmill_connectors::{Cluster, admin, delta_table};
use gristmill_engine::config::{Pipeline, SinkKind, Topics};
use gristmill_host::{Host, HostConfig};

use super::Finding;
use crate::flags::BootstrapFlags;
use crate::pipelines;
use crate::profiles::LOCAL_BOOTSTRAP;
use crate::user_error::told;

pub async fn examine(broker: &BootstrapFlags, paths: &[PathBuf]) -> Vec<Finding> {
    let mut findings = vec![in_use(broker).await];
    let host = Host::new(HostConfig { cache_dir: None, ..HostConfig::default() });
    let (host, files) = match (host, pipelines::files(paths)) {
        (Ok(host), Ok(files)) => (host, files),
        (Err(error), _) => {
            findings.push(Finding::wrong("WebAssembly", error.to_string(), None));
            return findings;
        }
        (_, Err(error)) => {
            findings.push(Finding::wrong("pipelines", told(&error), None));
            return findings;
        }
    };
    findings.push(Finding::ok("WebAssembly", "modules can be compiled and run"));
    for file in files {
        let name = file.display().to_string();
        match pipelines::plan_one(&host, &file) {
            Ok(plan) => {
                findings.push(Finding::ok("pipeline", format!("{name}: no mistake")));
                findings.extend(ends(&plan.pipeline, broker).await);
            }
            // The mistakes themselves were printed.
            Err(error) => {
                findings.push(Finding::wrong("pipeline", format!("{name}: {error}"), None))
            }
        }
    }
    findings
}

async fn in_use(broker: &BootstrapFlags) -> Finding {
    match broker.cluster() {
        Ok(cluster) => reached("cluster in use", &cluster, None).await,
        Err(error) => Finding::wrong("cluster in use", told(&error), None),
    }
}

/// `topics`: those that must be there.
async fn reached(about: &'static str, cluster: &Cluster, topics: Option<&Topics>) -> Finding {
    let bootstrap = &cluster.bootstrap;
    let listed = match admin::list_topics(cluster).await {
        Ok(listed) => listed,
        Err(error) if cluster.bootstrap == LOCAL_BOOTSTRAP && cluster.properties.is_empty() => {
            tracing::debug!("{error:#}");
            return Finding::warning(
                about,
                format!("no broker answers at {bootstrap}"),
                "`gristmill run` starts the built-in one for its pipelines; `gristmill broker` runs it alone",
            );
        }
        Err(error) => return Finding::wrong(about, told(&error), None),
    };
    if let Some(Topics::Names(names)) = topics
        && let Some(missing) = names.iter().find(|name| !listed.iter().any(|it| it.name == **name))
    {
        return Finding::wrong(
            about,
            format!("{bootstrap} answers, and has no topic `{missing}`"),
            Some(format!(
                "make it with `gristmill topic create {missing} --bootstrap {bootstrap}`"
            )),
        );
    }
    let users = listed.iter().filter(|topic| !topic.internal).count();
    Finding::ok(about, format!("{bootstrap} answers, {users} topics"))
}

/// What a pipeline reads and writes.
async fn ends(pipeline: &Pipeline, broker: &BootstrapFlags) -> Vec<Finding> {
    let mut findings = Vec::new();
    match pipelines::cluster(&pipeline.source, broker) {
        Ok(cluster) => {
            findings.push(reached("source", &cluster, Some(&pipeline.source.topics)).await);
        }
        Err(error) => findings.push(Finding::wrong("source", told(&error), None)),
    }
    for sink in &pipeline.sinks {
        if let SinkKind::Delta(delta) = &sink.kind {
            findings.push(table(&sink.name, delta_table::look(&delta.table, &delta.storage).await));
        }
    }
    findings
}

fn table(sink: &str, looked: Result<delta_table::Look>) -> Finding {
    match looked {
        Ok(delta_table::Look::Table { version }) => {
            Finding::ok("table", format!("sink `{sink}`: there, at version {version}"))
        }
        Ok(delta_table::Look::Absent) => {
            Finding::ok("table", format!("sink `{sink}`: will be made by the first run"))
        }
        Err(error) => Finding::wrong("table", format!("sink `{sink}`: {}", told(&error)), None),
    }
}
