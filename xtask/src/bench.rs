//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{setup, tool};

/// The benches of `tests/benches`.
const BENCHES: [&str; 2] = ["chain", "delivery"];

/// Runs the named benches, or all. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(names: &[String]) -> Result<()> {
    setup::wasm_target()?;
    let mut cargo = tool::cargo(&["bench", "--workspace"]);
    let chosen = names.iter().map(String::as_str);
    let all = BENCHES.into_iter().filter(|_| names.is_empty());
    for name in chosen.chain(all) {
        cargo.args(["--bench", name]);
    }
    tool::run(&mut cargo)
}
