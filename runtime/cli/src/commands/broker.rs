//! `gristmill broker`: the built-in broker alone, until Ctrl-C.

use anyhow::Result;
use serde_json::json;

use crate::local::{LocalBroker, LocalFlags, stop_signal};
use crate::output::Output;

#[derive(clap::Args)]
pub struct BrokerFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    /// Partitions of topics that clients make by naming them, and of those made without a number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub default_partitions: i32,
}

/// Prints the address once clients may come; returns when the data is safe after Ctrl-C.
pub async fn run(flags: &BrokerFlags, output: Output) -> Result<()> {
    let broker = LocalBroker::start_with(&flags.local, flags.default_partitions).await?;
    let (address, data_dir) = (broker.bootstrap(), flags.local.data_dir()?);
    output.answer(
        format!("listening on {address}, data in {}", data_dir.display()),
        &json!({ "listening": address, "data_dir": data_dir }),
    )?;
    stop_signal().await;
    tracing::info!("stopping: finishing what was begun");
    broker.shutdown().await
}
