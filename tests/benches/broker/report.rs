//! Medians and lines.

use std::time::Instant;

use anyhow::Result;

use crate::process;
use crate::servers::Running;

/// One load on one server.
#[derive(Clone, Copy)]
pub struct Measured {
    seconds: f64,
    /// Of the broker's process.
    cpu_seconds: f64,
    rss_megabytes: f64,
}

impl Measured {
    pub fn of(server: &Running, load: impl FnOnce() -> Result<()>) -> Result<Measured> {
        let (before, began) = (process::cpu_seconds(server.pid())?, Instant::now());
        load()?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Measured {
            seconds,
            cpu_seconds: process::cpu_seconds(server.pid())? - before,
            rss_megabytes: process::rss_megabytes(server.pid())?,
        })
    }
}

/// The rounds of one load on one server.
#[derive(Default)]
pub struct Figures(Vec<Measured>);

impl Figures {
    pub fn push(&mut self, measured: Measured) {
        self.0.push(measured);
    }

    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let mut sorted: Vec<f64> = self.0.iter().map(figure).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

pub fn heading() {
    println!(
        "{:<34}{:<14}{:>8}{:>14}{:>9}{:>10}",
        "load", "broker", "MB/s", "MB/CPU second", "RSS MB", "per CPU"
    );
}

/// One line a server. The last column is the ratio to the last server, which is Kafka if there are two.
pub fn lines(load: &str, bytes: usize, servers: &[Running], figures: &[Figures]) {
    let megabytes = bytes as f64 / 1e6;
    // The kernel counts in hundredths of a second: less than one is none.
    let per_cpu = |figures: &Figures| megabytes / figures.median(|it| it.cpu_seconds.max(0.01));
    let Some(yardstick) = figures.last().map(per_cpu) else { return };
    for (server, figures) in servers.iter().zip(figures) {
        println!(
            "{load:<34}{:<14}{:>8.0}{:>14.0}{:>9.0}{:>9.2}x",
            server.name(),
            megabytes / figures.median(|it| it.seconds),
            per_cpu(figures),
            figures.median(|it| it.rss_megabytes),
            per_cpu(figures) / yardstick,
        );
    }
}
