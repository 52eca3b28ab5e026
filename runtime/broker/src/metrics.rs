//! Counters of what the broker does. They only rise; whoever shows them computes the rates.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count since the broker started.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a broker counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections ended; accepted minus closed are open now.
    pub connections_closed: Counter,
    /// Connections closed because of what they sent.
    pub connections_refused: Counter,
    /// Clients that did not prove who they are: by certificate, by SASL, or in time.
    pub authentications_failed: Counter,
    /// Requests read, of any kind.
    pub requests: Counter,
    /// Bytes of requests, with their size prefix.
    pub request_bytes: Counter,
    /// Bytes of answers, with their size prefix.
    pub response_bytes: Counter,
    /// Bytes of record batches appended by producers.
    pub produced_bytes: Counter,
    /// Record batches or partitions of a Produce request that were refused.
    pub produce_errors: Counter,
    /// Bytes of record batches sent to consumers.
    pub fetched_bytes: Counter,
}
