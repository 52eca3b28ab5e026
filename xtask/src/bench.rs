//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{setup, tool};

/// The benches of `tests/benches` that run when none is named.
const BENCHES: [&str; 1] = ["chain"];

/// Runs the named benches, or all; what begins with `--` and all behind it goes to them. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(arguments: &[String]) -> Result<()> {
    let named = arguments.iter().take_while(|argument| !argument.starts_with("--")).count();
    let (names, flags) = arguments.split_at(named);
    setup::wasm_target()?;
    let mut cargo = tool::cargo(&["bench", "--workspace"]);
    let chosen = names.iter().map(String::as_str);
    let all = BENCHES.into_iter().filter(|_| names.is_empty());
    for name in chosen.chain(all) {
        cargo.args(["--bench", name]);
    }
    tool::run(cargo.arg("--").args(flags))
}
