//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{kafka, languages, setup, tool};

/// The benches of `tests/benches` that run when none is named.
const BENCHES: [&str; 3] = ["chain", "delivery", BROKER];
/// Compares with Apache Kafka.
const BROKER: &str = "broker";

/// What a row costs in the SDK of each language; not among all, since it needs their tool chains.
const LANGUAGES: &str = "languages";

/// Runs the named benches, or all; what begins with `--` and all behind it goes to them. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(arguments: &[String]) -> Result<()> {
    let named = arguments.iter().take_while(|argument| !argument.starts_with("--")).count();
    let (names, flags) = arguments.split_at(named);
    if names == [LANGUAGES] {
        return languages::bench();
    }
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
    tool::run(cargo.arg("--").args(flags))
}
