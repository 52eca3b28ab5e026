//! What people do with topics from the command line: list, describe, make, delete, produce.
//!
//! Functions are async and answer within [`REACH_TIME_MAX`] if the cluster is out of reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use gristmill_engine::offsets::TopicPartition;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, ResourceSpecifier};
use rdkafka::consumer::Consumer;

use crate::kafka_client::{
    self, ATTEMPT_TIME_MAX, ClientEvents, Cluster, KafkaConsumer, REACH_TIME_MAX,
};
use crate::kafka_producer::{ProducerClient, TopicProducer};
use crate::log_sizes;

pub use crate::topic_changes::{add_partitions, alter_settings, create_topic};

/// How long a cluster may take to make or delete a topic.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// The group that clients without cursors name; never joined.
const GROUP: &str = "gristmill-admin";

/// A topic, briefly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSummary {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i32,
    /// Made by the cluster for itself.
    pub internal: bool,
}

/// A partition with the offsets that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSummary {
    pub partition: i32,
    /// Broker number; -1: none at the moment.
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub earliest: i64,
    pub end: i64,
    /// On its leader's disk; absent where the cluster doesn't tell, and where it was not asked.
    pub bytes: Option<u64>,
}

/// A topic in full.
#[derive(Debug, Clone)]
pub struct TopicDescription {
    pub name: String,
    pub partitions: Vec<PartitionSummary>,
    /// Settings of the topic; a cluster that does not tell them leaves this empty.
    pub settings: BTreeMap<String, String>,
    /// Those of them that were set for this topic, and are not the cluster's.
    pub own_settings: BTreeSet<String>,
}

/// All topics, by name.
pub async fn list_topics(cluster: &Cluster) -> Result<Vec<TopicSummary>> {
    on_thread(cluster, |cluster| {
        let metadata = kafka_client::metadata(&*asker(cluster)?, cluster, None)?;
        let mut topics: Vec<_> = metadata.topics().iter().map(summary).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    })
    .await
}

/// One topic with partitions, offsets and settings.
///
/// Errors: there is no such topic; those that are there are named.
pub async fn describe_topic(cluster: &Cluster, topic: &str) -> Result<TopicDescription> {
    let name = topic.to_string();
    let described = on_thread(cluster, move |cluster| sized_partitions(cluster, &name));
    let partitions = described.await?;
    let (settings, own_settings) = settings(cluster, topic).await.unwrap_or_default();
    Ok(TopicDescription { name: topic.to_string(), partitions, settings, own_settings })
}

/// Deletes a topic with all that is in it.
pub async fn delete_topic(cluster: &Cluster, topic: &str) -> Result<()> {
    let name = topic.to_string();
    // Names the topics that are there if this one is not.
    on_thread(cluster, move |cluster| partitions(cluster, &name).map(drop)).await?;
    delete_known(&admin_client(cluster)?, topic).await
}

/// As [`delete_topic`], of one that is there, by a client that is.
pub(crate) async fn delete_known(admin: &AdminClient<ClientEvents>, topic: &str) -> Result<()> {
    let results = admin.delete_topics(&[topic], &options()).await;
    let results = results.map_err(|error| anyhow!("{}", kafka_client::describe(&error)))?;
    match results.into_iter().next() {
        Some(Err((_, code))) => {
            let words = format!("topic `{topic}` was not deleted: {code}");
            Err(kafka_client::refusal(Some(code), words))
        }
        Some(Ok(_)) => Ok(()),
        None => bail!("the cluster did not answer about topic `{topic}`"),
    }
}

/// Sends records to one topic. Keys are hashed as the Java client does (murmur2); retries neither
/// double nor reorder.
pub struct RecordProducer {
    producer: Arc<TopicProducer>,
}

impl RecordProducer {
    /// Errors: there is no such topic, no broker answers. Nothing is made.
    pub async fn open(cluster: &Cluster, topic: &str) -> Result<RecordProducer> {
        require_topic(cluster, topic).await?;
        let producer = TopicProducer::new(ProducerClient::open(cluster, None)?, topic)?;
        Ok(RecordProducer { producer: Arc::new(producer) })
    }

    /// As [`open`](Self::open), for one who counts what is not delivered and goes on:
    /// [`undelivered`](Self::undelivered) and [`drain`](Self::drain).
    pub async fn open_tolerant(cluster: &Cluster, topic: &str) -> Result<RecordProducer> {
        require_topic(cluster, topic).await?;
        let producer = TopicProducer::new(ProducerClient::open(cluster, None)?, topic)?;
        Ok(RecordProducer { producer: Arc::new(producer.tolerant()) })
    }

    /// Hands one record over; blocks while too many are on their way.
    ///
    /// Errors: this or an earlier record cannot be delivered.
    pub fn send(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<()> {
        if headers.is_empty() {
            return self.producer.send(key, value);
        }
        self.producer.send_with_headers(key, value, headers)
    }

    /// Records handed over and not yet acknowledged.
    pub fn in_flight(&self) -> usize {
        self.producer.client().in_flight()
    }

    /// Returns when everything sent is acknowledged.
    ///
    /// Errors: something was not delivered; says how many records and why.
    pub async fn flush(&self) -> Result<()> {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || producer.client().flush()).await?
    }

    /// Records that were not delivered so far, and why the first of them was not.
    pub fn undelivered(&self) -> (u64, Option<String>) {
        self.producer.client().undelivered()
    }

    /// Returns when everything sent is delivered or given up.
    ///
    /// Errors: records are still on their way after the time that a delivery may take.
    pub async fn drain(&self) -> Result<()> {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || producer.client().drain()).await?
    }
}

/// Errors: there is no such topic; says which there are.
pub(crate) async fn require_topic(cluster: &Cluster, topic: &str) -> Result<()> {
    let name = topic.to_string();
    on_thread(cluster, move |cluster| {
        let consumer = asker(cluster)?;
        match topic_in(&consumer, cluster, &name)? {
            Some(_) => Ok(()),
            None => Err(kafka_client::no_topic(&consumer, cluster, &name)),
        }
    })
    .await
}

/// A topic's summary; `None`: it is not there. Blocks.
pub(crate) fn topic_blocking(cluster: &Cluster, topic: &str) -> Result<Option<TopicSummary>> {
    topic_in(&*asker(cluster)?, cluster, topic)
}

/// [`create_topic`] with the cluster's defaults, for a thread of the runtime that may block. One
/// that somebody else has just made is fine.
pub(crate) fn create_topic_blocking(cluster: &Cluster, topic: &str, partitions: i32) -> Result<()> {
    let settings = BTreeMap::new();
    let make = create_topic(cluster, topic, partitions, None, &settings);
    let made = tokio::runtime::Handle::current().block_on(make);
    match made {
        Err(error) if topic_blocking(cluster, topic)?.is_none() => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn topic_in(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    topic: &str,
) -> Result<Option<TopicSummary>> {
    let metadata = kafka_client::metadata(consumer, cluster, Some(topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.filter(|found| found.error().is_none() && !found.partitions().is_empty());
    Ok(found.map(summary))
}

pub(crate) fn summary(topic: &rdkafka::metadata::MetadataTopic) -> TopicSummary {
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len());
    TopicSummary {
        name: topic.name().to_string(),
        partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        replication_factor: i32::try_from(replicas.min().unwrap_or(0)).unwrap_or(i32::MAX),
        internal: kafka_client::is_internal(topic.name()),
    }
}

pub(crate) fn partitions(cluster: &Cluster, topic: &str) -> Result<Vec<PartitionSummary>> {
    let consumer = asker(cluster)?;
    let metadata = kafka_client::metadata(&consumer, cluster, Some(topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let Some(found) = found.filter(|found| !found.partitions().is_empty()) else {
        return Err(kafka_client::no_topic(&consumer, cluster, topic));
    };
    let mut partitions = Vec::new();
    for partition in found.partitions() {
        let (earliest, end) = kafka_client::asked(&consumer, cluster, REACH_TIME_MAX, || {
            consumer.fetch_watermarks(topic, partition.id(), ATTEMPT_TIME_MAX)
        })?;
        partitions.push(PartitionSummary {
            partition: partition.id(),
            leader: partition.leader(),
            replicas: partition.replicas().to_vec(),
            earliest,
            end,
            bytes: None,
        });
    }
    partitions.sort_by_key(|partition| partition.partition);
    Ok(partitions)
}

/// With sizes, where the cluster tells them.
fn sized_partitions(cluster: &Cluster, topic: &str) -> Result<Vec<PartitionSummary>> {
    let mut partitions = partitions(cluster, topic)?;
    let consumer = asker(cluster)?;
    let metadata = kafka_client::metadata(&consumer, cluster, Some(topic))?;
    let leaders = log_sizes::leaders(&metadata, |name| name == topic);
    match log_sizes::of_leaders(cluster, &leaders) {
        Ok(sizes) => {
            for partition in &mut partitions {
                let at = TopicPartition::new(topic, partition.partition);
                partition.bytes = sizes.get(&at).copied();
            }
        }
        Err(error) => tracing::debug!(topic, "sizes are unknown: {error:#}"),
    }
    Ok(partitions)
}

/// All settings, and the names of the topic's own.
async fn settings(
    cluster: &Cluster,
    topic: &str,
) -> Result<(BTreeMap<String, String>, BTreeSet<String>)> {
    let admin = admin_client(cluster)?;
    let resource = ResourceSpecifier::Topic(topic);
    let results = admin.describe_configs([&resource], &options()).await?;
    let (mut settings, mut own) = (BTreeMap::new(), BTreeSet::new());
    for resource in results.into_iter().flatten() {
        for entry in resource.entries {
            if entry.source == ConfigSource::DynamicTopic {
                own.insert(entry.name.clone());
            }
            if let Some(value) = entry.value.filter(|_| !entry.is_sensitive) {
                settings.insert(entry.name, value);
            }
        }
    }
    Ok((settings, own))
}

/// Whether librdkafka takes the cluster's properties; nobody is asked.
///
/// Errors: names the property.
pub fn check_settings(cluster: &Cluster) -> Result<()> {
    asker(cluster).map(drop)
}

/// A consumer that only asks.
pub(crate) fn asker(cluster: &Cluster) -> Result<Arc<KafkaConsumer>> {
    cluster
        .consumer(GROUP, &[("enable.auto.commit", "false"), ("allow.auto.create.topics", "false")])
}

pub(crate) fn admin_client(cluster: &Cluster) -> Result<AdminClient<ClientEvents>> {
    let config = cluster.client_config(&[]);
    config
        .create_with_context(ClientEvents::default())
        .map_err(|error| cluster.misconfigured(&error))
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE_TIME_MAX))
        .operation_timeout(Some(CHANGE_TIME_MAX))
}

/// A clear error if no broker answers.
pub(crate) async fn reach(cluster: &Cluster) -> Result<()> {
    on_thread(cluster, |cluster| kafka_client::metadata(&*asker(cluster)?, cluster, None).map(drop))
        .await
}

/// librdkafka's questions block: they are asked on a thread that may.
pub(crate) async fn on_thread<T: Send + 'static>(
    cluster: &Cluster,
    ask: impl FnOnce(&Cluster) -> Result<T> + Send + 'static,
) -> Result<T> {
    let cluster = cluster.clone();
    tokio::task::spawn_blocking(move || ask(&cluster)).await?
}
