//! What the page is about: the broker in this process, the clusters and the pipelines, and who may see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use gristmill_broker::{Broker, Operation, Principal, SaslMechanism};
use gristmill_connectors::Cluster;
use gristmill_connectors::viewer::Viewer;
use gristmill_engine::config::Pipeline;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::environments;
use super::failure::Failure;
use super::history::History;
use super::viewers::Viewers;
use super::visitor::{CheckedKeys, Visitor};
use super::watched::{self, Watched};

/// The name of the built-in broker among the clusters.
pub const BUILT_IN: &str = "local";
/// Keys that are checked at one time: guessing must not take the machine from those who work.
const KEY_CHECKS_MAX: usize = 2;
/// Live streams of all visitors together.
const STREAMS_MAX: usize = 128;

/// See the module's documentation.
pub struct Site {
    /// Only this machine reaches the page.
    pub is_local: bool,
    pub started: SystemTime,
    pub broker: Option<BuiltIn>,
    /// By name; the built-in one first.
    pub clusters: Vec<NamedCluster>,
    pub pipelines: Vec<Watched>,
    pub history: History,
    pub streams: Arc<Semaphore>,
    /// Ends the streams.
    pub stop: CancellationToken,
    viewers: Viewers,
    checked_keys: CheckedKeys,
    key_checks: Semaphore,
}

/// The broker of this process.
pub struct BuiltIn {
    pub broker: Arc<Broker>,
    /// Where its clients are told to go.
    pub addresses: Vec<String>,
    /// Where this process reaches it without a key.
    pub bootstrap: String,
    /// Present: it wants keys, and so does the page.
    pub keyed: Option<KeyedListener>,
}

/// A listener of loopback where the page speaks to the broker as its visitor.
#[derive(Debug, Clone)]
pub struct KeyedListener {
    pub bootstrap: String,
    pub mechanism: SaslMechanism,
}

/// A cluster that topics live in.
#[derive(Debug, Clone)]
pub struct NamedCluster {
    /// As addresses of pages have it.
    pub name: String,
    pub origin: Origin,
    pub cluster: Cluster,
}

/// Where a cluster is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    /// A pipeline reads from it or writes to it.
    Pipelines,
    /// The user's profiles name it.
    Profile,
}

impl NamedCluster {
    pub fn is_built_in(&self) -> bool {
        self.origin == Origin::BuiltIn
    }
}

impl Site {
    pub fn new(broker: Option<BuiltIn>, pipelines: Vec<Watched>, is_local: bool) -> Site {
        let clusters = clusters(broker.as_ref(), &pipelines);
        Site {
            is_local,
            started: SystemTime::now(),
            broker,
            clusters,
            history: History::new(&pipelines),
            pipelines,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: CancellationToken::new(),
            viewers: Viewers::default(),
            checked_keys: CheckedKeys::default(),
            key_checks: Semaphore::new(KEY_CHECKS_MAX),
        }
    }

    /// Who comes with these credentials.
    ///
    /// # Errors
    /// A key is wanted, and this is none.
    pub async fn visitor(&self, credentials: Option<(String, String)>) -> Result<Visitor, Failure> {
        let Some(built_in) = self.broker.as_ref().filter(|it| it.keyed.is_some()) else {
            return Ok(Visitor::Anybody);
        };
        let (key, secret) = credentials.ok_or_else(Failure::unauthorized)?;
        if !self.checked_keys.holds(&key, &secret) {
            let _turn = self.key_checks.acquire().await;
            let (broker, asked) = (built_in.broker.clone(), (key.clone(), secret.clone()));
            let check = move || broker.authenticate(&asked.0, &asked.1).is_some();
            if !tokio::task::spawn_blocking(check).await.unwrap_or(false) {
                return Err(Failure::unauthorized());
            }
            self.checked_keys.add(&key, &secret);
        }
        Ok(Visitor::Key { key, secret })
    }

    /// Whether the visitor may do that to the process as a whole, as to the broker's cluster: `Describe` shows pipelines
    /// and tables, `Alter` changes pipelines.
    pub fn may(&self, visitor: &Visitor, operation: Operation) -> bool {
        match (visitor, &self.broker) {
            (Visitor::Key { key, .. }, Some(built_in)) => {
                built_in.broker.may_cluster(&Principal::user(key), operation)
            }
            _ => true,
        }
    }

    /// # Errors
    /// The visitor may not.
    pub fn demand(&self, visitor: &Visitor, operation: Operation) -> Result<(), Failure> {
        if self.may(visitor, operation) {
            return Ok(());
        }
        let key = visitor.name().unwrap_or_default();
        Err(Failure::forbidden(format!(
            "API key `{key}` has no right {operation:?} on the cluster"
        )))
    }

    /// # Errors
    /// There is none of that name, or it wants a login that is not known.
    pub fn cluster(&self, name: &str) -> Result<NamedCluster, Failure> {
        if let Some(known) = self.clusters.iter().find(|cluster| cluster.name == name) {
            return Ok(known.clone());
        }
        let none = || Failure::not_found(format!("no cluster `{name}` here"));
        match self.shows_profiles() {
            true => environments::cluster(name)?.ok_or_else(none),
            false => Err(none()),
        }
    }

    /// Whether the clusters of the user's profiles are shown: not where everybody on a network comes in without a key.
    pub fn shows_profiles(&self) -> bool {
        self.is_local || self.broker.as_ref().is_some_and(|broker| broker.keyed.is_some())
    }

    /// The broker of this process, if that is the cluster.
    pub fn built_in(&self, named: &NamedCluster) -> Option<&BuiltIn> {
        self.broker.as_ref().filter(|_| named.is_built_in())
    }

    /// The cluster that a pipeline reads from.
    pub fn source_cluster(&self, pipeline: &Pipeline) -> Option<&NamedCluster> {
        match watched::source_cluster(pipeline) {
            None => self.clusters.iter().find(|named| named.is_built_in()),
            Some(cluster) => self.clusters.iter().find(|named| named.cluster == cluster),
        }
    }

    pub fn pipeline(&self, name: &str) -> Result<&Watched, Failure> {
        self.pipelines
            .iter()
            .find(|pipeline| pipeline.name() == name)
            .ok_or_else(|| Failure::not_found(format!("no pipeline `{name}` runs here")))
    }

    /// A client of the cluster with the visitor's own rights: of the built-in broker as the visitor, of others by the
    /// pipelines' credentials, if the visitor may do that to this process.
    pub async fn viewer(
        &self,
        name: &str,
        visitor: &Visitor,
        external: Operation,
    ) -> Result<Arc<Viewer>, Failure> {
        let named = self.cluster(name)?;
        let keyed = self.broker.as_ref().and_then(|it| it.keyed.as_ref());
        let cluster = match (visitor, keyed) {
            (Visitor::Key { key, secret }, Some(keyed)) if named.is_built_in() => {
                keyed.cluster(key, secret)
            }
            _ => {
                self.demand(visitor, external)?;
                named.cluster.clone()
            }
        };
        self.viewers.get(&cluster).await.map_err(Failure::from)
    }

    /// Lets go of what nobody has used for a while.
    pub fn tidy(&self) {
        self.viewers.tidy();
    }

    /// A place among the live streams, held while the stream lives.
    ///
    /// # Errors
    /// There are too many already.
    pub fn stream_place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS_MAX} live views are open already: close one");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })
    }
}

impl KeyedListener {
    fn cluster(&self, key: &str, secret: &str) -> Cluster {
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", self.mechanism.name()),
            ("sasl.username", key),
            ("sasl.password", secret),
        ];
        let properties = properties.map(|(name, value)| (name.to_string(), value.to_string()));
        Cluster { properties: BTreeMap::from(properties), ..Cluster::new(&self.bootstrap) }
    }
}

/// The built-in broker, then those that pipelines name, each once.
fn clusters(broker: Option<&BuiltIn>, pipelines: &[Watched]) -> Vec<NamedCluster> {
    let built_in = broker.map(|it| NamedCluster {
        name: BUILT_IN.to_string(),
        origin: Origin::BuiltIn,
        cluster: Cluster::new(&it.bootstrap),
    });
    let mut clusters: Vec<_> = built_in.into_iter().collect();
    for cluster in pipelines.iter().flat_map(|pipeline| pipeline.external_clusters()) {
        if clusters.iter().any(|known| known.cluster == cluster) {
            continue;
        }
        // Two ways to one cluster, with other credentials: both are shown.
        let same = clusters.iter().filter(|known| known.cluster.bootstrap == cluster.bootstrap);
        let name = match same.count() {
            0 => cluster.bootstrap.clone(),
            count => format!("{} ({})", cluster.bootstrap, count + 1),
        };
        clusters.push(NamedCluster { name, origin: Origin::Pipelines, cluster });
    }
    clusters
}
