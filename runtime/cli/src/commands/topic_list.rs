//! `gristmill topic list`.

use anyhow::Result;
use serde_json::json;

use crate::cluster::Cluster;
use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::table::Table;

#[derive(clap::Args)]
pub struct TopicListFlags {
    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the users' topics, by name; Kafka's own are left out.
pub async fn run(flags: &TopicListFlags, output: Output) -> Result<()> {
    let topics = Cluster::connect(&flags.broker.bootstrap)?.topics()?;
    let mut table = Table::new(["topic", "partitions"]);
    for topic in &topics {
        table.push([topic.name.clone(), topic.partitions.to_string()]);
    }
    let text = if topics.is_empty() { "no topics".to_owned() } else { table.render() };
    let json: Vec<_> = topics
        .iter()
        .map(|topic| json!({ "topic": topic.name, "partitions": topic.partitions }))
        .collect();
    output.answer(text, &json.into())
}
