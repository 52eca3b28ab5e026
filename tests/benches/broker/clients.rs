//! The load: one librdkafka producer, then one consumer, on a topic of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

/// How long one load may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// One line of the table.
pub struct Load {
    record_bytes: usize,
    acks: &'static str,
    pub partitions: i32,
    records: usize,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { record_bytes, acks, partitions, .. } = self;
        write!(f, "{record_bytes} B, acks={acks}, {partitions} part.")
    }
}

impl Load {
    pub fn all(megabytes: usize) -> Vec<Load> {
        let mut all = Vec::new();
        for record_bytes in [100, 500] {
            for acks in ["1", "all"] {
                for partitions in [1, 4] {
                    let records = megabytes * 1_000_000 / record_bytes;
                    all.push(Load { record_bytes, acks, partitions, records });
                }
            }
        }
        all
    }

    /// A name for the topic of one round.
    pub fn topic(&self, round: usize) -> String {
        format!("load-{}-{}-{}-{round}", self.record_bytes, self.acks, self.partitions)
    }

    pub fn bytes(&self) -> usize {
        self.records * self.record_bytes
    }

    pub fn produce(&self, bootstrap: &str, topic: &str) -> Result<()> {
        let failed = Arc::new(AtomicUsize::new(0));
        let producer: BaseProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", self.acks)
            .set("linger.ms", "50")
            .set("batch.size", "500000")
            .set("queue.buffering.max.messages", "500000")
            .create_with_context(Deliveries { failed: Arc::clone(&failed) })
            .context("cannot make a producer")?;
        let payload: Vec<u8> =
            (0..self.record_bytes).map(|place| b'a' + (place % 23) as u8).collect();
        for number in 0..self.records {
            let partition = number as i32 % self.partitions;
            let mut record =
                BaseRecord::<(), [u8]>::to(topic).payload(&payload).partition(partition);
            while let Err((error, refused)) = producer.send(record) {
                ensure!(is_full(&error), "cannot send: {error}");
                producer.poll(Duration::from_millis(10));
                record = refused;
            }
            if number % 1_000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(DEADLINE).context("records are left unsent")?;
        let failed = failed.load(Ordering::Relaxed);
        ensure!(failed == 0, "{failed} records were not delivered");
        Ok(())
    }

    pub fn consume(&self, bootstrap: &str, topic: &str) -> Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("fetch.queue.backoff.ms", "5") // default: a second, whenever the application is slower
            .create()
            .context("cannot make a consumer")?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let (mut records, mut bytes, began) = (0, 0, Instant::now());
        while records < self.records {
            ensure!(began.elapsed() < DEADLINE, "{records} of {} records came", self.records);
            if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                records += 1;
                bytes += record.context("cannot consume")?.payload_len();
            }
        }
        ensure!(bytes == self.bytes(), "{bytes} bytes came");
        Ok(())
    }
}

fn is_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

/// Counts the records that did not arrive.
struct Deliveries {
    failed: Arc<AtomicUsize>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if delivery.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .context("cannot make an admin client")
}

/// Makes a topic and waits until every partition has a leader.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    let admin = admin(bootstrap)?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = futures::executor::block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
    for result in made {
        result.map_err(|(topic, code)| anyhow::anyhow!("cannot make topic `{topic}`: {code}"))?;
    }
    let began = Instant::now();
    loop {
        let metadata = admin.inner().fetch_metadata(Some(topic), DEADLINE)?;
        let led = metadata.topics().iter().flat_map(|topic| topic.partitions());
        if led.filter(|partition| partition.leader() >= 0).count() == partitions as usize {
            return Ok(());
        }
        if began.elapsed() > DEADLINE {
            bail!("topic `{topic}` has no leaders");
        }
    }
}

pub fn delete_topic(bootstrap: &str, topic: &str) -> Result<()> {
    let admin = admin(bootstrap)?;
    futures::executor::block_on(admin.delete_topics(&[topic], &AdminOptions::new()))?;
    Ok(())
}
