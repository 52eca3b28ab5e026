//! A client of one cluster that is kept, for whoever looks at its topics again and again.
//!
//! The functions of `admin` make clients for each question; here the questions share three: one that asks, one that
//! changes, one that sends. Records are read by `message_page`, each reading with a client of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use rdkafka::Offset;
use rdkafka::admin::{AdminOptions, ConfigSource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::admin::{self, TopicSummary};
use crate::groups::{self, GroupProgress};
use crate::kafka_client::{self, ClientEvents, Cluster, KafkaConsumer};
use crate::kafka_producer::owned_headers;
use crate::log_sizes::{self, LogSizes};
use crate::message_page::{Page, PageReader, PageRequest, WholeRecord};
use crate::native_admin::Admin;
use crate::offset_ranges::{asked_offsets, offset_ranges};
use crate::recent::Recent;
use crate::topic_changes;

/// How long a cluster may take to change a setting or to store a record.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(10);
/// The group that the client names; never joined.
const GROUP: &str = "gristmill-viewer";
/// For so long brokers and topics are not asked for again, but after a change of ours: librdkafka takes many
/// milliseconds for thousands of topics.
const VIEW_AGE_MAX: Duration = Duration::from_secs(2);
/// For so long groups and sizes are not asked for again: they take a request for each group and broker.
const RECENT_AGE_MAX: Duration = Duration::from_secs(5);
/// Readers that are kept for the next page.
const READERS_MAX: usize = 2;
/// Whoever sends one record waits for its place: it does not linger.
const SENDER_SETTINGS: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("linger.ms", "0"),
    // What is too large is for the cluster to say.
    ("message.max.bytes", "16000000"),
    ("message.timeout.ms", "10000"),
];

/// See the module's documentation.
pub struct Viewer {
    cluster: Cluster,
    asker: Arc<KafkaConsumer>,
    admin: OnceLock<Arc<Admin>>,
    sender: OnceLock<FutureProducer<ClientEvents>>,
    /// Those that no page is read with at this moment.
    readers: Mutex<Vec<PageReader>>,
    view: Recent<ClusterView>,
    groups: Recent<Vec<GroupProgress>>,
    sizes: Recent<LogSizes>,
}

/// A cluster as its brokers tell it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    pub brokers: Vec<BrokerView>,
    /// By name.
    pub topics: Vec<TopicSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerView {
    pub id: i32,
    /// `host:port`.
    pub address: String,
}

/// A partition, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    pub partition: i32,
    /// Broker number; -1: none at the moment.
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    pub offsets: OffsetRange,
}

pub use crate::topic_changes::NewTopic;
pub use gristmill_engine::offsets::OffsetRange;

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    /// Absent: not told, since it is secret.
    pub value: Option<String>,
    /// The topic says nothing about it itself.
    pub is_default: bool,
    pub is_read_only: bool,
}

/// A record to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Absent: by the key, as the Java client hashes it (murmur2); without a key by chance.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAt {
    pub partition: i32,
    pub offset: i64,
}

impl Viewer {
    /// Makes the client; does not wait for the cluster.
    ///
    /// Errors: a property is not accepted.
    pub async fn open(cluster: &Cluster) -> Result<Viewer> {
        let ours = [
            ("enable.auto.commit", "false"),
            ("allow.auto.create.topics", "false"),
            // Ends are those that readers of committed records come to.
            ("isolation.level", "read_committed"),
        ];
        let asker = cluster.consumer(GROUP, &ours)?;
        Ok(Viewer {
            cluster: cluster.clone(),
            asker,
            admin: OnceLock::new(),
            sender: OnceLock::new(),
            readers: Mutex::default(),
            view: Recent::new(VIEW_AGE_MAX),
            groups: Recent::new(RECENT_AGE_MAX),
            sizes: Recent::new(RECENT_AGE_MAX),
        })
    }

    /// How to reach the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Brokers and topics.
    pub async fn view(&self) -> Result<ClusterView> {
        self.ask(view).await
    }

    /// As [`view`](Self::view), of two seconds ago at most.
    pub async fn recent_view(&self) -> Result<Arc<ClusterView>> {
        let (asker, cluster) = (self.asker.clone(), self.cluster.clone());
        self.view.get(move || view(&asker, &cluster)).await
    }

    /// The partitions of one topic; `None`: there is no such topic, or it is hidden from us.
    pub async fn partitions(&self, topic: &str) -> Result<Option<Vec<PartitionView>>> {
        let name = topic.to_string();
        self.ask(move |asker, cluster| partitions(asker, cluster, &name)).await
    }

    /// What partitions hold.
    pub async fn offsets(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        self.ask(move |asker, cluster| offset_ranges(asker, cluster, &partitions)).await
    }

    /// For each partition the first offset at or after a time, in ms since 1970 UTC; its end if there is none.
    pub async fn offsets_at(
        &self,
        partitions: Vec<TopicPartition>,
        timestamp_ms: i64,
    ) -> Result<Offsets> {
        self.ask(move |asker, cluster| {
            let mut ends = asked_offsets(asker, cluster, &partitions, Offset::End)?;
            // A time below zero would mean something else to the cluster.
            let at = Offset::Offset(timestamp_ms.max(0));
            ends.extend(asked_offsets(asker, cluster, &partitions, at)?);
            Ok(ends)
        })
        .await
    }

    /// The settings of topics; those that the cluster does not tell are left out.
    pub async fn settings(&self, topics: &[String]) -> Result<BTreeMap<String, Vec<Setting>>> {
        let resources: Vec<_> = topics.iter().map(|it| ResourceSpecifier::Topic(it)).collect();
        if resources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let admin = self.admin()?;
        let described = admin.client().describe_configs(&resources, &options()).await;
        let described = described.map_err(|error| self.refused(&error))?;
        let mut settings = BTreeMap::new();
        for resource in described.into_iter().flatten() {
            let OwnedResourceSpecifier::Topic(topic) = resource.specifier else { continue };
            let mut entries: Vec<_> = resource.entries.into_iter().map(setting).collect();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            settings.insert(topic, entries);
        }
        Ok(settings)
    }

    /// How far the consumer groups are, by id; of some seconds ago at most.
    ///
    /// Errors: the cluster does not tell.
    pub async fn groups(&self) -> Result<Arc<Vec<GroupProgress>>> {
        let admin = self.admin()?;
        self.groups.get(move || groups::progress(&admin)).await
    }

    /// Bytes of every partition on its leader's disk; of some seconds ago at most.
    ///
    /// Errors: the cluster does not tell, or wants what only librdkafka speaks.
    pub async fn sizes(&self) -> Result<Arc<LogSizes>> {
        let (asker, cluster) = (self.asker.clone(), self.cluster.clone());
        let fetch = move || {
            let metadata = kafka_client::metadata(&asker, &cluster, None)?;
            let leaders = log_sizes::leaders(&metadata, |_| true);
            log_sizes::of_leaders(&cluster, &leaders)
        };
        self.sizes.get(fetch).await
    }

    /// Makes a topic, and waits until the cluster tells of it.
    ///
    /// Errors: it exists already, the name or a setting is not accepted; says which.
    pub async fn create_topic(&self, new: NewTopic) -> Result<()> {
        let admin = self.admin()?;
        let make = move |asker: &KafkaConsumer, cluster: &Cluster| {
            topic_changes::make_topic(cluster, asker, &admin, &new)
        };
        let made = self.ask(make).await;
        self.view.forget().await;
        made
    }

    /// Deletes a topic with all that is in it.
    ///
    /// Errors: it is not there, or the cluster does not let us.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin = self.admin()?;
        let deleted = admin::delete_known(admin.client(), topic).await;
        self.view.forget().await;
        deleted
    }

    /// Changes settings of a topic; `None` takes the topic's own value away. The others stay.
    ///
    /// Errors: a name or a value is not accepted, in the cluster's words; none is changed.
    pub async fn change_settings(
        &self,
        topic: &str,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let (admin, topic) = (self.admin()?, topic.to_owned());
        let changes: Vec<_> = changes.into_iter().collect();
        tokio::task::spawn_blocking(move || admin.alter_settings(&topic, &changes)).await?
    }

    /// Sends one record and waits until it is stored.
    ///
    /// Errors: it was not; nothing says that it will not be (a time-out).
    pub async fn send(&self, topic: &str, record: &NewRecord) -> Result<StoredAt> {
        let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
        outgoing.partition = record.partition;
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            outgoing = outgoing.headers(owned_headers(&record.headers));
        }
        match self.sender()?.send(outgoing, CHANGE_TIME_MAX).await {
            Ok(delivery) => Ok(StoredAt { partition: delivery.partition, offset: delivery.offset }),
            Err((error, _)) => {
                let reason = kafka_client::describe(&error);
                let words = format!("the record was not stored in topic `{topic}`: {reason}");
                Err(kafka_client::refusal(error.rdkafka_error_code(), words))
            }
        }
    }

    /// A page of a topic's records.
    pub async fn page(self: &Arc<Self>, request: PageRequest) -> Result<Page> {
        self.read(move |reader| reader.page(&request)).await
    }

    /// One record, whole; `None`: there is none at this place.
    pub async fn record(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Option<WholeRecord>> {
        let topic = topic.to_string();
        self.read(move |reader| reader.record(&topic, partition, offset)).await
    }

    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&PageReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let viewer = self.clone();
        let work = move || {
            let kept = viewer.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = kept.map_or_else(|| PageReader::open(&viewer.cluster), Ok)?;
            let answer = read(&reader)?;
            let mut readers = viewer.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_MAX {
                readers.push(reader);
            }
            Ok(answer)
        };
        tokio::task::spawn_blocking(work).await?
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&KafkaConsumer, &Cluster) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (asker, cluster) = (self.asker.clone(), self.cluster.clone());
        tokio::task::spawn_blocking(move || ask(&asker, &cluster)).await?
    }

    fn admin(&self) -> Result<Arc<Admin>> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin.clone());
        }
        let admin = Arc::new(Admin::open(&self.cluster)?);
        Ok(self.admin.get_or_init(|| admin).clone())
    }

    fn sender(&self) -> Result<&FutureProducer<ClientEvents>> {
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let config = self.cluster.client_config(&SENDER_SETTINGS);
        let sender = config
            .create_with_context(ClientEvents::default())
            .map_err(|error| self.cluster.misconfigured(&error))?;
        Ok(self.sender.get_or_init(|| sender))
    }

    fn refused(&self, error: &KafkaError) -> anyhow::Error {
        let reason = kafka_client::describe(error);
        let words = format!("the Kafka cluster at {} answers: {reason}", self.cluster.bootstrap);
        kafka_client::refusal(error.rdkafka_error_code(), words)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE_TIME_MAX))
        .operation_timeout(Some(CHANGE_TIME_MAX))
}

fn setting(entry: rdkafka::admin::ConfigEntry) -> Setting {
    Setting {
        is_default: entry.source != ConfigSource::DynamicTopic,
        value: entry.value.filter(|_| !entry.is_sensitive),
        is_read_only: entry.is_read_only,
        name: entry.name,
    }
}

fn view(asker: &KafkaConsumer, cluster: &Cluster) -> Result<ClusterView> {
    let metadata = kafka_client::metadata(asker, cluster, None)?;
    let broker = |it: &rdkafka::metadata::MetadataBroker| BrokerView {
        id: it.id(),
        address: format!("{}:{}", it.host(), it.port()),
    };
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let mut topics: Vec<_> = topics.map(admin::summary).collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(ClusterView { brokers: metadata.brokers().iter().map(broker).collect(), topics })
}

fn partitions(
    asker: &KafkaConsumer,
    cluster: &Cluster,
    topic: &str,
) -> Result<Option<Vec<PartitionView>>> {
    let metadata = kafka_client::metadata(asker, cluster, Some(topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
    match error {
        None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
        Some(code) => {
            let words = match code {
                RDKafkaErrorCode::TopicAuthorizationFailed => {
                    format!("the cluster does not let this user see topic `{topic}`")
                }
                code => format!("the cluster answers about topic `{topic}`: {code}"),
            };
            return Err(kafka_client::refusal(Some(code), words));
        }
    }
    let Some(found) = found.filter(|it| error.is_none() && !it.partitions().is_empty()) else {
        return Ok(None);
    };
    let places: Vec<_> =
        found.partitions().iter().map(|it| TopicPartition::new(topic, it.id())).collect();
    let ranges = offset_ranges(asker, cluster, &places)?;
    let mut views: Vec<_> = found
        .partitions()
        .iter()
        .map(|it| PartitionView {
            partition: it.id(),
            leader: it.leader(),
            replicas: it.replicas().to_vec(),
            in_sync: it.isr().to_vec(),
            offsets: range_of(&ranges, &TopicPartition::new(topic, it.id())),
        })
        .collect();
    views.sort_by_key(|view| view.partition);
    Ok(Some(views))
}

fn range_of(ranges: &BTreeMap<TopicPartition, OffsetRange>, at: &TopicPartition) -> OffsetRange {
    ranges.get(at).copied().unwrap_or(OffsetRange { begin: 0, end: 0 })
}
