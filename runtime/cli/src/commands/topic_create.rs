//! `gristmill topic create`.

use anyhow::Result;
use serde_json::json;

use crate::cluster::{Cluster, Topic};
use crate::flags::BootstrapFlags;
use crate::output::Output;

#[derive(clap::Args)]
pub struct TopicCreateFlags {
    topic: String,

    /// Records of one key always go to the same partition; partitions are read in parallel [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// A setting of the topic, such as retention.ms=86400000; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Makes the topic; says aloud that it has one partition if nobody chose.
pub async fn run(flags: &TopicCreateFlags, output: Output) -> Result<()> {
    let topic = Topic { name: flags.topic.clone(), partitions: flags.partitions.unwrap_or(1) };
    Cluster::connect(&flags.broker.bootstrap)?.create(&topic, &flags.config).await?;
    let partitions = match (flags.partitions, topic.partitions) {
        (None, _) => "1 partition (choose with --partitions)".to_owned(),
        (_, 1) => "1 partition".to_owned(),
        (_, count) => format!("{count} partitions"),
    };
    output.answer(
        format!("made topic `{}` with {partitions}", topic.name),
        &json!({ "topic": topic.name, "partitions": topic.partitions }),
    )
}

/// Reads `KEY=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
