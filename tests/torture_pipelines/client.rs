//! The harness's own clients: settings, topics, and reading a topic to its end.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::support::{self, DEADLINE};

/// Of every topic.
pub const PARTITIONS: i32 = 6;

/// A client that never gives up on a broker that is away, and comes back soon.
pub fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "10")
        .set("log_level", "2"); // refused connections are what this is about
    config
}

pub fn create_topics(address: &str, replicas: i32) {
    let admin: AdminClient<DefaultClientContext> = config(address).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for topic in ["in", "out", "letters"] {
        support::wait_for(topic, || {
            let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(replicas));
            match runtime.block_on(admin.create_topics(&[new], &options)) {
                Ok(created) => match created.first()? {
                    Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Some(()),
                    Err((_, code)) => println!("topic `{topic}` is not made yet: {code}"),
                },
                Err(error) => println!("topic `{topic}` is not made yet: {error}"),
            }
            None
        });
    }
}

/// A consumer of committed records that reads these partitions from their beginning.
pub fn reader(address: &str, topic: &str, partitions: std::ops::Range<i32>) -> BaseConsumer {
    let mut config = config(address);
    let consumer: BaseConsumer = config
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in partitions {
        all.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
    }
    consumer.assign(&all).unwrap();
    consumer
}

/// All records of a topic, partition by partition, as a consumer of committed records gets them.
pub fn read(address: &str, topic: &str) -> Vec<OwnedMessage> {
    let mut records = Vec::new();
    for partition in 0..PARTITIONS {
        let consumer = reader(address, topic, partition..partition + 1);
        loop {
            match consumer.poll(DEADLINE) {
                Some(Ok(message)) => records.push(message.detach()),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                // Not that a connection is lost, which mends itself.
                Some(Err(KafkaError::MessageConsumption(error))) if is_of_the_network(error) => {}
                other => panic!("{topic}-{partition} can't be read to its end: {other:?}"),
            }
        }
    }
    records
}

/// Who belongs to a group.
pub struct Members {
    client: BaseConsumer,
    group: String,
}

impl Members {
    pub fn of(address: &str, group: &str) -> Members {
        Members { client: config(address).create().unwrap(), group: group.to_owned() }
    }

    /// How many there are; absent: the group shares out at this moment, or is not known yet.
    pub fn stable(&self) -> Option<usize> {
        let groups = self.client.fetch_group_list(Some(&self.group), DEADLINE).ok()?;
        let group = groups.groups().iter().find(|group| group.name() == self.group)?;
        (group.state() == "Stable").then(|| group.members().len())
    }
}

fn is_of_the_network(error: rdkafka::types::RDKafkaErrorCode) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(error, Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut)
}

/// Where a record stands.
pub fn place(record: &OwnedMessage) -> (i32, i64) {
    (record.partition(), record.offset())
}
