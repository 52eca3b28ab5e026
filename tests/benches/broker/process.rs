//! What the kernel says about another process: CPU time and memory, from `/proc`.

use anyhow::{Context, Result};

/// CPU seconds of all threads so far, in user and kernel mode.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // Fields are counted from behind the program's name, which may hold spaces.
    let (_, fields) = text.rsplit_once(") ").with_context(|| format!("{path} is odd"))?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).with_context(|| format!("{path} is odd"))?;
    Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory that the process has in RAM now.
pub fn rss_megabytes(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no VmRSS"))? / 1024.0)
}
