//! Opens the ends of a planned pipeline: everything that can be wrong with brokers, topics, folders
//! and tables is found here, before the first record is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gristmill_engine::config::{DeadLetterConfig, DeltaSinkConfig, SinkKind, TopicSinkConfig};
use gristmill_engine::dead_letter::DeadLetterSink;
use gristmill_engine::plan::{Plan, PlannedSink, SinkLayout};
use gristmill_engine::run::Connected;
use gristmill_engine::sink::Sink;

use crate::admin;
use crate::dead_letter_sink::DeadLetterTopic;
use crate::delta_sink::{DeltaSink, DeltaSinkSetup};
use crate::kafka_client::Cluster;
use crate::kafka_producer::TopicProducer;
use crate::kafka_sink::{KafkaSink, KafkaSinkSetup};
use crate::kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};

/// The broker in this process.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    /// `host:port` at which it can be reached.
    pub bootstrap: String,
}

/// Opens source, sinks and dead letters. `built_in` serves every end that names no brokers.
///
/// Errors name the end and what would mend it. Topics and tables that sinks made until then stay.
pub async fn open(plan: &Plan, built_in: Option<&BuiltIn>) -> Result<Connected> {
    let pipeline = &plan.pipeline;
    let opening = Opening { plan, built_in };
    let source = opening.cluster(pipeline.source.brokers.as_deref(), &pipeline.source.kafka)?;
    let setup = KafkaSourceSetup {
        cluster: source.clone(),
        topics: pipeline.source.topics.clone(),
        group: format!("gristmill-{}", pipeline.name),
        on_data_loss: pipeline.source.on_data_loss,
        read_time_max: READ_TIME_MAX,
    };
    let opened = KafkaSource::open(setup).await.context("source")?;
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    for (config, planned) in pipeline.sinks.iter().zip(&plan.sinks) {
        sinks.push(match &config.kind {
            SinkKind::Topic(topic) => opening.topic_sink(planned, topic, &source).await?,
            SinkKind::Delta(delta) => opening.delta_sink(planned, delta).await?,
        });
    }
    let dead_letters = match &pipeline.dead_letter {
        Some(config) => Some(opening.dead_letters(config, &source).await.context("dead letters")?),
        None => None,
    };
    Ok(Connected { source: Arc::new(opened), sinks, dead_letters })
}

struct Opening<'a> {
    plan: &'a Plan,
    built_in: Option<&'a BuiltIn>,
}

impl Opening<'_> {
    fn cluster(
        &self,
        brokers: Option<&str>,
        properties: &BTreeMap<String, String>,
    ) -> Result<Cluster> {
        let bootstrap = match (brokers, self.built_in) {
            (Some(brokers), _) => brokers.to_string(),
            (None, Some(built_in)) => built_in.bootstrap.clone(),
            (None, None) => bail!("no brokers are named and the built-in broker does not run"),
        };
        Ok(Cluster { bootstrap, properties: properties.clone() })
    }

    /// A sink that names no brokers writes to the source's cluster, with the source's settings
    /// under its own.
    async fn topic_sink(
        &self,
        planned: &PlannedSink,
        config: &TopicSinkConfig,
        source: &Cluster,
    ) -> Result<Arc<dyn Sink>> {
        let SinkLayout::Record { key, value } = planned.layout else {
            bail!("sink `{}` is planned as a table", planned.name)
        };
        let built_in = config.brokers.is_none() && self.plan.pipeline.source.brokers.is_none();
        let cluster = match &config.brokers {
            Some(brokers) => self.cluster(Some(brokers), &config.kafka)?,
            None => {
                let mut properties = connection(&source.properties);
                properties.extend(config.kafka.clone());
                Cluster { bootstrap: source.bootstrap.clone(), properties }
            }
        };
        let setup = KafkaSinkSetup {
            pipeline: self.plan.pipeline.name.clone(),
            sink: planned.name.clone(),
            config: config.clone(),
            cluster,
            source: Cluster {
                bootstrap: source.bootstrap.clone(),
                properties: connection(&source.properties),
            },
            key,
            value,
            built_in,
        };
        Ok(Arc::new(KafkaSink::open(setup).await?))
    }

    async fn delta_sink(
        &self,
        planned: &PlannedSink,
        config: &DeltaSinkConfig,
    ) -> Result<Arc<dyn Sink>> {
        let stages = self.plan.stages.iter();
        let modules =
            stages.map(|stage| (stage.name.clone(), stage.stage.module().hash().to_string()));
        let setup = DeltaSinkSetup {
            pipeline: self.plan.pipeline.name.clone(),
            sink: planned.name.clone(),
            config: config.clone(),
            rows: planned.schema.clone(),
            modules: modules.collect(),
        };
        Ok(Arc::new(DeltaSink::open(setup).await?))
    }

    async fn dead_letters(
        &self,
        config: &DeadLetterConfig,
        source: &Cluster,
    ) -> Result<Arc<dyn DeadLetterSink>> {
        let properties = connection(&source.properties);
        let cluster = Cluster { bootstrap: source.bootstrap.clone(), properties };
        let (topic, built_in) = (config.topic.clone(), self.plan.pipeline.source.brokers.is_none());
        let open = move || {
            if admin::topic_blocking(&cluster, &topic)?.is_none() {
                if !built_in {
                    bail!(
                        "topic `{topic}` is not on the Kafka cluster at {}: make it there",
                        cluster.bootstrap
                    );
                }
                admin::create_topic_blocking(&cluster, &topic, 1)?;
            }
            TopicProducer::open(&cluster, &topic)
        };
        let producer = tokio::task::spawn_blocking(open).await??;
        Ok(Arc::new(DeadLetterTopic::new(producer)))
    }
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
