//! Other programs: how they are started, and where this workspace and its products lie.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Cargo's target folder of this workspace: `CARGO_TARGET_DIR`, else `target`.
pub fn target_dir() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    // A relative folder counts from where cargo was started.
    match named {
        Some(folder) => env::current_dir().unwrap_or_else(|_| root().into()).join(folder),
        None => root().join("target"),
    }
}

/// The product of `cargo build --release`.
pub fn gristmill() -> PathBuf {
    target_dir().join("release").join(format!("gristmill{}", env::consts::EXE_SUFFIX))
}

/// The folder of files that outlive a build: `~/.cache`.
pub fn cache_dir() -> Result<PathBuf> {
    let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"));
    Ok(PathBuf::from(home.context("neither HOME nor USERPROFILE is set")?).join(".cache"))
}

/// The cargo that runs us, in the workspace's root and with the target folder that we name to
/// others.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(speaks_of_xtask) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo set this variable because it runs xtask. Some build scripts (ring's) watch these: with them the
/// dependencies would be compiled anew whenever cargo is called by us and not by hand.
fn speaks_of_xtask(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Runs to the end; a failure is an error that shows the command.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// What the command prints to standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", shown(command)))
}

/// Whether the program runs and says that all is well; prints nothing.
pub fn works(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
