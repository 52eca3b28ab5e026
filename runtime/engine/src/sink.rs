//! What the engine asks of a sink. Implemented for topics and Delta tables in `connectors`.
//!
//! Invariant: a sink stores, together with its data and in the same atomic act where its store allows it, the cursor:
//! the next source offset, per partition, below which everything is stored. The engine keeps no other state.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;

use crate::cursors::Cursors;
use crate::offsets::{Offsets, TopicPartition};

/// One sink of one pipeline.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The cursors that the sink has stored for these partitions; those it does not know are left out.
    ///
    /// Errors with [`Unsettled`]: of some of them that cannot be said yet.
    async fn cursors(&self, partitions: &[TopicPartition]) -> anyhow::Result<Offsets>;

    /// Of these partitions, those that were there before the sink: its store holds cursors of other sinks of the pipeline
    /// for them, and none of this one. None, if the sink has its store for itself.
    async fn older(
        &self,
        partitions: &[TopicPartition],
    ) -> anyhow::Result<BTreeSet<TopicPartition>>;

    /// Stores where the sink begins, of which no cursor is stored, in all partitions at once, those of other processes
    /// too. Without effect if the store cannot do that for several processes: each of them then stores its own with its
    /// first commit.
    ///
    /// Errors: as [`Commit::commit`]; [`Fenced`](crate::failure::Rewind::Fenced) if another process was faster.
    async fn begin(&self, starts: &Offsets) -> anyhow::Result<()>;

    /// A writer for one lane (partition). Lanes write in parallel, each on a thread that may block.
    fn writer(&self) -> anyhow::Result<Box<dyn SinkWriter>>;

    /// Rows that are written from now on are made by this code. Everything that was written before is committed.
    fn made_by(&self, code: &Arc<Provenance>);
}

/// Partitions over which another process holds a transaction: where their cursors are shows when it has ended.
#[derive(Debug)]
pub struct Unsettled(pub BTreeSet<TopicPartition>);

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another process holds a transaction over {} partitions", self.0.len())
    }
}

impl std::error::Error for Unsettled {}

/// Which code makes the rows of a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Of the plan: 1 when the process starts, one more with every reload.
    pub generation: u64,
    /// Stage and hash of its module, for each stage on the way from the source to the sink, in that order.
    pub modules: Vec<(String, String)>,
}

/// What a commit is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The sinks' own rule says whether it is time.
    Due,
    /// The flow stands until it is done: what may come later is left to later.
    Now,
    /// Nothing comes after it for a while: what goes on beside the commits comes to its end too.
    Last,
}

/// Makes durable what one or several sinks have taken, together with their cursors, in one atomic act: a Kafka
/// transaction over topics, a version of a table.
#[async_trait]
pub trait Commit: Send + Sync {
    /// All lanes have written everything below `cursors` (all partitions of this process, also those without new rows).
    /// Stores data and cursors if `when` wants it. Returns what became durable, by the sink's index in the plan; nothing
    /// if the sinks go on collecting.
    ///
    /// Errors that carry [`Rewind`](crate::failure::Rewind): call [`abort`](Commit::abort), read the cursors, run again.
    async fn commit(
        &self,
        cursors: &Cursors,
        when: When,
    ) -> anyhow::Result<Vec<(usize, Committed)>>;

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
