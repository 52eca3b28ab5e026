//! Makes a stage's candidate its module: the candidate's bytes are put in the place of the module's file, and what then
//! stands there is reloaded as any change is. So the next start runs what runs now.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gristmill_host::sha256_hex;

use super::{Receipt, Refusal, Reloader};
use crate::config::ModuleRef;
use crate::plan::Plan;

/// What was there before is kept under the name of the module's file and this.
const KEPT_ENDING: &str = "before";

impl Reloader {
    /// Refuses, with the module as it was, what a reload refuses.
    pub(super) async fn promote(&mut self, stage: &str) -> Result<Receipt, Refusal> {
        let plan = self.control.plan();
        let (live, bytes) = candidate(&plan, stage)?;
        let replaced = tokio::task::spawn_blocking(move || Replaced::put(&live, &bytes)).await;
        let replaced = match replaced {
            Ok(Ok(replaced)) => replaced,
            Ok(Err(error)) => return Err(Refusal::new(format!("{error:#}"))),
            Err(panicked) => return Err(Refusal::new(panicked.to_string())),
        };
        let shadow = self.shadows.remove(stage);
        let applied = self.apply().await;
        if applied.is_err() {
            if let Some(shadow) = shadow {
                self.shadows.insert(stage.to_string(), shadow);
            }
            if let Err(error) = replaced.undo() {
                tracing::error!("{error:#}");
            }
        }
        applied
    }
}

/// Where a stage's module stands, and the bytes that are to stand there.
fn candidate(plan: &Plan, stage: &str) -> Result<(PathBuf, Vec<u8>), Refusal> {
    let refuse = |why: String| Err(Refusal::new(why));
    let index = plan.stage_index(stage).map_err(|error| Refusal::new(error.to_string()))?;
    let (config, planned) = (&plan.pipeline.stages[index], &plan.stages[index]);
    let (Some(shadow), Some(running)) = (&config.shadow, &planned.shadow) else {
        return refuse(format!("stage `{stage}` has no candidate: give it a `shadow` first"));
    };
    let file = plan.pipeline.file.display();
    let (live, shadow) = match (&config.module, shadow) {
        (ModuleRef::File(live), ModuleRef::File(shadow)) => (live, shadow),
        (ModuleRef::Shipped(name), ModuleRef::File(shadow)) => {
            return refuse(format!(
                "stage `{stage}` runs the shipped module `{name}`, in whose place no file can be put: write \
                 `module = \"{}\"` into {file} instead",
                shadow.display()
            ));
        }
        (_, ModuleRef::Shipped(name)) => {
            return refuse(format!(
                "the candidate of stage `{stage}` is the shipped module `{name}`: write `module = \"{name}\"` into {file}"
            ));
        }
    };
    let bytes = match std::fs::read(shadow) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(format!("cannot read `{}`: {error}", shadow.display())),
    };
    if sha256_hex(&bytes) != running.module().hash() {
        return refuse(format!(
            "`{}` is not what is compared any more: look at the differences of what stands there now first",
            shadow.display()
        ));
    }
    if running.module().hash() == planned.stage.module().hash() {
        return refuse(format!("the candidate of stage `{stage}` is live already"));
    }
    Ok((live.clone(), bytes))
}

/// A file whose content was replaced.
struct Replaced {
    path: PathBuf,
    kept: PathBuf,
}

impl Replaced {
    /// Blocks. A link to the file stays a link.
    fn put(path: &Path, bytes: &[u8]) -> Result<Replaced> {
        let real =
            path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        let kept = beside(&real, KEPT_ENDING);
        let put = || -> io::Result<()> {
            std::fs::copy(&real, &kept)?;
            write_beside(&real, bytes)
        };
        put().with_context(|| {
            format!("cannot put the candidate in the place of `{}`", real.display())
        })?;
        Ok(Replaced { path: real, kept })
    }

    fn undo(&self) -> Result<()> {
        std::fs::rename(&self.kept, &self.path).with_context(|| {
            let (path, kept) = (self.path.display(), self.kept.display());
            format!("cannot put `{kept}` back in the place of `{path}`")
        })
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

/// Nobody sees half of it.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    let written = std::fs::File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_permissions(std::fs::metadata(path)?.permissions())?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "old").unwrap();
        let replaced = Replaced::put(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(folder.path().join("a.wasm.before")).unwrap(), b"old");
        replaced.undo().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
