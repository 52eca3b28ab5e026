//! The built modules of one language.

use gristmill_host::{Host, HostConfig, Limits, Module};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Languages that must be there: `all`, or names with commas between.
const REQUIRED_VARIABLE: &str = "GRISTMILL_LANGUAGES";
/// A module with several stages; its configuration picks one by the key `stage`.
const MANY_STAGES: &str = "stages.wasm";

/// At which level of its SDK a stage is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Rows,
    Columns,
}

pub struct Language {
    pub name: String,
    pub host: Host,
    folder: PathBuf,
}

impl Language {
    /// None: it is not built, and need not be.
    pub fn find(name: &str) -> Option<Self> {
        // `CARGO_TARGET_TMPDIR` is `tmp` in the target folder.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let folder = target.join("languages").join(name);
        let required = std::env::var(REQUIRED_VARIABLE).unwrap_or_default();
        let required = required.split(',').any(|language| language == "all" || language == name);
        if !folder.is_dir() {
            let message = format!("{name} is not built: `cargo xtask languages {name}` builds it");
            assert!(!required, "{message}");
            eprintln!("left out: {message}");
            return None;
        }
        // Compiling an interpreter takes 6 s on one core; its code is kept beside the modules.
        let cache_dir = Some(target.join("languages/compiled"));
        let host = Host::new(HostConfig { cache_dir, ..HostConfig::default() }).unwrap();
        Some(Self { name: name.to_owned(), host, folder })
    }

    /// The module of a stage, and the configuration that makes it that stage.
    pub fn module(&self, stage: &str, level: Level, config: &Value) -> (Module, Value) {
        let stage = match level {
            Level::Rows => stage.to_owned(),
            Level::Columns => format!("{stage}_columns"),
        };
        let (mut file, mut config) = (self.folder.join(format!("{stage}.wasm")), config.clone());
        if !file.exists() {
            file = self.folder.join(MANY_STAGES);
            config["stage"] = json!(stage);
        }
        let bytes = std::fs::read(&file).unwrap_or_else(|error| {
            panic!("{stage} in {}: {}: {error}", self.name, file.display())
        });
        let module = self.host.load(&format!("{}/{stage}", self.name), &bytes);
        (module.unwrap_or_else(|error| panic!("{}: {error}", file.display())), config)
    }
}

/// An interpreter needs more memory and more time to start than the defaults give.
pub fn limits() -> Limits {
    Limits {
        memory_bytes_max: 256 << 20,
        batch_time_max: Duration::from_secs(60),
        describe_time_max: Duration::from_secs(60),
        ..Limits::default()
    }
}
