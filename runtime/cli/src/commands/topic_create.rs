//! `gristmill topic create`.

use anyhow::Result;
use gristmill_connectors::admin;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::user_error::UserError;

/// librdkafka asks for no more.
pub const PARTITIONS_MAX: i64 = 100_000;

#[derive(clap::Args)]
pub struct TopicCreateFlags {
    topic: String,

    /// Records of one key always go to one partition; partitions are read in parallel [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: Option<i32>,

    /// A setting of the topic, such as retention.ms=86400000; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Makes the topic; says aloud that it has one partition if nobody chose.
pub async fn run(flags: &TopicCreateFlags, output: Output) -> Result<()> {
    let TopicCreateFlags { topic, partitions, config, broker } = flags;
    let count = partitions.unwrap_or(1);
    let settings = config.iter().cloned().collect();
    let made = admin::create_topic(&broker.cluster()?, topic, count, None, &settings).await;
    made.map_err(UserError::from_error)?;
    let partitions = match (partitions, count) {
        (None, _) => "1 partition (choose with --partitions)".to_owned(),
        (_, 1) => "1 partition".to_owned(),
        (_, count) => format!("{count} partitions"),
    };
    output.answer(
        format!("made topic `{topic}` with {partitions}"),
        &json!({ "topic": topic, "partitions": count }),
    )
}

/// Reads `KEY=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
