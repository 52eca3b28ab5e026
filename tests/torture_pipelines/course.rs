//! What happened how often, and how long it took until everything had come through again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::fault::{Fault, Kind};

/// The cycles so far.
pub struct Course {
    began: Instant,
    cycles: usize,
    kinds: BTreeMap<Kind, Times>,
}

#[derive(Default)]
struct Times {
    count: usize,
    /// Of the cycles that had no other fault.
    alone: Vec<Duration>,
}

impl Course {
    pub fn new() -> Course {
        Course { began: Instant::now(), cycles: 0, kinds: BTreeMap::new() }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A cycle is over; `took`: with the faults themselves.
    pub fn add(&mut self, faults: &[Fault], took: Duration) {
        self.cycles += 1;
        for fault in faults {
            let times = self.kinds.entry(fault.kind).or_default();
            times.count += 1;
            if faults.len() == 1 {
                times.alone.push(took);
            }
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} cycles in {:.0?}; times are of a fault alone:",
            self.cycles,
            self.elapsed()
        )?;
        for (kind, Times { count, alone }) in &self.kinds {
            let kind = format!("{kind:?}");
            write!(f, "  {kind:<16} {count:>3} times")?;
            let mut alone = alone.clone();
            alone.sort_unstable();
            if let (Some(median), Some(longest)) = (alone.get(alone.len() / 2), alone.last()) {
                write!(f, ", median {median:.1?}, longest {longest:.1?}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
