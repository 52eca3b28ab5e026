//! The fetched records of one partition, taken many at a time straight from librdkafka.
//!
//! The `rdkafka` crate hands records out one event at a time, each with an allocation, and panics
//! on a header whose name is not UTF-8. This takes a whole array of records under one lock and
//! reads them in place. All `unsafe` code about consuming is here.
//!
//! Invariant: a message outlives neither its queue nor its consumer; [`MessageQueue`] keeps the
//! consumer alive and whoever keeps messages keeps the queue.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::bindings as librdkafka;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use crate::kafka_client::KafkaConsumer;

/// The queue of one partition of a consumer, apart from the consumer's own.
pub(crate) struct MessageQueue {
    queue: NonNull<librdkafka::rd_kafka_queue_t>,
    /// Keeps the native client alive.
    _consumer: Arc<KafkaConsumer>,
}

// SAFETY: librdkafka's queues may be used from any thread; they lock themselves.
unsafe impl Send for MessageQueue {}

impl MessageQueue {
    /// Splits the queue of an assigned partition off, before the first poll.
    pub(crate) fn split(
        consumer: &Arc<KafkaConsumer>,
        topic: &str,
        partition: i32,
    ) -> Result<MessageQueue> {
        let name = CString::new(topic).context("a topic name with a zero byte")?;
        // SAFETY: the client and the name are valid; the queue is given back in `drop`.
        let queue = unsafe {
            let client = consumer.client().native_ptr();
            librdkafka::rd_kafka_queue_get_partition(client, name.as_ptr(), partition)
        };
        let queue = NonNull::new(queue).context("librdkafka has no queue for the partition")?;
        // SAFETY: a null destination ends the forwarding to the consumer's queue.
        unsafe { librdkafka::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        Ok(MessageQueue { queue, _consumer: consumer.clone() })
    }

    /// Takes what is there, at most `count`; with nothing there, waits up to `wait` for the first.
    /// Appends to `into`.
    pub(crate) fn take(&self, count: usize, wait: Duration, into: &mut Vec<Message>) {
        if self.poll(count, Duration::ZERO, into) == 0 && self.poll(1, wait, into) == 1 {
            self.poll(count - 1, Duration::ZERO, into);
        }
    }

    /// librdkafka waits until `count` messages are there or the time is over.
    fn poll(&self, count: usize, wait: Duration, into: &mut Vec<Message>) -> usize {
        let mut taken: Vec<*mut librdkafka::rd_kafka_message_t> = vec![ptr::null_mut(); count];
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has room for `count` pointers.
        let filled = unsafe {
            let queue = self.queue.as_ptr();
            librdkafka::rd_kafka_consume_batch_queue(queue, wait_ms, taken.as_mut_ptr(), count)
        };
        let filled = usize::try_from(filled).unwrap_or(0);
        let messages = taken.into_iter().take(filled).filter_map(NonNull::new);
        into.extend(messages.map(|message| Message { message }));
        filled
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: got in `split`, given back once.
        unsafe { librdkafka::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record, or an event in its place.
pub(crate) struct Message {
    message: NonNull<librdkafka::rd_kafka_message_t>,
}

// SAFETY: a message is read by its owner only; librdkafka counts references to the buffer behind it
// atomically.
unsafe impl Send for Message {}

/// What stands in a message's place if it is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Everything below the message's offset has been fetched.
    EndOfPartition,
    Error(RDKafkaErrorCode),
}

impl Message {
    fn raw(&self) -> &librdkafka::rd_kafka_message_t {
        // SAFETY: valid until it is destroyed in `drop`.
        unsafe { self.message.as_ref() }
    }

    /// `None`: it is a record.
    pub(crate) fn event(&self) -> Option<Event> {
        match self.raw().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Some(Event::EndOfPartition),
            error => Some(Event::Error(error.into())),
        }
    }

    /// librdkafka's words about an error.
    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(self.value().unwrap_or_default()).into_owned()
    }

    pub(crate) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: librdkafka's pointer and length belong together and live as long as the message.
        unsafe { bytes(raw.key, raw.key_len) }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: as above.
        unsafe { bytes(raw.payload, raw.len) }
    }

    /// Time in ms since 1970 UTC, and whether the broker set it; `None`: the record has no time.
    pub(crate) fn timestamp(&self) -> Option<(i64, bool)> {
        let mut kind = librdkafka::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid, `kind` is written before the call returns.
        let time_ms =
            unsafe { librdkafka::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        match kind {
            librdkafka::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => {
                Some((time_ms, false))
            }
            librdkafka::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
                Some((time_ms, true))
            }
            _ => None,
        }
    }

    /// The headers in their order.
    pub(crate) fn headers(&self) -> Headers<'_> {
        let mut headers = ptr::null_mut();
        // SAFETY: the headers belong to the message and live as long as it.
        let error =
            unsafe { librdkafka::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) };
        let there = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        let headers = there.then(|| NonNull::new(headers)).flatten();
        Headers { headers, index: 0, message: PhantomData }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: taken from the queue, destroyed once.
        unsafe { librdkafka::rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}

/// The headers of a message: name and value.
pub(crate) struct Headers<'a> {
    headers: Option<NonNull<librdkafka::rd_kafka_headers_t>>,
    index: usize,
    message: PhantomData<&'a Message>,
}

impl<'a> Iterator for Headers<'a> {
    /// A name that is not UTF-8 comes with replacement characters.
    type Item = (std::borrow::Cow<'a, str>, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let headers = self.headers?;
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the three are written if the call answers no error; they live as long as the
        // message.
        unsafe {
            let error = librdkafka::rd_kafka_header_get_all(
                headers.as_ptr(),
                self.index,
                &mut name,
                &mut value,
                &mut len,
            );
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            self.index += 1;
            Some((CStr::from_ptr(name).to_string_lossy(), bytes(value, len)))
        }
    }
}

/// SAFETY: `pointer` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(pointer: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as demanded of the caller.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast(), len) })
}
