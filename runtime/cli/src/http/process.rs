//! What the process takes of the machine, as the kernel tells it.

use std::time::Duration;

/// At one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system, of all threads.
    pub cpu: Duration,
    pub resident_bytes: u64,
    pub open_files: u64,
}

/// The kernel's unit of CPU time for programs (USER_HZ), 100 on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory that the process holds, in bytes; asked for often, and cheaper than the rest. `None` where there is no /proc.
pub fn resident() -> Option<u64> {
    resident_bytes(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `None` where there is no /proc.
pub fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let cpu = Duration::from_secs_f64(cpu_ticks(&stat)? as f64 / TICKS_PER_SECOND);
    Some(Usage { cpu, resident_bytes: resident()?, open_files })
}

/// utime + stime (fields 14 and 15). The name in field 2 may hold anything, but ends at the last `)`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(field(14)? + field(15)?)
}

/// `VmRSS:     1234 kB`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_anything_in_it_misleads_nobody() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 9 0 100 4096 321 18446744073709551615";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("nonsense"), None);
        assert_eq!(resident_bytes("VmPeak: 9 kB\nVmRSS:\t  12 kB\n"), Some(12 << 10));
    }

    #[test]
    fn this_process_takes_something() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 0 && usage.open_files > 0, "{usage:?}");
    }
}
