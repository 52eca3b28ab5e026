//! CPU time, medians and lines.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// A positive number from the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    duration(ClockId::ThreadCPUTime)
}

/// CPU time of this process so far.
pub fn process_cpu() -> Duration {
    duration(ClockId::ProcessCPUTime)
}

fn duration(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The times of one way, in seconds.
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn new() -> Figures {
        Figures(Vec::new())
    }

    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// Runs and notes the thread's CPU time.
    pub fn time<T>(&mut self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = thread_cpu();
        let result = run()?;
        self.push(thread_cpu() - began);
        Ok(result)
    }

    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// By how much another way is faster, round by round.
    pub fn median_ratio(&self, other: &Figures) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(mine, others)| mine / others).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn line(case: &str, way: &str, orders: usize, seconds: f64, ratio: f64) {
    let rate = orders as f64 / seconds;
    let micros = seconds * 1e6 / orders as f64;
    println!("{case:<26}{way:<20}{rate:>12.0}{micros:>12.2}{ratio:>8.2}");
}

/// `VmHWM` of this process.
pub fn peak_rss_mb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024)
}
