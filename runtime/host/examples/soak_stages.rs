//! Many rows through a good and a leaking stage of each language: the host's memory stays flat.
//!
//! `cargo xtask torture stages` builds the SDKs' examples and runs this over them. Arguments: the folder with one
//! folder of modules per language, the number of rows, and names of languages (none: all that are built). A leaking
//! stage remembers every row; it loses its instance at the limit of its memory, and the rows go through in a new
//! one. Flat: in the second half of the rows the process is never more than [`GROWTH_BYTES_MAX`] larger than at the
//! worst moment of the first, or than what it was before with one guest at its limit.

#[path = "languages/mod.rs"]
mod languages;

use arrow_array::ArrayRef;
use gristmill_host::{Host, HostConfig, Lane, Limits, Stage};
use languages::{Failure, LANGUAGES, ROWS, module, orders};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What the allocator of the host may keep more of than before.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
/// An engine in the module wants memory: that of JavaScript does not start its collector before 70 MB.
const MEMORY_BYTES_MAX: [(&str, usize); 2] = [("javascript", 128 << 20), ("python", 64 << 20)];
/// A module of C begins with 17 MiB where its linker is Zig's.
const MEMORY_OF_OTHERS_BYTES_MAX: usize = 32 << 20;
/// Looks at the process's memory per half.
const LOOKS: u64 = 200;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, names @ ..] = arguments.as_slice() else {
        return Err("which folder holds the built modules, and how many rows?".into());
    };
    let rows: u64 = rows.parse()?;
    println!("| language | stage | rows | instances lost | memory, first half | second half | s |");
    println!("|---|---|--:|--:|--:|--:|--:|");
    let mut grown = Vec::new();
    for language in LANGUAGES {
        let folder = Path::new(folder).join(language);
        let is_wanted = names.is_empty() || names.iter().any(|name| name == language);
        if !is_wanted || !folder.is_dir() {
            continue;
        }
        for (stage, leaks) in [("keep_city", false), ("leaks", true)] {
            if !soak(language, &folder, stage, leaks, rows)? {
                grown.push(format!("{stage} in {language}"));
            }
        }
    }
    if grown.is_empty() { Ok(()) } else { Err(format!("not flat: {}", grown.join(", ")).into()) }
}

/// False: the host's memory grew.
fn soak(
    language: &str,
    folder: &Path,
    name: &str,
    leaks: bool,
    rows: u64,
) -> Result<bool, Failure> {
    let config = if leaks { json!({}) } else { json!({ "city": "Chicago" }) };
    let (file, config) =
        module(folder, name, config).ok_or_else(|| format!("no {name} in {language}"))?;
    let host = Host::new(HostConfig {
        cache_dir: Some(folder.join("../compiled")),
        ..HostConfig::default()
    })?;
    let module = host.load(name, &std::fs::read(file)?)?;
    let (input, columns) = orders();
    let of_language = MEMORY_BYTES_MAX.iter().find(|(name, _)| *name == language);
    let memory_bytes_max = of_language.map_or(MEMORY_OF_OTHERS_BYTES_MAX, |(_, bytes)| *bytes);
    let limits = Limits { memory_bytes_max, ..Limits::default() };
    let stage = Stage::describe(&host, &module, &config, &input, limits)?;
    let columns: Vec<ArrayRef> = stage.reads().iter().map(|&i| columns[i].clone()).collect();
    let mut lane = Lane::new(Arc::new(stage));
    let began = Instant::now();
    let before = resident_bytes()?;
    let first = half(&mut lane, &columns, rows / 2, leaks)?;
    let second = half(&mut lane, &columns, rows / 2, leaks)?;
    println!(
        "| {language} | {name} | {rows} | {} | {} MB | {} MB | {:.0} |",
        first.lost + second.lost,
        first.resident_bytes_max / 1_000_000,
        second.resident_bytes_max / 1_000_000,
        began.elapsed().as_secs_f64(),
    );
    let with_guest = before + if leaks { memory_bytes_max as u64 } else { 0 };
    if leaks && first.lost + second.lost == 0 {
        return Err(format!("{name} in {language} lost no instance in {rows} rows: too few").into());
    }
    Ok(second.resident_bytes_max <= first.resident_bytes_max.max(with_guest) + GROWTH_BYTES_MAX)
}

#[derive(Default)]
struct Half {
    lost: usize,
    resident_bytes_max: u64,
}

/// Every row comes through, whatever becomes of the instances.
fn half(lane: &mut Lane, columns: &[ArrayRef], rows: u64, leaks: bool) -> Result<Half, Failure> {
    let batches = rows / ROWS as u64;
    let mut half = Half::default();
    for batch in 0..batches {
        let output = lane.process(columns, ROWS)?;
        if let Some(failure) = output.failures.first() {
            return Err(format!("batch {batch}: {failure:?}").into());
        }
        let expected = if leaks { ROWS } else { ROWS.div_ceil(9) };
        if output.row_count != expected || (!leaks && output.instances_lost > 0) {
            return Err(format!("batch {batch}: {} rows of {expected}", output.row_count).into());
        }
        half.lost += output.instances_lost;
        if batch % (batches / LOOKS).max(1) == 0 {
            half.resident_bytes_max = half.resident_bytes_max.max(resident_bytes()?);
        }
    }
    Ok(half)
}

/// Of this process, by Linux's statm.
fn resident_bytes() -> Result<u64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm without a second number")?.parse()?;
    Ok(pages * 4096)
}
