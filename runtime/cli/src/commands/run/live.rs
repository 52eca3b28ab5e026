//! What `run` shows of its pipelines meanwhile: a table on a terminal, else a line now and then.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use gristmill_engine::control::RunState;
use gristmill_engine::status::Snapshot;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::http::state_name;
use crate::log;
use crate::output::Output;
use crate::table::Table;

/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// How often a line is written where there is no table, if anything has happened.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What stands beside the names in the table, in columns of a terminal.
const NUMBERS_COLUMNS: usize = 63;

/// A name is not cut shorter than this; what then is too wide for the terminal is cut off.
const NAME_COLUMNS_MIN: usize = 12;

/// Reads all pipelines.
pub type Read = Arc<dyn Fn() -> Vec<(Snapshot, RunState)> + Send + Sync>;

/// Shows until it is dropped; the table goes then.
pub struct Live {
    task: JoinHandle<()>,
    bars: Option<MultiProgress>,
}

impl Live {
    pub fn start(output: Output, read: Read) -> Live {
        if output == Output::Text && stdout().is_terminal() && stderr().is_terminal() {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            // Lines of the log scroll by above the table.
            log::write_above(bars.clone());
            let task = tokio::spawn(draw(bars.clone(), read));
            return Live { task, bars: Some(bars) };
        }
        Live { task: tokio::spawn(tell(output, read)), bars: None }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bars) = &self.bars {
            // A terminal that is gone needs no clearing.
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

async fn draw(bars: MultiProgress, read: Read) {
    let mut lines: Vec<ProgressBar> = Vec::new();
    let mut gauges = Gauges::new(&read());
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    loop {
        ticks.tick().await;
        let width = usize::from(Term::stderr().size().1);
        // The line on top is blank: what a terminal writes when Ctrl-C is typed pushes the table up by a line, and the
        // topmost stays behind.
        let text = format!("\n{}", gauges.table(&read(), Instant::now(), width).render());
        for (index, line) in text.lines().enumerate() {
            if lines.len() == index {
                let style = ProgressStyle::with_template("{wide_msg}");
                let bar = ProgressBar::new_spinner();
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                lines.push(bars.add(bar));
            }
            lines[index].set_message(line.to_owned());
            lines[index].tick();
        }
    }
}

async fn tell(output: Output, read: Read) {
    let mut gauges = Gauges::new(&read());
    let mut ticks = tokio::time::interval(LINE_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for (snapshot, _, gauge) in gauges.readings(&read(), Instant::now()) {
            if !gauge.moved {
                continue;
            }
            let records_per_second = gauge.rate.round();
            if output == Output::Json {
                // Whoever read this has gone: the log goes on.
                let _ = output.answer("", &document(&snapshot, Some(gauge.rate)));
                continue;
            }
            tracing::info!(
                pipeline = snapshot.pipeline,
                records = snapshot.records,
                records_per_second,
                lag = snapshot.lag,
                failures = failures(&snapshot),
                "progress"
            );
        }
    }
}

/// A pipeline as `--output json` tells it; `rate`: in records per second, absent when it has ended.
pub fn document(snapshot: &Snapshot, rate: Option<f64>) -> Value {
    let mut document = json!(snapshot);
    document["ended"] = rate.is_none().into();
    document["records_per_second"] = rate.map(f64::round).into();
    document
}

fn failures(snapshot: &Snapshot) -> u64 {
    snapshot.stages.iter().map(|stage| stage.counts.rows_failed).sum()
}

/// What needs two readings: rates, and how long ago something was.
struct Gauges {
    before: Vec<Before>,
}

/// A pipeline when it was last looked at.
struct Before {
    at: Instant,
    records: u64,
    commits: u64,
    committed_at: Option<Instant>,
}

/// A pipeline between two looks.
struct Gauge {
    /// Records per second.
    rate: f64,
    since_commit: Option<Duration>,
    moved: bool,
}

impl Gauges {
    fn new(pipelines: &[(Snapshot, RunState)]) -> Gauges {
        let before = |(snapshot, _): &(Snapshot, RunState)| Before {
            at: Instant::now(),
            records: snapshot.records,
            commits: commits(snapshot),
            committed_at: None,
        };
        Gauges { before: pipelines.iter().map(before).collect() }
    }

    fn readings(
        &mut self,
        pipelines: &[(Snapshot, RunState)],
        now: Instant,
    ) -> Vec<(Snapshot, RunState, Gauge)> {
        let read = |(before, (snapshot, state)): (&mut Before, &(Snapshot, RunState))| {
            let passed = now.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
            // After a rewind counters may stand lower than before.
            let records = snapshot.records.saturating_sub(before.records);
            let commits = commits(snapshot);
            let moved = records > 0 || commits != before.commits;
            if commits != before.commits {
                before.committed_at = Some(now);
            }
            (before.at, before.records, before.commits) = (now, snapshot.records, commits);
            let since_commit = before.committed_at.map(|at| now.saturating_duration_since(at));
            let gauge = Gauge { rate: records as f64 / passed, since_commit, moved };
            (snapshot.clone(), state.clone(), gauge)
        };
        self.before.iter_mut().zip(pipelines).map(read).collect()
    }

    /// `width`: columns of the terminal. Where they are few, names are cut.
    fn table(&mut self, pipelines: &[(Snapshot, RunState)], now: Instant, width: usize) -> Table {
        let name_columns = width.saturating_sub(NUMBERS_COLUMNS).max(NAME_COLUMNS_MIN);
        let names = ["pipeline", "state", "records/s", "records", "lag", "failures", "last commit"];
        let mut table = Table::new(names);
        for (snapshot, state, gauge) in self.readings(pipelines, now) {
            let since = gauge
                .since_commit
                .map_or("-".to_owned(), |since| format!("{} s ago", since.as_secs()));
            table.push([
                truncate_str(&snapshot.pipeline, name_columns, "…").into_owned(),
                state_name(&state).to_owned(),
                format!("{:.0}", gauge.rate),
                snapshot.records.to_string(),
                snapshot.lag.to_string(),
                failures(&snapshot).to_string(),
                since,
            ]);
        }
        table
    }
}

fn commits(snapshot: &Snapshot) -> u64 {
    snapshot.sinks.iter().map(|sink| sink.commits).sum()
}

#[cfg(test)]
mod tests {
    use gristmill_engine::status::Status;

    use super::*;

    fn named(name: &str, records: u64, commits: u64) -> (Snapshot, RunState) {
        let none = std::iter::empty();
        let mut snapshot = Status::new(name, none, ["lake".to_owned()].into_iter()).snapshot();
        (snapshot.records, snapshot.sinks[0].commits) = (records, commits);
        (snapshot, RunState::Running)
    }

    fn snapshot(records: u64, commits: u64) -> (Snapshot, RunState) {
        named("orders", records, commits)
    }

    #[test]
    fn the_table_tells_rates_and_ages() {
        let mut gauges = Gauges::new(&[snapshot(0, 0)]);
        let begin = gauges.before[0].at;
        let first = gauges.table(&[snapshot(500, 0)], begin + Duration::from_secs(1), 80);
        let expected = "\
pipeline  state    records/s  records  lag  failures  last commit
orders    running        500      500    0         0  -";
        assert_eq!(first.render(), expected);
        gauges.readings(&[snapshot(600, 1)], begin + Duration::from_secs(2));
        let later = gauges.table(&[snapshot(600, 1)], begin + Duration::from_secs(5), 80);
        let expected = "\
pipeline  state    records/s  records  lag  failures  last commit
orders    running          0      600    0         0  3 s ago";
        assert_eq!(later.render(), expected);
    }

    #[test]
    fn a_name_is_cut_where_the_terminal_is_narrow() {
        let name = "orders-of-the-whole-shop-to-the-lake";
        let mut gauges = Gauges::new(&[named(name, 0, 0)]);
        let mut line = |width| {
            let table = gauges.table(&[named(name, 0, 0)], Instant::now(), width).render();
            table.lines().nth(1).unwrap_or_default().to_owned()
        };
        assert!(line(120).starts_with("orders-of-the-whole-shop-to-the-lake  running"));
        assert!(line(80).starts_with("orders-of-the-wh…  running"));
        assert!(line(20).starts_with("orders-of-t…  running"));
    }

    #[test]
    fn a_document_says_whether_the_pipeline_has_ended() {
        let document = |rate| super::document(&snapshot(7, 1).0, rate);
        assert_eq!(document(Some(2.4))["records_per_second"], 2.0);
        assert_eq!(document(Some(2.4))["ended"], false);
        assert_eq!(document(None)["ended"], true);
        assert_eq!(document(None)["pipeline"], "orders");
    }
}
