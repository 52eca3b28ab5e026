//! Apache Kafka itself, to compare with: its jars come from Maven Central once, into `~/.cache`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool;

/// The version that `tests/clients/kafka/pom.xml` names.
const VERSION: &str = "3.9.1";

/// The folder with the jars; fetches them with Maven if they are not there.
pub fn jars() -> Result<PathBuf> {
    let folder = tool::cache_dir()?.join("gristmill-kafka").join(VERSION);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Into a folder beside, so that a broken download is never taken for the jars.
    let part = folder.with_extension("1.part");
    if part.is_dir() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]);
    maven.arg(tool::root().join("tests/clients/kafka/pom.xml"));
    maven.arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", part.display()));
    tool::run(&mut maven).context(
        "cannot fetch Kafka's jars\nhelp: Debian has mvn in the package maven, java in default-jre-headless",
    )?;
    fs::rename(&part, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
