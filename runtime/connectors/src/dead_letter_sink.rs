//! Dead letters into a topic of the source's cluster: the record as it was, with headers that say
//! where it came from and why it is here.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use gristmill_engine::dead_letter::{DeadLetter, DeadLetterSink};

use crate::kafka_producer::TopicProducer;

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
        let headers = letter.letter_headers();
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
