//! The page in a browser, `tests/ui`: Debian's Chromium, driven by Node against the release binary.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool;

/// Names and versions of the Node packages.
const PACKAGES: &str = "tests/ui/package.json";

/// Runs every scenario. Screenshots go to `target/ui`.
pub fn run() -> Result<()> {
    let modules = node_modules()?;
    let screenshots = tool::target_dir().join("ui");
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules).arg(tool::root().join("tests/ui/main.cjs"));
    tool::run(node.arg(tool::gristmill()).arg(&screenshots))?;
    eprintln!("screenshots of every page: {}", screenshots.display());
    Ok(())
}

/// With many topics and pipelines: how long a view takes, and what a page costs that is left open.
pub fn bench() -> Result<()> {
    tool::run(&mut tool::cargo(&["build", "--release", "--workspace"]))?;
    let mut node = Command::new("node");
    tool::run(node.arg(tool::root().join("tests/ui/speed.cjs")).arg(tool::gristmill()))
}

/// The packages, installed under `~/.cache` when their list has changed. Returns their folder.
fn node_modules() -> Result<PathBuf> {
    let folder = tool::cache_dir()?.join("gristmill-ui");
    let modules = folder.join("node_modules");
    let wanted = std::fs::read_to_string(tool::root().join(PACKAGES))
        .with_context(|| format!("cannot read {PACKAGES}"))?;
    let present = folder.join("package.json");
    let stamp = folder.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(modules);
    }
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&present, &wanted))
        .with_context(|| format!("cannot write {}", present.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]);
    tool::run(npm.current_dir(&folder))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(modules)
}
