//! `gristmill topic delete`.

use anyhow::Result;
use serde_json::json;

use crate::cluster::Cluster;
use crate::flags::BootstrapFlags;
use crate::output::Output;

#[derive(clap::Args)]
pub struct TopicDeleteFlags {
    topic: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

pub async fn run(flags: &TopicDeleteFlags, output: Output) -> Result<()> {
    let cluster = Cluster::connect(&flags.broker.bootstrap)?;
    let topic = cluster.topic(&flags.topic)?;
    cluster.delete(&topic).await?;
    output.answer(format!("deleted topic `{}`", topic.name), &json!({ "deleted": topic.name }))
}
