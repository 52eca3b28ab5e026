//! `gristmill broker`: the built-in broker alone, until Ctrl-C.

use std::net::SocketAddr;

use anyhow::Result;
use gristmill_broker::SecurityProtocol;
use serde_json::json;

use crate::http;
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

/// Prints the addresses once clients may come; returns when the data is safe after Ctrl-C.
pub async fn run(flags: &BrokerFlags, output: Output) -> Result<()> {
    let page_listener = http::listen(&flags.local.http, &flags.local).await?;
    let broker = LocalBroker::start_with(&flags.local, flags.default_partitions).await?;
    let page = http::start(page_listener, Some(&broker), &[], &flags.local.http.telemetry)?;
    let data_dir = flags.local.data_dir()?;
    let listeners: Vec<_> = broker.addresses().iter().map(listener).collect();
    let ca_file = broker.development_ca();
    let mut text = format!("listening on {}, data in {}", listeners.join(", "), data_dir.display());
    if let Some(ca_file) = ca_file {
        text += &format!("\nclients that use TLS must trust {}", ca_file.display());
    }
    let address = page.as_ref().and_then(|page| page.address);
    if let Some(address) = address {
        text += &format!("\nthe page is at http://{address}");
    }
    output.answer(
        text,
        &json!({
            "listening": listeners[0],
            "listeners": listeners,
            "data_dir": data_dir,
            "ssl_ca_location": ca_file,
            "http": address,
        }),
    )?;
    stop_signal().await;
    tracing::info!("stopping: finishing what was begun");
    if let Some(page) = page {
        page.shutdown().await;
    }
    broker.shutdown().await
}

/// `127.0.0.1:9092`, or with the protocol if clients must be set to it.
fn listener((protocol, address): &(SecurityProtocol, SocketAddr)) -> String {
    match protocol {
        SecurityProtocol::Plaintext => address.to_string(),
        protocol => format!("{protocol}://{address}"),
    }
}
