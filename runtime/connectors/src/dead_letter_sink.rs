//! Dead letters into a topic of the source's cluster: the record as it was, with headers that say
//! where it came from and why it is here.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use async_trait::async_trait;
use gristmill_engine::dead_letter::{DeadLetter, DeadLetterSink};
use gristmill_engine::offsets::{Offsets, TopicPartition};

use crate::kafka_producer::TopicProducer;
use crate::topic_store::TopicStore;

/// A longer reason is cut: some brokers limit a record to 1 MiB, and the record itself goes before.
const REASON_BYTES_MAX: usize = 8 << 10;

/// One topic of a store.
pub(crate) struct DeadLetterTopic {
    store: Arc<TopicStore>,
    output: usize,
    topic: String,
    producer: Mutex<Option<TopicProducer>>,
}

impl DeadLetterTopic {
    pub(crate) fn new(store: Arc<TopicStore>, output: usize, topic: &str) -> DeadLetterTopic {
        DeadLetterTopic { store, output, topic: topic.to_string(), producer: Mutex::default() }
    }
}

#[async_trait]
impl DeadLetterSink for DeadLetterTopic {
    /// Asked for before lanes are opened: a producer that was replaced meanwhile is let go.
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.store.cursors(self.output, partitions).await
    }

    fn write(&self, letter: DeadLetter) -> Result<()> {
        let headers = headers(&letter);
        let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = match &mut *producer {
            Some(producer) => producer,
            vacant => vacant.insert(self.store.topic(&self.topic)?),
        };
        self.store.sending(self.output, 1)?;
        producer.send_with_headers(key, value, &headers).context("cannot store a dead letter")
    }
}

/// The record's own headers, then ours.
fn headers(letter: &DeadLetter) -> Vec<(String, Option<Vec<u8>>)> {
    let timestamp = letter.timestamp_ms.map_or(String::new(), |time_ms| time_ms.to_string());
    let ours = [
        ("gristmill.topic", letter.partition.topic.to_string()),
        ("gristmill.partition", letter.partition.partition.to_string()),
        ("gristmill.offset", letter.offset.to_string()),
        ("gristmill.timestamp", timestamp),
        ("gristmill.stage", letter.stage.to_string()),
        ("gristmill.module", letter.module_hash.to_string()),
        ("gristmill.reason", cut(&letter.reason).to_string()),
    ];
    let ours = ours.into_iter().map(|(name, text)| (name.to_string(), Some(text.into_bytes())));
    letter.headers.iter().cloned().chain(ours).collect()
}

/// At most [`REASON_BYTES_MAX`], between two characters.
fn cut(reason: &str) -> &str {
    let ends = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = ends.take_while(|end| *end <= REASON_BYTES_MAX).last().unwrap_or(0);
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_keeps_its_own_headers_and_says_where_it_came_from() {
        let letter = DeadLetter {
            key: None,
            value: None,
            headers: vec![("trace".into(), None), ("trace".into(), Some(b"2".to_vec()))],
            partition: TopicPartition::new("orders", 3),
            offset: 42,
            timestamp_ms: None,
            stage: "parse".into(),
            module_hash: "ab12".into(),
            reason: "é".repeat(REASON_BYTES_MAX),
        };
        let headers = headers(&letter);
        assert_eq!(headers[1], ("trace".to_string(), Some(b"2".to_vec())));
        assert!(headers.contains(&("gristmill.offset".to_string(), Some(b"42".to_vec()))));
        assert!(headers.contains(&("gristmill.timestamp".to_string(), Some(Vec::new()))));
        assert_eq!(headers[8].1.as_ref().map(Vec::len), Some(REASON_BYTES_MAX));
    }
}
