//! Dead letters into a topic of the source's cluster: the record as it was, with headers that say
//! where it came from and why it is here.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use gristmill_engine::dead_letter::{DeadLetter, DeadLetterSink};

use crate::kafka_producer::TopicProducer;

/// A longer reason is cut: some brokers limit a record to 1 MiB, and the record itself goes before.
const REASON_BYTES_MAX: usize = 8 << 10;

/// See the module documentation.
pub struct DeadLetterTopic {
    producer: Arc<TopicProducer>,
}

impl DeadLetterTopic {
    pub(crate) fn new(producer: TopicProducer) -> DeadLetterTopic {
        DeadLetterTopic { producer: Arc::new(producer) }
    }
}

#[async_trait]
impl DeadLetterSink for DeadLetterTopic {
    fn write(&self, letter: DeadLetter) -> Result<()> {
        let headers = headers(&letter);
        let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
        self.producer.send_with_headers(key, value, &headers).context("cannot store a dead letter")
    }

    async fn flush(&self) -> Result<()> {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || producer.flush())
            .await?
            .context("cannot store dead letters")
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
    use gristmill_engine::offsets::TopicPartition;

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
