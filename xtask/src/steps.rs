//! Steps in a row, each with the time that it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Collects the steps' times and prints them when dropped, after a failure too.
pub struct Steps {
    started: Instant,
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    pub fn begin() -> Steps {
        Steps { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step; its name stands before its output, in the table of times and in its error.
    pub fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = work();
        self.done.push((name, started.elapsed(), result.is_ok()));
        result.with_context(|| format!("step `{name}`"))
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        eprintln!("\n{:>8}  step", "time");
        for (name, took, passed) in &self.done {
            let verdict = if *passed { "" } else { "  FAILED" };
            eprintln!("{:>8}  {name}{verdict}", shown(*took));
        }
        eprintln!("{:>8}  all", shown(self.started.elapsed()));
    }
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_to_read() {
        assert_eq!(shown(Duration::from_millis(1_234)), "1.2 s");
        assert_eq!(shown(Duration::from_secs(754)), "12:34 min");
    }

    #[test]
    fn a_failed_step_is_named() {
        let mut steps = Steps::begin();
        let error = steps.step("lints", || anyhow::bail!("two of them")).err();
        assert_eq!(
            error.map(|error| format!("{error:#}")).as_deref(),
            Some("step `lints`: two of them")
        );
    }
}
