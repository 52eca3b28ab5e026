//! `gristmill topic delete`.

use anyhow::Result;
use gristmill_connectors::admin;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TopicDeleteFlags {
    topic: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

pub async fn run(flags: &TopicDeleteFlags, output: Output) -> Result<()> {
    let TopicDeleteFlags { topic, broker } = flags;
    admin::delete_topic(&broker.cluster(), topic).await.map_err(UserError::from_error)?;
    output.answer(format!("deleted topic `{topic}`"), &json!({ "deleted": topic }))
}
