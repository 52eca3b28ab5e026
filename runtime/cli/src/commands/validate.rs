//! `gristmill validate FILE…`: everything that can be known of a pipeline without its cluster and its data.

use std::path::PathBuf;

use anyhow::Result;
use gristmill_connectors::guarantee;
use gristmill_engine::config::Upstream;
use gristmill_engine::plan::Plan;
use gristmill_host::{Host, HostConfig};

use crate::pipelines;

#[derive(Debug, clap::Args)]
pub struct ValidateFlags {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "PIPELINE")]
    pub pipelines: Vec<PathBuf>,
}

/// Reads the files, loads their modules, checks every edge; prints the columns of each.
pub fn run(flags: &ValidateFlags) -> Result<()> {
    let host = Host::new(HostConfig { cache_dir: None, ..HostConfig::default() })?;
    for plan in pipelines::plan(&host, &pipelines::files(&flags.pipelines)?)? {
        print_edges(&plan);
    }
    Ok(())
}

fn print_edges(plan: &Plan) {
    println!("{}: ok", plan.pipeline.file.display());
    println!("  source reads {}", plan.source_columns.join(", "));
    for (index, stage) in plan.stages.iter().enumerate() {
        let columns = columns(plan, Upstream::Stage(index));
        println!("  stage `{}` from {} gives {columns}", stage.name, upstream(plan, stage.from));
    }
    for (sink, config) in plan.sinks.iter().zip(&plan.pipeline.sinks) {
        let fields: Vec<_> =
            sink.schema.fields().iter().map(|field| field.name().as_str()).collect();
        println!(
            "  sink `{}` from {} stores {}",
            sink.name,
            upstream(plan, sink.from),
            fields.join(", ")
        );
        println!("    {}", guarantee::of_sink(config, &plan.pipeline.source));
    }
}

fn upstream(plan: &Plan, from: Upstream) -> String {
    match from {
        Upstream::Source => "the source".into(),
        Upstream::Stage(index) => format!("`{}`", plan.stages[index].name),
    }
}

fn columns(plan: &Plan, from: Upstream) -> String {
    let names: Vec<_> = plan.edge(from).fields().iter().map(|field| field.name().clone()).collect();
    names.join(", ")
}
