//! Time as the broker sees it. Passed in everywhere, so that tests turn the hands themselves.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock. Milliseconds since 1970-01-01T00:00:00Z, as in Kafka's timestamps.
pub trait Clock: Send + Sync + Debug {
    /// The time now. May go backwards when the machine's clock is set.
    fn now_ms(&self) -> i64;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since_epoch) => i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0, // a clock set before 1970
        }
    }
}

/// A clock that stands still until it is set.
#[cfg(any(test, feature = "fuzzing"))]
#[derive(Debug, Default)]
pub(crate) struct ManualClock(std::sync::atomic::AtomicI64);

#[cfg(any(test, feature = "fuzzing"))]
impl ManualClock {
    pub(crate) fn at(now_ms: i64) -> ManualClock {
        ManualClock(std::sync::atomic::AtomicI64::new(now_ms))
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
