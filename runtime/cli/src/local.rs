//! The process's own broker, and the folder that everything of this process lives in.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use gristmill_broker::{BrokerConfig, Durability, Server, TopicConfigs};

use crate::user_error::UserError;

/// `--data-dir`, `--listen`: for the commands that run a broker.
#[derive(Debug, clap::Args, Clone)]
pub struct LocalFlags {
    /// Folder for topics, caches and everything else that is kept [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address on which the built-in broker speaks Kafka's protocol; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9092")]
    pub listen: SocketAddr,

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
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let home = || std::env::home_dir().map(|home| home.join(".local/share"));
        let base =
            base.or_else(home).context("there is no home folder; choose one with --data-dir")?;
        Ok(base.join("gristmill"))
    }
}

/// The built-in broker of this process.
pub struct LocalBroker {
    server: Server,
}

impl LocalBroker {
    /// As [`LocalBroker::start_with`], with Kafka's default of one partition.
    pub async fn start(flags: &LocalFlags) -> Result<LocalBroker> {
        LocalBroker::start_with(flags, 1).await
    }

    /// Starts the broker and says where it listens and what it had to repair.
    pub async fn start_with(flags: &LocalFlags, default_partitions: i32) -> Result<LocalBroker> {
        let config = BrokerConfig {
            data_dir: flags.data_dir()?.join("broker"),
            listen: flags.listen,
            default_partitions,
            durability: flags.durability.into(),
            ..BrokerConfig::default()
        };
        let server = Server::start(config).await.map_err(UserError::from_error)?;
        for repair in server.broker().repairs() {
            tracing::warn!("{repair}");
        }
        tracing::info!(address = %server.address(), "built-in broker is listening");
        Ok(LocalBroker { server })
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        self.server.address().to_string()
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
