//! A producer of records to one cluster. Many threads may send; delivery failures are kept until
//! somebody asks.
//!
//! Records are handed to librdkafka with its plainest call, one copy each and no allocation of
//! ours. All `unsafe` code about producing is here. What a transaction holds is `topic_store`'s.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use gristmill_engine::failure::Rewind;
use rdkafka::bindings as librdkafka;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr;

use crate::kafka_client::{ClientEvents, Cluster, may_be_delivered_later};
use crate::kafka_group;

/// A flush waits a little longer than a delivery may take (`message.timeout.ms`), so that it hears
/// of the failure.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(150);

/// One wait for deliveries: first and at most.
const FLUSH_WAIT_MIN: Duration = Duration::from_millis(1);
const FLUSH_WAIT_MAX: Duration = Duration::from_millis(16);

/// librdkafka's `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const PARTITION_BY_KEY: i32 = -1;

/// One wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// What we set of librdkafka, and why.
const SETTINGS: [(&str, &str); 9] = [
    // Retries neither double nor reorder records.
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // The same key meets the same partition whoever writes it: the Java client's and Spark's hash.
    ("partitioner", "murmur2_random"),
    // A flush sends at once, so this costs no latency at the end of a micro-batch.
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "262144"),
    // Transient failures are retried until then.
    ("message.timeout.ms", "120000"),
    // Deliveries are counted by librdkafka; only failures come back one by one.
    ("delivery.report.only.error", "true"),
];

/// What a producer with a transactional id is set to on top.
const TRANSACTIONAL_SETTINGS: [(&str, &str); 2] = [
    // Longer than the longest micro-batch; as long do others wait for a process that died in one.
    ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
    // librdkafka wants a record to be given up before its transaction is.
    ("message.timeout.ms", TRANSACTION_TIMEOUT_MS),
];

const TRANSACTION_TIMEOUT_MS: &str = "60000";

/// A connection to one cluster through which records are sent, to any of its topics.
pub(crate) struct ProducerClient {
    bootstrap: String,
    producer: ThreadedProducer<ClientEvents>,
}

/// A topic of a [`ProducerClient`].
pub(crate) struct TopicProducer {
    topic: NonNull<librdkafka::rd_kafka_topic_t>,
    name: String,
    client: Arc<ProducerClient>,
}

// SAFETY: librdkafka's topic handles and clients may be used from any thread.
unsafe impl Send for TopicProducer {}
unsafe impl Sync for TopicProducer {}

impl ProducerClient {
    /// Makes the client; does not wait for the cluster. With a transactional id, call
    /// [`init_transactions`](Self::init_transactions) before anything else.
    pub(crate) fn open(
        cluster: &Cluster,
        transactional_id: Option<&str>,
    ) -> Result<Arc<ProducerClient>> {
        let mut settings = SETTINGS.to_vec();
        if let Some(id) = transactional_id {
            settings.extend(TRANSACTIONAL_SETTINGS);
            settings.push(("transactional.id", id));
        }
        let producer: ThreadedProducer<ClientEvents> = cluster
            .client_config(&settings)
            .create_with_context(ClientEvents::default())
            .map_err(|error| cluster.misconfigured(&error))?;
        Ok(Arc::new(ProducerClient { bootstrap: cluster.bootstrap.clone(), producer }))
    }

    /// Returns when everything sent so far is delivered. Blocks.
    ///
    /// Errors: something was not delivered.
    pub(crate) fn flush(&self) -> Result<()> {
        let flushed = self.flush_within(FLUSH_TIME_MAX);
        self.check()?;
        flushed.map_err(|code| {
            anyhow!(
                "records wait since {} s for a broker at {} ({code}){}",
                FLUSH_TIME_MAX.as_secs(),
                self.bootstrap,
                self.producer.client().context().last_trouble()
            )
        })
    }

    /// Sends what lingers, without waiting.
    pub(crate) fn push(&self) {
        // That it is not done at once is no error.
        let _ = self.flush_for(Duration::ZERO);
    }

    /// librdkafka's own wait looks every 100 ms only, since successful deliveries make no event; the
    /// crate's forgets in between that somebody waits, so that records linger. Hence short waits,
    /// one after the other,
    /// until a record has failed.
    pub(crate) fn flush_within(&self, time_max: Duration) -> Result<(), RDKafkaErrorCode> {
        let begun = Instant::now();
        let mut wait = FLUSH_WAIT_MIN;
        loop {
            match self.flush_for(wait) {
                Err(RDKafkaErrorCode::OperationTimedOut)
                    if begun.elapsed() < time_max && self.check().is_ok() =>
                {
                    wait = (2 * wait).min(FLUSH_WAIT_MAX);
                }
                answer => return answer,
            }
        }
    }

    fn flush_for(&self, wait: Duration) -> Result<(), RDKafkaErrorCode> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is valid.
        let code =
            unsafe { librdkafka::rd_kafka_flush(self.producer.client().native_ptr(), wait_ms) };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(code.into()),
        }
    }

    /// Records on their way.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// The calls about transactions.
    pub(crate) fn transactions(&self) -> &impl Producer<ClientEvents> {
        &self.producer
    }

    /// Errors that were told are not told again.
    pub(crate) fn forget_undelivered(&self) {
        self.producer.client().context().forget_undelivered();
    }

    /// Errors: a record was not delivered, or the client cannot go on.
    pub(crate) fn check(&self) -> Result<()> {
        let client = self.producer.client();
        client.context().check_delivered().with_context(|| format!("at {}", self.bootstrap))?;
        if let Some((code, reason)) = client.fatal_error() {
            let error = anyhow!("the producer cannot go on: {code}: {reason}");
            return Err(error.context(kafka_group::rewind(Some(code))));
        }
        Ok(())
    }
}

impl TopicProducer {
    pub(crate) fn new(client: Arc<ProducerClient>, topic: &str) -> Result<TopicProducer> {
        let name = CString::new(topic).context("a topic name with a zero byte")?;
        // SAFETY: the client is valid; a null configuration means the client's defaults.
        let handle = unsafe {
            let native = client.producer.client().native_ptr();
            librdkafka::rd_kafka_topic_new(native, name.as_ptr(), ptr::null_mut())
        };
        let handle =
            NonNull::new(handle).with_context(|| format!("librdkafka refuses topic `{topic}`"))?;
        Ok(TopicProducer { topic: handle, name: topic.to_string(), client })
    }

    pub(crate) fn client(&self) -> &ProducerClient {
        &self.client
    }

    /// Hands one record over; waits for room while the queue is full. Blocks.
    ///
    /// Errors: this or an earlier record cannot be delivered.
    pub(crate) fn send(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let (key_at, key_len) = raw(key);
        let (value_at, value_len) = raw(value);
        self.with_room(|| {
            // SAFETY: the topic is valid; librdkafka copies key and value before it returns
            // (F_COPY).
            let result = unsafe {
                librdkafka::rd_kafka_produce(
                    self.topic.as_ptr(),
                    PARTITION_BY_KEY,
                    librdkafka::RD_KAFKA_MSG_F_COPY,
                    value_at,
                    value_len,
                    key_at,
                    key_len,
                    ptr::null_mut(),
                )
            };
            match result {
                0 => Ok(()),
                // SAFETY: reads the calling thread's error number.
                _ => Err(unsafe { librdkafka::rd_kafka_last_error() }.into()),
            }
        })
    }

    /// As [`send`](Self::send), with headers.
    pub(crate) fn send_with_headers(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<()> {
        self.with_room(|| {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.name);
            record.key = key;
            record.payload = value;
            let sent = self.client.producer.send(record.headers(owned_headers(headers)));
            sent.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
        })
    }

    /// Tries again while the queue is full, until a delivery would have timed out.
    fn with_room(&self, send: impl Fn() -> Result<(), RDKafkaErrorCode>) -> Result<()> {
        let mut full_since = None;
        loop {
            let code = match send() {
                Ok(()) => return Ok(()),
                Err(code) => code,
            };
            self.client.check().with_context(|| format!("topic `{}`", self.name))?;
            let waited = full_since.get_or_insert_with(Instant::now).elapsed();
            if code != RDKafkaErrorCode::QueueFull || waited > FLUSH_TIME_MAX {
                let error = anyhow!("cannot send a record to topic `{}`: {code}", self.name);
                return Err(match may_be_delivered_later(Some(code)) {
                    true => error.context(Rewind::MayPass),
                    false => error,
                });
            }
            // The client's own thread serves the deliveries that make room.
            std::thread::park_timeout(ROOM_WAIT);
        }
    }
}

impl Drop for TopicProducer {
    fn drop(&mut self) {
        // SAFETY: made in `open`, given back once; the client drops after this.
        unsafe { librdkafka::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

/// Null for an absent value, a pointer for an empty one: Kafka tells them apart.
fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

pub(crate) fn owned_headers(headers: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (name, value)| {
        // A zero byte would end the name, and the crate panics on it.
        let key = name.replace('\0', "");
        all.insert(Header { key: &key, value: value.as_ref() })
    })
}
