//! `gristmill topic list`.

use anyhow::Result;
use gristmill_connectors::admin;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::table::Table;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TopicListFlags {
    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the users' topics, by name; the cluster's own are left out.
pub async fn run(flags: &TopicListFlags, output: Output) -> Result<()> {
    let topics = admin::list_topics(&flags.broker.cluster()?).await;
    let mut topics = topics.map_err(UserError::from_error)?;
    topics.retain(|topic| !topic.internal);
    let mut table = Table::new(["topic", "partitions", "replication factor"]);
    for topic in &topics {
        let numbers = [topic.partitions, topic.replication_factor].map(|n| n.to_string());
        table.push([topic.name.clone()].into_iter().chain(numbers));
    }
    let text = if topics.is_empty() { "no topics".to_owned() } else { table.render() };
    let json: Vec<_> = topics
        .iter()
        .map(|topic| {
            json!({
                "topic": topic.name,
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
            })
        })
        .collect();
    output.answer(text, &json.into())
}
