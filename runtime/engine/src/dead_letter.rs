//! Records that a stage could not process, on their way to where people look at them.
//!
//! A dead letter is the original record, byte for byte, with what is known about the failure. Letters have a cursor of
//! their own, stored with them: a restart writes none of them twice.

use std::sync::Arc;

use async_trait::async_trait;

use crate::offsets::{Offsets, TopicPartition};

/// One record that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The record's own headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Where the record stands in the source.
    pub partition: TopicPartition,
    pub offset: i64,
    /// The record's own time, in ms since 1970 UTC; absent if it has none.
    pub timestamp_ms: Option<i64>,
    /// The stage that failed.
    pub stage: Arc<str>,
    /// Hash of that stage's module, in hex.
    pub module_hash: Arc<str>,
    /// Why, in the stage's words or the host's.
    pub reason: String,
}

/// Takes dead letters. Implemented for topics in `connectors`, where the transaction of the topic sinks holds them too.
#[async_trait]
pub trait DeadLetterSink: Send + Sync {
    /// The cursors stored with the letters: letters of records below them are there already. Partitions without one are
    /// left out.
    async fn cursors(&self, partitions: &[TopicPartition]) -> anyhow::Result<Offsets>;

    /// Takes one letter; it counts from the next commit on. Called from lanes, on threads that may block.
    ///
    /// Errors: the letters can no longer be stored.
    fn write(&self, letter: DeadLetter) -> anyhow::Result<()>;
}
