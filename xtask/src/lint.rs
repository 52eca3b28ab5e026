//! `cargo xtask lint`: what can be said of the code without running it.

use anyhow::Result;

use crate::steps::Steps;
use crate::{licences, setup, tool};

pub fn run() -> Result<()> {
    let mut steps = Steps::begin();
    steps.step("set-up: Rust", || {
        setup::wasm_target()?;
        setup::rust_components()
    })?;
    steps.step("format", || tool::run(&mut tool::cargo(&["fmt", "--all", "--check"])))?;
    steps.step("licences", licences::check)?;
    steps.step("clippy", || {
        let arguments =
            ["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        tool::run(&mut tool::cargo(&arguments))
    })
}
