//! `gristmill stage shadow PIPELINE STAGE [FILE]`: a candidate beside a stage's module, set, looked at and taken away.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gristmill_engine::shadow::{Outcome, ShadowReport, ShadowSample};
use serde_json::{Map, Value, json};

use crate::output::Output;
use crate::receipt;
use crate::remote::RemoteFlags;
use crate::table::Table;
use crate::user_error::{UserError, with_note};

/// Digits of a hash that people are shown.
const HASH_SHOWN: usize = 12;

#[derive(clap::Args)]
pub struct StageShadowFlags {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The stage that gets the candidate
    #[arg(value_name = "STAGE")]
    stage: String,

    /// The candidate's module, on the machine where the pipeline runs; without it the comparison is printed
    #[arg(value_name = "FILE.wasm")]
    module: Option<PathBuf>,

    /// Take the candidate away
    #[arg(long, conflicts_with = "module")]
    off: bool,

    #[command(flatten)]
    remote: RemoteFlags,
}

pub async fn run(flags: &StageShadowFlags, output: Output) -> Result<()> {
    let remote = flags.remote.open()?;
    let path = ["pipelines", &flags.pipeline, "stages", &flags.stage, "shadow"];
    let of_stage = format!("stage `{}` of pipeline `{}`", flags.stage, flags.pipeline);
    if flags.off {
        let answer = remote.delete(&path).await?;
        let text = format!("{of_stage} has no candidate{}", any_more(&answer)?);
        return output.answer(text, &answer);
    }
    let Some(module) = &flags.module else {
        let answer = remote.get(&path).await?;
        return output.answer(format!("{of_stage}: {}", comparison(&answer)?), &answer);
    };
    let shown = module.display();
    let answer = remote.put(&path, &json!({ "module": absolute(module)? })).await;
    // The place is that of the stage in the file, which knows nothing of the candidate.
    let note = format!("that is said of the candidate `{shown}`; nothing has changed");
    let answer = answer.map_err(|error| with_note(error, &note))?;
    let text = match receipt::of(&answer)?.changes.is_empty() {
        true => format!("{of_stage} has `{shown}` beside it already"),
        false => format!(
            "{of_stage} has `{shown}` beside it; the same command without the file tells how it does"
        ),
    };
    output.answer(text, &answer)
}

/// The path as the runtime must read it, which knows nothing of the folder that we are in.
fn absolute(module: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(module).context("there is no current folder")?;
    // What was given whole may be a file of the runtime's machine.
    if path != module && !path.is_file() {
        return Err(UserError::new(format!(
            "there is no module `{}`, looked for `{}`; one on the machine of the pipeline is named by its whole path",
            module.display(),
            path.display()
        ))
        .into());
    }
    Ok(path)
}

fn any_more(answer: &Value) -> Result<&'static str> {
    Ok(if receipt::of(answer)?.changes.is_empty() { "" } else { " any more" })
}

fn comparison(answer: &Value) -> Result<String> {
    let report: ShadowReport = serde_json::from_value(answer.clone())
        .context("the answer is no comparison: is that a gristmill of another version?")?;
    let short = |hash: &str| hash.chars().take(HASH_SHOWN).collect::<String>();
    let (live, candidate) = (short(&report.live), short(&report.candidate));
    let mut text = format!("candidate {candidate} beside {live}\n\n{}", counts(&report).render());
    let times = (report.live_ns_per_row / 1e3, report.candidate_ns_per_row / 1e3);
    text += &format!("\n\ntime per row  {:.1} µs live, {:.1} µs candidate", times.0, times.1);
    if !report.columns_not_compared.is_empty() {
        text += &format!("\nnot compared  {}", report.columns_not_compared.join(", "));
    }
    if let Some(failure) = &report.last_failure {
        text += &format!("\nlast failure  {failure}");
    }
    if !report.samples.is_empty() {
        let samples: Vec<String> = report.samples.iter().map(sample).collect();
        text += &format!("\n\n{}", samples.join("\n"));
    }
    Ok(text)
}

/// What was compared is always told, the rest where there is any.
fn counts(report: &ShadowReport) -> Table {
    let mut table = Table::new(["rows", "count"]);
    let always = [("compared", report.rows_compared), ("equal", report.rows_equal)];
    let else_told = [
        (words(Outcome::Different), report.rows_different),
        (words(Outcome::KeptByLiveOnly), report.rows_kept_by_live_only),
        (words(Outcome::KeptByCandidateOnly), report.rows_kept_by_candidate_only),
        (words(Outcome::FailedByLiveOnly), report.rows_failed_by_live_only),
        (words(Outcome::FailedByCandidateOnly), report.rows_failed_by_candidate_only),
        ("skipped, the candidate was busy", report.rows_skipped),
        ("lost, the candidate failed as such", report.rows_lost),
    ];
    let told = else_told.into_iter().filter(|(_, count)| *count > 0);
    for (what, count) in always.into_iter().chain(told) {
        table.push([what.to_owned(), count.to_string()]);
    }
    table
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Equal => "equal",
        Outcome::Different => "different",
        Outcome::KeptByLiveOnly => "kept by live only",
        Outcome::KeptByCandidateOnly => "kept by candidate only",
        Outcome::FailedByLiveOnly => "failed by live only",
        Outcome::FailedByCandidateOnly => "failed by candidate only",
    }
}

fn sample(sample: &ShadowSample) -> String {
    let ShadowSample { kind, topic, partition, offset, input, live, candidate, reason } = sample;
    let mut text = format!("{} at {topic}-{partition}@{offset}", words(*kind));
    if let Some(reason) = reason {
        text += &format!(": {reason}");
    }
    text += &format!("\n  read       {}", Value::Object(input.clone()));
    for (who, rows) in [("live", live), ("candidate", candidate)] {
        text += &format!("\n  {who:<9}  {}", made(rows));
    }
    text
}

fn made(rows: &[Map<String, Value>]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
    if rows.is_empty() { "no row".to_owned() } else { rows.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_tells_what_differs_and_where() {
        let row = |city: &str| json!({ "city": city }).as_object().cloned().unwrap_or_default();
        let report = ShadowReport {
            live: "1f0c9a77b2de41".to_owned(),
            candidate: "90ab31c07f1155".to_owned(),
            rows_compared: 3,
            rows_equal: 1,
            rows_different: 1,
            rows_failed_by_candidate_only: 1,
            live_ns_per_row: 840.0,
            candidate_ns_per_row: 1310.0,
            samples: vec![ShadowSample {
                kind: Outcome::Different,
                topic: "orders".to_owned(),
                partition: 0,
                offset: 7,
                input: row("Reno"),
                live: vec![row("Reno")],
                candidate: vec![],
                reason: None,
            }],
            ..ShadowReport::default()
        };
        let expected = "\
candidate 90ab31c07f11 beside 1f0c9a77b2de

rows                      count
compared                      3
equal                         1
different                     1
failed by candidate only      1

time per row  0.8 µs live, 1.3 µs candidate

different at orders-0@7
  read       {\"city\":\"Reno\"}
  live       {\"city\":\"Reno\"}
  candidate  no row";
        assert_eq!(comparison(&json!(report)).unwrap(), expected);
    }

    #[test]
    fn a_path_from_here_must_lead_to_a_file() {
        assert!(absolute(Path::new("no/such.wasm")).is_err());
        let elsewhere = Path::new("/on/another/machine.wasm");
        assert_eq!(absolute(elsewhere).unwrap(), elsewhere);
    }
}
