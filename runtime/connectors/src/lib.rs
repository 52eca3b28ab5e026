//! Kafka and Delta Lake at the ends of a pipeline.
//!
//! From the outside in: `open` joins a plan with its source, sinks and dead letters; `kafka_source`
//! and `kafka_sink` are topics of any cluster, the built-in broker among them, `kafka_group` and
//! `topic_store` what makes them exactly once; `delta_sink` is a table. `admin`, `access`, `delta_table`,
//! `stored_records` and `replay` are for people at a terminal.

pub mod access;
pub mod admin;
pub mod delta_table;
pub mod replay;
pub mod stored_records;

mod open;

mod dead_letter_sink;
mod kafka_sink;
mod kafka_source;

mod group_cursors;
mod kafka_group;
mod topic_store;
mod transaction;

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
mod replay_progress;

pub use delta_sink::{DeltaSink, DeltaSinkSetup};
pub use kafka_client::Cluster;
pub use kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};
pub use open::{Process, open};
pub use replay_progress::ReplayProgress;

#[cfg(test)]
mod kafka_tests;
