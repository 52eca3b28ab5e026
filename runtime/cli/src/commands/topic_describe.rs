//! `gristmill topic describe`.

use anyhow::Result;
use gristmill_connectors::admin;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::table::Table;
use crate::user_error::UserError;

/// Settings that people ask for first; `--output json` has all.
const SETTINGS_SHOWN: [&str; 3] = ["cleanup.policy", "retention.ms", "retention.bytes"];

#[derive(clap::Args)]
pub struct TopicDescribeFlags {
    topic: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the offsets of every partition. Their difference counts the markers of transactions and
/// what compaction has dropped too, so `records` is the most that can be there.
pub async fn run(flags: &TopicDescribeFlags, output: Output) -> Result<()> {
    let described = admin::describe_topic(&flags.broker.cluster(), &flags.topic).await;
    let described = described.map_err(UserError::from_error)?;
    let mut table = Table::new(["partition", "leader", "start offset", "end offset", "records"]);
    let (mut records, mut json) = (0, Vec::new());
    for partition in &described.partitions {
        let (number, leader) = (partition.partition, partition.leader);
        let (start, end) = (partition.earliest, partition.end);
        records += end - start;
        table.push([number.into(), leader.into(), start, end, end - start].map(i64_text));
        json.push(json!({ "partition": number, "leader": leader, "start": start, "end": end }));
    }
    let mut text = format!("topic `{}`: {records} records", described.name);
    for name in SETTINGS_SHOWN {
        if let Some(value) = described.settings.get(name) {
            text.push_str(&format!(", {name}={value}"));
        }
    }
    output.answer(
        format!("{text}\n{}", table.render()),
        &json!({
            "topic": described.name,
            "records": records,
            "partitions": json,
            "settings": described.settings,
        }),
    )
}

fn i64_text(number: i64) -> String {
    number.to_string()
}
