//! The folder of a broker: its lock, its identity, and whether it was left in order.
//!
//! | file | what |
//! |---|---|
//! | `.lock` | locked while a broker uses the folder |
//! | `broker.json` | the cluster id |
//! | `credentials.json`, `acls.json`, `tls/` | see `auth` |
//! | `broker-configs.json`, `client-quotas.json` | see `settings`, `client_quotas` |
//! | `.kafka_cleanshutdown` | present: all logs were synced and closed, indexes can be trusted |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::Disk;

const LOCK_FILE: &str = ".lock";
const IDENTITY_FILE: &str = "broker.json";
const CLEAN_FILE: &str = ".kafka_cleanshutdown";
const FILE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Base64 of 16 bytes, as Kafka's cluster ids are.
    pub(crate) cluster_id: String,
    /// The last broker closed its logs.
    pub(crate) was_clean: bool,
    _lock: FolderLock,
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    cluster_id: String,
}

impl DataFolder {
    /// Takes the folder, creating it when absent. Errors say what to do about it.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<DataFolder> {
        disk.create_directory(path).with_context(|| {
            format!(
                "cannot create the data folder `{}`; choose another with --data-dir",
                path.display()
            )
        })?;
        let lock = FolderLock::take(path)?;
        let cluster_id = read_or_make_identity(disk.as_ref(), path)?;
        let was_clean = take_clean_marker(disk.as_ref(), path)?;
        Ok(DataFolder { path: path.to_owned(), disk, cluster_id, was_clean, _lock: lock })
    }

    /// Leaves word that all logs are closed.
    pub(crate) fn mark_clean(&self) -> Result<()> {
        let path = self.path.join(CLEAN_FILE);
        let written = self.disk.write_small(&path, b"{\"version\":0}");
        written.with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Removes the marker: from now on only a clean stop puts it back.
fn take_clean_marker(disk: &(dyn Disk + 'static), folder: &Path) -> Result<bool> {
    let path = folder.join(CLEAN_FILE);
    match disk.remove_file(&path) {
        Ok(()) => {
            let synced = disk.sync_directory(folder);
            synced.with_context(|| format!("cannot sync `{}`", folder.display()))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove `{}`", path.display())),
    }
}

fn read_or_make_identity(disk: &(dyn Disk + 'static), folder: &Path) -> Result<String> {
    let path = folder.join(IDENTITY_FILE);
    let content = disk.read_small(&path, FILE_BYTES_MAX);
    let content = content.with_context(|| format!("cannot read `{}`", path.display()))?;
    if let Some(content) = content {
        let identity: Identity = serde_json::from_slice(&content)
            .with_context(|| format!("`{}` is damaged; restore it from a copy", path.display()))?;
        return Ok(identity.cluster_id);
    }
    let identity = Identity { cluster_id: base64_url(Uuid::new_v4().as_bytes()) };
    disk.write_small(&path, &serde_json::to_vec(&identity)?).with_context(|| {
        format!(
            "cannot write to the data folder `{}`; check its owner and rights",
            folder.display()
        )
    })?;
    Ok(identity.cluster_id)
}

/// Base64 with the alphabet for URLs and without padding: 22 characters for 16 bytes.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            text.push(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char);
        }
    }
    text
}

/// An advisory lock of the operating system: it goes with the process, however that ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: std::fs::File,
}

impl FolderLock {
    fn take(folder: &Path) -> Result<FolderLock> {
        FolderLock::take_if_free(folder)?.with_context(|| {
            format!(
                "the data folder `{}` is in use by another broker; stop it, or choose another \
                 folder with --data-dir",
                folder.display()
            )
        })
    }

    /// `None`: a broker uses the folder.
    // A lock is no content: it doesn't pass through the seam that tests replace.
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)]
    pub(crate) fn take_if_free(folder: &Path) -> Result<Option<FolderLock>> {
        let path = folder.join(LOCK_FILE);
        let options = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = options.with_context(|| {
            format!(
                "cannot write to the data folder `{}`; check its owner and rights, or choose \
                 another with --data-dir",
                folder.display()
            )
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    fn open(path: &Path) -> Result<DataFolder> {
        DataFolder::open(Arc::new(OsDisk), path)
    }

    #[test]
    fn a_folder_is_used_by_one_broker_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another broker"), "{error}");
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn the_cluster_id_stays_and_the_clean_mark_holds_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let cluster_id = first.cluster_id.clone();
        assert_eq!(cluster_id.len(), 22);
        assert!(!first.was_clean);
        first.mark_clean().unwrap();
        drop(first);
        let second = open(folder.path()).unwrap();
        assert_eq!((second.cluster_id.as_str(), second.was_clean), (cluster_id.as_str(), true));
        drop(second);
        assert!(!open(folder.path()).unwrap().was_clean);
    }

    #[test]
    fn base64_agrees_with_known_values() {
        assert_eq!(base64_url(b"\xfb\xff\xfe"), "-__-");
        assert_eq!(base64_url(b"M"), "TQ");
        assert_eq!(base64_url(b"Ma"), "TWE");
    }
}
