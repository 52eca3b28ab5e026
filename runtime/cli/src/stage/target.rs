//! The module that a command means: a file, a project's `stage.wasm`, or a stage inside the binary.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use gristmill_cli::shipped;

use super::build::MODULE;
use crate::user_error::UserError;

/// A module with the place of its examples.
pub struct Target {
    /// For messages.
    pub name: String,
    pub bytes: Vec<u8>,
    /// `examples.toml` beside it, whether it is there or not.
    pub examples: PathBuf,
}

impl Target {
    /// # Errors
    /// There is no such file, and nothing in the folder was built.
    pub fn find(path: &Path) -> Result<Target> {
        if path.is_dir() {
            let module = path.join(MODULE);
            if !module.is_file() {
                bail!(UserError::new(format!(
                    "there is no `{}`: `gristmill stage build {}` makes it",
                    module.display(),
                    path.display()
                )));
            }
            warn_of_age(path, &module);
            return Target::read(&module);
        }
        if path.is_file() {
            return Target::read(path);
        }
        let shipped_name = path.to_str().filter(|name| shipped::module(name).is_some());
        match shipped_name.and_then(|name| Some((name, shipped::module(name)?))) {
            Some((name, bytes)) => Ok(Target {
                name: name.to_string(),
                bytes: bytes.to_vec(),
                examples: PathBuf::from("examples.toml"),
            }),
            None => bail!(UserError::new(format!(
                "there is no file or folder `{}`, and no shipped stage of this name: those are {}",
                path.display(),
                shipped::names().join(", ")
            ))),
        }
    }

    fn read(module: &Path) -> Result<Target> {
        let bytes = std::fs::read(module)
            .with_context(|| format!("cannot read `{}`", module.display()))
            .map_err(UserError::from_error)?;
        let folder = module.parent().unwrap_or(Path::new(""));
        let name = module.display().to_string();
        Ok(Target { name, bytes, examples: folder.join("examples.toml") })
    }
}

/// Endings of a stage's own sources.
const SOURCES: [&str; 9] = ["rs", "c", "cpp", "cc", "go", "js", "ts", "py", "zig"];

/// A module that is older than a source beside it is hardly what its author means.
fn warn_of_age(folder: &Path, module: &Path) {
    let Some(built) = changed(module) else { return };
    let sources = [folder.to_path_buf(), folder.join("src")];
    let entries = sources.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let newer = entries.map(|entry| entry.path()).find(|file| {
        let is_source = file.extension().and_then(|extension| extension.to_str());
        is_source.is_some_and(|extension| SOURCES.contains(&extension))
            && changed(file).is_some_and(|time| time > built)
    });
    if let Some(source) = newer {
        eprintln!(
            "warning: `{}` is older than `{}`: `gristmill stage build` makes it anew",
            module.display(),
            source.display()
        );
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_means_what_was_built_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = Target::find(folder.path()).err().unwrap();
        assert!(error.to_string().contains("gristmill stage build"), "{error}");
        std::fs::write(folder.path().join(MODULE), b"\0asm").unwrap();
        let target = Target::find(folder.path()).unwrap();
        assert_eq!(target.bytes, b"\0asm");
        assert_eq!(target.examples, folder.path().join("examples.toml"));
    }

    #[test]
    fn a_shipped_stage_is_meant_by_its_name() {
        assert!(Target::find(Path::new("filter")).unwrap().bytes.starts_with(b"\0asm"));
        let error = Target::find(Path::new("no-such-stage")).err().unwrap();
        assert!(error.to_string().contains("parse-json"), "{error}");
    }
}
