//! `gristmill topic delete`.

use anyhow::Result;
use gristmill_connectors::admin;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::terminal;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TopicDeleteFlags {
    topic: String,

    /// Do not ask on a terminal; scripts are never asked
    #[arg(long, short)]
    force: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

pub async fn run(flags: &TopicDeleteFlags, output: Output) -> Result<()> {
    let TopicDeleteFlags { topic, force, broker } = flags;
    let cluster = broker.cluster()?;
    let described = admin::describe_topic(&cluster, topic).await.map_err(UserError::from_error)?;
    if !force {
        let records: i64 = described.partitions.iter().map(|it| it.end - it.earliest).sum();
        let bootstrap = &cluster.bootstrap;
        terminal::confirm(&format!(
            "Delete topic `{topic}` with {records} records from {bootstrap}?"
        ))?;
    }
    admin::delete_topic(&cluster, topic).await.map_err(UserError::from_error)?;
    output.answer(format!("deleted topic `{topic}`"), &json!({ "deleted": topic }))
}
