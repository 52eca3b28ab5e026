//! Holds back work on the disk that nobody waits for, so that those who wait find it free.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Waits of this length and more are worth a switch to another thread.
const WAIT_MIN: Duration = Duration::from_millis(5);
/// One wait is never longer, so that whoever is told to stop notices soon.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Lets so many bytes pass per second.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: u64,
    /// When the bytes that have passed are paid for.
    paid_until: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: u64) -> Throttle {
        let bytes_per_second = bytes_per_second.max(1);
        Throttle { bytes_per_second, paid_until: Mutex::new(Instant::now()) }
    }

    /// Lets `bytes` pass, after a wait if need be. Always true. Blocks.
    pub(crate) fn wait(&self, bytes: u64) -> bool {
        let due = self.due_in(bytes, Instant::now());
        if due >= WAIT_MIN {
            std::thread::park_timeout(due.min(WAIT_MAX));
        }
        true
    }

    /// How long to wait before the next bytes.
    fn due_in(&self, bytes: u64, now: Instant) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut paid_until = lock(&self.paid_until);
        *paid_until = (*paid_until).max(now) + cost;
        *paid_until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_rate_wait_and_idle_time_is_not_saved_up() {
        let throttle = Throttle::new(1000);
        let now = Instant::now();
        assert!(throttle.due_in(500, now) >= Duration::from_millis(500));
        assert!(throttle.due_in(500, now) >= Duration::from_millis(1000));
        let later = now + Duration::from_secs(60);
        assert_eq!(throttle.due_in(500, later), Duration::from_millis(500));
    }
}
