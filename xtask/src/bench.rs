//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{kafka, setup, tool};

/// The benches of `tests/benches`.
const BENCHES: [&str; 3] = ["chain", "delivery", BROKER];
/// Compares with Apache Kafka.
const BROKER: &str = "broker";

/// Runs the named benches, or all. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(names: &[String]) -> Result<()> {
    setup::wasm_target()?;
    let chosen: Vec<&str> = match names {
        [] => BENCHES.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut cargo = tool::cargo(&["bench", "--workspace"]);
    for name in &chosen {
        cargo.args(["--bench", name]);
    }
    if chosen.contains(&BROKER) {
        cargo.env("KAFKA_JARS", kafka::jars()?);
    }
    tool::run(&mut cargo)
}
