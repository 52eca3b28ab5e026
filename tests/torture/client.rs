//! What all clients here have in common: their settings and the topics.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// Partitions of `plain` and `committed`.
pub const PARTITIONS: i32 = 2;
/// Of the transactional producer's offsets.
pub const GROUP: &str = "torture";

/// A client that never gives up on a broker that is away, and comes back soon.
pub fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "40")
        .set("retry.backoff.ms", "10")
        .set("log_level", "2"); // refused connections are what this is about
    config
}

pub fn create_topics(address: &str) {
    let admin: AdminClient<DefaultClientContext> = config(address).create().unwrap();
    let topic = |name, partitions| NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topics = [
        // Small segments: rolls, indexes and snapshots are killed too.
        topic("plain", PARTITIONS).set("segment.bytes", "200000"),
        topic("committed", PARTITIONS).set("segment.bytes", "100000"),
        topic("state", 1)
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "20000")
            .set("min.cleanable.dirty.ratio", "0.01"),
    ];
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let created = runtime.block_on(admin.create_topics(&topics, &options)).unwrap();
    created.into_iter().for_each(|topic| drop(topic.unwrap()));
}
