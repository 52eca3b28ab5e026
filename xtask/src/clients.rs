//! The suites of other people's Kafka clients in `tests/clients`, against the release binary.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::tool;

/// Run by the interpreter that their ending names, in this order: `security.py` needs the jars that
/// `console_tools.sh` fetches.
const SUITES: [&str; 5] =
    ["kcat.sh", "confluent_python.py", "console_tools.sh", "security.py", "pipelines_clients.sh"];

/// Runs every suite, also after one has failed.
pub fn run(python: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for suite in SUITES {
        eprintln!("\n-- {suite}");
        let interpreter = if suite.ends_with(".py") { python } else { Path::new("bash") };
        let mut command = Command::new(interpreter);
        command.arg(tool::root().join("tests/clients").join(suite)).arg(tool::gristmill());
        command.env("GRISTMILL_PYTHON", python);
        if let Err(error) = tool::run(&mut command) {
            eprintln!("{error:#}");
            failed.push(suite);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
