//! A name for this process: no other has it at the same time, and it comes again after a restart.
//!
//! Kafka transactions are begun under it, so that what a process left open in a crash is ended by its successor at
//! once and not by a time-out. Each process on a data folder takes the first file of `instances/` that nobody holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Processes at the same time on one data folder.
const INSTANCES_MAX: usize = 1_000;
/// A name that is longer was not written by us.
const NAME_BYTES_MAX: usize = 64;

/// Held as long as the process runs.
pub struct Instance {
    name: String,
    /// Its lock ends with the process, however that ends.
    _held: File,
}

impl Instance {
    /// Takes a name that is free.
    pub fn claim(data_dir: &Path) -> Result<Instance> {
        let folder = data_dir.join("instances");
        std::fs::create_dir_all(&folder).with_context(|| {
            format!(
                "cannot create the folder `{}`; choose another with --data-dir",
                folder.display()
            )
        })?;
        for number in 0..INSTANCES_MAX {
            let path = folder.join(number.to_string());
            let named = claim_file(&path);
            let named = named.with_context(|| format!("cannot use `{}`", path.display()))?;
            if let Some((name, held)) = named {
                return Ok(Instance { name, _held: held });
            }
        }
        bail!("{INSTANCES_MAX} processes use the data folder `{}` already", data_dir.display())
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `None`: another process holds it.
fn claim_file(path: &Path) -> Result<Option<(String, File)>> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let mut name = String::new();
    let read = Read::by_ref(&mut file).take(NAME_BYTES_MAX as u64).read_to_string(&mut name);
    let whole = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if read.is_err() || !whole(&name) {
        name = uuid::Uuid::new_v4().simple().to_string();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(name.as_bytes())?;
        file.sync_all()?;
    }
    Ok(Some((name, file)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_by_one_and_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Instance::claim(folder.path()).unwrap();
        let second = Instance::claim(folder.path()).unwrap();
        assert_ne!(first.name(), second.name());
        let name = first.name().to_string();
        drop(first);
        assert_eq!(Instance::claim(folder.path()).unwrap().name(), name);
    }

    #[test]
    fn a_file_that_was_torn_gets_a_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = Instance::claim(folder.path()).unwrap().name().to_string();
        std::fs::write(folder.path().join("instances/0"), &name[..7]).unwrap();
        let torn = Instance::claim(folder.path()).unwrap();
        assert_eq!(torn.name().len(), 32);
        assert_ne!(torn.name(), name);
    }
}
