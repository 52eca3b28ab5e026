//! `gristmill validate FILE…`: everything that can be known of a pipeline without its cluster and its data.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use arrow_schema::Schema;
use gristmill_engine::config::{Diagnostic, Upstream};
use gristmill_engine::guarantee::Guarantee;
use gristmill_engine::plan::Plan;
use gristmill_host::Host;
use serde_json::{Value, json};

use crate::output::Output;
use crate::pipelines::{self, Examined};

#[derive(Debug, clap::Args)]
pub struct ValidateFlags {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "PIPELINE")]
    pub pipelines: Vec<PathBuf>,
}

/// Reads the files, loads their modules, checks every edge; prints the columns of each.
pub fn run(flags: &ValidateFlags, output: Output) -> Result<()> {
    let host = pipelines::host()?;
    let files = pipelines::files(&flags.pipelines)?;
    match output {
        Output::Text => {
            pipelines::plan(&host, &files)?.iter().try_for_each(|plan| output.remark(edges(plan)))
        }
        Output::Json => print_documents(&host, &files, output),
    }
}

/// One for each file, its mistakes with their places.
fn print_documents(host: &Host, files: &[PathBuf], output: Output) -> Result<()> {
    let mut found = 0;
    for (file, examined) in files.iter().zip(pipelines::examine(host, files)?) {
        output.answer("", &document(file, &examined))?;
        found += if examined.plan.is_some() { 0 } else { examined.diagnostics.len() };
    }
    if found > 0 {
        bail!(pipelines::mistakes(found));
    }
    Ok(())
}

fn document(file: &Path, examined: &Examined) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mistake = |diagnostic: &Diagnostic| {
        let (line, column) = diagnostic.position(&text);
        json!({
            "severity": diagnostic.severity.to_string(),
            "line": line,
            "column": column,
            "message": diagnostic.message,
            "help": diagnostic.help,
        })
    };
    json!({
        "file": file,
        "pipeline": examined.plan.as_ref().map(|plan| &plan.pipeline.name),
        "valid": examined.plan.is_some(),
        "mistakes": examined.diagnostics.iter().map(mistake).collect::<Vec<_>>(),
    })
}

/// What the file's pipeline reads, makes and stores.
fn edges(plan: &Plan) -> String {
    let mut lines = vec![
        format!("{}: ok", plan.pipeline.file.display()),
        format!("  source reads {}", plan.source_columns.join(", ")),
    ];
    for (index, stage) in plan.stages.iter().enumerate() {
        let (from, columns) =
            (upstream(plan, stage.from), names(&plan.edge(Upstream::Stage(index))));
        lines.push(format!("  stage `{}` from {from} gives {columns}", stage.name));
    }
    for (sink, config) in plan.sinks.iter().zip(&plan.pipeline.sinks) {
        let (from, columns) = (upstream(plan, sink.from), names(&sink.schema));
        lines.push(format!("  sink `{}` from {from} stores {columns}", sink.name));
        lines.push(format!("    {}", Guarantee::of(&plan.pipeline, config)));
    }
    lines.join("\n")
}

fn upstream(plan: &Plan, from: Upstream) -> String {
    match from {
        Upstream::Source => "the source".into(),
        Upstream::Stage(index) => format!("`{}`", plan.stages[index].name),
    }
}

fn names(columns: &Schema) -> String {
    let names: Vec<_> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}
