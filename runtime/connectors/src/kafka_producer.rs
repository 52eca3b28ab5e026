//! A producer of records to one cluster. Many threads may send; delivery failures are kept until
//! somebody asks.
//!
//! Records are handed to librdkafka with its plainest call, one copy each and no allocation of
//! ours. All `unsafe` code about producing is here. What a transaction holds is `topic_store`'s.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use gristmill_engine::failure::Rewind;
use rdkafka::bindings as librdkafka;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
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

/// How often the thread of a producer looks whether the producer is still in use. The crate spends the last millisecond
/// of each such wait in a loop, so that ten looks a second, as the crate's own thread has, cost an idle pipeline about
/// one percent of a core.
const DELIVERY_WAIT_MAX: Duration = Duration::from_secs(1);

/// One wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// What we set of librdkafka, and why.
pub(crate) const SETTINGS: [(&str, &str); 9] = [
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

/// A producer of transactions.
#[derive(Debug, Clone)]
pub(crate) struct Transactional {
    pub(crate) id: String,
    /// Longer than the longest micro-batch; as long do others wait for a process that died in one.
    pub(crate) timeout: Duration,
}

/// A connection to one cluster through which records are sent, to any of its topics.
pub(crate) struct ProducerClient {
    bootstrap: String,
    producer: Arc<BaseProducer<ClientEvents>>,
}

/// Nobody waits any more for what is on its way.
impl Drop for ProducerClient {
    fn drop(&mut self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

/// Takes the news of deliveries on a thread until nobody else holds the producer.
fn take_deliveries(producer: &Arc<BaseProducer<ClientEvents>>) -> Result<()> {
    let held = Arc::downgrade(producer);
    let take = move || {
        while let Some(producer) = held.upgrade() {
            producer.poll(DELIVERY_WAIT_MAX);
        }
    };
    let thread = std::thread::Builder::new().name("kafka-deliveries".into());
    thread.spawn(take).context("cannot start a thread")?;
    Ok(())
}

/// A record with headers on its way to a topic.
struct Outgoing<'a> {
    topic: &'a str,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [(String, Option<Vec<u8>>)],
    /// ms since 1970 UTC; absent: the client's clock.
    timestamp_ms: Option<i64>,
}

/// A topic of a [`ProducerClient`].
pub(crate) struct TopicProducer {
    topic: NonNull<librdkafka::rd_kafka_topic_t>,
    name: String,
    client: Arc<ProducerClient>,
    /// Goes on after a record that was not delivered; somebody counts them.
    tolerant: bool,
}

// SAFETY: librdkafka's topic handles and clients may be used from any thread.
unsafe impl Send for TopicProducer {}
unsafe impl Sync for TopicProducer {}

impl ProducerClient {
    /// Makes the client; does not wait for the cluster. With a transactional id, call
    /// [`transaction::init`](crate::transaction::init) before anything else.
    pub(crate) fn open(
        cluster: &Cluster,
        transactional: Option<&Transactional>,
    ) -> Result<Arc<ProducerClient>> {
        let mut settings = SETTINGS.to_vec();
        let timeout_ms = transactional.map_or(0, |it| it.timeout.as_millis()).to_string();
        if let Some(transactional) = transactional {
            settings.push(("transactional.id", &transactional.id));
            settings.push(("transaction.timeout.ms", &timeout_ms));
            // librdkafka wants a record to be given up before its transaction is.
            settings.push(("message.timeout.ms", &timeout_ms));
        }
        let producer: BaseProducer<ClientEvents> = cluster
            .client_config(&settings)
            .create_with_context(ClientEvents::default())
            .map_err(|error| cluster.misconfigured(&error))?;
        let producer = Arc::new(producer);
        take_deliveries(&producer)?;
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

    /// Waits for everything sent so far, whether it is delivered or not. Blocks.
    ///
    /// Errors: the client cannot go on, or records are still on their way after the time that a delivery may take.
    pub(crate) fn drain(&self) -> Result<()> {
        let begun = Instant::now();
        let mut wait = FLUSH_WAIT_MIN;
        while self.flush_for(wait).is_err() {
            self.check_alive()?;
            if begun.elapsed() > FLUSH_TIME_MAX {
                bail!(
                    "{} records wait since {} s for a broker at {}{}",
                    self.in_flight(),
                    FLUSH_TIME_MAX.as_secs(),
                    self.bootstrap,
                    self.producer.client().context().last_trouble()
                );
            }
            wait = (2 * wait).min(FLUSH_WAIT_MAX);
        }
        Ok(())
    }

    /// Records that were not delivered, and why the first of them was not.
    pub(crate) fn undelivered(&self) -> (u64, Option<String>) {
        self.producer.client().context().undelivered()
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
        &*self.producer
    }

    /// Hands over a record with headers, perhaps with a time of its own (ms since 1970 UTC). Blocks while the queue is
    /// full.
    ///
    /// Errors: this or an earlier record cannot be delivered.
    pub(crate) fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Vec<u8>>)],
        timestamp_ms: Option<i64>,
    ) -> Result<()> {
        self.send_record(&Outgoing { topic, key, value, headers, timestamp_ms }, false)
    }

    fn send_record(&self, outgoing: &Outgoing<'_>, tolerant: bool) -> Result<()> {
        self.with_room(outgoing.topic, tolerant, || {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(outgoing.topic);
            record.key = outgoing.key;
            record.payload = outgoing.value;
            record.timestamp = outgoing.timestamp_ms;
            let sent = self.producer.send(record.headers(owned_headers(outgoing.headers)));
            sent.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
        })
    }

    /// Tries again while the queue is full, until a delivery would have timed out.
    fn with_room(
        &self,
        topic: &str,
        tolerant: bool,
        send: impl Fn() -> Result<(), RDKafkaErrorCode>,
    ) -> Result<()> {
        let mut full_since = None;
        loop {
            let code = match send() {
                Ok(()) => return Ok(()),
                Err(code) => code,
            };
            let checked = if tolerant { self.check_alive() } else { self.check() };
            checked.with_context(|| format!("topic `{topic}`"))?;
            let waited = full_since.get_or_insert_with(Instant::now).elapsed();
            if code != RDKafkaErrorCode::QueueFull || waited > FLUSH_TIME_MAX {
                let error = anyhow!("cannot send a record to topic `{topic}`: {code}");
                return Err(match may_be_delivered_later(Some(code)) {
                    true => error.context(Rewind::MayPass),
                    false => error,
                });
            }
            // The client's own thread serves the deliveries that make room.
            std::thread::park_timeout(ROOM_WAIT);
        }
    }

    /// Errors that were told are not told again.
    pub(crate) fn forget_undelivered(&self) {
        self.producer.client().context().forget_undelivered();
    }

    /// Errors: a record was not delivered, or the client cannot go on.
    pub(crate) fn check(&self) -> Result<()> {
        let client = self.producer.client();
        client.context().check_delivered().with_context(|| format!("at {}", self.bootstrap))?;
        self.check_alive()
    }

    /// Errors: the client cannot go on.
    fn check_alive(&self) -> Result<()> {
        let client = self.producer.client();
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
        Ok(TopicProducer { topic: handle, name: topic.to_string(), client, tolerant: false })
    }

    /// As it is, but [`send`](Self::send) goes on after an earlier record was not delivered.
    pub(crate) fn tolerant(mut self) -> TopicProducer {
        self.tolerant = true;
        self
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
        self.client.with_room(&self.name, self.tolerant, || {
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
        let record = Outgoing { topic: &self.name, key, value, headers, timestamp_ms: None };
        self.client.send_record(&record, self.tolerant)
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
