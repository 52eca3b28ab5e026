//! `gristmill status | pause | resume | reload | tap`: pipelines of a running process, asked and steered over HTTP.

use anyhow::Result;
use serde_json::Value;

use crate::local::stop_signal;
use crate::output::Output;
use crate::receipt;
use crate::remote::RemoteFlags;
use crate::table::Table;
use crate::user_error::{UserError, with_note};

#[derive(clap::Args)]
pub struct StatusFlags {
    /// This one alone, in full
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,

    #[command(flatten)]
    remote: RemoteFlags,
}

#[derive(clap::Args)]
pub struct SteerFlags {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    #[command(flatten)]
    remote: RemoteFlags,
}

#[derive(clap::Args)]
pub struct TapFlags {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The stage whose rows are shown as they leave it; `source`: those that the pipeline reads
    #[arg(value_name = "STAGE")]
    stage: String,

    /// Rows per second at most; the others pass unseen
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,

    /// End after this many rows
    #[arg(long, value_name = "N")]
    max: Option<u64>,

    #[command(flatten)]
    remote: RemoteFlags,
}

/// Prints every pipeline in a line, or one in full.
pub async fn status(flags: &StatusFlags, output: Output) -> Result<()> {
    let remote = flags.remote.open()?;
    match &flags.pipeline {
        Some(name) => {
            let pipeline = remote.get(&["pipelines", name]).await?;
            output.answer(full(&pipeline), &pipeline)
        }
        None => {
            let pipelines = remote.get(&["pipelines"]).await?;
            output.answer(brief(&pipelines), &pipelines)
        }
    }
}

/// Lets what was begun be committed, and nothing begin.
pub async fn pause(flags: &SteerFlags, output: Output) -> Result<()> {
    let answer = flags.remote.open()?.post(&["pipelines", &flags.pipeline, "pause"]).await?;
    output.answer(format!("pipeline `{}` is paused", flags.pipeline), &answer)
}

pub async fn resume(flags: &SteerFlags, output: Output) -> Result<()> {
    let answer = flags.remote.open()?.post(&["pipelines", &flags.pipeline, "resume"]).await?;
    output.answer(format!("pipeline `{}` runs", flags.pipeline), &answer)
}

/// Has the files looked at now; what is wrong with them leaves the running pipeline as it is.
pub async fn reload(flags: &SteerFlags, output: Output) -> Result<()> {
    let path = ["pipelines", &flags.pipeline, "reload"];
    let receipt = flags.remote.open()?.post(&path).await;
    let receipt = receipt.map_err(|error| with_note(error, "what ran before runs on"))?;
    output.answer(receipt::text(&flags.pipeline, &receipt)?, &receipt)
}

/// Prints rows as they come, until Ctrl-C.
pub async fn tap(flags: &TapFlags, output: Output) -> Result<()> {
    let remote = flags.remote.open()?;
    let path = ["pipelines", &flags.pipeline, "stages", &flags.stage, "tap"];
    let mut events = remote.events(&path, &[("rate", flags.rate.to_string())]).await?;
    let mut left = flags.max.unwrap_or(u64::MAX);
    let mut interrupted = std::pin::pin!(stop_signal());
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event?,
            () = &mut interrupted => return Ok(()),
        };
        let Some(row) = event else {
            let message = "the pipeline has stopped, or was reloaded without this stage";
            return Err(UserError::new(message).into());
        };
        output.answer(row_text(&row), &row)?;
        left -= 1;
    }
    Ok(())
}

/// `running`, or what else the state is and why.
fn state_text(pipeline: &Value) -> String {
    let state = pipeline["state"].as_str().unwrap_or_default();
    // The first line: the whole is in `--output json`.
    match pipeline["error"].as_str().and_then(|error| error.lines().next()) {
        Some(error) => format!("{state}: {error}"),
        None => state.to_owned(),
    }
}

fn number(value: &Value, name: &str) -> String {
    value[name].as_u64().map_or_else(String::new, |number| number.to_string())
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn failures(snapshot: &Value) -> u64 {
    items(snapshot, "stages").iter().filter_map(|stage| stage["rows_failed"].as_u64()).sum()
}

fn brief(pipelines: &Value) -> String {
    let all = pipelines.as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return "no pipeline runs there".to_owned();
    }
    let mut table = Table::new(["pipeline", "generation", "records", "lag", "failures", "state"]);
    for pipeline in all {
        let snapshot = &pipeline["snapshot"];
        table.push([
            pipeline["name"].as_str().unwrap_or_default().to_owned(),
            number(pipeline, "generation"),
            number(snapshot, "records"),
            number(snapshot, "lag"),
            failures(snapshot).to_string(),
            state_text(pipeline),
        ]);
    }
    table.render()
}

fn full(pipeline: &Value) -> String {
    let (name, snapshot) = (pipeline["name"].as_str().unwrap_or_default(), &pipeline["snapshot"]);
    let mut text = format!(
        "pipeline `{name}`: {}\nfile {}, generation {}, {} records read, lag {}",
        state_text(pipeline),
        pipeline["file"].as_str().unwrap_or_default(),
        number(pipeline, "generation"),
        number(snapshot, "records"),
        number(snapshot, "lag"),
    );
    let mut stages = Table::new(["stage", "rows in", "rows out", "filtered", "failed"]);
    for stage in items(snapshot, "stages") {
        let name = stage["name"].as_str().unwrap_or_default().to_owned();
        let counts = ["rows_in", "rows_out", "rows_filtered", "rows_failed"];
        let counts = counts.map(|count| number(stage, count));
        stages.push([name].into_iter().chain(counts));
    }
    text += &format!("\n\n{}", stages.render());
    let mut sinks = Table::new(["sink", "rows committed", "commits", "last commit"]);
    for sink in items(snapshot, "sinks") {
        sinks.push([
            sink["name"].as_str().unwrap_or_default().to_owned(),
            number(sink, "rows_committed"),
            number(sink, "commits"),
            sink["last_commit"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    text += &format!("\n\n{}", sinks.render());
    if let Some(failure) = snapshot["last_failure"].as_str() {
        text += &format!("\n\nlast failure that passed: {failure}");
    }
    if let Some(reason) = pipeline.pointer("/last_refusal/reason").and_then(Value::as_str) {
        text += &format!("\n\nthe newest change was refused:\n{reason}");
    }
    text
}

/// Where the record came from, then the row as JSON.
fn row_text(row: &Value) -> String {
    let topic = row["topic"].as_str().unwrap_or_default();
    format!("{topic}-{}@{}  {}", row["partition"], row["offset"], row["row"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn orders() -> Value {
        json!({
            "name": "orders", "file": "orders.toml", "state": "running", "error": null, "generation": 2,
            "snapshot": {
                "records": 100, "lag": 3, "last_failure": null,
                "stages": [
                    { "name": "parse", "rows_in": 100, "rows_out": 98, "rows_filtered": 0, "rows_failed": 2 },
                ],
                "sinks": [{ "name": "lake", "rows_committed": 98, "commits": 4, "last_commit": "version 7" }],
            },
            "last_refusal": { "reason": "orders.toml:3:1: error: no such key" },
        })
    }

    #[test]
    fn a_pipeline_is_a_line() {
        let failed = json!({ "name": "raw", "state": "failed", "error": "no topic\nat all" });
        let expected = "\
pipeline  generation  records  lag  failures  state
orders             2      100    3         2  running
raw                                        0  failed: no topic";
        assert_eq!(brief(&json!([orders(), failed])), expected);
    }

    #[test]
    fn a_pipeline_in_full_tells_its_stages_and_sinks() {
        let expected = "\
pipeline `orders`: running
file orders.toml, generation 2, 100 records read, lag 3

stage  rows in  rows out  filtered  failed
parse      100        98         0       2

sink  rows committed  commits  last commit
lake              98        4  version 7

the newest change was refused:
orders.toml:3:1: error: no such key";
        assert_eq!(full(&orders()), expected);
    }
}
