//! Apache Kafka itself, to compare with: its jars come from Maven Central once, into `~/.cache`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool;

/// The version that the projects of Maven name.
const VERSION: &str = "3.9.1";

/// The folder with the jars of the broker and its tools; fetches them with Maven if they are not there.
pub fn jars() -> Result<PathBuf> {
    fetched("gristmill-kafka", "tests/clients/kafka/pom.xml")
}

/// As [`jars`], of Kafka Streams.
pub fn streams_jars() -> Result<PathBuf> {
    fetched(STREAMS, "tests/benches/streams/pom.xml")
}

/// The folder with the jars of Kafka Streams, if they were fetched before.
pub fn streams_jars_if_there() -> Result<Option<PathBuf>> {
    let folder = tool::cache_dir()?.join(STREAMS).join(VERSION);
    Ok(folder.is_dir().then_some(folder))
}

const STREAMS: &str = "gristmill-kafka-streams";

fn fetched(name: &str, project: &str) -> Result<PathBuf> {
    let folder = tool::cache_dir()?.join(name).join(VERSION);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Into a folder beside, so that a broken download is never taken for the jars.
    let part = folder.with_extension("1.part");
    if part.is_dir() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(tool::root().join(project));
    maven.arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", part.display()));
    tool::run(&mut maven).context(
        "cannot fetch Kafka's jars\nhelp: Debian has mvn in the package maven, java in default-jre-headless",
    )?;
    fs::rename(&part, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
