//! Clients of a Kafka cluster: their settings, their log lines, and errors that say what is wrong
//! and what would mend it.
//!
//! Not here: what a client reads or writes (`kafka_source`, `kafka_sink`, `admin`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use gristmill_engine::failure::Rewind;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::question;

/// How long a cluster may take to answer the first time before it counts as out of reach.
pub const REACH_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a running pipeline waits for a cluster that is away: a broker that restarts is met
/// again.
pub const AWAY_TIME_MAX: Duration = Duration::from_secs(120);

/// One attempt to get an answer; in between, an error that no waiting mends is looked for.
pub(crate) const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(1);

/// How often the thread of a client looks whether the client is still in use.
const EVENT_WAIT_MAX: Duration = Duration::from_millis(200);

/// A Kafka cluster and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port,…`.
    pub bootstrap: String,
    /// librdkafka properties of the user; they win over ours. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

impl Cluster {
    pub fn new(bootstrap: impl Into<String>) -> Cluster {
        Cluster { bootstrap: bootstrap.into(), properties: BTreeMap::new() }
    }

    /// `PLAINTEXT`, `SASL_SSL` and so on.
    pub fn security_protocol(&self) -> String {
        let protocol = self.properties.get("security.protocol");
        protocol.map_or_else(|| "PLAINTEXT".into(), |protocol| protocol.to_uppercase())
    }

    /// The settings of a client: ours, then the user's.
    pub(crate) fn client_config(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "gristmill").set("socket.keepalive.enable", "true");
        // A broker that restarts is met again soon: the default is up to 10 s.
        config.set("reconnect.backoff.max.ms", "2000");
        for (key, value) in ours {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// A consumer, with a thread that takes its log lines and errors until it is dropped.
    pub(crate) fn consumer(
        &self,
        group: &str,
        ours: &[(&str, &str)],
    ) -> Result<Arc<KafkaConsumer>> {
        let mut config = self.client_config(ours);
        config.set("group.id", group);
        let context = ClientEvents::default();
        let consumer: KafkaConsumer =
            config.create_with_context(context).map_err(|error| self.misconfigured(&error))?;
        let consumer = Arc::new(consumer);
        take_events(&consumer)?;
        Ok(consumer)
    }

    /// A setting that librdkafka refuses.
    pub(crate) fn misconfigured(&self, error: &KafkaError) -> anyhow::Error {
        match error {
            KafkaError::ClientConfig(_, reason, key, _) => {
                anyhow!("Kafka setting `{key}` is not accepted: {reason}")
            }
            error => anyhow!("cannot make a Kafka client for {}: {error}", self.bootstrap),
        }
    }
}

/// What every consumer of ours is.
pub(crate) type KafkaConsumer = BaseConsumer<ClientEvents>;

/// What a client tells about itself beside the records.
#[derive(Debug, Default)]
pub(crate) struct ClientEvents {
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default, Clone)]
struct Trouble {
    /// The last error of the client as a whole, in librdkafka's words.
    last: Option<String>,
    /// An error that no waiting mends: wrong key, wrong certificate.
    lasting: Option<String>,
    /// Records that were not delivered, and why the first of them was not.
    undelivered: u64,
    undelivered_reason: Option<(Option<RDKafkaErrorCode>, String)>,
}

impl ClientEvents {
    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `: reason` of the last trouble, or nothing.
    pub(crate) fn last_trouble(&self) -> String {
        self.trouble().last.as_ref().map_or(String::new(), |last| format!(": {last}"))
    }

    /// Errors: a record was not delivered.
    pub(crate) fn check_delivered(&self) -> Result<()> {
        let trouble = self.trouble();
        match &trouble.undelivered_reason {
            Some((code, reason)) => {
                let error = anyhow!("{} records were not delivered: {reason}", trouble.undelivered);
                Err(match may_be_delivered_later(*code) {
                    true => error.context(Rewind::MayPass),
                    false => error,
                })
            }
            None => Ok(()),
        }
    }
}

impl ClientEvents {
    /// Records that were not delivered, and why the first of them was not.
    pub(crate) fn undelivered(&self) -> (u64, Option<String>) {
        let trouble = self.trouble();
        let reason = trouble.undelivered_reason.as_ref().map(|(_, reason)| reason.clone());
        (trouble.undelivered, reason)
    }

    /// After the records were given up on purpose.
    pub(crate) fn forget_undelivered(&self) {
        let mut trouble = self.trouble();
        (trouble.undelivered, trouble.undelivered_reason) = (0, None);
    }

    /// An error that no waiting mends.
    pub(crate) fn lasting_trouble(&self) -> Option<String> {
        self.trouble().lasting.clone()
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error too; a broker that is away would else fill the log.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "kafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "kafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        tracing::debug!(target: "kafka", ?code, "{reason}");
        let mut trouble = self.trouble();
        if code.is_some_and(is_lasting) {
            trouble.lasting = Some(reason.to_string());
        }
        // "All brokers are down" says less than the reason that came before it.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) || trouble.last.is_none() {
            trouble.last = Some(reason.to_string());
        }
    }
}

impl ConsumerContext for ClientEvents {}

impl ProducerContext for ClientEvents {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut trouble = self.trouble();
            trouble.undelivered += 1;
            let why = || (error.rdkafka_error_code(), describe(error));
            trouble.undelivered_reason.get_or_insert_with(why);
        }
    }
}

/// Whether waiting cannot mend it.
fn is_lasting(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Fatal
    )
}

/// Whether a record that was not delivered may be, if it is sent again: not if it or its topic is
/// refused.
pub(crate) fn may_be_delivered_later(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        code,
        Some(
            Code::MessageSizeTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidMessage
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::InvalidTopic
                | Code::PolicyViolation
                | Code::UnsupportedCompressionType
        )
    )
}

/// What the cluster's ACLs do not let this user do, in words.
#[derive(Debug)]
pub struct NotAllowed(String);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAllowed {}

/// An error with these words; [`NotAllowed`] where the code says that a right is missing.
pub(crate) fn refusal(code: Option<RDKafkaErrorCode>, words: String) -> anyhow::Error {
    use RDKafkaErrorCode as Code;
    match code {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => NotAllowed(words).into(),
        _ => anyhow!(words),
    }
}

/// An error in librdkafka's words, without the crate's wrapping.
pub(crate) fn describe(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Polls a consumer's own queue on a thread until nobody else holds the consumer: log lines,
/// errors. The thread is the last that holds it: its end takes time, and is not anybody else's.
fn take_events(consumer: &Arc<KafkaConsumer>) -> Result<()> {
    let consumer = consumer.clone();
    let take = move || {
        while Arc::strong_count(&consumer) > 1 {
            if let Some(Err(error)) = consumer.poll(EVENT_WAIT_MAX) {
                tracing::debug!(target: "kafka", "{error}");
            }
        }
    };
    let thread = std::thread::Builder::new().name("kafka-events".into());
    thread.spawn(take).context("cannot start a thread")?;
    Ok(())
}

/// The cluster's topics, or one of them. Blocks, at most about [`REACH_TIME_MAX`].
///
/// Errors: no broker answers; the cluster refuses us.
pub(crate) fn metadata(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    topic: Option<&str>,
) -> Result<Metadata> {
    let ask = || consumer.fetch_metadata(topic, ATTEMPT_TIME_MAX);
    asked(consumer, cluster, REACH_TIME_MAX, ask)
}

/// Asks again while the trouble may pass. Blocks, at most about `time_max`.
pub(crate) fn asked<T>(
    consumer: &KafkaConsumer,
    cluster: &Cluster,
    time_max: Duration,
    ask: impl Fn() -> Result<T, KafkaError>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let trouble = consumer.context().trouble().clone();
        if let Some(reason) = trouble.lasting {
            let reason = brief(&reason);
            bail!(
                "the Kafka cluster at {} refuses the connection: {reason}; check the security \
                 settings (security.protocol, sasl.*, ssl.*)",
                cluster.bootstrap
            );
        }
        let code = error.rdkafka_error_code();
        let passing = code.is_some_and(may_pass);
        if !passing {
            let reason = describe(&error);
            let words = format!("the Kafka cluster at {} answers: {reason}", cluster.bootstrap);
            return Err(refusal(code, words));
        }
        if question::is_given_up() {
            bail!(
                "nobody waits any more for what the Kafka cluster at {} answers",
                cluster.bootstrap
            );
        }
        if begun.elapsed() >= time_max {
            let reason = trouble.last.unwrap_or_else(|| describe(&error));
            let reason = brief(&reason);
            let error = anyhow!(
                "cannot reach a Kafka broker at {}: {reason}; is it running, and does it speak {}? (waited {} s; the \
                 address comes from `brokers`, --bootstrap or the cluster in use)",
                cluster.bootstrap,
                cluster.security_protocol(),
                begun.elapsed().as_secs()
            );
            return Err(error.context(Rewind::MayPass));
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// What librdkafka adds in brackets helps nobody: `(after 0ms in state CONNECT, …)`.
fn brief(reason: &str) -> &str {
    reason.split(" (after ").next().unwrap_or(reason)
}

/// Whether librdkafka, or asking again, can get over it.
pub(crate) fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::Resolve
            | Code::RequestTimedOut
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::Retry
            | Code::Fail
    )
}

/// A topic that is not there, with those that are.
pub(crate) fn no_topic(consumer: &KafkaConsumer, cluster: &Cluster, topic: &str) -> anyhow::Error {
    let all = match metadata(consumer, cluster, None) {
        Ok(all) => all,
        Err(error) => return error,
    };
    let names = all.topics().iter().map(|topic| topic.name());
    let mut names: Vec<_> = names.filter(|name| !is_internal(name)).collect();
    names.sort_unstable();
    let there = if names.is_empty() { "it has none".to_string() } else { listed(&names) };
    anyhow!(
        "there is no topic `{topic}` on the Kafka cluster at {} ({there}); make it with \
         `gristmill topic create {topic}`",
        cluster.bootstrap
    )
}

/// Most names that a message lists.
const NAMES_LISTED_MAX: usize = 20;

pub(crate) fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMES_LISTED_MAX);
    let shown = names.iter().take(NAMES_LISTED_MAX).map(|name| format!("`{name}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    if more > 0 { format!("it has {shown} and {more} more") } else { format!("it has {shown}") }
}

/// Topics of a cluster's own.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic.starts_with("__")
}
