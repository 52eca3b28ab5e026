//! Opens the ends of a planned pipeline: everything that can be wrong with brokers, topics, folders
//! and tables is found here, before the first record is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gristmill_engine::config::{Delivery, DeltaSinkConfig, SinkKind, TopicSinkConfig};
use gristmill_engine::dead_letter::DeadLetterSink;
use gristmill_engine::plan::{Plan, PlannedSink, SinkLayout};
use gristmill_engine::run::Connected;
use gristmill_engine::sink::{Commit, Sink};

use crate::admin;
use crate::dead_letter_sink::DeadLetterTopic;
use crate::delta_sink::{DeltaSink, DeltaSinkSetup};
use crate::group_cursors::Owner;
use crate::kafka_client::Cluster;
use crate::kafka_group::Membership;
use crate::kafka_sink::KafkaSink;
use crate::kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};
use crate::topic_store::{SharedTopicStore, Together, TopicStore, TopicStoreSetup};

/// The process that the pipelines run in.
#[derive(Debug, Clone)]
pub struct Process {
    /// `host:port` of the broker in this process, if it has one.
    pub built_in: Option<String>,
    /// A name that no other process has at the same time, the same again after a restart: what this
    /// process left open in a crash is ended by the next one of that name, at once.
    pub instance: String,
}

/// Opens source, sinks and dead letters. The broker in the process serves every end that names no
/// brokers.
///
/// Errors name the end and what would mend it. Topics and tables that sinks made until then stay.
pub async fn open(plan: &Plan, process: &Process) -> Result<Connected> {
    let source = Opening::source_cluster(plan, process)?;
    let opening = Opening { plan, process, source };
    let kafka = opening.source().await.context("source")?;
    let member = Arc::new(opening.join()?);
    let mut ends = Ends::default();
    opening.topics(&member, &mut ends).await?;
    for (index, config) in plan.pipeline.sinks.iter().enumerate() {
        match &config.kind {
            SinkKind::Topic(topic) if opening.is_elsewhere(topic) => {
                opening.topic_elsewhere(index, topic, &mut ends).await?;
            }
            SinkKind::Topic(_) => {}
            SinkKind::Delta(delta) => opening.table(index, delta, &mut ends).await?,
        }
    }
    Ok(Connected {
        source: Arc::new(kafka.shared_with(member)),
        sinks: ends.sinks.into_values().collect(),
        commits: ends.commits,
        dead_letters: ends.dead_letters,
    })
}

/// What has been opened.
#[derive(Default)]
struct Ends {
    /// By their index in the plan.
    sinks: BTreeMap<usize, Arc<dyn Sink>>,
    commits: Vec<Arc<dyn Commit>>,
    dead_letters: Option<Arc<dyn DeadLetterSink>>,
}

struct Opening<'a> {
    plan: &'a Plan,
    process: &'a Process,
    source: Cluster,
}

impl Opening<'_> {
    fn source_cluster(plan: &Plan, process: &Process) -> Result<Cluster> {
        let config = &plan.pipeline.source;
        let bootstrap = match (&config.brokers, &process.built_in) {
            (Some(brokers), _) => brokers.clone(),
            (None, Some(built_in)) => built_in.clone(),
            (None, None) => bail!("no brokers are named and the built-in broker does not run"),
        };
        Ok(Cluster { bootstrap, properties: config.kafka.clone() })
    }

    /// The source reads from the broker in this process.
    fn is_built_in(&self) -> bool {
        self.plan.pipeline.source.brokers.is_none()
    }

    /// How the source's cluster is reached, for clients that write.
    fn connection(&self) -> Cluster {
        let properties = connection(&self.source.properties);
        Cluster { bootstrap: self.source.bootstrap.clone(), properties }
    }

    /// The group that shares the partitions out and keeps the cursors of topics.
    fn group(&self) -> String {
        format!("gristmill-{}", self.plan.pipeline.name)
    }

    async fn source(&self) -> Result<KafkaSource> {
        let config = &self.plan.pipeline.source;
        let setup = KafkaSourceSetup {
            cluster: self.source.clone(),
            topics: config.topics.clone(),
            group: self.group(),
            on_data_loss: config.on_data_loss,
            read_time_max: READ_TIME_MAX,
        };
        KafkaSource::open(setup).await
    }

    /// With the broker in this process, whoever has its data folder is the only one of its name: its
    /// place in the group is kept over a restart. Elsewhere a place is given up with the process.
    fn join(&self) -> Result<Membership> {
        let instance = self.is_built_in().then_some(self.process.instance.as_str());
        Membership::new(&self.source, &self.group(), instance)
    }

    fn is_elsewhere(&self, topic: &TopicSinkConfig) -> bool {
        topic.brokers != self.plan.pipeline.source.brokers
    }

    /// Topic sinks on the source's cluster and the dead letters: one store for all.
    async fn topics(&self, member: &Arc<Membership>, ends: &mut Ends) -> Result<()> {
        let mut cluster = self.connection();
        let mut outputs = Vec::new();
        let mut topics = Vec::new();
        for (index, config) in self.plan.pipeline.sinks.iter().enumerate() {
            let SinkKind::Topic(topic) = &config.kind else { continue };
            if self.is_elsewhere(topic) {
                continue;
            }
            merge(&mut cluster.properties, &topic.kafka, &config.name)?;
            topics.push((format!("sink `{}`", config.name), topic.topic.clone(), topic.partitions));
            outputs.push((Some(index), Owner::Sink(config.name.clone())));
        }
        let letters = self.plan.pipeline.dead_letter.as_ref();
        if let Some(letters) = letters {
            topics.push(("dead letters".to_string(), letters.topic.clone(), None));
            outputs.push((None, Owner::DeadLetters));
        }
        if outputs.is_empty() {
            return Ok(());
        }
        let together = match self.plan.pipeline.delivery {
            Delivery::ExactlyOnce => Together::Transaction {
                id: format!("gristmill-{}-{}", self.plan.pipeline.name, self.process.instance),
                member: member.clone(),
            },
            Delivery::AtLeastOnce => Together::RecordsFirst { member: Some(member.clone()) },
        };
        let sinks: Vec<_> = outputs.iter().map(|(sink, _)| *sink).collect();
        let store = self.store(cluster, self.group(), together, outputs, topics).await?;
        for (output, sink) in sinks.into_iter().enumerate() {
            match (sink, letters) {
                (Some(index), _) => self.topic_sink(index, &store, output, ends)?,
                (None, Some(letters)) => {
                    let letters = DeadLetterTopic::new(store.clone(), output, &letters.topic);
                    ends.dead_letters = Some(Arc::new(letters));
                }
                (None, None) => {}
            }
        }
        ends.commits.push(Arc::new(SharedTopicStore(store)));
        Ok(())
    }

    /// A topic on another cluster: a store of its own, whose cursors are at the source.
    async fn topic_elsewhere(
        &self,
        index: usize,
        config: &TopicSinkConfig,
        ends: &mut Ends,
    ) -> Result<()> {
        let name = &self.plan.sinks[index].name;
        let bootstrap = config.brokers.clone().or_else(|| self.process.built_in.clone());
        let bootstrap = bootstrap.context("the built-in broker does not run")?;
        let cluster = Cluster { bootstrap, properties: config.kafka.clone() };
        let topics = vec![(format!("sink `{name}`"), config.topic.clone(), config.partitions)];
        let outputs = vec![(Some(index), Owner::Sink(name.clone()))];
        let group = format!("{}-{name}", self.group());
        let together = Together::RecordsFirst { member: None };
        let store = self.store(cluster, group, together, outputs, topics).await?;
        self.topic_sink(index, &store, 0, ends)?;
        ends.commits.push(Arc::new(SharedTopicStore(store)));
        Ok(())
    }

    /// `topics`: who needs which topic, with how many partitions if it has to be made.
    async fn store(
        &self,
        cluster: Cluster,
        group: String,
        together: Together,
        outputs: Vec<(Option<usize>, Owner)>,
        topics: Vec<(String, String, Option<i32>)>,
    ) -> Result<Arc<TopicStore>> {
        let built_in = self.process.built_in.as_ref() == Some(&cluster.bootstrap);
        let setup = TopicStoreSetup {
            pipeline: self.plan.pipeline.name.clone(),
            cluster,
            source: self.connection(),
            group,
            together,
            outputs,
        };
        let open = move || {
            for (who, topic, partitions) in &topics {
                ensure_topic(&setup.cluster, topic, *partitions, built_in)
                    .with_context(|| who.clone())?;
            }
            TopicStore::open(setup)
        };
        Ok(Arc::new(tokio::task::spawn_blocking(open).await??))
    }

    fn topic_sink(
        &self,
        index: usize,
        store: &Arc<TopicStore>,
        output: usize,
        ends: &mut Ends,
    ) -> Result<()> {
        let planned: &PlannedSink = &self.plan.sinks[index];
        let SinkLayout::Record { key, value } = planned.layout else {
            bail!("sink `{}` is planned as a table", planned.name)
        };
        let SinkKind::Topic(config) = &self.plan.pipeline.sinks[index].kind else {
            bail!("sink `{}` is no topic", planned.name)
        };
        let (store, topic) = (store.clone(), config.topic.clone());
        ends.sinks.insert(index, Arc::new(KafkaSink { store, output, topic, key, value }));
        Ok(())
    }

    async fn table(&self, index: usize, config: &DeltaSinkConfig, ends: &mut Ends) -> Result<()> {
        let planned = &self.plan.sinks[index];
        let stages = self.plan.stages.iter();
        let modules =
            stages.map(|stage| (stage.name.clone(), stage.stage.module().hash().to_string()));
        let setup = DeltaSinkSetup {
            pipeline: self.plan.pipeline.name.clone(),
            sink: planned.name.clone(),
            index,
            config: config.clone(),
            rows: planned.schema.clone(),
            modules: modules.collect(),
        };
        let sink = Arc::new(DeltaSink::open(setup).await?);
        ends.sinks.insert(index, sink.clone());
        ends.commits.push(sink);
        Ok(())
    }
}

/// Sinks of one cluster share a producer, since they share transactions.
fn merge(
    all: &mut BTreeMap<String, String>,
    sink: &BTreeMap<String, String>,
    name: &str,
) -> Result<()> {
    for (key, value) in sink {
        if all.insert(key.clone(), value.clone()).is_some_and(|other| other != *value) {
            bail!(
                "sink `{name}`: `{key}` is set to something else by another sink or the source: the topic sinks of a \
                 pipeline write in one transaction, through one producer; set it to the same in all of them"
            );
        }
    }
    Ok(())
}

/// Makes the topic on the built-in broker, or where the pipeline says how many partitions it is to
/// have. Blocks.
pub(crate) fn ensure_topic(
    cluster: &Cluster,
    topic: &str,
    partitions: Option<i32>,
    built_in: bool,
) -> Result<()> {
    if admin::topic_blocking(cluster, topic)?.is_some() {
        return Ok(());
    }
    if !built_in && partitions.is_none() {
        bail!(
            "topic `{topic}` is not on the Kafka cluster at {}: make it there, or set \
             `partitions` in the sink to have it made with the cluster's own replication",
            cluster.bootstrap
        );
    }
    let partitions = partitions.unwrap_or(1);
    admin::create_topic_blocking(cluster, topic, partitions)?;
    tracing::info!(topic, partitions, "topic made");
    Ok(())
}

/// The settings of a source that its sinks share: how to reach the cluster, not how to read from
/// it.
fn connection(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shared = |key: &str| {
        [
            "security.",
            "sasl.",
            "ssl.",
            "socket.",
            "broker.",
            "client.",
            "reconnect.",
            "metadata.",
            "enable.ssl",
            "debug",
        ]
        .iter()
        .any(|prefix| key.starts_with(prefix))
    };
    properties.iter().filter(|(key, _)| shared(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}
