//! `cargo xtask torture`: the longer form of what `cargo xtask test` does for a minute.

use anyhow::{Context, Result, bail};

use crate::{kafka, languages, setup, test, tool};

/// Kills of the broker when nobody says how many.
const BROKER_CYCLES: u64 = 1_000;
/// Faults under pipelines when nobody says how many.
const PIPELINES_CYCLES: u64 = 300;
/// Rows through each stage when nobody says how many.
const ROWS: u64 = 10_000_000;

/// Reloads, and orders a second, when nobody says how many.
const RELOADS: u64 = 200;
const RELOAD_RATE: u64 = 20_000;

pub fn run(arguments: &[String]) -> Result<()> {
    let Some((victim, flags)) = arguments.split_first() else {
        bail!("torture whom? `broker`, `pipelines`, `reload` or `stages`")
    };
    match victim.as_str() {
        "broker" => broker(flags),
        "pipelines" => pipelines(flags),
        "reload" => reload(flags),
        "stages" => stages(flags),
        _ => bail!(
            "no torture for `{victim}`, only for `broker`, `pipelines`, `reload` and `stages`"
        ),
    }
}

/// Rows without end through stages that leak, and those that do not: `runtime/host/examples/soak_stages.rs`.
fn stages(flags: &[String]) -> Result<()> {
    let rows = flag(flags, "--rows")?.unwrap_or(ROWS);
    let of_rows = |place: usize| place > 0 && flags[place - 1] == "--rows";
    let names =
        flags.iter().enumerate().filter(|(place, word)| *word != "--rows" && !of_rows(*place));
    languages::soak(rows, &names.map(|(_, name)| name.clone()).collect::<Vec<_>>())
}

/// Reloads a pipeline over and over under load; the test is `tests/end_to_end/reload/load.rs`.
fn reload(flags: &[String]) -> Result<()> {
    let reloads = flag(flags, "--reloads")?.unwrap_or(RELOADS);
    let rate = flag(flags, "--rate")?.unwrap_or(RELOAD_RATE);
    build()?;
    let arguments = ["test", "--release", "--workspace", "--test", "end_to_end", "--"];
    let mut cargo = tool::cargo(&arguments);
    cargo.args(["--nocapture", "--test-threads=1", "reloads_in_a_row"]);
    cargo.env("GRISTMILL_RELOADS", reloads.to_string());
    cargo.env("GRISTMILL_RELOAD_RATE", rate.to_string());
    tool::run(&mut cargo)
}

/// Kills the broker over and over; the test is `tests/torture`.
fn broker(flags: &[String]) -> Result<()> {
    build()?;
    let cycles = flag(flags, "--cycles")?.unwrap_or(BROKER_CYCLES);
    torture("torture", cycles, flag(flags, "--seed")?, false)
}

/// Lets things go wrong under running pipelines; the test is `tests/torture_pipelines`.
fn pipelines(flags: &[String]) -> Result<()> {
    build()?;
    let cycles = flag(flags, "--cycles")?.unwrap_or(PIPELINES_CYCLES);
    let with_kafka = flags.iter().any(|flag| flag == "--kafka");
    torture("torture_pipelines", cycles, flag(flags, "--seed")?, with_kafka)
}

fn build() -> Result<()> {
    setup::wasm_target()?;
    tool::run(&mut tool::cargo(&["build", "--release", "--workspace"]))
}

fn torture(test: &str, cycles: u64, seed: Option<u64>, with_kafka: bool) -> Result<()> {
    let arguments = ["test", "--release", "--workspace", "--test", test, "--", "--nocapture"];
    let mut cargo = tool::cargo(&arguments);
    cargo.env(test::PYTHON_VARIABLE, setup::python()?);
    cargo.env("GRISTMILL_TORTURE_CYCLES", cycles.to_string());
    if let Some(seed) = seed {
        cargo.env("GRISTMILL_TORTURE_SEED", seed.to_string());
    }
    if with_kafka {
        cargo.env("KAFKA_JARS", kafka::jars()?);
    }
    tool::run(&mut cargo)
}

/// The number behind a flag.
fn flag(flags: &[String], name: &str) -> Result<Option<u64>> {
    let Some(place) = flags.iter().position(|flag| flag == name) else { return Ok(None) };
    let number = flags.get(place + 1).with_context(|| format!("`{name}` without a number"))?;
    number.parse().map(Some).with_context(|| format!("`{name} {number}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_has_a_number() {
        let flags = ["--cycles", "7", "--seed"].map(str::to_owned);
        assert_eq!(flag(&flags, "--cycles").ok(), Some(Some(7)));
        assert_eq!(flag(&flags, "--other").ok(), Some(None));
        assert!(flag(&flags, "--seed").is_err());
    }
}
