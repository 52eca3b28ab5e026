//! What the machine has to have: found, installed where that needs nobody's leave, else named with
//! the command that installs it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tool;

/// The target of the stages.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Python packages of the independent readers and clients, with their versions.
const REQUIREMENTS: &str = "tests/clients/requirements.txt";

/// A program that the tests start, and the Debian package that brings it.
struct Program {
    name: &'static str,
    /// Arguments with which it does nothing and succeeds.
    probe: &'static [&'static str],
    debian_package: &'static str,
}

const CLIENT_PROGRAMS: [Program; 8] = [
    Program { name: "kcat", probe: &["-V"], debian_package: "kcat" },
    // Of the development kit: it compiles the clients of pipelines/clients.
    Program { name: "javac", probe: &["-version"], debian_package: "default-jdk-headless" },
    Program { name: "mvn", probe: &["-v"], debian_package: "maven" },
    Program { name: "openssl", probe: &["version"], debian_package: "openssl" },
    Program { name: "python3", probe: &["-c", "import ensurepip"], debian_package: "python3-venv" },
    Program { name: "node", probe: &["--version"], debian_package: "nodejs" },
    Program { name: "npm", probe: &["--version"], debian_package: "npm" },
    Program { name: "chromium", probe: &["--version"], debian_package: "chromium" },
];

/// Adds the WebAssembly target to the Rust in use if it is missing.
pub fn wasm_target() -> Result<()> {
    if !tool::works("rustup", &["--version"]) {
        // A Rust from elsewhere; the build of the stages says what is missing, if anything is.
        return Ok(());
    }
    let installed = tool::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if installed.lines().any(|target| target == WASM_TARGET) {
        return Ok(());
    }
    tool::run(Command::new("rustup").args(["target", "add", WASM_TARGET]))
}

/// Adds rustfmt and clippy to the Rust in use if they are missing.
pub fn rust_components() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        if !tool::works(cargo, &[command, "--version"]) {
            tool::run(Command::new("rustup").args(["component", "add", component]))
                .with_context(|| format!("cargo has no command `{command}`"))?;
        }
    }
    Ok(())
}

/// The programs that other people's clients need: installed with apt-get if we may, else named.
pub fn client_programs() -> Result<()> {
    let missing: Vec<&str> = CLIENT_PROGRAMS
        .iter()
        .filter(|program| !tool::works(program.name, program.probe))
        .map(|program| program.debian_package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !may_install() {
        bail!(
            "programs are missing that the clients' suites run\n\
             help: `sudo apt-get install {}`, or leave these suites out: \
             `cargo xtask test --without-clients`",
            missing.join(" ")
        );
    }
    tool::run(Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["-qq", "install", "--no-install-recommends", "-y"]).args(&missing);
    tool::run(&mut install)
}

/// Whether this is Debian or a relative of it, and we are root.
fn may_install() -> bool {
    let root = tool::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    root && tool::works("apt-get", &["--version"])
}

/// A Python with the independent readers and clients. Returns its interpreter.
pub fn python() -> Result<PathBuf> {
    Ok(python_environment("gristmill-venv", REQUIREMENTS)?.join("bin/python"))
}

/// A virtual environment under `~/.cache` with the packages that a file of the workspace lists.
/// Returns its folder.
pub fn python_environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = tool::cache_dir()?.join(name);
    let wanted = std::fs::read_to_string(tool::root().join(requirements))
        .with_context(|| format!("cannot read {requirements}"))?;
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(folder);
    }
    tool::run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).context(
        "cannot make a Python environment\nhelp: Debian has it in the package python3-venv",
    )?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    tool::run(pip.arg(tool::root().join(requirements)))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(folder)
}
