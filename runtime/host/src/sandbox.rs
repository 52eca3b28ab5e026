//! What a store holds besides the guest: its limits, its log lines, and the state of the WASI
//! stubs.

use crate::limits::Limiter;
use crate::log_lines::LogLines;
use crate::{Grant, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Step of the clock that a guest sees, per look, unless it is granted the system's.
const CLOCK_STEP_NS: u64 = 1_000_000;

/// The state of one instance on the host's side.
pub(crate) struct Sandbox {
    pub limiter: Limiter,
    pub log_lines: LogLines,
    pub grant: Arc<Grant>,
    /// Nanoseconds of the clock that a guest sees: it moves a step per look, and only then, so that
    /// a replay sees the same times.
    clock_ns: u64,
    /// State of the random numbers that a guest sees; every instance begins with the same.
    random: u64,
    began: Instant,
    /// Time spent inside the guest's own functions so far.
    pub guest_time: Duration,
}

impl Sandbox {
    pub(crate) fn new(limits: &Limits, grant: Arc<Grant>) -> Self {
        Self {
            limiter: Limiter::new(limits),
            log_lines: LogLines::new(limits.log_lines_max),
            clock_ns: 0,
            random: grant.seed(),
            began: Instant::now(),
            grant,
            guest_time: Duration::ZERO,
        }
    }

    /// Nanoseconds since 1970 in UTC, as the guest is to see them.
    pub(crate) fn wall_clock_ns(&mut self) -> u64 {
        if !self.grant.clock {
            return self.step_ns();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds of a clock that never goes back, as the guest is to see them.
    pub(crate) fn monotonic_ns(&mut self) -> u64 {
        if !self.grant.clock {
            return self.step_ns();
        }
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The smallest step of both clocks.
    pub(crate) fn clock_resolution_ns(&self) -> u64 {
        if self.grant.clock { 1 } else { CLOCK_STEP_NS }
    }

    fn step_ns(&mut self) -> u64 {
        self.clock_ns += CLOCK_STEP_NS;
        self.clock_ns
    }

    /// SplitMix64.
    pub(crate) fn random_word(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Forgets what belongs to the call before.
    pub(crate) fn begin_call(&mut self) {
        self.limiter.begin_call();
        self.log_lines.begin_call();
    }
}
