//! Dead letters into a topic of the source's cluster: the record as it was, with headers that say
//! where it came from and why it is here.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use async_trait::async_trait;
use gristmill_engine::dead_letter::{DeadLetter, DeadLetterSink};
use gristmill_engine::offsets::{Offsets, TopicPartition};

use crate::kafka_producer::TopicProducer;
use crate::topic_store::TopicStore;

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
        let headers = letter.letter_headers();
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
