//! What a stage costs in each language: size, CPU time to compile, time to load from the cache and to make the first instance,
//! and milliseconds per 1,000 rows at both levels, beside the stage in Rust.
//!
//! `cargo xtask bench languages` builds the SDKs' examples and runs this over them; the argument is
//! the folder with one folder of modules per language. The table is the one of sdk/README.md. Times
//! per row are CPU times of one thread (wall times where the system does not tell them), the best of several
//! runs; batches have 1,000 rows. A cached load and a first instance are shorter than what the system's clock of CPU
//! times can tell: they are wall times, the best of several.

#[path = "languages/mod.rs"]
mod languages;

use arrow_array::ArrayRef;
use gristmill_host::{Grant, Host, HostConfig, Lane, Limits, Stage};
use languages::{Failure, LANGUAGES, ROWS, module, orders};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RUNS: usize = 3;
/// A run lasts at least this long.
const RUN_TIME_MIN: Duration = Duration::from_millis(200);
/// A cached module is loaded so often, each time by a host that knows nothing of it.
const LOADS: usize = 20;
/// The stages that are measured, each with its one key and the value of it.
const STAGES: [(&str, &str, &str); 2] =
    [("keep_city", "city", "Chicago"), ("with_total", "currency", "USD")];

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("which folder holds the built modules?")?;
    println!(
        "| language | module | compile | cached load | first instance | keep_city: rows, columns | with_total: rows, columns | × Rust |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let mut rust = None;
    for language in LANGUAGES {
        let folder = Path::new(&folder).join(language);
        if folder.is_dir() {
            line(language, &folder, &mut rust)?;
        }
    }
    println!(
        "\nmodule, compile, cached load, first instance: of keep_city at the level of rows; ms per 1,000 rows"
    );
    println!("× Rust: of the four figures, against those of the Rust stage");
    Ok(())
}

fn line(language: &str, folder: &Path, rust: &mut Option<Vec<Option<f64>>>) -> Result<(), Failure> {
    let found = module(folder, "keep_city", json!({ "city": "Chicago" }));
    let (file, config) = found.ok_or("keep_city is missing")?;
    let cache = CacheDir::new(language)?;
    let host = cache.host()?;
    let began = process_cpu();
    // Held, so that the host compiles a module with several stages once.
    let held = host.load_file(&file, Grant::default())?;
    let compiled = process_cpu().saturating_sub(began);
    let mut costs = Vec::new();
    for (stage, key, value) in STAGES {
        for level in ["", "_columns"] {
            costs.push(micros_per_row(
                &host,
                folder,
                &format!("{stage}{level}"),
                json!({ key: value }),
            )?);
        }
    }
    let first = rust.get_or_insert_with(|| costs.clone());
    let ratios =
        costs.iter().zip(first.iter()).filter_map(|(cost, first)| Some((*cost)? / (*first)?));
    let shown = |cost: &Option<f64>| cost.map_or("—".to_owned(), |cost| format!("{cost:.3}"));
    let (load_ms, instance_ms) = cache.load_ms(&file, &config)?;
    println!(
        "| {language} | {} | {:.2} s | {load_ms:.1} ms | {instance_ms:.1} ms | {}, {} | {}, {} | {} |",
        shown_size(held.size()),
        compiled.as_secs_f64(),
        shown(&costs[0]),
        shown(&costs[1]),
        shown(&costs[2]),
        shown(&costs[3]),
        ratios.map(|ratio| format!("{ratio:.1}")).collect::<Vec<_>>().join(", "),
    );
    Ok(())
}

/// A folder of compiled modules, for this run alone.
struct CacheDir(std::path::PathBuf);

impl CacheDir {
    fn new(language: &str) -> Result<Self, Failure> {
        let name = format!("gristmill-language-speed-{}-{language}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn host(&self) -> Result<Host, Failure> {
        let cache_dir = Some(self.0.clone());
        Ok(Host::new(HostConfig { cache_dir, ..HostConfig::default() })?)
    }

    /// Times of a load from the cache, and of the first instance with its answer to `describe`: the best of several.
    fn load_ms(&self, file: &Path, config: &Value) -> Result<(f64, f64), Failure> {
        let (input, _) = orders();
        let (mut load, mut instance) = (f64::MAX, f64::MAX);
        for _ in 0..LOADS {
            let host = self.host()?;
            let began = Instant::now();
            let module = host.load_file(file, Grant::default())?;
            let loaded = began.elapsed();
            Stage::describe(&host, &module, config, &input, limits())?;
            let described = began.elapsed();
            load = load.min(loaded.as_secs_f64() * 1e3);
            instance = instance.min((described - loaded).as_secs_f64() * 1e3);
        }
        Ok((load, instance))
    }
}

impl Drop for CacheDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// None: the language has no such stage.
fn micros_per_row(
    host: &Host,
    folder: &Path,
    stage: &str,
    config: Value,
) -> Result<Option<f64>, Failure> {
    let Some((file, config)) = module(folder, stage, config) else { return Ok(None) };
    let module = host.load_file(&file, Grant::default())?;
    let (input, columns) = orders();
    let stage = match Stage::describe(host, &module, &config, &input, limits()) {
        // A module with several stages, none of which is this one.
        Err(error) if error.key.as_deref() == Some("stage") => return Ok(None),
        described => described?,
    };
    let columns: Vec<ArrayRef> = stage.reads().iter().map(|&i| columns[i].clone()).collect();
    let mut lane = Lane::new(Arc::new(stage));
    run(&mut lane, &columns)?;
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        best = best.min(run(&mut lane, &columns)?);
    }
    Ok(Some(best))
}

fn limits() -> Limits {
    Limits { memory_bytes_max: 256 << 20, ..Limits::default() }
}

/// Microseconds per row of one run.
fn run(lane: &mut Lane, columns: &[ArrayRef]) -> Result<f64, Failure> {
    let began = Stopwatch::begin();
    let mut batches = 0;
    while began.elapsed() < RUN_TIME_MIN {
        std::hint::black_box(lane.process(columns, ROWS)?);
        batches += 1;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / (batches * ROWS) as f64)
}

struct Stopwatch {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    fn begin() -> Self {
        Self { wall: Instant::now(), cpu: thread_cpu() }
    }

    fn elapsed(&self) -> Duration {
        let cpu = self.cpu.and_then(|began| thread_cpu()?.checked_sub(began));
        cpu.unwrap_or_else(|| self.wall.elapsed())
    }
}

/// Time that all threads of the process have run, user and system, in Linux's steps of 10 ms; zero
/// elsewhere.
fn process_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program ends with a parenthesis, and may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Time that this thread has run: the first number of Linux's schedstat, in nanoseconds.
fn thread_cpu() -> Option<Duration> {
    let numbers = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    numbers.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn shown_size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
