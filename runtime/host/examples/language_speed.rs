//! What a stage costs in each language: size, CPU time to compile, and microseconds per row at both
//! levels.
//!
//! `cargo xtask bench languages` builds the SDKs' examples and runs this over them; the argument is
//! the folder with one folder of modules per language. The table is the one of sdk/README.md. Times
//! are CPU times of one thread (wall times where the system does not tell them), the best of several
//! runs; batches have 1,000 rows.

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use arrow_schema::{Field, Schema};
use gristmill_host::{Host, HostConfig, Lane, Limits, Stage};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROWS: usize = 1_000;
const RUNS: usize = 3;
/// A run lasts at least this long.
const RUN_TIME_MIN: Duration = Duration::from_millis(200);
/// A module with several stages; its configuration picks one by the key `stage`.
const MANY_STAGES: &str = "stages.wasm";
/// Order of the table.
const LANGUAGES: [&str; 9] =
    ["rust", "c", "cpp", "zig", "go", "javascript", "python", "assemblyscript", "kotlin"];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("which folder holds the built modules?")?;
    println!(
        "| language | module | compile | keep_city: rows, columns | with_total: rows, columns |"
    );
    println!("|---|--:|--:|--:|--:|");
    for language in LANGUAGES {
        let folder = Path::new(&folder).join(language);
        if folder.is_dir() {
            line(language, &folder)?;
        }
    }
    println!("\nmodule and compile: of keep_city at the level of rows; µs per row");
    Ok(())
}

fn line(language: &str, folder: &Path) -> Result<(), Failure> {
    let (file, _) = module(folder, "keep_city", json!({})).ok_or("keep_city is missing")?;
    let bytes = std::fs::read(&file)?;
    let host = Host::new(HostConfig::default())?;
    let began = process_cpu();
    // Held, so that the host compiles a module with several stages once.
    let _module = host.load(language, &bytes)?;
    let compiled = process_cpu().saturating_sub(began);
    let cost = |stage: &str, config: Value| -> Result<String, Failure> {
        let rows = micros_per_row(&host, folder, stage, config.clone())?;
        let columns = micros_per_row(&host, folder, &format!("{stage}_columns"), config)?;
        Ok(format!("{rows}, {columns}"))
    };
    println!(
        "| {language} | {} | {:.2} s | {} | {} |",
        shown_size(bytes.len()),
        compiled.as_secs_f64(),
        cost("keep_city", json!({ "city": "Chicago" }))?,
        cost("with_total", json!({ "currency": "USD" }))?,
    );
    Ok(())
}

/// The file of a stage, and the configuration that picks the stage in it.
fn module(folder: &Path, stage: &str, mut config: Value) -> Option<(PathBuf, Value)> {
    let own = folder.join(format!("{stage}.wasm"));
    if own.exists() {
        return Some((own, config));
    }
    let shared = folder.join(MANY_STAGES);
    config["stage"] = json!(stage);
    shared.exists().then_some((shared, config))
}

fn micros_per_row(
    host: &Host,
    folder: &Path,
    stage: &str,
    config: Value,
) -> Result<String, Failure> {
    let Some((file, config)) = module(folder, stage, config) else { return Ok("—".to_owned()) };
    let module = host.load(stage, &std::fs::read(file)?)?;
    let (input, columns) = orders();
    let limits = Limits { memory_bytes_max: 256 << 20, ..Limits::default() };
    let stage = Stage::describe(host, &module, &config, &input, limits)?;
    let columns: Vec<ArrayRef> = stage.reads().iter().map(|&i| columns[i].clone()).collect();
    let mut lane = Lane::new(Arc::new(stage));
    run(&mut lane, &columns)?;
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        best = best.min(run(&mut lane, &columns)?);
    }
    Ok(format!("{best:.3}"))
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

/// One order in nine is from Chicago.
fn orders() -> (Schema, Vec<ArrayRef>) {
    let cities = [
        "Chicago",
        "Caguas",
        "New York",
        "Los Angeles",
        "Brooklyn",
        "Houston",
        "Miami",
        "Philadelphia",
        "San Antonio",
    ];
    let rows = 0..ROWS as i64;
    let city = rows.clone().map(|row| cities[row as usize % cities.len()]);
    let price = rows.clone().map(|row| 10.0 + row as f64 / 4.0);
    let quantity = rows.clone().map(|row| (row % 5) as i32 + 1);
    let columns: [(&str, ArrayRef); 4] = [
        ("order_id", Arc::new(Int64Array::from_iter_values(rows))),
        ("city", Arc::new(StringArray::from_iter_values(city))),
        ("price", Arc::new(Float64Array::from_iter_values(price))),
        ("quantity", Arc::new(Int32Array::from_iter_values(quantity))),
    ];
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    (schema, columns.into_iter().map(|(_, column)| column).collect())
}

fn shown_size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
