//! What a store holds besides the guest: its limits, its log lines, and the state of the WASI
//! stubs.

use crate::Limits;
use crate::limits::Limiter;
use crate::log_lines::LogLines;
use std::time::Duration;

/// The state of one instance on the host's side.
pub(crate) struct Sandbox {
    pub limiter: Limiter,
    pub log_lines: LogLines,
    /// Nanoseconds of the clock that a guest sees: it moves a step per look, and only then, so that
    /// a replay sees the same times.
    pub clock_ns: u64,
    /// State of the random numbers that a guest sees; every instance begins with the same.
    pub random: u64,
    /// Time spent inside the guest's own functions so far.
    pub guest_time: Duration,
}

impl Sandbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limiter: Limiter::new(limits),
            log_lines: LogLines::new(limits.log_lines_max),
            clock_ns: 0,
            random: 0,
            guest_time: Duration::ZERO,
        }
    }

    /// Forgets what belongs to the call before.
    pub(crate) fn begin_call(&mut self) {
        self.limiter.begin_call();
        self.log_lines.begin_call();
    }
}
