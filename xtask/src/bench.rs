//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{setup, tool};

/// Runs the benches of `tests/benches`, or those named. The binary is built first: the bench of
/// the whole pipeline starts it.
pub fn run(names: &[String]) -> Result<()> {
    setup::wasm_target()?;
    tool::run(&mut tool::cargo(&["build", "--release", "--package", "gristmill-cli"]))?;
    let mut cargo = tool::cargo(&["bench", "--package", "gristmill-tests"]);
    for name in names {
        cargo.args(["--bench", name]);
    }
    tool::run(&mut cargo)
}
