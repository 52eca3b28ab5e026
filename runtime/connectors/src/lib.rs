//! Kafka and Delta Lake at the ends of a pipeline.

mod delta_checkpoint;
mod delta_commit;
mod delta_location;
mod delta_log;
mod delta_open;
mod delta_schema;
mod delta_sink;
pub mod delta_table;

pub use delta_sink::{DeltaSink, DeltaSinkSetup};
