//! Requests that the rdkafka crate doesn't wrap: asked of librdkafka one at a time.
//!
//! What is asked and what the answers mean stands in the files that use this: `access`, `topic_changes`, `groups`.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::admin::AdminClient;
use rdkafka::bindings as librdkafka;
use rdkafka::error::RDKafkaErrorCode;

use crate::admin::admin_client;
use crate::kafka_client::{self, ClientEvents, Cluster};

/// How long a cluster may take to answer.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Room for what librdkafka says about arguments that it refuses.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512;
pub(crate) type Message = [c_char; MESSAGE_BYTES_MAX];

/// A client that asks and waits for the answer.
pub(crate) struct Admin(AdminClient<ClientEvents>);

impl Admin {
    pub(crate) fn open(cluster: &Cluster) -> Result<Admin> {
        admin_client(cluster).map(Admin)
    }

    /// The client, for what the rdkafka crate does wrap.
    pub(crate) fn client(&self) -> &AdminClient<ClientEvents> {
        &self.0
    }

    /// Sends a request and waits for its answer, which is no error as a whole.
    pub(crate) fn ask(
        &self,
        send: impl FnOnce(*mut librdkafka::rd_kafka_t, *mut librdkafka::rd_kafka_queue_t),
    ) -> Result<Event> {
        let queue = Queue::new(self);
        send(queue.client, queue.native);
        queue.answer()
    }

    /// Sends requests, one for each item, and waits for all their answers, which come in any order.
    pub(crate) fn ask_each<T>(
        &self,
        items: &[T],
        send: impl Fn(&T, *mut librdkafka::rd_kafka_t, *mut librdkafka::rd_kafka_queue_t),
    ) -> Vec<Result<Event>> {
        let queue = Queue::new(self);
        for item in items {
            send(item, queue.client, queue.native);
        }
        items.iter().map(|_| queue.answer()).collect()
    }
}

/// Where answers come to.
struct Queue<'a> {
    client: *mut librdkafka::rd_kafka_t,
    native: *mut librdkafka::rd_kafka_queue_t,
    /// Outlives the queue.
    _admin: &'a Admin,
}

impl Queue<'_> {
    fn new(admin: &Admin) -> Queue<'_> {
        let client = admin.0.inner().native_ptr();
        // SAFETY: the client lives.
        let native = unsafe { librdkafka::rd_kafka_queue_new(client) };
        Queue { client, native, _admin: admin }
    }

    fn answer(&self) -> Result<Event> {
        // SAFETY: the queue is ours and lives; the event is ours from now on.
        unsafe {
            let wait_ms = ANSWER_TIME_MAX.as_millis() as i32;
            let event = librdkafka::rd_kafka_queue_poll(self.native, wait_ms);
            if event.is_null() {
                bail!("the cluster did not answer within {} s", ANSWER_TIME_MAX.as_secs());
            }
            let event = Event(event);
            let code = librdkafka::rd_kafka_event_error(event.0);
            if code == librdkafka::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(event);
            }
            // librdkafka 2.12 points refusals of DescribeUserScramCredentials at a text that is gone,
            // and would free it with the event: neither is touched.
            std::mem::forget(event);
            Err(refusal(code, text(librdkafka::rd_kafka_err2str(code))))
        }
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // SAFETY: ours, and dropped once.
        unsafe { librdkafka::rd_kafka_queue_destroy(self.native) };
    }
}

/// An error with the cluster's words, of a kind of its own where the user may not.
pub(crate) fn refusal(code: librdkafka::rd_kafka_resp_err_t, words: String) -> anyhow::Error {
    kafka_client::refusal(Some(RDKafkaErrorCode::from(code)), words)
}

/// # Safety
/// A null pointer, or an error that lives.
pub(crate) unsafe fn check(error: *const librdkafka::rd_kafka_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller promises.
    unsafe {
        match librdkafka::rd_kafka_error_code(error) {
            librdkafka::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(refusal(code, text(librdkafka::rd_kafka_error_string(error)))),
        }
    }
}

/// # Safety
/// A null pointer, or a text that ends with a zero byte.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// A null pointer, or the first of `count` items that live for `'a`.
pub(crate) unsafe fn items<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// An answer of librdkafka.
pub(crate) struct Event(pub(crate) *mut librdkafka::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and dropped once.
        unsafe { librdkafka::rd_kafka_event_destroy(self.0) };
    }
}

/// Things of librdkafka that are ours to destroy, and how.
pub(crate) struct Owned<T>(pub(crate) Vec<*mut T>, pub(crate) unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        for item in self.0.iter().filter(|item| !item.is_null()) {
            // SAFETY: made by librdkafka for us, and dropped once.
            unsafe { (self.1)(*item) };
        }
    }
}
