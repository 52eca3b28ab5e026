//! `gristmill explain PIPELINE`: who reads from whom, the columns of every edge, what each sink promises. Nothing is
//! opened: what a cluster or a table says against it, `run` tells.

use std::path::PathBuf;

use anyhow::Result;
use arrow_schema::{DataType, SchemaRef};
use gristmill_engine::batch::ColumnOrigin;
use gristmill_engine::config::{ModuleRef, OnFailure, SinkKind, Topics, Upstream};
use gristmill_engine::guarantee::Guarantee;
use gristmill_engine::plan::{Plan, PlannedStage};
use serde_json::{Value, json};

use crate::column_text::{column, type_text};
use crate::output::Output;
use crate::pipelines;

/// Digits of a module's hash for people.
const HASH_CHARS: usize = 12;

#[derive(Debug, clap::Args)]
pub struct ExplainFlags {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "PIPELINE")]
    pub pipelines: Vec<PathBuf>,
}

pub fn run(flags: &ExplainFlags, output: Output) -> Result<()> {
    let host = pipelines::host()?;
    for plan in pipelines::plan(&host, &pipelines::files(&flags.pipelines)?)? {
        output.answer(text(&plan), &document(&plan))?;
    }
    Ok(())
}

fn text(plan: &Plan) -> String {
    let mut lines = vec![
        format!("pipeline `{}`  {}", plan.pipeline.name, plan.pipeline.file.display()),
        format!("source  {} of {}", topics(plan), brokers(plan)),
        format!("        reads {}", plan.source_columns.join(", ")),
    ];
    below(plan, Upstream::Source, "", &mut lines);
    lines.join("\n")
}

/// Everything that reads from `from`, as a tree.
fn below(plan: &Plan, from: Upstream, indent: &str, lines: &mut Vec<String>) {
    let stages = (0..plan.stages.len()).filter(|index| plan.stages[*index].from == from);
    let sinks = (0..plan.sinks.len()).filter(|index| plan.sinks[*index].from == from);
    let mut nodes: Vec<(bool, usize)> = stages.map(|index| (true, index)).collect();
    nodes.extend(sinks.map(|index| (false, index)));
    let last = nodes.len().saturating_sub(1);
    for (place, (is_stage, index)) in nodes.into_iter().enumerate() {
        let (branch, rest) = if place == last { ("└─", "  ") } else { ("├─", "│ ") };
        let details = if is_stage { stage_text(plan, index) } else { sink_text(plan, index) };
        for (number, detail) in details.into_iter().enumerate() {
            let lead = if number == 0 { branch } else { rest };
            lines.push(format!("{indent}{lead} {detail}"));
        }
        if is_stage {
            below(plan, Upstream::Stage(index), &format!("{indent}{rest} "), lines);
        }
    }
}

fn stage_text(plan: &Plan, index: usize) -> Vec<String> {
    let planned = &plan.stages[index];
    let hash = planned.stage.module().hash();
    let hash = hash.get(..HASH_CHARS).unwrap_or(hash);
    let mut lines = vec![
        format!(
            "stage `{}`  {} {hash}, {}",
            planned.name,
            module(plan, index),
            on_failure(planned)
        ),
        format!("  reads {}", names(reads(plan, planned))),
    ];
    for (title, wanted) in [("makes", "made"), ("carries", "carried"), ("unused", "unused")] {
        let columns = columns(planned).filter(|(_, origin)| *origin == wanted);
        let columns: Vec<String> = columns.map(|(column, _)| column).collect();
        if !columns.is_empty() {
            lines.push(format!("  {title} {}", columns.join(", ")));
        }
    }
    lines
}

fn sink_text(plan: &Plan, index: usize) -> Vec<String> {
    let (planned, config) = (&plan.sinks[index], &plan.pipeline.sinks[index]);
    let fields = planned.schema.fields().iter();
    let stored: Vec<String> = fields.map(|field| column(field.name(), field.data_type())).collect();
    vec![
        format!("sink `{}`  {}", planned.name, target(&config.kind)),
        format!("  stores {}", stored.join(", ")),
        format!("  {}", Guarantee::of(&plan.pipeline, config)),
    ]
}

fn topics(plan: &Plan) -> String {
    match &plan.pipeline.source.topics {
        Topics::Names(names) => format!("topics {}", names.join(", ")),
        Topics::Pattern(pattern) => format!("topics that match {pattern}"),
    }
}

fn brokers(plan: &Plan) -> String {
    plan.pipeline.source.brokers.clone().unwrap_or_else(|| "the built-in broker".to_string())
}

fn module(plan: &Plan, index: usize) -> String {
    match &plan.pipeline.stages[index].module {
        ModuleRef::Shipped(name) => name.clone(),
        ModuleRef::File(path) => path.display().to_string(),
    }
}

fn on_failure(planned: &PlannedStage) -> String {
    let word = on_failure_word(planned.on_failure);
    let budget = planned.max_failures.filter(|_| planned.on_failure != OnFailure::Stop);
    match budget.map(|budget| (budget.count, budget.window_rows)) {
        None => format!("on failure {word}"),
        Some((count, None)) => format!("on failure {word}, at most {count}"),
        Some((count, Some(rows))) => format!("on failure {word}, at most {count} of {rows} rows"),
    }
}

fn on_failure_word(choice: OnFailure) -> &'static str {
    match choice {
        OnFailure::Stop => "stop",
        OnFailure::Skip => "skip",
        OnFailure::DeadLetter => "dead-letter",
    }
}

fn target(kind: &SinkKind) -> String {
    match kind {
        SinkKind::Delta(delta) => format!("Delta table {}", delta.table),
        SinkKind::Topic(topic) => match &topic.brokers {
            Some(brokers) => format!("topic {} at {brokers}", topic.topic),
            None => format!("topic {}", topic.topic),
        },
    }
}

fn reads(plan: &Plan, planned: &PlannedStage) -> Vec<String> {
    let edge: SchemaRef = plan.edge(planned.from);
    planned.stage.reads().iter().map(|index| edge.field(*index).name().clone()).collect()
}

fn names(names: Vec<String>) -> String {
    match names.is_empty() {
        true => "no column".to_string(),
        false => names.join(", "),
    }
}

/// The columns behind a stage, each with how it comes about.
fn columns(planned: &PlannedStage) -> impl Iterator<Item = (String, &'static str)> + '_ {
    let fields = planned.stage.output_schema().fields().iter();
    fields.zip(&planned.columns).map(|(field, origin)| {
        let origin = match origin {
            ColumnOrigin::Made(_) => "made",
            ColumnOrigin::Carried(_) => "carried",
            ColumnOrigin::Dead => "unused",
        };
        (column(field.name(), field.data_type()), origin)
    })
}

fn document(plan: &Plan) -> Value {
    let upstream = |from: Upstream| match from {
        Upstream::Source => "source",
        Upstream::Stage(index) => plan.stages[index].name.as_str(),
    };
    let typed =
        |name: &str, data_type: &DataType| json!({ "name": name, "type": type_text(data_type) });
    let stage = |(index, planned): (usize, &PlannedStage)| {
        let fields = planned.stage.output_schema().fields().iter();
        let columns = fields.zip(columns(planned)).map(|(field, (_, origin))| {
            let mut column = typed(field.name(), field.data_type());
            column["origin"] = origin.into();
            column
        });
        json!({
            "name": planned.name,
            "from": upstream(planned.from),
            "module": module(plan, index),
            "hash": planned.stage.module().hash(),
            "on_failure": on_failure_word(planned.on_failure),
            "max_failures": planned.max_failures
                .map(|budget| json!({ "count": budget.count, "window_rows": budget.window_rows })),
            "reads": reads(plan, planned),
            "columns": columns.collect::<Vec<_>>(),
        })
    };
    let sinks = plan.sinks.iter().zip(&plan.pipeline.sinks).map(|(planned, config)| {
        let fields = planned.schema.fields().iter();
        let columns = fields.map(|field| typed(field.name(), field.data_type()));
        json!({
            "name": planned.name,
            "from": upstream(planned.from),
            "target": target(&config.kind),
            "columns": columns.collect::<Vec<_>>(),
            "guarantee": Guarantee::of(&plan.pipeline, config).to_string(),
        })
    });
    json!({
        "pipeline": plan.pipeline.name,
        "file": plan.pipeline.file,
        "source": { "topics": topics(plan), "brokers": brokers(plan), "reads": plan.source_columns },
        "stages": plan.stages.iter().enumerate().map(stage).collect::<Vec<_>>(),
        "sinks": sinks.collect::<Vec<_>>(),
    })
}
