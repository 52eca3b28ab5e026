//! The broker alone, for trying clients against it: `cargo run --example broker -- DIR LISTENER`.
//!
//! Then may follow `page-cache`, to answer acks=all before the disk has the records, as Kafka does, and
//! `partitions=N`, for the topics that clients make by naming them.
//! Ctrl-C stops it in good order. Log lines go to standard error; `RUST_LOG=debug` shows more.

use anyhow::{Context, Result, bail};
use gristmill_broker::{BrokerConfig, Durability, Server};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let server = Server::start(config()?).await?;
    println!("listening on {}", server.address());
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    server.shutdown().await
}

fn config() -> Result<BrokerConfig> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, listen, rest @ ..] = arguments.as_slice() else {
        bail!("usage: broker DIR LISTENER [page-cache] [partitions=N]");
    };
    let mut config = BrokerConfig {
        data_dir: data_dir.into(),
        listeners: vec![listen.parse().map_err(anyhow::Error::msg)?],
        ..BrokerConfig::default()
    };
    for word in rest {
        match word.split_once('=') {
            None if word == "page-cache" => config.durability = Durability::PageCache,
            Some(("partitions", number)) => {
                config.default_partitions =
                    number.parse().with_context(|| format!("`{number}` is no number"))?;
            }
            _ => bail!("`{word}` is neither page-cache nor partitions=N"),
        }
    }
    Ok(config)
}
