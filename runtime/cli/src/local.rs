//! The process's own broker, and the folder that everything of this process lives in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use gristmill_broker::{
    Broker, BrokerConfig, Durability, Listener, SaslMechanism, SecurityProtocol, Server,
    TopicConfigs,
};

use crate::http::HttpFlags;
use crate::http::site::KeyedListener;
use crate::security::SecurityFlags;
use crate::user_error::UserError;

/// `--data-dir`, `--listen`: for the commands that run a broker.
#[derive(Debug, clap::Args, Clone)]
pub struct LocalFlags {
    /// Folder for topics, caches and everything else that is kept [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address on which the built-in broker speaks Kafka's protocol, such as SASL_SSL://0.0.0.0:9093; PLAINTEXT if no
    /// protocol is named; port 0 takes a free one; may be given once for each protocol
    #[arg(long, value_name = "[PROTOCOL://]ADDR", default_value = "127.0.0.1:9092")]
    pub listen: Vec<Listener>,

    #[command(flatten)]
    pub http: HttpFlags,

    #[command(flatten)]
    pub security: SecurityFlags,

    /// What the built-in broker has done with records when it acknowledges them to acks=all
    #[arg(long, value_name = "MODE", value_enum, default_value_t = DurabilityFlag::Fsync)]
    pub durability: DurabilityFlag,
}

/// `--durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DurabilityFlag {
    /// On the disk: a power cut takes back nothing that was acknowledged or seen by a consumer
    Fsync,
    /// In the system's page cache, as Kafka's own default: a killed process loses nothing, a power cut may lose the
    /// last seconds
    PageCache,
}

impl From<DurabilityFlag> for Durability {
    fn from(flag: DurabilityFlag) -> Durability {
        match flag {
            DurabilityFlag::Fsync => Durability::Fsync,
            DurabilityFlag::PageCache => Durability::PageCache,
        }
    }
}

impl LocalFlags {
    /// `--data-dir`, or `gristmill` under the platform's folder for application data.
    pub fn data_dir(&self) -> Result<PathBuf> {
        data_dir(self.data_dir.as_deref())
    }

    /// The folder of the built-in broker.
    pub fn broker_dir(&self) -> Result<PathBuf> {
        Ok(self.data_dir()?.join("broker"))
    }
}

/// The folder given, or `gristmill` under the platform's folder for application data.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".local/share"));
    let base = base.or_else(home).context("there is no home folder; choose one with --data-dir")?;
    Ok(base.join("gristmill"))
}

/// The built-in broker of this process.
pub struct LocalBroker {
    server: Server,
    /// Listeners that were asked for; those of our own come behind them.
    listeners_wanted: usize,
}

impl LocalBroker {
    /// As [`LocalBroker::start_with`], with Kafka's default of one partition.
    pub async fn start(flags: &LocalFlags) -> Result<LocalBroker> {
        LocalBroker::start_with(flags, 1).await
    }

    /// Starts the broker and says where it listens and what it had to repair.
    pub async fn start_with(flags: &LocalFlags, default_partitions: i32) -> Result<LocalBroker> {
        LocalBroker::listen(flags, flags.listen.clone(), default_partitions).await
    }

    /// As [`start`](LocalBroker::start), for pipelines of this process: if no listener is meant for
    /// this machine there is one more, on a free port of loopback, since they have no API key.
    pub async fn start_for_pipelines(flags: &LocalFlags) -> Result<LocalBroker> {
        let mut listeners = flags.listen.clone();
        if !listeners.iter().any(|it| it.protocol == SecurityProtocol::Plaintext) {
            listeners.push(Listener::plaintext((Ipv4Addr::LOCALHOST, 0).into()));
        }
        LocalBroker::listen(flags, listeners, 1).await
    }

    async fn listen(
        flags: &LocalFlags,
        mut listeners: Vec<Listener>,
        default_partitions: i32,
    ) -> Result<LocalBroker> {
        flags.security.advertise(&mut listeners)?;
        let listeners_wanted = flags.listen.len();
        add_page_listener(&mut listeners);
        let config = BrokerConfig {
            data_dir: flags.broker_dir()?,
            listeners,
            security: flags.security.config(),
            default_partitions,
            durability: flags.durability.into(),
            ..BrokerConfig::default()
        };
        let server = Server::start(config).await.map_err(UserError::from_error)?;
        for repair in server.broker().repairs() {
            tracing::warn!("{repair}");
        }
        if let Some(ca) = server.development_ca() {
            let ssl_ca_location = ca.display();
            tracing::info!(%ssl_ca_location, "clients must trust the development certificate");
        }
        Ok(LocalBroker { server, listeners_wanted })
    }

    /// `host:port` for clients of this process.
    pub fn bootstrap(&self) -> String {
        let addresses = self.server.addresses().iter();
        let plain = addresses.rev().find(|(protocol, _)| *protocol == SecurityProtocol::Plaintext);
        let address = plain.map_or_else(|| self.server.address(), |(_, address)| *address);
        reachable(address).to_string()
    }

    /// Where each listener is that was asked for.
    pub fn addresses(&self) -> &[(SecurityProtocol, SocketAddr)] {
        &self.server.addresses()[..self.listeners_wanted]
    }

    /// The broker itself, for work in the same process.
    pub fn broker(&self) -> &Arc<Broker> {
        self.server.broker()
    }

    /// Where the page speaks to the broker as its visitors; `None`: nobody needs a key.
    pub fn keyed_listener(&self) -> Option<KeyedListener> {
        let mut addresses = self.server.addresses().iter();
        let found = addresses.find(|(protocol, _)| *protocol == SecurityProtocol::SaslPlaintext);
        let offered = &self.server.broker().config().security.sasl_mechanisms;
        let mut preferred = [SaslMechanism::Plain].into_iter().chain(SaslMechanism::ALL);
        let mechanism = preferred.find(|mechanism| offered.contains(mechanism));
        found.zip(mechanism).map(|((_, address), mechanism)| KeyedListener {
            bootstrap: reachable(*address).to_string(),
            mechanism,
        })
    }

    /// The file that clients must trust while the broker shows a development certificate.
    pub fn development_ca(&self) -> Option<&Path> {
        self.server.development_ca()
    }

    /// The users' topics, by name.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.server.broker().topics().into_iter();
        let mut names: Vec<_> = topics
            .filter(|topic| !topic.is_internal())
            .map(|topic| topic.name().to_string())
            .collect();
        names.sort();
        names
    }

    /// Those of `topics` that are not there.
    pub fn missing(&self, topics: Vec<String>) -> Vec<String> {
        topics.into_iter().filter(|topic| self.server.broker().log(topic, 0).is_none()).collect()
    }

    /// Makes topics with one partition each, and says so.
    pub fn create_topics(&self, topics: &[String]) -> Result<()> {
        for topic in topics {
            self.create_topic(topic, 1)?;
            tracing::info!(topic, "made with 1 partition");
        }
        Ok(())
    }

    /// Makes one topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        let made = self.server.broker().create_topic(topic, Some(partitions), TopicConfigs::new());
        made.map(drop).map_err(|refusal| anyhow!("cannot make topic `{topic}`: {refusal}"))
    }

    /// Answers what is under way, syncs, and leaves the data folder clean.
    pub async fn shutdown(self) -> Result<()> {
        self.server.shutdown().await
    }
}

/// Where clients need keys, the page is one of them: it comes over loopback, where nothing needs to be encrypted.
fn add_page_listener(listeners: &mut Vec<Listener>) {
    let keyed = listeners.iter().any(|it| it.protocol.has_sasl());
    if keyed && !listeners.iter().any(|it| it.protocol == SecurityProtocol::SaslPlaintext) {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        listeners.push(Listener::new(SecurityProtocol::SaslPlaintext, address));
    }
}

/// How this machine reaches a listener; one for all addresses is on loopback too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Resolves at Ctrl-C, or when the system asks the process to end; never if neither can be listened for.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminated => {}
        () = interrupted => {}
    }
}
