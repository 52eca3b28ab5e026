//! Sends records to one topic and knows how many arrived.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::task::block_in_place;

use crate::cluster::client_config;
use crate::records::Record;

/// Records that wait for the broker, at most: 200,000, or 256 MiB.
const QUEUE_RECORDS_MAX: &str = "200000";
const QUEUE_KBYTES_MAX: &str = "262144";

/// How long records gather before they are sent together, in ms.
const LINGER_MS: &str = "5";

/// Pause before a full queue is tried again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// How long the last records may take to arrive.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(60);

/// A producer of one topic. Keys meet partitions as in the Java client and Spark (murmur2).
pub struct Sender {
    topic: String,
    producer: ThreadedProducer<Deliveries>,
}

/// Counts what the broker has acknowledged.
#[derive(Default)]
struct Deliveries {
    arrived: AtomicU64,
    failure: Mutex<Option<KafkaError>>,
}

impl Sender {
    pub fn new(bootstrap: &str, topic: &str) -> Result<Sender> {
        let producer = client_config(bootstrap)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", LINGER_MS)
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX)
            .create_with_context(Deliveries::default())
            .context("cannot make a producer")?;
        Ok(Sender { topic: topic.to_owned(), producer })
    }

    /// Hands a record over; waits while too many are on their way.
    ///
    /// # Errors
    /// This record cannot be sent, or an earlier one did not arrive.
    pub async fn send(&self, record: &Record) -> Result<()> {
        self.check()?;
        loop {
            let mut message = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(&record.value);
            if let Some(key) = &record.key {
                message = message.key(key);
            }
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((error, _)) if is_queue_full(&error) => {
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("cannot send to `{}`", self.topic));
                }
            }
        }
    }

    /// Waits for the last record and returns how many have arrived.
    ///
    /// # Errors
    /// One did not arrive.
    pub fn finish(&self) -> Result<u64> {
        let flushed = block_in_place(|| self.producer.flush(FLUSH_TIME_MAX));
        self.check()?;
        flushed.with_context(|| {
            let waiting = self.producer.in_flight_count();
            format!("{waiting} records did not reach topic `{}`", self.topic)
        })?;
        Ok(self.arrived())
    }

    /// Records that the broker has acknowledged so far.
    pub fn arrived(&self) -> u64 {
        self.producer.context().arrived.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<()> {
        let failure = self.producer.context().failure.lock();
        if let Some(error) = failure.ok().as_deref().and_then(Option::as_ref) {
            bail!("a record did not reach topic `{}`: {error}", self.topic);
        }
        Ok(())
    }
}

fn is_queue_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        match delivery {
            Ok(_) => {
                self.arrived.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                if let Ok(mut failure) = self.failure.lock() {
                    failure.get_or_insert_with(|| error.clone());
                }
            }
        }
    }
}
