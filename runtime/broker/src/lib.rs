//! The built-in broker: Kafka's protocol over a durable log.
//!
//! The path of a request: [`Server`] accepts a connection, `connection` cuts frames out of it,
//! `handlers` has one file for each kind of request, and these act on topics (`topic`, `log`),
//! groups (`group`) and transactions (`transaction`), for whom `auth` lets. All file access goes through `disk`, all time
//! through `clock`.
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! use gristmill_broker::{BrokerConfig, Server};
//! let server = Server::start(BrokerConfig::default()).await?;
//! println!("listening on {}", server.address());
//! server.shutdown().await
//! # }
//! ```

// From the outside in; a file uses those below it.
mod server;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod config;
mod connection;
mod reply;
mod request_shape;
mod session;

mod handlers;

mod listener;

mod broker;
mod data_folder;
mod inspect;
mod metrics;

mod auth;
mod client_quotas;
mod fetch_session;
mod transaction;

mod group;
mod producer_ids;
mod quotas;
mod refusal;
mod settings;
mod throttle;
mod topic;
mod topic_config;

pub mod log;
pub mod partitioner;

pub mod clock;
pub mod disk;
mod kept;
mod lock;

#[cfg(test)]
mod simulation_tests;

pub use auth::Principal;
pub use auth::acl::{Operation, ResourceType};
pub use auth::api_keys::{ApiKey, ApiKeys, CLUSTER_RESOURCES, NewApiKey, Rights, new_api_key};
pub use auth::authorizer::AuthorizerConfig;
pub use auth::sasl::SaslMechanism;
pub use auth::scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramMechanism};
pub use auth::tls::{CertificateFiles, ClientAuth, TlsConfig};
pub use broker::Broker;
pub use config::{BrokerConfig, SecurityConfig};
pub use inspect::GroupProgress;
pub use listener::{AdvertisedListener, Listener, SecurityProtocol};
pub use log::{Durability, Log};
pub use metrics::{Counter, Metrics};
pub use refusal::Refusal;
pub use server::Server;
pub use topic::{CONSUMER_OFFSETS, TRANSACTION_STATE, Topic};
pub use topic_config::TopicConfigs;
