//! What the engine asks of a sink. Implemented for topics and Delta tables in `connectors`.
//!
//! Invariant: a sink stores, together with its data and in the same atomic act where its store allows it, the cursor:
//! the next source offset, per partition, below which everything is stored. The engine keeps no other state.

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::cursors::Cursors;
use crate::offsets::{Offsets, TopicPartition};

/// One sink of one pipeline.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The cursors that the sink has stored for these partitions; those it does not know are left out.
    async fn cursors(&self, partitions: &[TopicPartition]) -> anyhow::Result<Offsets>;

    /// A writer for one lane (partition). Lanes write in parallel, each on a thread that may block.
    fn writer(&self) -> anyhow::Result<Box<dyn SinkWriter>>;
}

/// Makes durable what one or several sinks have taken, together with their cursors, in one atomic act: a Kafka
/// transaction over topics, a version of a table.
#[async_trait]
pub trait Commit: Send + Sync {
    /// All lanes have written everything below `cursors` (all partitions of this process, also those without new rows).
    /// Stores data and cursors if the sinks' own rule says that it is time, or if `now`. Returns what became durable, by
    /// the sink's index in the plan; nothing if the sinks go on collecting.
    ///
    /// Errors that carry [`Rewind`](crate::failure::Rewind): call [`abort`](Commit::abort), read the cursors, run again.
    async fn commit(&self, cursors: &Cursors, now: bool)
    -> anyhow::Result<Vec<(usize, Committed)>>;

    /// Drops everything written since the last commit; writers made before are of no use any more. Whether a commit that
    /// failed has happened all the same is told by the cursors alone.
    async fn abort(&self) -> anyhow::Result<()>;
}

/// Takes the rows of one lane.
pub trait SinkWriter: Send {
    /// Takes rows in the sink's schema. They count only after the next `commit`.
    fn write(&mut self, rows: &SinkRows) -> anyhow::Result<()>;
}

/// Rows on their way into a sink.
#[derive(Debug, Clone)]
pub struct SinkRows {
    pub partition: TopicPartition,
    /// The columns that the sink asked for, in its order.
    pub rows: RecordBatch,
    /// Source offset of every row, for the sinks that write it down. Ascending, may repeat (flatten).
    pub offsets: Vec<i64>,
}

/// What one commit made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub rows: u64,
    pub cursors: Offsets,
    /// A table version, a transaction: for people.
    pub detail: String,
}
