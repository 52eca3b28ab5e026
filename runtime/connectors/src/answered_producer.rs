//! A producer that tells of each record where it went: for people who type records. [`RecordProducer`] is faster.
//!
//! [`RecordProducer`]: crate::admin::RecordProducer

use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};

use crate::admin;
use crate::kafka_client::{self, ClientEvents, Cluster};
use crate::kafka_producer::{self, owned_headers};

/// One wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// Sends records to one topic. Keys are hashed as the Java client does (murmur2).
pub struct AnsweredProducer {
    producer: FutureProducer<ClientEvents>,
    topic: String,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// The answer to one record, which comes later.
pub struct Answer(DeliveryFuture);

impl AnsweredProducer {
    /// Errors: there is no such topic, no broker answers. Nothing is made.
    pub async fn open(cluster: &Cluster, topic: &str) -> Result<AnsweredProducer> {
        admin::require_topic(cluster, topic).await?;
        let mut settings = kafka_producer::SETTINGS.to_vec();
        // Somebody waits for every record.
        settings.extend([("delivery.report.only.error", "false"), ("linger.ms", "0")]);
        let producer = cluster
            .client_config(&settings)
            .create_with_context(ClientEvents::default())
            .map_err(|error| cluster.misconfigured(&error))?;
        Ok(AnsweredProducer { producer, topic: topic.to_owned() })
    }

    /// Hands one record over; blocks while too many are on their way.
    ///
    /// Errors: librdkafka does not take it.
    pub fn send(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<Answer> {
        loop {
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic);
            (record.key, record.payload) = (key, value);
            if !headers.is_empty() {
                record = record.headers(owned_headers(headers));
            }
            match self.producer.send_result(record) {
                Ok(delivery) => return Ok(Answer(delivery)),
                Err((error, _))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    std::thread::park_timeout(ROOM_WAIT);
                }
                Err((error, _)) => {
                    let (topic, why) = (&self.topic, kafka_client::describe(&error));
                    return Err(anyhow!("cannot send a record to topic `{topic}`: {why}"));
                }
            }
        }
    }
}

impl Answer {
    /// Waits for it.
    ///
    /// Errors: the record was not delivered.
    pub async fn place(self) -> Result<Place> {
        match self.0.await {
            Ok(Ok(delivery)) => {
                Ok(Place { partition: delivery.partition, offset: delivery.offset })
            }
            Ok(Err((error, _))) => {
                Err(anyhow!("not delivered: {}", kafka_client::describe(&error)))
            }
            Err(_) => Err(anyhow!("not delivered: the producer has ended")),
        }
    }
}
