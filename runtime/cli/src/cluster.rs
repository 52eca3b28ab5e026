//! A Kafka cluster as the commands `topic …` see it: its topics, their partitions and offsets.
//!
//! Blocking calls of librdkafka run in place, on a thread that the runtime replaces meanwhile.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::block_in_place;

use crate::user_error::UserError;

/// How long a broker may take to answer anything.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Names with this beginning are Kafka's own topics.
const INTERNAL_PREFIX: &str = "__";

/// A connection for questions and orders; records go through `rdkafka` itself.
pub struct Cluster {
    bootstrap: String,
    client: BaseConsumer,
}

/// A topic's name and how many partitions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
}

/// The offsets that a partition holds: `start` is the oldest record's, `end` the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    pub partition: i32,
    pub start: i64,
    pub end: i64,
}

impl Offsets {
    /// The most records that the partition can hold.
    pub fn records(&self) -> i64 {
        self.end - self.start
    }
}

/// What every client of ours says to librdkafka.
pub fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "gristmill");
    config
}

impl Cluster {
    /// Connects and sees that a broker answers.
    ///
    /// # Errors
    /// No broker answers at `bootstrap` within ten seconds.
    pub fn connect(bootstrap: &str) -> Result<Cluster> {
        let client: BaseConsumer = client_config(bootstrap).create().map_err(|error| {
            UserError::new(format!("cannot use --bootstrap {bootstrap}: {error}"))
        })?;
        let cluster = Cluster { bootstrap: bootstrap.to_owned(), client };
        cluster.topics()?;
        Ok(cluster)
    }

    /// The users' topics, by name.
    pub fn topics(&self) -> Result<Vec<Topic>> {
        let metadata = block_in_place(|| self.client.fetch_metadata(None, ANSWER_TIME_MAX))
            .map_err(|error| self.unreachable(error))?;
        let mut topics: Vec<Topic> = metadata
            .topics()
            .iter()
            .filter(|topic| !topic.name().starts_with(INTERNAL_PREFIX))
            .map(|topic| Topic {
                name: topic.name().to_owned(),
                partitions: topic.partitions().len() as i32,
            })
            .collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// The topic called `name`.
    ///
    /// # Errors
    /// There is none; the message says which there are.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let topics = self.topics()?;
        let found = topics.iter().find(|topic| topic.name == name).cloned();
        Ok(found.ok_or_else(|| no_such_topic(name, &topics))?)
    }

    /// What each partition of the topic holds.
    pub fn offsets(&self, topic: &Topic) -> Result<Vec<Offsets>> {
        let of = |partition| {
            let watermarks = block_in_place(|| {
                self.client.fetch_watermarks(&topic.name, partition, ANSWER_TIME_MAX)
            });
            let (start, end) = watermarks.map_err(|error| self.unreachable(error))?;
            Ok(Offsets { partition, start, end })
        };
        (0..topic.partitions).map(of).collect()
    }

    /// Makes a topic with one replica per partition.
    ///
    /// # Errors
    /// The topic exists, or the broker refuses its name or a setting.
    pub async fn create(&self, topic: &Topic, settings: &[(String, String)]) -> Result<()> {
        let replication = TopicReplication::Fixed(1);
        let mut new = NewTopic::new(&topic.name, topic.partitions, replication);
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let created = self.admin()?.create_topics([&new], &options()).await;
        let refusal = |code| match code {
            RDKafkaErrorCode::TopicAlreadyExists => format!("topic `{}` exists", topic.name),
            code => format!("cannot make topic `{}`: {code}", topic.name),
        };
        self.settle(created, refusal)
    }

    /// Deletes a topic and its records.
    pub async fn delete(&self, topic: &Topic) -> Result<()> {
        let deleted = self.admin()?.delete_topics(&[&topic.name], &options()).await;
        self.settle(deleted, |code| format!("cannot delete topic `{}`: {code}", topic.name))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(client_config(&self.bootstrap).create()?)
    }

    fn settle(
        &self,
        answer: rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>,
        refusal: impl Fn(RDKafkaErrorCode) -> String,
    ) -> Result<()> {
        for result in answer.map_err(|error| self.unreachable(error))? {
            result.map_err(|(_, code)| UserError::new(refusal(code)))?;
        }
        Ok(())
    }

    fn unreachable(&self, error: impl Display) -> UserError {
        UserError::new(format!(
            "cannot reach a Kafka broker at {}: {error}\n\
             help: start the built-in one with `gristmill broker`, or name another with --bootstrap",
            self.bootstrap
        ))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIME_MAX))
        .operation_timeout(Some(ANSWER_TIME_MAX))
}

fn no_such_topic(name: &str, topics: &[Topic]) -> UserError {
    let names: Vec<String> = topics.iter().map(|topic| format!("`{}`", topic.name)).collect();
    let there = match names.is_empty() {
        true => "the broker has no topics".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    UserError::new(format!(
        "no topic `{name}`: {there}\nhelp: make it with `gristmill topic create {name}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_topic_is_answered_with_those_that_exist() {
        let topics = ["orders", "orders-chicago"];
        let topics = topics.map(|name| Topic { name: name.to_owned(), partitions: 1 });
        assert_eq!(
            no_such_topic("ordres", &topics).to_string(),
            "no topic `ordres`: there are `orders`, `orders-chicago`\n\
             help: make it with `gristmill topic create ordres`"
        );
        assert!(no_such_topic("orders", &[]).to_string().contains("has no topics"));
    }
}
