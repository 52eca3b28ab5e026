//! `gristmill dead-letters replay`: the records of dead letters back into the topics they came from, each letter once.

use anyhow::Result;
use gristmill_connectors::replay::{self, Replayed};
use serde_json::json;

use crate::letters::{LettersFlags, PickFlags};
use crate::output::Output;

#[derive(clap::Args)]
pub struct DeadLettersReplayFlags {
    #[command(flatten)]
    letters: LettersFlags,

    #[command(flatten)]
    pick: PickFlags,

    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// Sends key, value and headers as they were; a header counts how often.
pub async fn run(flags: &DeadLettersReplayFlags, output: Output) -> Result<()> {
    let setup = flags.letters.setup(flags.dry_run)?;
    let replayed = replay::replay(&setup, |stored| flags.pick.picks(stored)).await?;
    output.answer(
        text(&replayed, flags.dry_run),
        &json!({
            "topic": setup.topic,
            "group": setup.group,
            "dry_run": flags.dry_run,
            "sent": replayed.sent,
            "same_record": replayed.same_record,
            "left": replayed.left,
            "sent_before": replayed.sent_before,
            "passed_over": replayed.passed_over,
            "complete": !replayed.stopped_full,
        }),
    )
}

fn text(replayed: &Replayed, dry_run: bool) -> String {
    let verb = if dry_run { "would be sent" } else { "sent" };
    let mut lines: Vec<String> = replayed
        .sent
        .iter()
        .map(|(topic, records)| format!("{records} records {verb} to topic `{topic}`"))
        .collect();
    if lines.is_empty() {
        lines.push("no letter to replay".to_string());
    }
    let Replayed { same_record, left, sent_before, .. } = replayed;
    for (count, what) in [
        (same_record, "of a record that another letter sent"),
        (left, "not picked"),
        (sent_before, "replayed before"),
    ] {
        if *count > 0 {
            lines.push(format!("letters {what}: {count}"));
        }
    }
    if replayed.stopped_full {
        lines.push(
            "not at the end: too many letters between those that were replayed were left; replay those (with fewer \
             filters), then again"
                .to_string(),
        );
    }
    lines.join("\n")
}
