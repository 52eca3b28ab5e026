//! Kafka and Delta Lake at the ends of a pipeline.
//!
//! From the outside in: `open` joins a plan with its source, sinks and dead letters; `kafka_source`
//! and `kafka_sink` are topics of any cluster, the built-in broker among them; `delta_sink` is a
//! table. `admin`, `access` and `delta_table` are for people at a terminal.

pub mod access;
pub mod admin;
pub mod delta_table;

mod open;

mod dead_letter_sink;
mod kafka_sink;
mod kafka_source;

mod delta_sink;

mod delta_checkpoint;
mod delta_open;

mod delta_commit;
mod delta_location;
mod delta_log;
mod delta_schema;

mod kafka_client;
mod kafka_producer;
mod message_queue;
mod record_columns;
mod record_json;

pub use dead_letter_sink::DeadLetterTopic;
pub use delta_sink::{DeltaSink, DeltaSinkSetup};
pub use kafka_client::Cluster;
pub use kafka_sink::{KafkaSink, KafkaSinkSetup};
pub use kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};
pub use open::{BuiltIn, open};

#[cfg(test)]
mod kafka_tests;
