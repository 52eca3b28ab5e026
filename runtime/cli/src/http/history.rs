//! What the pipelines have done lately: readings of their counters at equal distances, for rates and plots.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gristmill_engine::status::Snapshot;
use tokio::sync::watch;

use super::watched::Watched;

/// Between two readings. What is live on the page changes as often.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Readings that are kept: ten minutes.
pub const READINGS_MAX: usize = 300;

/// Readings of all pipelines, in the order of [`super::site::Site::pipelines`].
pub struct History {
    pipelines: Vec<Mutex<Track>>,
    ticks: watch::Sender<u64>,
}

/// One pipeline's.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// Points of the plots, oldest first.
    pub points: VecDeque<Point>,
    last: Option<Reading>,
    /// Between the last two readings.
    pub rates: Rates,
}

#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    snapshot: Snapshot,
}

/// One point of a plot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// Records read, per second.
    pub rate: f64,
    /// Records not yet committed.
    pub lag: u64,
}

/// Per second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    pub records: f64,
    /// Rows into each stage, as [`Snapshot::stages`].
    pub stages_in: Vec<f64>,
    pub stages_out: Vec<f64>,
    pub stages_failed: Vec<f64>,
    /// Share of one core that each stage is busy.
    pub stages_busy: Vec<f64>,
    /// Rows written to each sink, as [`Snapshot::sinks`].
    pub sinks: Vec<f64>,
}

impl History {
    pub fn new(pipelines: &[Watched]) -> History {
        History {
            pipelines: pipelines.iter().map(|_| Mutex::default()).collect(),
            ticks: watch::Sender::new(0),
        }
    }

    /// Changes with every reading.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Reads all counters once.
    pub fn read(&self, pipelines: &[Watched]) {
        let at = Instant::now();
        for (track, pipeline) in self.pipelines.iter().zip(pipelines) {
            let mut track = track.lock().unwrap_or_else(PoisonError::into_inner);
            track.add(Reading { at, snapshot: pipeline.snapshot() });
        }
        self.ticks.send_modify(|tick| *tick += 1);
    }

    /// A copy of one pipeline's track, by its index.
    pub fn track(&self, index: usize) -> Track {
        let track = self.pipelines.get(index);
        track
            .map(|track| track.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .unwrap_or_default()
    }

    pub fn rates(&self, index: usize) -> Rates {
        let track = self.pipelines.get(index);
        track
            .map(|track| track.lock().unwrap_or_else(PoisonError::into_inner).rates.clone())
            .unwrap_or_default()
    }
}

impl Track {
    fn add(&mut self, reading: Reading) {
        self.rates = self.last.as_ref().map_or_else(Rates::default, |last| rates(last, &reading));
        if self.points.len() >= READINGS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Point { rate: self.rates.records, lag: reading.snapshot.lag });
        self.last = Some(reading);
    }
}

fn rates(before: &Reading, now: &Reading) -> Rates {
    let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
    // After a reload with other stages some counters begin anew.
    let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
    let (old, new) = (&before.snapshot, &now.snapshot);
    let of_stages = |count: fn(&gristmill_engine::ledger::RowCounts) -> u64| {
        let pair = |stage: &gristmill_engine::status::StageSnapshot| {
            let before = old.stages.iter().find(|old| old.name == stage.name);
            rate(before.map_or(0, |before| count(&before.counts)), count(&stage.counts))
        };
        new.stages.iter().map(pair).collect::<Vec<_>>()
    };
    let busy = new.stages.iter().map(|stage| {
        let before = old.stages.iter().find(|old| old.name == stage.name);
        let busy_ms = stage.busy_ms - before.map_or(0.0, |before| before.busy_ms);
        (busy_ms / 1e3 / seconds).max(0.0)
    });
    let sinks = new.sinks.iter().map(|sink| {
        let before = old.sinks.iter().find(|old| old.name == sink.name);
        rate(before.map_or(0, |before| before.rows_written), sink.rows_written)
    });
    Rates {
        records: rate(old.records, new.records),
        stages_in: of_stages(|counts| counts.rows_in),
        stages_out: of_stages(|counts| counts.rows_out),
        stages_failed: of_stages(|counts| counts.rows_failed),
        stages_busy: busy.collect(),
        sinks: sinks.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, records: u64, lag: u64) -> Reading {
        let snapshot = Snapshot {
            pipeline: "p".into(),
            records,
            micro_batches: 0,
            rewinds: 0,
            last_failure: None,
            lag,
            stages: Vec::new(),
            sinks: Vec::new(),
        };
        Reading { at, snapshot }
    }

    #[test]
    fn rates_are_per_second_and_never_negative() {
        let (mut track, began) = (Track::default(), Instant::now());
        track.add(reading(began, 100, 7));
        assert_eq!(track.rates.records, 0.0);
        track.add(reading(began + 2 * Duration::from_secs(1), 300, 5));
        assert_eq!(track.rates.records, 100.0);
        track.add(reading(began + 4 * Duration::from_secs(1), 10, 5));
        assert_eq!(track.rates.records, 0.0);
        assert_eq!(track.points[1], Point { rate: 100.0, lag: 5 });
    }

    #[test]
    fn a_track_keeps_so_many_points() {
        let (mut track, began) = (Track::default(), Instant::now());
        for number in 0..2 * READINGS_MAX as u64 {
            track.add(reading(began, number, number));
        }
        assert_eq!(track.points.len(), READINGS_MAX);
        assert_eq!(track.points[0].lag, READINGS_MAX as u64);
    }
}
