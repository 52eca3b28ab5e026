//! The broker without its network: topics, groups and transactions in one data folder.
//!
//! What a handler can do for a client, a program in the same process can do by these methods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::api_keys::ApiKeys;
use crate::auth::authorizer::Authorizer;
use crate::auth::credentials::Credentials;
use crate::client_quotas::{ClientQuotas, Quota};
use crate::clock::{Clock, SystemClock};
use crate::config::BrokerConfig;
use crate::data_folder::DataFolder;
use crate::disk::{Disk, OsDisk};
use crate::fetch_session::FetchSessions;
use crate::group::{Coordinator, GroupSettings};
use crate::kept::Kept;
use crate::lock::lock;
use crate::log::{CompactionLimits, Flusher, FlusherConfig, Log, LogError};
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::quotas::Quotas;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::settings::{Configs, Level, Settings};
use crate::throttle::Throttle;
use crate::topic::{self, CONSUMER_OFFSETS, LogSeams, NewTopic, TRANSACTION_STATE, Topic, Topics};
use crate::topic_config::TopicConfigs;
use crate::transaction::{TransactionSettings, Transactions};

/// Our id among the brokers of the cluster; there is one.
pub(crate) const NODE_ID: BrokerId = BrokerId(1);
/// The epoch of every leader: leadership never moves.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// A broker with its data folder open. [`crate::Server`] puts it on the network.
#[derive(Debug)]
pub struct Broker {
    settings: Arc<Settings>,
    folder: DataFolder,
    clock: Arc<dyn Clock>,
    topics: Arc<Topics>,
    groups: Arc<Coordinator>,
    producer_ids: Arc<ProducerIds>,
    transactions: Arc<Transactions>,
    fetch_sessions: FetchSessions,
    quotas: Arc<Quotas>,
    client_quotas: ClientQuotas,
    credentials: Arc<Credentials>,
    authorizer: Arc<Authorizer>,
    metrics: Metrics,
    repairs: Vec<String>,
    /// Cancelled when the broker stops: long polls end then.
    stopping: CancellationToken,
    offsets_topic: tokio::sync::Mutex<()>,
    /// Ends its threads when the broker goes; taken by `close` once the logs need it no more.
    flusher: std::sync::Mutex<Option<Flusher>>,
}

impl Broker {
    /// Opens the data folder, repairing what a hard stop left behind. Blocks.
    pub fn open(config: BrokerConfig) -> Result<Broker> {
        Broker::open_with(config, Arc::new(OsDisk), Arc::new(SystemClock))
    }

    pub(crate) fn open_with(
        config: BrokerConfig,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Broker> {
        let folder = DataFolder::open(Arc::clone(&disk), &config.data_dir)?;
        let flusher = Flusher::start(FlusherConfig::new(config.durability))
            .context("cannot start the threads that sync the logs")?;
        let seams = LogSeams {
            disk: Arc::clone(&disk),
            clock: Arc::clone(&clock),
            flusher: flusher.handle(),
        };
        let changed = Kept::open(Arc::clone(&disk), &config.data_dir)?;
        let settings = Arc::new(Settings::new(config, changed));
        let config = settings.start();
        let (topics, mut repairs) = Topics::open(Arc::clone(&settings), seams, folder.was_clean)?;
        let topics = Arc::new(topics);
        let groups = Arc::new(Coordinator::new(GroupSettings::from(config), Arc::clone(&clock)));
        if let Some(log) = topics.log(CONSUMER_OFFSETS, 0) {
            repairs.extend(groups.use_log(log)?);
        }
        let client_quotas = Kept::open(Arc::clone(&disk), &config.data_dir)?;
        let credentials = Arc::new(Credentials::open(Arc::clone(&disk), &config.data_dir)?);
        let rights = config.security.authorizer.clone();
        let authorizer = Authorizer::open(rights, Arc::clone(&disk), &config.data_dir)?;
        let producer_ids = Arc::new(ProducerIds::open(disk, &config.data_dir)?);
        let transactions = Arc::new(Transactions::new(
            TransactionSettings::from(config),
            Arc::clone(&clock),
            Arc::clone(&topics),
            Arc::clone(&groups),
            Arc::clone(&producer_ids),
        ));
        repairs.extend(transactions.load()?);
        repairs.extend(transactions.abort_unannounced());
        Ok(Broker {
            quotas: Arc::new(Quotas::new(&settings)),
            client_quotas: ClientQuotas::new(client_quotas),
            settings,
            folder,
            clock,
            topics,
            groups,
            producer_ids,
            transactions,
            fetch_sessions: FetchSessions::default(),
            credentials,
            authorizer: Arc::new(authorizer),
            metrics: Metrics::default(),
            repairs,
            stopping: CancellationToken::new(),
            offsets_topic: tokio::sync::Mutex::new(()),
            flusher: std::sync::Mutex::new(Some(flusher)),
        })
    }

    /// The settings that this broker was started with.
    pub fn config(&self) -> &BrokerConfig {
        self.settings.start()
    }

    /// The settings that hold now: clients may have changed some.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings of the broker: `change` makes the new ones from the present ones. In
    /// force at once, and on disk when this returns. Blocks.
    pub(crate) fn alter_settings(
        &self,
        level: Level,
        validate_only: bool,
        change: impl FnOnce(&Configs) -> Result<Configs, Refusal>,
    ) -> Result<(), Refusal> {
        self.settings.change(level, validate_only, change)?;
        self.quotas.settings_changed(&self.settings);
        self.topics.settings_changed();
        Ok(())
    }

    /// The id of this broker's cluster; stays with the data folder.
    pub fn cluster_id(&self) -> &str {
        &self.folder.cluster_id
    }

    /// What the start found in disorder and did about it, in sentences.
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// What the broker has counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All topics in the order of their names, internal ones among them.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.all()
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.topics.get_by_id(id)
    }

    /// The log of one partition, to read from and append to.
    pub fn log(&self, topic: &str, partition: i32) -> Option<Log> {
        self.topics.log(topic, partition)
    }

    /// Creates a topic; `partitions` of `None` means the broker's default. When this returns, the
    /// topic is on disk. Blocks.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        configs: TopicConfigs,
    ) -> Result<Arc<Topic>, Refusal> {
        refuse_internal(name)?;
        self.topics.create(&self.new_topic(name, partitions, configs))
    }

    pub(crate) fn new_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        configs: TopicConfigs,
    ) -> NewTopic {
        let partitions = partitions.unwrap_or(self.config().default_partitions);
        NewTopic { name: name.to_owned(), partitions, configs }
    }

    /// What [`Broker::create_topic`] would answer.
    pub(crate) fn check_topic(&self, new: &NewTopic) -> Result<(), Refusal> {
        refuse_internal(&new.name)?;
        self.topics.check_new(new)
    }

    /// Creates a topic because a client asked for it, if the settings allow that. Blocks.
    pub(crate) fn auto_create_topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        if name == CONSUMER_OFFSETS {
            return self.create_offsets_topic();
        }
        if name == TRANSACTION_STATE {
            return self.transactions.create_topic();
        }
        match self.create_topic(name, None, TopicConfigs::new()) {
            Err(refusal) if refusal.error == ResponseError::TopicAlreadyExists => {
                self.topic(name).ok_or(refusal)
            }
            created => created,
        }
    }

    /// Gives a topic more partitions. Blocks.
    pub fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), Refusal> {
        refuse_internal(topic)?;
        self.topics.grow(topic, partitions)
    }

    /// What [`Broker::create_partitions`] would answer.
    pub(crate) fn check_partitions(&self, topic: &str, partitions: i32) -> Result<(), Refusal> {
        refuse_internal(topic)?;
        self.topics.check_grow(topic, partitions).map(|_| ())
    }

    /// Changes the settings of a topic: `change` makes the new ones from the present ones. In force
    /// at once, and on disk when this returns. Blocks.
    pub(crate) fn alter_topic(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&TopicConfigs) -> Result<TopicConfigs, Refusal>,
    ) -> Result<(), Refusal> {
        refuse_internal(name)?;
        self.topics.alter(name, validate_only, change)
    }

    /// Removes a topic, its records, and what groups have committed for it. Blocks.
    pub fn delete_topic(&self, name: &str) -> Result<(), Refusal> {
        refuse_internal(name)?;
        self.topics.delete(name)?;
        self.groups.topic_deleted(name);
        Ok(())
    }

    /// The API keys, to be made, listed and deleted while the broker runs.
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(Arc::clone(&self.credentials), Arc::clone(&self.authorizer))
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    pub(crate) fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn groups(&self) -> &Coordinator {
        &self.groups
    }

    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    pub(crate) fn transactions(&self) -> &Arc<Transactions> {
        &self.transactions
    }

    pub(crate) fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    pub(crate) fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    pub(crate) fn client_quotas(&self) -> &ClientQuotas {
        &self.client_quotas
    }

    /// Counts bytes against the quota of the client. Over it, its connection pauses; returns for
    /// how long, as responses tell it (`throttle_time_ms`).
    pub(crate) fn throttle(&self, session: &Session, quota: Quota, bytes: usize) -> i32 {
        let (user, client_id) = (session.principal.name(), &session.client_id);
        let now_ms = self.clock.now_ms();
        let wait_ms = self.client_quotas.take(quota, user, client_id, bytes, now_ms);
        if wait_ms > 0 {
            session.pause.begin(Duration::from_millis(wait_ms.unsigned_abs()));
        }
        i32::try_from(wait_ms).unwrap_or(i32::MAX)
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Makes sure that groups have a place to be written to: the offsets topic is created when the
    /// first group comes.
    pub(crate) async fn ready_groups(self: &Arc<Self>) -> Result<&Coordinator, ResponseError> {
        if self.groups.has_log() {
            return Ok(&self.groups);
        }
        let _one_at_a_time = self.offsets_topic.lock().await;
        if self.groups.has_log() {
            // Another group that came first has waited before us.
            return Ok(&self.groups);
        }
        let broker = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || broker.create_offsets_topic()).await;
        match made {
            Ok(Ok(_)) => Ok(&self.groups),
            Ok(Err(refusal)) => {
                tracing::error!(%refusal, "cannot create `{CONSUMER_OFFSETS}`");
                Err(ResponseError::CoordinatorNotAvailable)
            }
            Err(error) => {
                tracing::error!(%error, "cannot create `{CONSUMER_OFFSETS}`");
                Err(ResponseError::CoordinatorNotAvailable)
            }
        }
    }

    fn create_offsets_topic(&self) -> Result<Arc<Topic>, Refusal> {
        // The coordinator keeps the log short itself, in whole segments: hence small ones.
        let configs = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "4194304"),
            ("max.message.bytes", "104857600"),
        ];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let topic = match self.topics.get(CONSUMER_OFFSETS) {
            Some(topic) => topic,
            None => self.topics.create(&NewTopic {
                name: CONSUMER_OFFSETS.to_owned(),
                partitions: 1,
                configs: BTreeMap::from(configs),
            })?,
        };
        let storage = |error: String| Refusal::new(ResponseError::KafkaStorageError, error);
        let log = topic.partition(0).cloned().ok_or_else(|| storage("no partition 0".into()))?;
        let skipped = self.groups.use_log(log).map_err(|error| storage(format!("{error:#}")))?;
        for sentence in skipped {
            tracing::warn!("{sentence}");
        }
        Ok(topic)
    }

    /// Applies retention to every partition and expires committed offsets and transactional ids.
    /// Blocks.
    pub(crate) fn apply_retention(&self) {
        for topic in self.topics() {
            for (partition, log) in topic.partitions().iter().enumerate() {
                if let Err(error) = log.apply_retention() {
                    tracing::warn!(topic = topic.name(), partition, %error, "retention failed");
                }
            }
        }
        self.groups.expire_offsets();
        self.transactions.expire();
    }

    /// Notes how far the logs are good that have grown much since the last time. Blocks.
    pub(crate) fn checkpoint(&self) {
        for topic in self.topics() {
            for (partition, log) in topic.partitions().iter().enumerate() {
                let grown = log.unchecked_bytes().unwrap_or(0) > self.config().unchecked_bytes_max;
                match if grown { log.checkpoint() } else { Ok(()) } {
                    Ok(()) | Err(LogError::Closed) => {}
                    Err(error) => {
                        tracing::warn!(topic = topic.name(), partition, %error, "no checkpoint");
                    }
                }
            }
        }
    }

    /// Compacts the users' topics that need it, those with the most to remove first. The broker's
    /// own topics keep themselves short. Blocks.
    pub(crate) fn compact(&self) {
        let mut due: Vec<(f64, String, Log)> = Vec::new();
        for topic in self.topics().iter().filter(|topic| !topic.is_internal()) {
            for (partition, log) in topic.partitions().iter().enumerate() {
                let name = format!("{}-{partition}", topic.name());
                match log.dirt() {
                    Ok(Some(dirt)) if dirt.is_due => due.push((dirt.ratio, name, log.clone())),
                    Ok(_) | Err(LogError::Closed) => {}
                    Err(error) => tracing::warn!(name, %error, "cannot tell what to compact"),
                }
            }
        }
        due.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let settings = self.settings.values();
        let throttle = Throttle::new(settings.compaction_bytes_per_second_max());
        let limits = CompactionLimits {
            keys_max: CompactionLimits::keys_in(settings.compaction_memory_bytes()),
            pace: &|bytes| throttle.wait(bytes) && !self.stopping.is_cancelled(),
        };
        for (_, name, log) in due {
            match log.compact(&limits) {
                Ok(done) => tracing::info!(
                    name,
                    records_removed = done.records_removed,
                    bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after,
                    "compacted"
                ),
                Err(LogError::Closed) => {} // stopped or deleted
                Err(error) => tracing::warn!(name, %error, "not compacted"),
            }
        }
    }

    /// Syncs and closes everything, and leaves word that the next start finds it in order. Blocks.
    pub fn close(&self) -> Result<()> {
        self.stopping.cancel();
        self.groups.close();
        self.topics.close()?;
        lock(&self.flusher).take();
        self.folder.mark_clean()
    }
}

/// INVALID_TOPIC_EXCEPTION for the topics that the broker makes and keeps itself: with settings or
/// partitions of somebody else's choice it could not find its groups and transactions again.
fn refuse_internal(name: &str) -> Result<(), Refusal> {
    if !topic::is_internal(name) {
        return Ok(());
    }
    let message = format!("Topic '{name}' is internal: it cannot be created, altered or deleted.");
    Err(Refusal::new(ResponseError::InvalidTopicException, message))
}
