//! `cargo xtask demo`: from an empty clone to the main job.

use std::process::Command;

use anyhow::Result;

use crate::{setup, tool};

/// Builds the binary with the stages inside and becomes `gristmill demo ARGUMENTS`.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::wasm_target()?;
    tool::run(&mut tool::cargo(&["build", "--release", "--workspace"]))?;
    become_program(Command::new(tool::gristmill()).arg("demo").args(arguments))
}

/// On Unix the demo takes our place, so that Ctrl-C and the exit code are its own.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;

    use anyhow::Context;

    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", tool::gristmill().display()))
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    tool::run(command)
}
