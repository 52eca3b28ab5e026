//! `gristmill topic describe`.

use anyhow::Result;
use gristmill_connectors::admin::{self, TopicDescription};
use serde_json::{Value, json};

use crate::flags::BootstrapFlags;
use crate::output::{Output, counted};
use crate::table::Table;
use crate::user_error::UserError;

/// Settings that people ask for first; `--all` and `--output json` have all.
const SETTINGS_SHOWN: [&str; 3] = ["cleanup.policy", "retention.bytes", "retention.ms"];

#[derive(clap::Args)]
pub struct TopicDescribeFlags {
    topic: String,

    /// Print every setting, and not only the most important and those of the topic's own
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the offsets of every partition. Their difference counts the markers of transactions and
/// what compaction has dropped too, so `records` is the most that can be there.
pub async fn run(flags: &TopicDescribeFlags, output: Output) -> Result<()> {
    let described = admin::describe_topic(&flags.broker.cluster()?, &flags.topic).await;
    let described = described.map_err(UserError::from_error)?;
    output.answer(text(&described, flags.all), &document(&described))
}

fn text(topic: &TopicDescription, all: bool) -> String {
    let records: i64 = topic.partitions.iter().map(|it| it.end - it.earliest).sum();
    let count = counted(topic.partitions.len(), "partition");
    let mut text = format!("topic `{}`: {count}, {records} records", topic.name);
    let sizes: Option<u64> = topic.partitions.iter().map(|it| it.bytes).sum();
    if let Some(bytes) = sizes {
        text += &format!(", {}", indicatif::BinaryBytes(bytes));
    }
    text += &format!("\n\n{}", partitions(topic).render());
    let mut settings = Table::new(["setting", "value", ""]);
    for (name, value) in &topic.settings {
        let own = topic.own_settings.contains(name);
        if all || own || SETTINGS_SHOWN.contains(&name.as_str()) {
            let note = if own { "of this topic" } else { "" };
            settings.push([name.clone(), value.clone(), note.to_owned()]);
        }
    }
    if !topic.settings.is_empty() {
        text += &format!("\n\n{}", settings.render());
    }
    text
}

fn partitions(topic: &TopicDescription) -> Table {
    let mut table = Table::new([
        "partition",
        "leader",
        "replicas",
        "start offset",
        "end offset",
        "records",
        "bytes",
    ]);
    for it in &topic.partitions {
        let replicas: Vec<_> = it.replicas.iter().map(i32::to_string).collect();
        table.push([
            it.partition.to_string(),
            it.leader.to_string(),
            replicas.join(","),
            it.earliest.to_string(),
            it.end.to_string(),
            (it.end - it.earliest).to_string(),
            it.bytes.map_or_else(String::new, |bytes| bytes.to_string()),
        ]);
    }
    table
}

fn document(topic: &TopicDescription) -> Value {
    let partitions: Vec<Value> = topic
        .partitions
        .iter()
        .map(|it| {
            json!({
                "partition": it.partition,
                "leader": it.leader,
                "replicas": it.replicas,
                "start": it.earliest,
                "end": it.end,
                "bytes": it.bytes,
            })
        })
        .collect();
    json!({
        "topic": topic.name,
        "records": topic.partitions.iter().map(|it| it.end - it.earliest).sum::<i64>(),
        "partitions": partitions,
        "settings": topic.settings,
        "own_settings": topic.own_settings,
    })
}
