//! Opens the ends of a planned pipeline: everything that can be wrong with brokers, topics, folders
//! and tables is found here, before the first record is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gristmill_engine::config::{
    DeadLetterConfig, Delivery, DeltaSinkConfig, SinkKind, TopicSinkConfig,
};
use gristmill_engine::dead_letter::DeadLetterSink;
use gristmill_engine::plan::{Plan, PlannedSink, SinkLayout};
use gristmill_engine::reload::Reopen;
use gristmill_engine::run::Connected;
use gristmill_engine::sink::{Commit, Sink};
use gristmill_engine::source::Source;

use crate::dead_letter_sink::DeadLetterTopic;
use crate::delta_sink::{DeltaSink, DeltaSinkSetup};
use crate::group_cursors::Owner;
use crate::kafka_client::Cluster;
use crate::kafka_group::Membership;
use crate::kafka_producer::Transactional;
use crate::kafka_sink::{KafkaSink, SharedHeaders};
use crate::kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};
use crate::reopen::Reopener;
use crate::table_progress::TablesWithProgress;
use crate::topic_store::{SharedTopicStore, Together, TopicStore, TopicStoreSetup};
use crate::{admin, question, transaction};

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
    Ok(open_to_reload(plan, process).await?.0)
}

/// As [`open`], with what opens the ends anew while the pipeline runs.
pub async fn open_to_reload(
    plan: &Plan,
    process: &Process,
) -> Result<(Connected, Arc<dyn Reopen>)> {
    let opening = Opening::new(plan, process)?;
    let kafka = opening.source().await.context("source")?;
    let member = Arc::new(opening.join()?);
    let source = Arc::new(kafka.shared_with(member.clone()));
    let connected = opening.connect(source, &member).await?;
    Ok((connected, Arc::new(Reopener { process: process.clone(), member })))
}

/// What has been opened.
#[derive(Default)]
struct Ends {
    /// By their index in the plan.
    sinks: BTreeMap<usize, Arc<dyn Sink>>,
    /// By their names.
    tables: Vec<(String, Arc<DeltaSink>)>,
    commits: Vec<Arc<dyn Commit>>,
    /// The group of the pipeline keeps cursors of topics.
    has_group_cursors: bool,
    dead_letters: Option<Arc<dyn DeadLetterSink>>,
}

pub(crate) struct Opening<'a> {
    plan: &'a Plan,
    process: &'a Process,
    source: Cluster,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(plan: &'a Plan, process: &'a Process) -> Result<Opening<'a>> {
        let source = Opening::source_cluster(plan, process)?;
        Ok(Opening { plan, process, source })
    }

    /// Opens everything but the source.
    pub(crate) async fn connect(
        &self,
        source: Arc<dyn Source>,
        member: &Arc<Membership>,
    ) -> Result<Connected> {
        let mut ends = Ends::default();
        self.topics(member, &mut ends).await?;
        for (index, config) in self.plan.pipeline.sinks.iter().enumerate() {
            match &config.kind {
                SinkKind::Topic(topic) if self.is_elsewhere(topic) => {
                    self.topic_elsewhere(index, topic, &mut ends).await?;
                }
                SinkKind::Topic(_) => {}
                SinkKind::Delta(delta) => self.table(index, delta, &mut ends).await?,
            }
        }
        self.table_commits(member, &mut ends);
        Ok(Connected {
            source,
            sinks: ends.sinks.into_values().collect(),
            commits: ends.commits,
            dead_letters: ends.dead_letters,
        })
    }

    /// Whether a topic is there, or would be made. Makes none.
    pub(crate) async fn check_topic(&self, config: &TopicSinkConfig) -> Result<()> {
        let cluster = match self.is_elsewhere(config) {
            true => self.cluster_elsewhere(config)?,
            false => self.connection(),
        };
        self.check_there(cluster, &config.topic, config.partitions).await
    }

    pub(crate) async fn check_letters(&self, config: &DeadLetterConfig) -> Result<()> {
        self.check_there(self.connection(), &config.topic, None).await
    }

    async fn check_there(
        &self,
        cluster: Cluster,
        topic: &str,
        partitions: Option<i32>,
    ) -> Result<()> {
        let (topic, built_in) = (topic.to_string(), self.is_in_process(&cluster));
        let check = move || topic_or_makeable(&cluster, &topic, partitions, built_in).map(drop);
        question::ask(check).await
    }

    /// Whether the topic sinks of the source's cluster can share a producer.
    pub(crate) fn check_together(&self) -> Result<()> {
        let mut properties = self.connection().properties;
        for config in &self.plan.pipeline.sinks {
            if let SinkKind::Topic(topic) = &config.kind
                && !self.is_elsewhere(topic)
            {
                merge(&mut properties, &topic.kafka, &config.name)?;
            }
        }
        Ok(())
    }

    fn is_in_process(&self, cluster: &Cluster) -> bool {
        self.process.built_in.as_ref() == Some(&cluster.bootstrap)
    }

    fn cluster_elsewhere(&self, config: &TopicSinkConfig) -> Result<Cluster> {
        let bootstrap = config.brokers.clone().or_else(|| self.process.built_in.clone());
        let bootstrap = bootstrap.context("the built-in broker does not run")?;
        Ok(Cluster { bootstrap, properties: config.kafka.clone() })
    }

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

    pub(crate) async fn source(&self) -> Result<KafkaSource> {
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
            Delivery::ExactlyOnce => {
                let id = format!("gristmill-{}-{}", self.plan.pipeline.name, self.process.instance);
                let timeout = transaction::timeout(self.plan.batch_time_max());
                let transactional = Transactional { id, timeout };
                Together::Transaction { transactional, member: member.clone() }
            }
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
        ends.has_group_cursors = true;
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
        let cluster = self.cluster_elsewhere(config)?;
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
        let built_in = self.is_in_process(&cluster);
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
        let sink = KafkaSink {
            store: store.clone(),
            output,
            topic: config.topic.clone(),
            key,
            value,
            headers: SharedHeaders::new(config.headers),
        };
        ends.sinks.insert(index, Arc::new(sink));
        Ok(())
    }

    async fn table(&self, index: usize, config: &DeltaSinkConfig, ends: &mut Ends) -> Result<()> {
        let planned = &self.plan.sinks[index];
        let setup = DeltaSinkSetup {
            pipeline: self.plan.pipeline.name.clone(),
            sink: planned.name.clone(),
            index,
            config: config.clone(),
            rows: planned.schema.clone(),
        };
        let sink = Arc::new(DeltaSink::open(setup).await?);
        ends.sinks.insert(index, sink.clone());
        ends.tables.push((planned.name.clone(), sink));
        Ok(())
    }

    /// Where no topic keeps cursors in the group, the group is told how far the tables are.
    fn table_commits(&self, member: &Arc<Membership>, ends: &mut Ends) {
        let tables = std::mem::take(&mut ends.tables);
        if !ends.has_group_cursors && !tables.is_empty() {
            let (pipeline, member) = (&self.plan.pipeline.name, member.clone());
            let commit = TablesWithProgress::new(pipeline, tables, member);
            ends.commits.push(Arc::new(commit));
        } else {
            let each = tables.into_iter().map(|(_, table)| table as Arc<dyn Commit>);
            ends.commits.extend(each);
        }
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
    if topic_or_makeable(cluster, topic, partitions, built_in)? {
        return Ok(());
    }
    let partitions = partitions.unwrap_or(1);
    admin::create_topic_blocking(cluster, topic, partitions)?;
    tracing::info!(topic, partitions, "topic made");
    Ok(())
}

/// `true`: the topic is there; `false`: it is not, and may be made.
fn topic_or_makeable(
    cluster: &Cluster,
    topic: &str,
    partitions: Option<i32>,
    built_in: bool,
) -> Result<bool> {
    if admin::topic_blocking(cluster, topic)?.is_some() {
        return Ok(true);
    }
    if !built_in && partitions.is_none() {
        bail!(
            "topic `{topic}` is not on the Kafka cluster at {}: make it there, or set \
             `partitions` in the sink to have it made with the cluster's own replication",
            cluster.bootstrap
        );
    }
    Ok(false)
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
