//! `cargo xtask torture`: the longer form of what `cargo xtask test` does a hundred times.

use anyhow::{Context, Result, bail};

use crate::{setup, tool};

/// Kills when nobody says how many.
const CYCLES: u64 = 1_000;

/// Kills the broker over and over; the test is `tests/torture`.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some((victim, flags)) = arguments.split_first() else { bail!("torture whom? `broker`") };
    if victim != "broker" {
        bail!("no torture for `{victim}`, only for `broker`");
    }
    let cycles = flag(flags, "--cycles")?.unwrap_or(CYCLES);
    setup::wasm_target()?;
    tool::run(&mut tool::cargo(&["build", "--release", "--workspace"]))?;
    let arguments = ["test", "--release", "--workspace", "--test", "torture", "--", "--nocapture"];
    let mut cargo = tool::cargo(&arguments);
    cargo.env("GRISTMILL_TORTURE_CYCLES", cycles.to_string());
    if let Some(seed) = flag(flags, "--seed")? {
        cargo.env("GRISTMILL_TORTURE_SEED", seed.to_string());
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
