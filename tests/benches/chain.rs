//! The chain parse → flatten → filter over the same generated orders, four ways, as ratios of one run:
//!
//! - `typed serde`: hand-written native Rust with typed serde_json, fused, JSON out: the yardstick;
//! - `native columns`: the code of the shipped stages, compiled natively, called without a sandbox;
//! - `three WASM stages`: the engine's own lane from record columns to the sink's record batch;
//! - `topic to topic`: the whole pipeline on the built-in broker, from producer's topic to the sink's.
//!
//! Rounds alternate. Shown are the medians of the times and of the ratios within a round, which a machine that is busier
//! in some rounds than in others does not move. Times are CPU times of the working thread, but for the last.
//! `ORDERS=n ROUNDS=n cargo xtask bench` changes the size, `CASE="shuffled keys"` leaves out all others.

#[path = "chain/columns.rs"]
mod columns;
#[path = "chain/measure.rs"]
mod measure;
#[path = "chain/orders.rs"]
mod orders;
#[path = "chain/topics.rs"]
mod topics;
#[path = "chain/typed.rs"]
mod typed;
#[path = "chain/wasm.rs"]
mod wasm;

use anyhow::{Result, ensure};
use gristmill_cli::shipped::SHIPPED;
use measure::{Figures, setting};
use orders::{Case, Input};

fn main() -> Result<()> {
    let (count, rounds) = (setting("ORDERS", 100_000), setting("ROUNDS", 5));
    println!(
        "{count} orders, {rounds} rounds; ratios are against `typed serde` of the same rounds\n"
    );
    let sizes: Vec<String> = SHIPPED
        .iter()
        .map(|(stage, module)| format!("{stage} {} KB", module.len().div_ceil(1000)))
        .collect();
    println!("stages: {}\n", sizes.join(", "));
    println!("{:<26}{:<20}{:>12}{:>12}{:>8}", "orders", "way", "orders/s", "µs/order", "ratio");
    let only = std::env::var("CASE").ok();
    for case in
        Case::ALL.into_iter().filter(|case| only.as_deref().is_none_or(|o| o == case.name()))
    {
        bench(&Input::new(case, count), rounds)?;
    }
    if only.is_none() {
        topics::bench(&Input::new(Case::Course, count))?;
    }
    println!("\npeak RSS of this process: {} MB", measure::peak_rss_mb()?);
    Ok(())
}

fn bench(input: &Input, rounds: usize) -> Result<()> {
    let mut chain = wasm::Chain::new(input)?;
    let mut native = columns::Chain::new(input)?;
    let (mut typed_times, mut native_times, mut wasm_times) =
        (Figures::new(), Figures::new(), Figures::new());
    for _ in 0..rounds {
        let rows = typed_times.time(|| typed::chain(input))?;
        let of_native = native_times.time(|| native.run())?;
        let of_wasm = wasm_times.time(|| chain.run())?;
        ensure!(
            rows == of_wasm && rows == of_native,
            "rows differ: {rows} typed, {of_native} native, {of_wasm} WASM"
        );
    }
    for (way, times) in [
        ("typed serde", &typed_times),
        ("native columns", &native_times),
        ("three WASM stages", &wasm_times),
    ] {
        let ratio = typed_times.median_ratio(times);
        measure::line(input.case.name(), way, input.len(), times.median(), ratio);
    }
    let micros = wasm_times.median() * 1e6 / input.len() as f64;
    let [guests, boundary, engine] = chain.shares().map(|share| share * micros);
    let share = boundary / micros * 100.0;
    let of_native = native_times.median_ratio(&wasm_times);
    println!(
        "{:<26}modules {guests:.2} + boundary {boundary:.2} ({share:.0} %) + engine {engine:.2} µs\n\
         {:<26}WASM / native columns: {of_native:.2}\n",
        "", ""
    );
    Ok(())
}
