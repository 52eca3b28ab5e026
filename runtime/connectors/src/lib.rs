//! Kafka and Delta Lake at the ends of a pipeline.
//!
//! From the outside in: `open` joins a plan with its source, sinks and dead letters, `reopen`
//! with other ones while it runs; `kafka_source`
//! and `kafka_sink` are topics of any cluster, the built-in broker among them, `kafka_group` and
//! `topic_store` what makes them exactly once; `delta_sink` is a table. `admin`, `access`, `groups`,
//! `answered_producer`, `delta_table`, `delta_optimize`, `delta_upkeep`, `stored_records` and `replay`
//! are for people at a terminal.

pub mod access;
pub mod admin;
pub mod answered_producer;
pub mod delta_optimize;
pub mod delta_table;
pub mod delta_upkeep;
pub mod groups;
pub mod message_page;
pub mod replay;
pub mod stored_records;
pub mod viewer;

mod open;
mod reopen;

mod dead_letter_sink;
mod kafka_sink;
mod kafka_source;

mod group_cursors;
mod kafka_group;
mod topic_store;

mod transaction;

mod table_progress;

mod delta_sink;

mod delta_checkpoint;
mod delta_open;

mod delta_commit;
mod delta_location;
mod delta_log;
mod delta_schema;
mod s3_store;

mod kafka_client;
mod kafka_producer;
mod log_sizes;
mod message_queue;
mod native_admin;
mod offset_ranges;
mod question;
mod recent;
mod record_columns;
mod record_json;
mod replay_progress;
mod topic_changes;

pub use delta_sink::{DeltaSink, DeltaSinkSetup};
pub use kafka_client::{Cluster, NotAllowed};
pub use kafka_source::{KafkaSource, KafkaSourceSetup, READ_TIME_MAX};
pub use log_sizes::LogSizes;
pub use open::{Process, open, open_to_reload};
pub use replay_progress::ReplayProgress;

#[cfg(test)]
mod kafka_tests;
