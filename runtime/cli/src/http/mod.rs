//! The page, the JSON API, the metrics and the health of the process, on one address (`--http`).
//!
//! From the outside in: `address` is where; `server` is which path leads where; `guard` lets in and turns away; `page`,
//! `api`, `metrics` and `health` answer; `site` is what they are about. The page reads topics like any Kafka client, with
//! its visitor's key where the broker wants keys: what one may see here is what the broker's ACLs say.

pub mod address;
pub mod server;
pub mod site;

mod guard;

mod api;
mod assets;
mod health;
mod metrics;
mod page;

mod body;
mod failure;
mod message_query;

mod connection;
mod dead_letters;
mod environments;
mod exposition;
mod groups;
mod history;
mod process;
mod sizes;
mod telemetry;
mod time_text;
mod viewers;
mod visitor;
mod watched;

use anyhow::{Result, bail};
use gristmill_broker::SecurityProtocol;
use gristmill_engine::control::Control;
use tokio::net::TcpListener;

pub use address::HttpFlags;
pub use server::Server;
pub use telemetry::TelemetryFlags;
pub use watched::state_name;

use crate::local::{LocalBroker, LocalFlags};
use crate::user_error::UserError;

/// Listens where the flags say; `None`: no page is wanted.
///
/// # Errors
/// The address is taken, or would let everybody in who can reach this machine.
pub async fn listen(http: &HttpFlags, local: &LocalFlags) -> Result<Option<TcpListener>> {
    let keyed = local.listen.iter().any(|listener| listener.protocol.has_sasl());
    if !http.is_local() && !keyed && !local.security.allow_unauthenticated_network {
        bail!(UserError::new(
            "--http would show everything to everybody who can reach this machine; serve the page on 127.0.0.1, or let \
             the built-in broker ask for API keys (--listen SASL_SSL://…), or say --allow-unauthenticated-network"
        ));
    }
    if !http.is_local() && keyed {
        tracing::warn!(
            "the page does not encrypt: API secrets can be read on the network; put a proxy with TLS before it"
        );
    }
    http.bind().await
}

/// Serves the page about a broker and pipelines of this process, if there is a listener, and sends their metrics where
/// the flags say.
pub fn start(
    listener: Option<TcpListener>,
    broker: Option<&LocalBroker>,
    controls: &[Control],
    telemetry: &TelemetryFlags,
) -> Result<Option<Server>> {
    if listener.is_none() && telemetry.otlp_endpoint.is_none() {
        return Ok(None);
    }
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let is_local = address.is_none_or(|address| address.ip().to_canonical().is_loopback());
    let pipelines = controls.iter().cloned().map(watched::Watched::new).collect();
    let site = site::Site::new(broker.map(built_in), pipelines, is_local);
    Server::start(listener, site, telemetry).map(Some)
}

fn built_in(broker: &LocalBroker) -> site::BuiltIn {
    let shown = |(protocol, address): &(SecurityProtocol, std::net::SocketAddr)| match protocol {
        SecurityProtocol::Plaintext => address.to_string(),
        protocol => format!("{protocol}://{address}"),
    };
    site::BuiltIn {
        broker: broker.broker().clone(),
        addresses: broker.addresses().iter().map(shown).collect(),
        bootstrap: broker.bootstrap(),
        keyed: broker.keyed_listener(),
    }
}
