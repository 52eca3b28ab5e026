//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{languages, setup, tool};

/// The benches of `tests/benches`.
const BENCHES: [&str; 1] = ["chain"];

/// What a row costs in the SDK of each language; not among all, since it needs their tool chains.
const LANGUAGES: &str = "languages";

/// Runs the named benches, or all. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(names: &[String]) -> Result<()> {
    if names == [LANGUAGES] {
        return languages::bench();
    }
    setup::wasm_target()?;
    let mut cargo = tool::cargo(&["bench", "--workspace"]);
    let chosen = names.iter().map(String::as_str);
    let all = BENCHES.into_iter().filter(|_| names.is_empty());
    for name in chosen.chain(all) {
        cargo.args(["--bench", name]);
    }
    tool::run(&mut cargo)
}
